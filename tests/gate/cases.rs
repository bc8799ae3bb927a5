//! Random lines near the limits where faults are likely: windows, holidays, summer time, effective dates, caps, pauses.
//!
//! A case depends only on the seed and on its number, so each can be repeated alone.

use crate::calendar::{DAY, HOUR, Holidays, MINUTE, SECOND, local_midnight, millis, written, zone};
use crate::line::{Consent, Contact, Line, Past};
use crate::pipe;
use crate::places::{self, NumberPlaces};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::LazyLock;

pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn of_case(seed: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        Random(rng)
    }

    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from + 1).unwrap();
        from + i64::try_from(self.0.next_u64() % span).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Prefixes of numbers, and how many digits follow.
#[rustfmt::skip]
const NUMBERS: &[(&str, usize)] = &[
    // States with rules of their own, those of several zones, their overlays.
    ("+1305", 7), ("+1850", 7), ("+1448", 7), ("+1407", 7), ("+1405", 7), ("+1918", 7), ("+1539", 7), ("+1410", 7),
    ("+1301", 7), ("+1206", 7), ("+1509", 7), ("+1360", 7), ("+1214", 7), ("+1915", 7), ("+1432", 7), ("+1203", 7),
    ("+1959", 7), ("+1215", 7), ("+1412", 7), ("+1582", 7), ("+1205", 7), ("+1251", 7), ("+1504", 7), ("+1318", 7),
    ("+1601", 7), ("+1662", 7), ("+1502", 7), ("+1270", 7), ("+1364", 7), ("+1606", 7), ("+1503", 7), ("+1541", 7),
    ("+1458", 7), ("+1971", 7), ("+1804", 7), ("+1276", 7), ("+1948", 7),
    // Other states.
    ("+1212", 7), ("+1202", 7), ("+1812", 7), ("+1930", 7), ("+1219", 7), ("+1317", 7), ("+1208", 7), ("+1986", 7),
    ("+1605", 7), ("+1701", 7), ("+1308", 7), ("+1785", 7), ("+1906", 7), ("+1423", 7), ("+1931", 7), ("+1775", 7),
    ("+1928", 7), ("+1602", 7), ("+1907", 7), ("+1808", 7), ("+1303", 7), ("+1415", 7), ("+1616", 7),
    // Territories, and the toll-free, premium-rate, personal and unassigned codes.
    ("+1787", 7), ("+1939", 7), ("+1340", 7), ("+1671", 7), ("+1684", 7), ("+1670", 7), ("+1876", 7), ("+1246", 7),
    ("+1800", 7), ("+1888", 7), ("+1833", 7), ("+1900", 7), ("+1500", 7), ("+1533", 7), ("+1600", 7), ("+1700", 7),
    ("+1710", 7), ("+1211", 7), ("+1999", 7), ("+1555", 7),
    // Canada.
    ("+1416", 7), ("+1807", 7), ("+1604", 7), ("+1250", 7), ("+1236", 7), ("+1778", 7), ("+1672", 7), ("+1257", 7),
    ("+1403", 7), ("+1780", 7), ("+1204", 7), ("+1306", 7), ("+1639", 7), ("+1474", 7), ("+1418", 7), ("+1367", 7),
    ("+1581", 7), ("+1709", 7), ("+1879", 7), ("+1867", 7), ("+1902", 7), ("+1506", 7), ("+1514", 7),
    // Other countries with rules.
    ("+4420", 8), ("+4477", 8), ("+447911", 6), ("+44800", 7), ("+44909", 7), ("+44161", 7), ("+441534", 6), ("+4970", 8),
    ("+4930", 8), ("+49151", 8), ("+49800", 7), ("+33199", 6), ("+3361", 7), ("+3380", 7), ("+262262", 6), ("+590590", 6),
    ("+34912", 6), ("+34928", 6), ("+34612", 6), ("+34856", 6), ("+34900", 6),
    ("+6125", 7), ("+6138", 7), ("+6173", 7), ("+6188", 7), ("+6189", 7), ("+6141", 7), ("+61147", 6), ("+61180", 7),
    ("+9122", 8), ("+9198", 8), ("+8610", 8), ("+86138", 8), ("+86991", 7), ("+8522", 7), ("+8529", 7), ("+656", 7),
    ("+659", 7), ("+8134", 7), ("+8190", 8), ("+81120", 6), ("+5511", 8), ("+55119", 8), ("+5592", 8), ("+5581", 8),
    ("+5568", 8), ("+5597", 8), ("+5567", 8),
    // Countries without rules, and codes of no country.
    ("+7495", 7), ("+5255", 8), ("+971", 8), ("+882", 9), ("+800", 8), ("+979", 9), ("+1", 7), ("+999", 8),
];

#[rustfmt::skip]
const PROFILES: &[&str] = &[
    "us-ftc", "us-fcc", "us-cfpb", "us-fl", "us-ok", "us-md", "us-wa", "us-tx", "us-ct", "us-pa", "us-al", "us-la", "us-ms", "us-ky",
    "us-or", "us-va", "uk-ofcom", "de", "fr", "es", "ca", "au", "in", "cn", "hk", "sg", "jp", "br", "litigation",
];

/// Every country with summer time that has rules, both hemispheres, half hours, and zones that change at midnight.
#[rustfmt::skip]
const ZONES: &[&str] = &[
    "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Boise",
    "America/Anchorage", "America/Adak", "Pacific/Honolulu", "America/Puerto_Rico", "Pacific/Guam", "America/Toronto",
    "America/St_Johns", "America/Halifax", "America/Winnipeg", "America/Regina", "America/Edmonton", "America/Vancouver",
    "Europe/London", "Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Atlantic/Canary", "Australia/Sydney",
    "Australia/Adelaide", "Australia/Darwin", "Australia/Brisbane", "Australia/Perth", "Australia/Eucla", "Australia/Lord_Howe",
    "Asia/Kolkata", "Asia/Shanghai", "Asia/Hong_Kong", "Asia/Singapore", "Asia/Tokyo", "America/Sao_Paulo", "America/Manaus",
    "America/Noronha", "America/Havana", "America/Santiago", "Asia/Beirut", "Africa/Cairo", "Africa/Casablanca",
    "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "Antarctica/Troll",
    "America/Nuuk", "US/Eastern", "Japan", "europe/berlin",
];
const COUNTRIES: &[&str] = &[
    "US", "CA", "GB", "DE", "FR", "ES", "AU", "IN", "CN", "HK", "SG", "JP", "BR", "PR", "GU", "JM", "RE",
    "MX", "JE",
];
const PURPOSES: &[&str] = &["marketing", "marketing", "marketing", "debt", "service"];
const MODES: &[&str] = &[
    "predictive",
    "progressive",
    "power",
    "preview",
    "agentless",
    "manual",
];
#[rustfmt::skip]
const OUTCOMES: &[&str] = &[
    "answered", "machine", "busy", "no_answer", "rejected", "invalid", "congestion", "failed", "fax", "screened", "abandoned",
    "cancelled", "blocked", "unknown",
];
const CALLER_IDS: &[&str] = &[
    "+12125550100",
    "+911409876543",
    "+911600123456",
    "+34612345678",
    "+34712345678",
    "+34912345678",
    "+493023125000",
    "+61255500000",
    "+914012345678",
];
const SPANS: &[i64] = &[
    5 * MINUTE,
    HOUR,
    DAY,
    DAY,
    DAY,
    3 * DAY,
    7 * DAY,
    7 * DAY,
    30 * DAY,
    30 * DAY,
    60 * DAY,
    365 * DAY,
];
const BESIDE: &[i64] = &[
    0,
    0,
    1,
    -1,
    500,
    -500,
    SECOND,
    -SECOND,
    MINUTE,
    -MINUTE,
    7 * MINUTE,
    HOUR,
    -HOUR,
];
/// Local minutes of the day at which a calling window begins or ends.
const CLOCKS: &[i64] = &[
    0, 480, 540, 600, 720, 780, 840, 960, 1020, 1080, 1200, 1260, 1290, 1320,
];
const EFFECTIVE: &[Date] = &[date(2026, 1, 1), date(2026, 8, 11), date(2026, 10, 18)];

/// Every change of the clock from 2026 to 2028 in these zones.
static CHANGES: LazyLock<Vec<(TimeZone, Timestamp)>> = LazyLock::new(|| {
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let to: Timestamp = "2029-01-01T00:00:00Z".parse().unwrap();
    let of_zone = |name: &&str| {
        let zone = zone(name);
        let changes: Vec<_> = zone
            .following(from)
            .map(|t| t.timestamp())
            .take_while(|t| *t < to)
            .collect();
        changes
            .into_iter()
            .map(|at| (zone.clone(), at))
            .collect::<Vec<_>>()
    };
    ZONES.iter().flat_map(of_zone).collect()
});

static HOLIDAYS: LazyLock<Vec<Date>> = LazyLock::new(|| {
    let kinds = [Holidays::UnitedStates, Holidays::Australia, Holidays::France];
    kinds
        .iter()
        .flat_map(|kind| (2026..=2028).flat_map(|year| kind.of_year(year)))
        .collect()
});

/// Draws a line. Its instant is near a limit in one of the number's time zones.
pub(crate) fn draw(random: &mut Random) -> Line {
    let (number, places) = number_and_places(random);
    let contact_zone = random.one_in(6).then(|| random.of(ZONES).to_owned());
    let mut near = places.zones.clone();
    near.extend(contact_zone.clone());
    let near = if near.is_empty() {
        random.of(ZONES).to_owned()
    } else {
        near[random.below(near.len())].clone()
    };
    let ring = ring(random);
    let at = instant(random, &zone(&near), ring);
    let mut contact = address(random, &places);
    contact.time_zone = contact_zone;
    contact.consents = consents(random, at, ring);
    let history = history(random, at, &number);
    let subject = ["loans", "cars"];
    Line {
        at: written_anyhow(random, at),
        purpose: random.of(PURPOSES).to_owned(),
        mode: random.of(MODES).to_owned(),
        campaign: (!random.one_in(3)).then(|| "c1".to_owned()),
        subject: (!random.one_in(3)).then(|| random.of(&subject).to_owned()),
        debt: random.one_in(2).then(|| random.of(&["d1", "d2"]).to_owned()),
        caller_id: caller_id(random, &number),
        profiles: named(random, &places, &contact),
        ring_timeout_ms: ring,
        suppressed: if random.one_in(40) {
            vec!["internal".to_owned()]
        } else {
            Vec::new()
        },
        contact,
        history,
        number,
    }
}

/// Most numbers drawn have a place, because the gate denies all others.
fn number_and_places(random: &mut Random) -> (String, NumberPlaces) {
    loop {
        let number = number(random);
        let places = pipe::places(&number);
        if !places.zones.is_empty() || random.one_in(4) {
            return (number, places);
        }
    }
}

fn number(random: &mut Random) -> String {
    let (begin, digits) = if random.one_in(12) {
        ("+1", 10)
    } else {
        random.of(NUMBERS)
    };
    let mut number = begin.to_owned();
    for at in 0..digits {
        // Exchanges of 555, or with a first digit of 2 to 9, are valid everywhere.
        let digit = if at == 0 {
            random.between(2, 9)
        } else {
            random.between(0, 9)
        };
        number.push(char::from(b'0' + u8::try_from(digit).unwrap()));
    }
    number
}

fn ring(random: &mut Random) -> i64 {
    match random.below(24) {
        0 => 14_999,
        1 => random.of(&[0, 1, 1_000]),
        2 => random.of(&[60_000, 120_000, 20_001, 59_999]),
        3..=9 => 15_000,
        _ => random.of(&[20_000, 30_000, 45_000, 25_500]),
    }
}

fn instant(random: &mut Random, here: &TimeZone, ring: i64) -> i64 {
    let first = millis("2025-12-15T00:00:00Z");
    let last = millis("2028-12-31T00:00:00Z");
    let around = random.between(-2, 2).days();
    let day = match random.below(12) {
        0 | 1 => {
            let (zone, at) = &CHANGES[random.below(CHANGES.len())];
            if random.one_in(2) {
                return at.as_millisecond() + random.of(BESIDE) + random.between(-2, 2) * HOUR;
            }
            zone.to_datetime(*at).date()
        }
        2 | 3 => HOLIDAYS[random.below(HOLIDAYS.len())],
        4 => random.of(EFFECTIVE),
        5 => date(2028, 2, 29),
        6 => date(random.of(&[2026, 2027, 2028]), 12, 31),
        7 => return random.between(first, last),
        _ => here
            .to_datetime(Timestamp::from_millisecond(random.between(first, last)).unwrap())
            .date(),
    };
    let day = if random.one_in(2) { day } else { day + around };
    let clock = random.of(CLOCKS) * MINUTE;
    let beside = match random.below(5) {
        0 => random.of(BESIDE),
        1 => -ring,
        2 => -ring + random.of(&[1, -1, SECOND, -SECOND]),
        3 => random.between(-12 * HOUR, 12 * HOUR),
        _ => random.between(-HOUR, HOUR),
    };
    local_midnight(here, day) + clock + beside
}

fn written_anyhow(random: &mut Random, at: i64) -> String {
    if random.one_in(2) {
        return written(at);
    }
    let minutes = random.of(&[0, 330, -300, 525, -570, 60]);
    let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
    Timestamp::from_millisecond(at)
        .unwrap()
        .display_with_offset(offset)
        .to_string()
}

fn address(random: &mut Random, number: &NumberPlaces) -> Contact {
    let mut contact = Contact::default();
    if !random.one_in(3) {
        return contact;
    }
    let home = number.country.clone().unwrap_or_default();
    match random.below(5) {
        0 => contact.country = Some(random.of(COUNTRIES).to_owned()),
        1 if home == "US" || home == "CA" => contact.country = Some(random.of(&["US", "CA"]).to_owned()),
        2 if !home.is_empty() => contact.country = Some(home.clone()),
        _ => {}
    }
    if random.one_in(2) {
        let states = places::states_of(contact.country.as_deref().unwrap_or(&home));
        let nowhere = ["ZZ", "FL", "Bayern"];
        contact.state = Some(
            random
                .of(if states.is_empty() { &nowhere } else { &states })
                .to_owned(),
        );
    }
    if random.one_in(3) {
        contact.postal_code = Some("10001".to_owned());
        contact.tags = vec!["vip".to_owned()];
    }
    contact
}

fn consents(random: &mut Random, at: i64, ring: i64) -> Vec<Consent> {
    let many = random.of(&[0, 1, 1, 1, 1, 2, 3]);
    let mut all = Vec::new();
    for _ in 0..many {
        let easy = !random.one_in(4);
        let kinds = ["express", "express_written", "contract", "implied"];
        let kind = if easy {
            "express_written"
        } else {
            random.of(&kinds)
        };
        let scope = if easy {
            "marketing"
        } else {
            random.of(&["marketing", "debt", "service", "news"])
        };
        let granted = if easy {
            at - 30 * DAY
        } else {
            at + random.of(&[0, 1, -1, SECOND, -DAY, DAY])
        };
        let expires = match random.below(6) {
            0 => Some(at + ring + random.of(&[0, 1, -1, DAY, HOUR])),
            1 => Some(at + random.between(0, 3 * DAY)),
            _ => None,
        }
        .map(|to| to.max(granted + 1));
        let proof = (!random.one_in(4)).then(|| "form 7".to_owned());
        all.push(Consent {
            kind: kind.to_owned(),
            scope: scope.to_owned(),
            granted_at: written(granted),
            expires_at: expires.map(written),
            proof,
        });
    }
    all
}

fn history(random: &mut Random, at: i64, number: &str) -> Vec<Past> {
    let many = match random.below(10) {
        0..=2 => 0,
        3..=6 => random.below(5),
        7 | 8 => random.below(13),
        _ => random.below(101),
    };
    let refusals = random.one_in(6);
    let abandoned = random.one_in(5);
    let span = random.of(SPANS);
    let mut all = Vec::new();
    for _ in 0..many {
        let span = if random.one_in(3) { random.of(SPANS) } else { span };
        let when = match random.below(6) {
            0 | 1 => at - span + random.of(BESIDE),
            2 => at - span + random.between(-HOUR, 12 * HOUR),
            3 | 4 => at - random.between(0, span),
            _ if random.one_in(8) => at + random.between(0, 50 * DAY),
            _ => at - random.between(0, 4 * HOUR),
        };
        let outcome = if random.one_in(2) {
            "no_answer"
        } else {
            random.of(OUTCOMES)
        };
        let outcome = if outcome == "abandoned" && !abandoned {
            "machine"
        } else {
            outcome
        };
        let disposition = match random.below(30) {
            0 if random.one_in(10) => Some("dnc"),
            1..=10 if refusals => Some("refused"),
            11 => Some("sale"),
            _ => None,
        };
        all.push(Past {
            at: written(when),
            number: if random.one_in(3) {
                "+12125550199".to_owned()
            } else {
                number.to_owned()
            },
            campaign: random.one_in(2).then(|| random.of(&["c1", "c2"]).to_owned()),
            subject: (!random.one_in(3)).then(|| random.of(&["loans", "cars"]).to_owned()),
            debt: random.one_in(2).then(|| random.of(&["d1", "d2"]).to_owned()),
            outcome: outcome.to_owned(),
            disposition: disposition.map(str::to_owned),
        });
    }
    all
}

fn caller_id(random: &mut Random, number: &str) -> Option<String> {
    if number.starts_with("+91") && !random.one_in(3) {
        return Some("+911409876543".to_owned());
    }
    (!random.one_in(6)).then(|| random.of(CALLER_IDS).to_owned())
}

/// Profiles by name. Most are of the countries of the number and the address, so that the place alone does not refuse
/// the call.
fn named(random: &mut Random, number: &NumberPlaces, contact: &Contact) -> Vec<String> {
    if random.one_in(2) {
        return Vec::new();
    }
    let mut names = Vec::new();
    for country in [&number.country, &contact.country].into_iter().flatten() {
        let own = of_country(country);
        let many = random.of(&[1, 1, 1, 2, 3, 6]);
        let from = if own.is_empty() || random.one_in(30) {
            PROFILES
        } else {
            &own
        };
        names.extend((0..many).map(|_| random.of(from).to_owned()));
    }
    if names.is_empty() || random.one_in(30) {
        names.push(random.of(PROFILES).to_owned());
    }
    names
}

fn of_country(country: &str) -> Vec<&'static str> {
    let is = |name: &&str| match country {
        "US" => name.starts_with("us-") || *name == "litigation",
        "PR" | "VI" | "GU" | "AS" | "MP" => ["us-ftc", "us-fcc", "us-cfpb", "litigation"].contains(name),
        "GB" => *name == "uk-ofcom",
        _ => *name == country.to_ascii_lowercase(),
    };
    PROFILES.iter().copied().filter(is).collect()
}
