//! Reads a cell of a country column: two letters, three letters, a name or a calling code. In: a cell. Out: a
//! [`Country`].

use super::header::without_accent;
use crate::numbers::Country;

/// The country that a cell means.
pub(super) fn country(cell: &str) -> Option<Country> {
    let cell = cell.trim();
    let code = cell
        .strip_prefix('+')
        .or_else(|| cell.strip_prefix("00"))
        .unwrap_or(cell);
    // Spreadsheets write a number with `.0`.
    let code = code.strip_suffix(".0").unwrap_or(code).trim();
    if (1..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit()) {
        return Country::of_calling_code(code.parse().ok()?);
    }
    let word: String = cell
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .map(without_accent)
        .collect();
    let known = COUNTRIES
        .iter()
        .find(|(letters, names)| *letters == word || names.split('|').any(|name| name == word));
    match known {
        Some((letters, _)) => Country::new(&letters.to_ascii_uppercase()),
        None => Country::new(&word.to_ascii_uppercase()),
    }
}

/// Two letters, then three letters and names in English and in the country's own language, without spaces and accents.
#[rustfmt::skip]
const COUNTRIES: &[(&str, &str)] = &[
    ("ae", "are|uae|unitedarabemirates|الامارات|الإمارات"), ("ar", "arg|argentina"), ("at", "aut|austria|osterreich|oesterreich"),
    ("au", "aus|australia"), ("ba", "bih|bosniaandherzegovina"), ("bd", "bgd|bangladesh"), ("be", "bel|belgium|belgien|belgie|belgique"),
    ("bg", "bgr|bulgaria|българия"), ("bh", "bhr|bahrain"), ("bo", "bol|bolivia"), ("br", "bra|brazil|brasil|brasilien"),
    ("by", "blr|belarus|беларусь"), ("ca", "can|canada|kanada"), ("ch", "che|switzerland|schweiz|suisse|svizzera"),
    ("cl", "chl|chile"), ("cn", "chn|china|prchina|中国|中國|中国大陆"), ("co", "col|colombia"), ("cr", "cri|costarica"),
    ("cy", "cyp|cyprus|zypern|κυπρος"), ("cz", "cze|czechia|czechrepublic|cesko|tschechien"), ("de", "deu|ger|germany|deutschland|allemagne|alemania|germania|duitsland|niemcy|德国"),
    ("dk", "dnk|denmark|danmark|danemark"), ("do", "dom|dominicanrepublic|republicadominicana"), ("dz", "dza|algeria|algerie"),
    ("ec", "ecu|ecuador"), ("ee", "est|estonia|eesti|estland"), ("eg", "egy|egypt|مصر"), ("es", "esp|spain|espana|spanien|espagne|spagna|西班牙"),
    ("fi", "fin|finland|suomi|finnland"), ("fr", "fra|france|frankreich|francia|frankrijk|法国"),
    ("gb", "gbr|uk|unitedkingdom|greatbritain|britain|england|scotland|wales|northernireland|vereinigteskonigreich|grossbritannien|großbritannien|royaumeuni|reinounido|regnounito|英国|英國"),
    ("gr", "grc|el|greece|griechenland|grece|ελλαδα"), ("gt", "gtm|guatemala"), ("hk", "hkg|hongkong|香港"), ("hr", "hrv|croatia|hrvatska|kroatien"),
    ("hu", "hun|hungary|magyarorszag|ungarn"), ("id", "idn|indonesia"), ("ie", "irl|ireland|irland|eire|irlande"), ("il", "isr|israel|ישראל"),
    ("in", "ind|india|indien|भारत|印度"), ("iq", "irq|iraq"), ("ir", "irn|iran"), ("is", "isl|iceland|island"), ("it", "ita|italy|italia|italien|italie|意大利"),
    ("jm", "jam|jamaica"), ("jo", "jor|jordan"), ("jp", "jpn|japan|日本"), ("ke", "ken|kenya"), ("kr", "kor|southkorea|korea|republicofkorea|대한민국|한국|韩国"),
    ("kw", "kwt|kuwait"), ("kz", "kaz|kazakhstan|казахстан"), ("lb", "lbn|lebanon"), ("lk", "lka|srilanka"), ("lt", "ltu|lithuania|lietuva|litauen"),
    ("lu", "lux|luxembourg|luxemburg"), ("lv", "lva|latvia|latvija|lettland"), ("ma", "mar|morocco|maroc"), ("me", "mne|montenegro"),
    ("mk", "mkd|northmacedonia|macedonia"), ("mo", "mac|macao|macau|澳门|澳門"), ("mt", "mlt|malta"), ("mx", "mex|mexico|mexiko|mexique|墨西哥"),
    ("my", "mys|malaysia|马来西亚"), ("ng", "nga|nigeria"), ("nl", "nld|netherlands|thenetherlands|nederland|niederlande|holland|paysbas|paisesbajos"),
    ("no", "nor|norway|norge|norwegen|norvege"), ("np", "npl|nepal"), ("nz", "nzl|newzealand"), ("om", "omn|oman"), ("pa", "pan|panama"),
    ("pe", "per|peru"), ("ph", "phl|philippines|pilipinas"), ("pk", "pak|pakistan"), ("pl", "pol|poland|polska|polen|pologne"),
    ("pr", "pri|puertorico"), ("pt", "prt|portugal"), ("py", "pry|paraguay"), ("qa", "qat|qatar"), ("ro", "rou|rom|romania|rumanien"),
    ("rs", "srb|serbia|srbija|serbien|србија"), ("ru", "rus|russia|russianfederation|россия|russland|俄罗斯"), ("sa", "sau|saudiarabia|السعودية"),
    ("se", "swe|sweden|sverige|schweden|suede"), ("sg", "sgp|singapore|新加坡"), ("si", "svn|slovenia|slovenija|slowenien"),
    ("sk", "svk|slovakia|slovensko|slowakei"), ("th", "tha|thailand|ไทย"), ("tn", "tun|tunisia|tunisie"), ("tr", "tur|turkey|turkiye|turkei"),
    ("tw", "twn|taiwan|台湾|台灣|臺灣"), ("ua", "ukr|ukraine|україна"),
    ("us", "usa|unitedstates|unitedstatesofamerica|america|estadosunidos|vereinigtestaaten|etatsunis|statiuniti|美国|美國"),
    ("uy", "ury|uruguay"), ("ve", "ven|venezuela"), ("vn", "vnm|vietnam|越南"), ("za", "zaf|rsa|southafrica|sudafrika"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_known_by_code_name_and_calling_code() {
        for (cell, is) in [
            ("US", "US"),
            ("us", "US"),
            ("USA", "US"),
            ("U.S.A.", "US"),
            ("United States", "US"),
            ("1", "US"),
            ("+44", "GB"),
            ("0044", "GB"),
            ("44.0", "GB"),
            ("UK", "GB"),
            ("United Kingdom", "GB"),
            (" Österreich ", "AT"),
            ("España", "ES"),
            ("中国", "CN"),
            ("86", "CN"),
            ("LI", "LI"),
        ] {
            assert_eq!(country(cell).map(|c| c.to_string()), Some(is.into()), "{cell}");
        }
        for cell in ["", "XX", "Atlantis", "999", "1876", "+", "800"] {
            assert_eq!(country(cell), None, "{cell}");
        }
    }

    #[test]
    fn every_country_of_the_table_has_a_number_plan_and_no_name_occurs_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for (letters, names) in COUNTRIES {
            assert!(Country::new(&letters.to_ascii_uppercase()).is_some(), "{letters}");
            for name in names.split('|') {
                assert!(seen.insert(name), "{name}");
            }
        }
    }
}
