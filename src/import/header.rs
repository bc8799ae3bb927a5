//! What each column of a contact file means: guessed from the header, or as somebody has said. In: the header's cells
//! and a [`Mapping`]. Out: [`Columns`], which are shown to whoever imports, or why the file cannot be read.

use super::ImportError;
use serde::{Deserialize, Serialize};

/// Most columns a file may have.
const COLUMNS_MAX: usize = 200;
/// Longest name of a column: it is kept with each contact, and with each row that is rejected for it.
const HEADER_BYTES_MAX: usize = 1000;

/// Header names that mean the number, after [`fold`]; whole names only, so that `phone_type` is an attribute.
#[rustfmt::skip]
const NUMBER: &[&str] = &[
    "number", "phone", "phone_number", "phonenumber", "phone_no", "phone_num", "contact_number",
    "contact_phone", "customer_phone", "telephone", "telephone_number", "tel", "tel_no", "mobile",
    "mobile_phone", "mobile_number", "mobile_no", "cell", "cell_phone", "cellphone", "cell_number",
    "home_phone", "work_phone", "business_phone", "primary_phone", "main_phone", "msisdn", "e164",
    "phone_1_value",
    // German
    "telefon", "telefonnummer", "telefon_nr", "telefonnr", "tel_nr", "rufnummer", "nummer", "handy",
    "handynummer", "handy_nr", "mobil", "mobilnummer", "mobiltelefon", "mobilfunk", "mobilfunknummer",
    "telefon_mobil",
    // French, Spanish, Portuguese, Italian
    "telephone_portable", "numero", "numero_de_telephone", "portable", "mobile_portable", "gsm", "telefono",
    "numero_de_telefono", "movil", "celular", "numero_telefonico", "telefone", "telemovel",
    "numero_de_telefone", "cellulare", "numero_di_telefono",
    // Dutch, Polish, Turkish, Swedish, Danish, Norwegian
    "telefoon", "telefoonnummer", "mobiel", "telefon_komorkowy", "numer", "numer_telefonu", "komorka", "cep",
    "cep_telefonu", "telefon_numarasi", "mobilnr", "telefonnummer_mobil",
    // Russian, Ukrainian
    "телефон", "номер", "номер_телефона", "мобильный", "мобильный_телефон", "телефон_мобильный",
    "номер_телефону",
    // Chinese, Japanese, Korean, Arabic
    "电话", "电话号码", "手机", "手机号", "手机号码", "号码", "联系电话", "移动电话", "電話", "電話號碼", "手機", "手機號碼", "行動電話", "電話番号", "携帯",
    "携帯電話", "携帯番号", "전화번호", "휴대폰", "휴대폰번호", "연락처", "هاتف", "رقم_الهاتف", "الجوال", "رقم_الجوال",
];
#[rustfmt::skip]
const NAME: &[&str] = &[
    "name", "full_name", "fullname", "contact", "contact_name", "customer", "customer_name", "client",
    "client_name", "display_name", "kunde", "kundenname", "ansprechpartner", "nom", "nom_complet", "nombre",
    "nombre_completo", "cliente", "nome", "nome_completo", "naam", "klant", "imie_i_nazwisko", "nazwisko",
    "ad_soyad", "namn", "navn", "имя", "фио", "клиент", "姓名", "客户姓名", "客户名称", "名称", "名字", "客戶姓名", "氏名", "名前",
    "이름", "성명", "الاسم",
];
const TIME_ZONE: &[&str] = &[
    "time_zone",
    "timezone",
    "tz",
    "zone",
    "iana_time_zone",
    "zeitzone",
    "fuseau_horaire",
    "zona_horaria",
    "fuso_horario",
    "часовой_пояс",
    "时区",
    "時區",
];

/// What the columns mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// Where the number is.
    pub number: Column,
    /// Where the contact's name is.
    pub name: Option<Column>,
    /// Where the contact's IANA time zone is.
    pub time_zone: Option<Column>,
    /// All others, kept under their header.
    pub attributes: Vec<Column>,
    /// Those that are left out because somebody said so.
    pub ignored: Vec<Column>,
    /// How many columns the header has; those without a name must be empty.
    #[serde(skip)]
    pub width: usize,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// From 0.
    #[serde(skip)]
    pub index: usize,
    /// As in the header line.
    pub header: String,
}

/// What somebody has said of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Where the number is.
    pub number: Option<ColumnRef>,
    /// Where the name is.
    pub name: Option<ColumnRef>,
    /// Where the time zone is.
    pub time_zone: Option<ColumnRef>,
    /// What is left out.
    pub ignore: Vec<ColumnRef>,
    /// That the first line is a contact already.
    pub no_header: bool,
}

/// A column, by its header or as `#2` by its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRef(String);

/// The text is no `FIELD=COLUMN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write FIELD=COLUMN: FIELD is number, name, time_zone or ignore; COLUMN is a header, or #2 for the second column"
)]
pub struct NotAColumn;

impl Mapping {
    /// Whether one of these cells is the header that somebody has named for the number; none where nobody has.
    pub(super) fn number_is_named(&self, cells: &[String]) -> Option<bool> {
        let named = self.number.as_ref().filter(|column| !column.0.starts_with('#'));
        named.map(|column| column.find(cells).is_some())
    }

    /// Takes in `FIELD=COLUMN`.
    pub fn add(&mut self, text: &str) -> Result<(), NotAColumn> {
        let (field, column) = text.split_once('=').ok_or(NotAColumn)?;
        if column.trim().is_empty() {
            return Err(NotAColumn);
        }
        let column = ColumnRef(column.trim().to_owned());
        match field.trim() {
            "number" => self.number = Some(column),
            "name" => self.name = Some(column),
            "time_zone" => self.time_zone = Some(column),
            "ignore" => self.ignore.push(column),
            _ => return Err(NotAColumn),
        }
        Ok(())
    }
}

impl ColumnRef {
    /// Its place in a header, from 0.
    fn find(&self, header: &[String]) -> Option<usize> {
        let exact = header.iter().position(|cell| cell.trim() == self.0);
        let by_place = || {
            let place: usize = self.0.strip_prefix('#')?.parse().ok()?;
            place.checked_sub(1).filter(|index| *index < header.len())
        };
        let folded = || header.iter().position(|cell| fold(cell) == fold(&self.0));
        exact.or_else(by_place).or_else(folded)
    }

    fn place(&self, header: &[String]) -> Result<usize, ImportError> {
        self.find(header).ok_or_else(|| ImportError::NoSuchColumn {
            column: self.0.clone(),
            columns: header.join("`, `"),
        })
    }
}

/// Whether one of these cells is known to mean the number.
pub(super) fn names_number(cells: &[String]) -> bool {
    cells.iter().any(|cell| NUMBER.contains(&fold(cell).as_str()))
}

impl Columns {
    /// Every column finds its place; the leftmost wins where several could be the number.
    pub(super) fn guess(header: &[String], mapping: &Mapping) -> Result<Self, ImportError> {
        if header.len() > COLUMNS_MAX {
            return Err(ImportError::TooManyColumns {
                columns: header.len(),
                max: COLUMNS_MAX,
            });
        }
        if let Some(long) = header.iter().position(|cell| cell.len() > HEADER_BYTES_MAX) {
            return Err(ImportError::HeaderTooLong {
                column: long + 1,
                max: HEADER_BYTES_MAX,
            });
        }
        let said = |column: &Option<ColumnRef>| column.as_ref().map(|c| c.place(header)).transpose();
        let ignored = mapping.ignore.iter().map(|c| c.place(header));
        let ignored = ignored.collect::<Result<Vec<_>, _>>()?;
        let mut number = said(&mapping.number)?;
        let mut name = said(&mapping.name)?;
        let mut time_zone = said(&mapping.time_zone)?;
        for (index, cell) in header.iter().enumerate() {
            let folded = fold(cell);
            let taken = [number, name, time_zone].contains(&Some(index)) || ignored.contains(&index);
            let place = [
                (NUMBER, &mut number),
                (NAME, &mut name),
                (TIME_ZONE, &mut time_zone),
            ];
            let place = place
                .into_iter()
                .find(|(names, place)| place.is_none() && names.contains(&folded.as_str()));
            if let Some((_, place)) = place.filter(|_| !taken) {
                *place = Some(index);
            }
        }
        let column = |index: usize| Column {
            index,
            header: header
                .get(index)
                .map(|cell| cell.trim().to_owned())
                .unwrap_or_default(),
        };
        // The header is not repeated: in a file without one, it would be the first contact.
        let number = number.ok_or(ImportError::NoNumberColumn)?;
        let used = [Some(number), name, time_zone];
        let mut attributes: Vec<Column> = Vec::new();
        for index in (0..header.len()).filter(|n| !used.contains(&Some(*n)) && !ignored.contains(n)) {
            let column = column(index);
            if attributes.iter().any(|a| a.header == column.header) && !column.header.is_empty() {
                return Err(ImportError::TwoColumnsOfOneName {
                    header: column.header,
                    place: index + 1,
                });
            }
            if !column.header.is_empty() {
                attributes.push(column);
            }
        }
        Ok(Self {
            number: column(number),
            name: name.map(column),
            time_zone: time_zone.map(column),
            attributes,
            ignored: ignored.into_iter().map(column).collect(),
            width: header.len(),
        })
    }

    /// Whether nothing may stand in a column: it has no name, and nobody said what it is.
    pub(super) fn is_nameless(&self, index: usize) -> bool {
        let known = [Some(&self.number), self.name.as_ref(), self.time_zone.as_ref()];
        let known = known
            .into_iter()
            .flatten()
            .chain(&self.attributes)
            .chain(&self.ignored);
        !known.into_iter().any(|column| column.index == index)
    }

    /// One line for people: `number from "Phone", attributes from "City"`.
    pub fn describe(&self) -> String {
        let quoted = |c: &Column| {
            if c.header.is_empty() {
                format!("column {}", c.index + 1)
            } else {
                format!("`{}`", c.header)
            }
        };
        let all = |columns: &[Column]| columns.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let mut parts = vec![format!("number from {}", quoted(&self.number))];
        parts.extend(self.name.as_ref().map(|c| format!("name from {}", quoted(c))));
        parts.extend(
            self.time_zone
                .as_ref()
                .map(|c| format!("time zone from {}", quoted(c))),
        );
        if !self.attributes.is_empty() {
            parts.push(format!("attributes from {}", all(&self.attributes)));
        }
        if !self.ignored.is_empty() {
            parts.push(format!("left out: {}", all(&self.ignored)));
        }
        parts.join("; ")
    }
}

/// `" Télé-Phone (home) *"` is `tele_phone`.
pub(super) fn fold(header: &str) -> String {
    let plain = header.split(['(', '（', '[']).next().unwrap_or(header);
    let words = plain
        .split(|c: char| c.is_whitespace() || "-_./:#*'\"：".contains(c))
        .filter(|w| !w.is_empty());
    let folded = words.collect::<Vec<_>>().join("_").to_lowercase();
    let folded: String = folded.chars().map(without_accent).collect();
    // `Phone 1`.
    folded.strip_suffix("_1").map(str::to_owned).unwrap_or(folded)
}

fn without_accent(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
        'ç' | 'ć' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ę' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ı' => 'i',
        'ñ' | 'ń' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ł' => 'l',
        'ş' | 'ś' => 's',
        'ğ' => 'g',
        'º' | '°' => 'o',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(header: &str, said: &[&str]) -> Result<Columns, ImportError> {
        let cells: Vec<_> = header.split(',').map(str::to_owned).collect();
        let mut mapping = Mapping::default();
        for said in said {
            mapping.add(said).unwrap();
        }
        Columns::guess(&cells, &mapping)
    }

    #[test]
    fn columns_are_known_by_the_names_that_people_give_them() {
        for (header, means) in [
            ("number", "number from `number`"),
            (
                "Name, Phone Number ,City",
                "number from `Phone Number`; name from `Name`; attributes from `City`",
            ),
            (
                "TZ,mobile,phone",
                "number from `mobile`; time zone from `TZ`; attributes from `phone`",
            ),
            ("姓名,手机号码", "number from `手机号码`; name from `姓名`"),
            (
                "phone_type,Tel.",
                "number from `Tel.`; attributes from `phone_type`",
            ),
            (
                "Kunde,Rufnummer,Ort",
                "number from `Rufnummer`; name from `Kunde`; attributes from `Ort`",
            ),
            ("Nombre,Teléfono", "number from `Teléfono`; name from `Nombre`"),
            (
                "Nom,Numéro de téléphone",
                "number from `Numéro de téléphone`; name from `Nom`",
            ),
            (
                "ФИО,Номер телефона",
                "number from `Номер телефона`; name from `ФИО`",
            ),
            (
                "Phone (mobile) *,Phone 2",
                "number from `Phone (mobile) *`; attributes from `Phone 2`",
            ),
            ("氏名,電話番号", "number from `電話番号`; name from `氏名`"),
        ] {
            assert_eq!(guess(header, &[]).unwrap().describe(), means, "{header}");
        }
    }

    #[test]
    fn what_somebody_says_of_a_column_wins() {
        assert_eq!(
            guess("phone,fax,zip", &["number=fax", "ignore=#3"])
                .unwrap()
                .describe(),
            "number from `fax`; attributes from `phone`; left out: `zip`"
        );
        assert_eq!(
            guess("a,b", &["number=#2", "name=A"]).unwrap().describe(),
            "number from `b`; name from `a`"
        );
        assert!(matches!(
            guess("a,b", &["number=c"]),
            Err(ImportError::NoSuchColumn { .. })
        ));
        assert!(Mapping::default().add("colour=x").is_err());
    }

    #[test]
    fn a_header_that_would_lose_something_is_refused() {
        assert!(matches!(guess("city,age", &[]), Err(ImportError::NoNumberColumn)));
        assert!(guess("number,,x", &[]).unwrap().is_nameless(1));
        assert!(matches!(
            guess("number,x,x", &[]),
            Err(ImportError::TwoColumnsOfOneName { place: 3, .. })
        ));
        assert!(matches!(
            guess(&format!("number,{}", "x".repeat(1001)), &[]),
            Err(ImportError::HeaderTooLong { column: 2, .. })
        ));
        let many = format!("number{}", ",x".repeat(200));
        assert!(matches!(
            guess(&many, &[]),
            Err(ImportError::TooManyColumns { columns: 201, .. })
        ));
    }
}
