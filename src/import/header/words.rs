//! Usual names of the columns of a contact list. In: a header after [`super::fold`]. Out: its possible meaning.

use super::Field;

/// Names of columns of numbers. Only whole names count, so that `phone_type` is an attribute.
#[rustfmt::skip]
const NUMBER: &[&str] = &[
    "phone", "phone_number", "phonenumber", "phone_no", "phone_num", "contact_number",
    "contact_phone", "customer_phone", "telephone", "telephone_number", "tel", "tel_no", "mobile",
    "mobile_phone", "mobile_number", "mobile_no", "cell", "cell_phone", "cellphone", "cell_number",
    "home_phone", "work_phone", "business_phone", "primary_phone", "main_phone",
    "phone_1_value",
    // German
    "telefon", "telefonnummer", "telefon_nr", "telefonnr", "tel_nr", "rufnummer", "handy",
    "handynummer", "handy_nr", "mobil", "mobilnummer", "mobiltelefon", "mobilfunk", "mobilfunknummer",
    "telefon_mobil",
    // French, Spanish, Portuguese, Italian
    "telephone_portable", "numero_de_telephone", "portable", "mobile_portable", "gsm", "telefono",
    "numero_de_telefono", "movil", "celular", "numero_telefonico", "telefone", "telemovel",
    "numero_de_telefone", "cellulare", "numero_di_telefono",
    // Dutch, Polish, Turkish, Swedish, Danish, Norwegian
    "telefoon", "telefoonnummer", "mobiel", "telefon_komorkowy", "numer_telefonu", "komorka", "cep",
    "cep_telefonu", "telefon_numarasi", "mobilnr", "telefonnummer_mobil",
    // Russian, Ukrainian
    "телефон", "номер_телефона", "мобильный", "мобильный_телефон", "телефон_мобильный",
    "номер_телефону",
    // Chinese, Japanese, Korean, Arabic
    "电话", "电话号码", "手机", "手机号", "手机号码", "联系电话", "移动电话", "電話", "電話號碼", "手機", "手機號碼", "行動電話", "電話番号", "携帯",
    "携帯電話", "携帯番号", "전화번호", "휴대폰", "휴대폰번호", "연락처", "هاتف", "رقم_الهاتف", "الجوال", "رقم_الجوال",
];
/// Names that mean the telephone number only if no other column does: a "number" may also be a customer number.
const NUMBER_PERHAPS: &[&str] = &["number", "nummer", "numero", "numer", "номер", "号码"];
/// Names of columns of numbers with their country code.
const INTERNATIONAL: &[&str] = &[
    "msisdn",
    "e164",
    "e_164",
    "e164_number",
    "msisdn_number",
    "international_number",
];
/// A header such as `Office Phone`, `Telefon privat` or `phone2` has at least one of these words, and otherwise only
/// `PHONE_QUALIFIERS`.
#[rustfmt::skip]
const PHONE_WORDS: &[&str] = &[
    "phone", "phonenumber", "telephone", "tel", "mobile", "cell", "cellphone", "telefon", "telefonnummer", "rufnummer", "handy",
    "handynummer", "mobil", "mobilnummer", "telefono", "movil", "celular", "telefone", "telemovel", "portable", "gsm", "cellulare",
];
#[rustfmt::skip]
const PHONE_QUALIFIERS: &[&str] = &[
    "home", "work", "office", "business", "private", "other", "main", "primary", "secondary", "alt", "alternate", "alternative",
    "direct", "day", "daytime", "evening", "contact", "customer", "company", "personal", "first", "second", "third", "number", "no",
    "nr", "num", "value", "privat", "geschaftlich", "dienstlich", "buro", "festnetz", "zentrale", "firma", "bureau", "domicile",
    "fixe", "fijo", "fixo", "fisso", "casa", "trabajo", "trabalho", "oficina", "ufficio", "lavoro", "particular",
];
#[rustfmt::skip]
const COUNTRY: &[&str] = &[
    "country", "country_code", "countrycode", "country_iso", "iso_country", "iso_country_code", "country_name", "phone_code",
    "phone_country", "phone_country_code", "dial_code", "dialling_code", "dialing_code", "calling_code", "country_calling_code",
    "country_dial_code", "country_prefix", "intl_code", "international_code", "isd_code", "land", "landeskennzahl", "landercode",
    "landesvorwahl", "landervorwahl", "vorwahl_land", "land_vorwahl", "internationale_vorwahl", "pays", "code_pays",
    "indicatif", "indicatif_pays", "pais", "codigo_pais", "codigo_de_pais", "codigo_do_pais", "ddi", "paese", "nazione",
    "prefisso_internazionale", "landcode", "landnummer", "kraj", "ulke", "ulke_kodu", "страна", "код_страны", "国家", "国家代码",
    "国家区号", "国家码", "国家_地区", "国家_地区代码", "国际区号", "國家", "國碼", "國家代碼", "国番号", "국가", "국가코드", "국가번호", "البلد",
    "رمز_الدولة",
];
#[rustfmt::skip]
const AREA_CODE: &[&str] = &[
    "area_code", "areacode", "std_code", "city_code", "vorwahl", "ortsvorwahl", "ortsnetzkennzahl", "ddd", "prefijo", "prefisso",
    "netnummer", "kengetal", "numer_kierunkowy", "код_города", "区号", "區號", "市外局番", "지역번호",
];
#[rustfmt::skip]
const NAME: &[&str] = &[
    "name", "full_name", "fullname", "contact", "contact_name", "customer", "customer_name", "client",
    "client_name", "display_name", "kunde", "kundenname", "ansprechpartner", "nom", "nom_complet", "nombre",
    "nombre_completo", "cliente", "nome", "nome_completo", "naam", "klant", "imie_i_nazwisko", "nazwisko",
    "ad_soyad", "namn", "navn", "имя", "фио", "клиент", "姓名", "客户姓名", "客户名称", "名称", "名字", "客戶姓名", "氏名", "名前",
    "이름", "성명", "الاسم",
];
#[rustfmt::skip]
const TIME_ZONE: &[&str] = &[
    "time_zone", "timezone", "tz", "zone", "iana_time_zone", "zeitzone", "fuseau_horaire", "zona_horaria", "fuso_horario",
    "часовой_пояс", "时区", "時區",
];

/// Only names that mean one contact: several contacts may have the same customer number, and would be merged.
#[rustfmt::skip]
const EXTERNAL_ID: &[&str] = &[
    "external_id", "externalid", "ext_id", "contact_id", "contactid", "lead_id", "leadid", "person_id", "crm_id", "kontakt_id",
    "id_contact", "id_contacto", "id_contato", "id_contatto", "外部编号", "联系人编号", "联系人_id",
];
#[rustfmt::skip]
const TAGS: &[&str] = &[
    "tags", "tag", "contact_tags", "schlagworte", "schlagworter", "etiquettes", "etiquetas", "etichette", "etykiety", "etiketler",
    "теги", "метки", "标签", "標籤", "タグ", "태그",
];
#[rustfmt::skip]
const TIER: &[&str] = &[
    "tier", "priority", "prio", "prioritat", "priorite", "prioridad", "prioridade", "priorita", "priorytet", "oncelik", "приоритет",
    "优先级", "客户等级", "等级", "優先級", "優先度", "우선순위",
];
#[rustfmt::skip]
const LANGUAGE: &[&str] = &[
    "language", "language_code", "lang", "locale", "preferred_language", "sprache", "langue", "idioma", "lingua", "taal", "jezyk", "dil",
    "sprak", "язык", "语言", "語言", "言語", "언어", "اللغة",
];
#[rustfmt::skip]
const STATE: &[&str] = &[
    "state", "state_province", "state_code", "province", "bundesland", "kanton", "etat", "departement", "estado", "provincia",
    "provincie", "wojewodztwo", "область", "регион", "省", "省份", "都道府県",
];
#[rustfmt::skip]
const POSTAL_CODE: &[&str] = &[
    "postal_code", "postalcode", "postcode", "post_code", "zip", "zip_code", "zipcode", "zip_postal_code", "plz", "postleitzahl",
    "code_postal", "codigo_postal", "cap", "kod_pocztowy", "posta_kodu", "postnummer", "postnr", "индекс", "почтовый_индекс", "邮编",
    "邮政编码", "郵遞區號", "郵便番号", "우편번호", "الرمز_البريدي",
];
const CONSENT: &[&str] = &["consent", "consent_kind", "consent_type"];
const CONSENT_SCOPE: &[&str] = &["consent_scope", "consent_purpose", "consent_for"];
const CONSENT_GRANTED_AT: &[&str] = &[
    "consent_granted_at",
    "consent_at",
    "consent_date",
    "consent_granted",
    "consent_given",
];
const CONSENT_EXPIRES_AT: &[&str] = &[
    "consent_expires_at",
    "consent_expires",
    "consent_expiry",
    "consent_until",
];
const CONSENT_PROOF: &[&str] = &["consent_proof", "consent_evidence", "consent_source"];

/// The possible meaning of a column's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Number,
    NumberPerhaps,
    International,
    Country,
    Field(Field),
    Other,
}

/// The meaning of a folded header.
pub(super) fn meaning(folded: &str) -> Meaning {
    let any = |names: &[&str]| names.contains(&folded);
    let known = [
        (INTERNATIONAL, Meaning::International),
        (NUMBER, Meaning::Number),
        (NUMBER_PERHAPS, Meaning::NumberPerhaps),
        (COUNTRY, Meaning::Country),
        (AREA_CODE, Meaning::Field(Field::AreaCode)),
        (NAME, Meaning::Field(Field::Name)),
        (TIME_ZONE, Meaning::Field(Field::TimeZone)),
        (EXTERNAL_ID, Meaning::Field(Field::ExternalId)),
        (TAGS, Meaning::Field(Field::Tags)),
        (TIER, Meaning::Field(Field::Tier)),
        (LANGUAGE, Meaning::Field(Field::Language)),
        (STATE, Meaning::Field(Field::State)),
        (POSTAL_CODE, Meaning::Field(Field::PostalCode)),
        (CONSENT, Meaning::Field(Field::Consent)),
        (CONSENT_SCOPE, Meaning::Field(Field::ConsentScope)),
        (CONSENT_GRANTED_AT, Meaning::Field(Field::ConsentGrantedAt)),
        (CONSENT_EXPIRES_AT, Meaning::Field(Field::ConsentExpiresAt)),
        (CONSENT_PROOF, Meaning::Field(Field::ConsentProof)),
    ];
    match known.into_iter().find(|(names, _)| any(names)) {
        Some((_, meaning)) => meaning,
        None if is_phone(folded) => Meaning::Number,
        None => Meaning::Other,
    }
}

fn is_phone(folded: &str) -> bool {
    let words = || {
        let words = folded
            .split('_')
            .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
        words.filter(|word| !word.is_empty())
    };
    let known = |word: &str| PHONE_WORDS.contains(&word) || PHONE_QUALIFIERS.contains(&word);
    words().all(known) && words().any(|word| PHONE_WORDS.contains(&word))
}
