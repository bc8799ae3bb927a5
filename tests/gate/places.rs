//! The places where the callee may be: those of the number come from the number facts, those of the address from the
//! tables here.

/// The number facts of one number.
#[derive(Clone, Debug, Default)]
pub(crate) struct NumberPlaces {
    pub possible: bool,
    pub country: Option<String>,
    pub states: Vec<String>,
    pub zones: Vec<String>,
}

const US_STATES: &[(&str, &[&str])] = &[
    ("AL", &["America/Chicago"]),
    ("AK", &["America/Anchorage", "America/Adak"]),
    ("AZ", &["America/Phoenix", "America/Denver"]),
    ("AR", &["America/Chicago"]),
    ("CA", &["America/Los_Angeles"]),
    ("CO", &["America/Denver"]),
    ("CT", &["America/New_York"]),
    ("DE", &["America/New_York"]),
    ("DC", &["America/New_York"]),
    ("FL", &["America/New_York", "America/Chicago"]),
    ("GA", &["America/New_York"]),
    ("HI", &["Pacific/Honolulu"]),
    ("ID", &["America/Boise", "America/Los_Angeles"]),
    ("IL", &["America/Chicago"]),
    ("IN", &["America/Indiana/Indianapolis", "America/Chicago"]),
    ("IA", &["America/Chicago"]),
    ("KS", &["America/Chicago", "America/Denver"]),
    ("KY", &["America/New_York", "America/Chicago"]),
    ("LA", &["America/Chicago"]),
    ("ME", &["America/New_York"]),
    ("MD", &["America/New_York"]),
    ("MA", &["America/New_York"]),
    ("MI", &["America/Detroit", "America/Menominee"]),
    ("MN", &["America/Chicago"]),
    ("MS", &["America/Chicago"]),
    ("MO", &["America/Chicago"]),
    ("MT", &["America/Denver"]),
    ("NE", &["America/Chicago", "America/Denver"]),
    ("NV", &["America/Los_Angeles", "America/Denver"]),
    ("NH", &["America/New_York"]),
    ("NJ", &["America/New_York"]),
    ("NM", &["America/Denver"]),
    ("NY", &["America/New_York"]),
    ("NC", &["America/New_York"]),
    ("ND", &["America/Chicago", "America/Denver"]),
    ("OH", &["America/New_York"]),
    ("OK", &["America/Chicago"]),
    ("OR", &["America/Los_Angeles", "America/Boise"]),
    ("PA", &["America/New_York"]),
    ("RI", &["America/New_York"]),
    ("SC", &["America/New_York"]),
    ("SD", &["America/Chicago", "America/Denver"]),
    ("TN", &["America/New_York", "America/Chicago"]),
    ("TX", &["America/Chicago", "America/Denver"]),
    ("UT", &["America/Denver"]),
    ("VT", &["America/New_York"]),
    ("VA", &["America/New_York"]),
    ("WA", &["America/Los_Angeles"]),
    ("WV", &["America/New_York"]),
    ("WI", &["America/Chicago"]),
    ("WY", &["America/Denver"]),
];

const TERRITORIES: &[(&str, &[&str])] = &[
    ("PR", &["America/Puerto_Rico"]),
    ("VI", &["America/St_Thomas"]),
    ("GU", &["Pacific/Guam"]),
    ("AS", &["Pacific/Pago_Pago"]),
    ("MP", &["Pacific/Saipan"]),
];

const PROVINCES: &[(&str, &[&str])] = &[
    ("AB", &["America/Edmonton"]),
    (
        "BC",
        &[
            "America/Vancouver",
            "America/Edmonton",
            "America/Dawson_Creek",
            "America/Fort_Nelson",
            "America/Creston",
        ],
    ),
    ("MB", &["America/Winnipeg"]),
    ("NB", &["America/Moncton"]),
    ("NL", &["America/St_Johns", "America/Goose_Bay"]),
    ("NS", &["America/Halifax", "America/Glace_Bay"]),
    ("NT", &["America/Yellowknife", "America/Inuvik"]),
    (
        "NU",
        &[
            "America/Iqaluit",
            "America/Rankin_Inlet",
            "America/Resolute",
            "America/Cambridge_Bay",
            "America/Coral_Harbour",
        ],
    ),
    ("ON", &["America/Toronto", "America/Winnipeg", "America/Atikokan"]),
    ("PE", &["America/Halifax"]),
    (
        "QC",
        &["America/Toronto", "America/Halifax", "America/Blanc-Sablon"],
    ),
    (
        "SK",
        &["America/Regina", "America/Swift_Current", "America/Edmonton"],
    ),
    ("YT", &["America/Whitehorse", "America/Dawson"]),
];

const COUNTRIES: &[(&str, &[&str])] = &[
    ("GB", &["Europe/London"]),
    ("DE", &["Europe/Berlin"]),
    ("FR", &["Europe/Paris"]),
    ("ES", &["Europe/Madrid", "Africa/Ceuta", "Atlantic/Canary"]),
    (
        "AU",
        &[
            "Australia/Adelaide",
            "Australia/Brisbane",
            "Australia/Broken_Hill",
            "Australia/Darwin",
            "Australia/Eucla",
            "Australia/Hobart",
            "Australia/Lindeman",
            "Australia/Lord_Howe",
            "Australia/Melbourne",
            "Australia/Perth",
            "Australia/Sydney",
            "Antarctica/Macquarie",
        ],
    ),
    // These places have no rules, so every call is denied; the calling hours of other countries are still judged there.
    ("JE", &["Europe/Jersey"]),
    ("JM", &["America/Jamaica"]),
    ("RE", &["Indian/Reunion"]),
    (
        "MX",
        &[
            "America/Mexico_City",
            "America/Cancun",
            "America/Merida",
            "America/Monterrey",
            "America/Matamoros",
            "America/Chihuahua",
            "America/Ciudad_Juarez",
            "America/Ojinaga",
            "America/Mazatlan",
            "America/Bahia_Banderas",
            "America/Hermosillo",
            "America/Tijuana",
        ],
    ),
    ("IN", &["Asia/Kolkata"]),
    ("CN", &["Asia/Shanghai"]),
    ("HK", &["Asia/Hong_Kong"]),
    ("SG", &["Asia/Singapore"]),
    ("JP", &["Asia/Tokyo"]),
    (
        "BR",
        &[
            "America/Noronha",
            "America/Belem",
            "America/Fortaleza",
            "America/Recife",
            "America/Araguaina",
            "America/Maceio",
            "America/Bahia",
            "America/Sao_Paulo",
            "America/Campo_Grande",
            "America/Cuiaba",
            "America/Santarem",
            "America/Porto_Velho",
            "America/Boa_Vista",
            "America/Manaus",
            "America/Eirunepe",
            "America/Rio_Branco",
        ],
    ),
];

/// The time zones of a state of the US or a province of Canada. `None`: there is no such place.
pub(crate) fn of_state(country: &str, state: &str) -> Option<&'static [&'static str]> {
    let tables: &[&[(&str, &[&str])]] = match country {
        "US" => &[US_STATES, TERRITORIES],
        "CA" => &[PROVINCES],
        _ => &[],
    };
    let found = tables
        .iter()
        .flat_map(|table| table.iter())
        .find(|(name, _)| *name == state);
    found.map(|(_, zones)| *zones)
}

/// All states or provinces of a country; empty if it has none.
pub(crate) fn states_of(country: &str) -> Vec<&'static str> {
    match country {
        "US" => US_STATES.iter().map(|(name, _)| *name).collect(),
        "CA" => PROVINCES.iter().map(|(name, _)| *name).collect(),
        _ => Vec::new(),
    }
}

/// All zones of a country that the cases use.
pub(crate) fn of_country(country: &str) -> Vec<&'static str> {
    let rows: Vec<&[&str]> = match country {
        "US" => US_STATES.iter().map(|(_, zones)| *zones).collect(),
        "CA" => PROVINCES.iter().map(|(_, zones)| *zones).collect(),
        _ => {
            let rows = TERRITORIES.iter().chain(COUNTRIES);
            rows.filter(|(name, _)| *name == country)
                .map(|(_, zones)| *zones)
                .collect()
        }
    };
    let mut zones: Vec<_> = rows.concat();
    zones.sort_unstable();
    zones.dedup();
    zones
}

/// For each state and country, both tables give the same local time, checked every six hours over three years.
#[test]
fn the_tables_of_addresses_agree_with_those_of_the_number_facts() {
    use crate::calendar::{DAY, HOUR, local, millis, zone};
    use paceline_core::contact::CountryCode;
    use paceline_core::gate::{State, Zone};
    use std::collections::BTreeSet;

    let clocks = |names: &[&str]| -> Vec<BTreeSet<String>> {
        let zones: Vec<_> = names.iter().map(|name| zone(name)).collect();
        let from = millis("2025-12-01T00:30:00Z");
        let hours = (from..from + 3 * 366 * DAY).step_by(usize::try_from(6 * HOUR).unwrap());
        let clock = |zone: &_, at| {
            let now = local(zone, at);
            format!("{} {}", now.date, now.clock_ms)
        };
        hours
            .map(|at| zones.iter().map(|zone| clock(zone, at)).collect())
            .collect()
    };
    let names = |zones: &[Zone]| zones.iter().map(|zone| zone.name()).collect::<Vec<_>>();
    for country in ["US", "CA"] {
        for code in states_of(country) {
            let theirs = paceline_places::of_state(State::new(code).unwrap()).unwrap();
            assert_eq!(theirs.country.unwrap().as_str(), country);
            let same = clocks(&names(theirs.zones)) == clocks(of_state(country, code).unwrap());
            assert!(same, "{country} {code}: {:?}", names(theirs.zones));
        }
    }
    for (country, _) in COUNTRIES
        .iter()
        .chain(TERRITORIES)
        .chain(&[("US", &[][..]), ("CA", &[])])
    {
        let theirs = paceline_places::of_country(CountryCode::new(country).unwrap()).unwrap();
        let same = clocks(&names(theirs.zones)) == clocks(&of_country(country));
        assert!(same, "{country}: {:?}", names(theirs.zones));
        let states: Vec<_> = theirs.states.iter().map(|state| state.as_str()).collect();
        let ours = states_of(country);
        assert_eq!(
            states.iter().collect::<BTreeSet<_>>(),
            ours.iter().collect::<BTreeSet<_>>(),
            "{country}"
        );
    }
}
