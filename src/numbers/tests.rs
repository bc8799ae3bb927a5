#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

#[test]
fn numbers_as_people_and_spreadsheets_write_them_are_read() {
    for (text, region, number) in [
        ("+12025550123", None, "+12025550123"),
        (" +1 (202) 555-0123 ", None, "+12025550123"),
        ("202.555.0123", Some("US"), "+12025550123"),
        ("1-202-555-0123", Some("US"), "+12025550123"),
        ("'2025550123", Some("US"), "+12025550123"),
        ("2025550123.0", Some("US"), "+12025550123"),
        ("202\u{a0}555\u{2011}0123", Some("US"), "+12025550123"),
        ("２０２５５５０１２３", Some("US"), "+12025550123"),
        ("011 44 20 7946 0123", Some("US"), "+442079460123"),
        ("+44 (0)20 7946 0123", Some("US"), "+442079460123"),
        ("020 7946 0123", Some("GB"), "+442079460123"),
        ("tel:+12025550123", None, "+12025550123"),
        ("TEL:+1-202-555-0123", None, "+12025550123"),
        ("=\"2025550123\"", Some("US"), "+12025550123"),
        ("2025550123,00", Some("US"), "+12025550123"),
        ("1.2025550123E10", Some("US"), "+12025550123"),
        ("2.025550123e+9", Some("US"), "+12025550123"),
        ("\u{202a}+1 202 555 0123\u{202c}", None, "+12025550123"),
        ("0044 20 7946 0123", Some("US"), "+442079460123"),
        ("0044 20 7946 0123", None, "+442079460123"),
        ("٢٠٢٥٥٥٠١٢٣", Some("US"), "+12025550123"),
    ] {
        assert_eq!(
            normalise(text, region).as_ref().map(E164::expose),
            Ok(number),
            "{text}"
        );
    }
}

#[test]
fn each_kind_of_wrong_number_has_its_reason() {
    use NumberError::*;
    for (text, region, error) in [
        ("", Some("US"), Empty),
        ("  ", Some("US"), Empty),
        ("2025550123", None, NoCountry),
        ("2025550123", Some("XX"), UnknownRegion),
        ("2025550123", Some("us"), UnknownRegion),
        ("+999 1234567", None, UnknownCountry),
        ("2.02555E+09", Some("US"), Scientific),
        ("1,20256E+10", Some("US"), Scientific),
        ("1.202555012E10", Some("US"), Scientific),
        ("2025550123.5", Some("US"), Fraction),
        ("202-555-0123 ext. 4", Some("US"), Extension),
        ("202-555-0123x4", Some("US"), Extension),
        ("1-800-FLOWERS", Some("US"), Letters),
        ("n/a", Some("US"), Letters),
        ("-", Some("US"), NotANumber),
        ("*67 202 555 0123", Some("US"), NotANumber),
        ("+12025550123 +12025550124", Some("US"), Several),
        ("202-555-0123 or 202-555-0124", Some("US"), Several),
        ("202555012", Some("US"), TooShort),
        ("5550123", Some("US"), TooShort),
        ("+1202555012345", None, TooLong),
        ("2025550123/2025550124", Some("US"), Several),
        ("+1 111 111 1111", None, NotAssigned),
    ] {
        assert_eq!(normalise(text, region).err(), Some(error), "{text}");
    }
}

#[test]
fn regions_are_two_capital_letters_with_a_number_plan() {
    assert!(["US", "GB", "CN", "DE"].iter().all(|r| is_region(r)));
    assert!(
        !["", "U", "us", "USA", "XX", "ZZ", "é"]
            .iter()
            .any(|r| is_region(r))
    );
}

#[test]
fn an_ambiguous_number_is_not_read() {
    let at = |code: &str| Country::new(code).unwrap();
    let either = |home, abroad| {
        Err(NumberError::Ambiguous {
            home: at(home),
            abroad: at(abroad),
        })
    };
    let missing = |abroad| Err(NumberError::PlusMissing { abroad: at(abroad) });
    for (text, region, means) in [
        ("4795550123", "US", either("US", "NO")),
        ("47 95 55 01 23", "US", either("US", "NO")),
        ("491713920012", "DE", either("DE", "DE")),
        ("442079460123", "DE", either("DE", "GB")),
        ("442079460123", "US", missing("GB")),
        ("13802558000", "CN", either("CN", "US")),
        // Notation as in its own country, and not as from abroad.
        ("(479) 555-0123", "US", Ok("+14795550123")),
        ("479-555-0123", "US", Ok("+14795550123")),
        ("138 0255 8000", "CN", Ok("+8613802558000")),
        ("0171 3920012", "DE", Ok("+491713920012")),
    ] {
        let read = normalise(text, Some(region));
        assert_eq!(read.as_ref().map(E164::expose).map_err(|e| *e), means, "{text}");
    }
    let said = |text, written| {
        read(text, &Plan::new(Some("DE"), written).unwrap()).map(|n| n.number.expose().to_owned())
    };
    assert_eq!(
        said("491713920012", Notation::International),
        Ok("+491713920012".into())
    );
    assert_eq!(
        said("00491713920012", Notation::International),
        Ok("+491713920012".into())
    );
    assert_eq!(
        said("491713920012", Notation::National),
        Ok("+49491713920012".into())
    );
    assert!(said("0171 3920012", Notation::International).is_err());
}

#[test]
fn two_numbers_are_never_joined() {
    for (text, means) in [
        ("030 23125012/13", Err(NumberError::Several)),
        ("0221 4710123/24", Err(NumberError::Several)),
        ("03023125012 / 13", Err(NumberError::Several)),
        ("030 23125012, 13", Err(NumberError::Several)),
        ("+49 30 23125012/13/14", Err(NumberError::Several)),
        ("030 23125012 (13)", Err(NumberError::Extension)),
        ("030 23125012 #13", Err(NumberError::Extension)),
        ("030 23125012 ? 13", Err(NumberError::NotANumber)),
        ("030 23125-014", Ok("+493023125014")),
        ("030/23125015", Ok("+493023125015")),
        ("(030) 23125015", Ok("+493023125015")),
        ("+49 (0)30/23125015", Ok("+493023125015")),
        ("＋４９（０）３０ ２３１２５０１５", Ok("+493023125015")),
    ] {
        let read = normalise(text, Some("DE"));
        assert_eq!(read.as_ref().map(E164::expose).map_err(|e| *e), means, "{text}");
    }
}

#[test]
fn a_stated_country_reads_its_numbers_and_no_others() {
    let in_country = |text: &str, code: &str| {
        let plan = Plan::new(Some("US"), Notation::Unstated).unwrap();
        read(text, &plan.in_country(Country::new(code).unwrap())).map(|n| n.number.expose().to_owned())
    };
    for (text, country, number) in [
        ("2079460123", "GB", "+442079460123"),
        ("02079460123", "GB", "+442079460123"),
        ("442079460123", "GB", "+442079460123"),
        ("+44 20 7946 0123", "GB", "+442079460123"),
        ("3031234567", "DE", "+493031234567"),
        ("2025550123", "US", "+12025550123"),
        // Both have the calling code 1.
        ("+14165550123", "US", "+14165550123"),
    ] {
        assert_eq!(in_country(text, country), Ok(number.into()), "{text}");
    }
    let other = in_country("+442079460123", "US");
    assert!(
        matches!(other, Err(NumberError::OtherCountry { .. })),
        "{other:?}"
    );
    assert!(matches!(
        in_country("491713920012", "DE"),
        Err(NumberError::Ambiguous { .. })
    ));
}

#[test]
fn a_numbers_country_and_kind_come_from_the_number_plan() {
    for (text, country, kind) in [
        ("+12025550123", "US", NumberKind::FixedOrMobile),
        ("+19002345678", "US", NumberKind::PremiumRate),
        ("+14165550123", "CA", NumberKind::FixedOrMobile),
        ("+491713920012", "DE", NumberKind::Mobile),
        ("+493023125012", "DE", NumberKind::Fixed),
        ("+498001234567", "DE", NumberKind::TollFree),
        ("+80012345678", "001", NumberKind::TollFree),
    ] {
        let read = read(text, &Plan::default()).unwrap();
        assert_eq!(
            (read.country.to_string().as_str(), read.kind),
            (country, kind),
            "{text}"
        );
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.e164.expose())
    }
}

/// Numbers of every country and kind: the examples of the number plans with other last digits.
fn examples() -> impl Strategy<Value = Known> {
    let regions: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
    let kinds = [
        PhoneNumberType::FixedLine,
        PhoneNumberType::Mobile,
        PhoneNumberType::TollFree,
        PhoneNumberType::VoIP,
    ];
    let some = (
        proptest::sample::select(regions),
        proptest::sample::select(kinds.to_vec()),
        0..10_000_u32,
    );
    some.prop_filter_map("no such number", |(region, kind, last)| {
        let example = PHONE_NUMBER_UTIL
            .get_example_number_for_type_and_region(region, kind)
            .ok()?;
        let text = example.format_as(PhoneNumberFormat::E164).into_owned();
        let head = text.get(..text.len().checked_sub(4)?)?;
        known(&format!("{head}{last:04}"), None).ok()
    })
}

/// The notations of a number in its country and abroad, the national ones first.
fn styles(number: &Known) -> Vec<(bool, String)> {
    let of = |format| number.number.format_as(format).into_owned();
    let (national, international) = (
        of(PhoneNumberFormat::National),
        of(PhoneNumberFormat::International),
    );
    let e164 = number.e164.expose();
    let digits: String = national.chars().filter(char::is_ascii_digit).collect();
    let with = |separator: &str| {
        national
            .split(|c: char| !c.is_ascii_digit())
            .collect::<Vec<_>>()
            .join(separator)
    };
    let full_width = |text: &str| -> String {
        let wide = |c: char| char::from_u32(c as u32 + 0xfee0).unwrap();
        text.chars()
            .map(|c| if c.is_ascii_graphic() { wide(c) } else { '\u{3000}' })
            .collect()
    };
    let bare = &e164[1..];
    let mut styles: Vec<_> = [
        &national,
        &digits,
        &with("."),
        &with("/"),
        &with("-"),
        &with(" "),
        &full_width(&national),
    ]
    .map(|text| (true, text.clone()))
    .into();
    let code = number.number.country_code.to_string();
    let rest = e164[1..].strip_prefix(&code).unwrap();
    styles.extend(
        [
            e164.to_owned(),
            international.clone(),
            full_width(&international),
            international[1..].to_owned(),
            bare.to_owned(),
            format!("00{bare}"),
            format!("00 {}", &international[1..]),
            format!("011{bare}"),
            format!("+{code} (0){rest}"),
            format!("+{code} (0) {rest}"),
            format!("00{code}(0){rest}"),
            format!("{code} (0){rest}"),
            format!("{bare}.0"),
            format!("'{bare}"),
            format!("{}.{}E{}", &bare[..1], &bare[1..], bare.len() - 1),
        ]
        .map(|text| (false, text)),
    );
    styles
}

proptest! {
    #[test]
    fn any_text_gives_a_number_or_a_reason_that_does_not_repeat_it(text in "\\PC{0,80}") {
        if let Err(error) = normalise(&text, Some("US")) {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(digits.len() < 3 || !error.to_string().contains(&digits));
        }
    }

    #[test]
    fn what_was_read_reads_as_itself(digits in "[2-9][0-9]{9}") {
        if let Ok(number) = normalise(&digits, Some("US")) {
            prop_assert_eq!(normalise(number.expose(), None), Ok(number));
        }
    }

    #[test]
    fn a_number_in_a_style_of_its_country_is_read_as_itself_or_rejected(
        number in examples(), at in proptest::sample::select(PHONE_NUMBER_UTIL.get_supported_regions().collect::<Vec<_>>())
    ) {
        for (is_national, text) in styles(&number) {
            // A national number cannot be read in another country.
            let regions = if is_national { vec![number.country.0] } else { vec![number.country.0, at] };
            for region in regions {
                let plan = Plan { region: Some(region), stated: false, written: Notation::Unstated };
                if let Ok(read) = read(&text, &plan) {
                    prop_assert_eq!(
                        read.number.expose(), number.e164.expose(), "{} in {:?}", text, region
                    );
                }
            }
        }
    }

    #[test]
    fn a_number_with_a_country_code_needs_no_region_if_the_import_says_so(number in examples()) {
        let plan = Plan { region: Some(Region::DE), stated: false, written: Notation::International };
        let bare = &number.e164.expose()[1..];
        for text in [bare.to_owned(), format!("+{bare}"), format!("00{bare}")] {
            prop_assert_eq!(read(&text, &plan).map(|read| read.number), Ok(number.e164.clone()));
        }
    }

    #[test]
    fn a_second_number_behind_a_slash_is_never_joined_to_the_first(number in examples(), other in 1..1000_u32) {
        let national = number.number.format_as(PhoneNumberFormat::National).into_owned();
        let plan = Plan { region: Some(number.country.0), stated: false, written: Notation::Unstated };
        for text in [format!("{national}/{other}"), format!("{national} / {other}"), format!("{national}, {other}")] {
            prop_assert!(read(&text, &plan).is_err(), "{}", text);
        }
    }
}
