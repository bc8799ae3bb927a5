//! Every rule of the pipe, written a second time from the compliance tables and not from the rule files: its profile,
//! its countries, its effective date, and the calls that it binds.

use crate::calendar::{DAY, HOUR, Holidays, MINUTE};
use jiff::civil::{Date, Weekday, date};

pub(crate) struct Profile {
    pub name: &'static str,
    /// The countries whose calls this profile judges.
    pub countries: &'static [&'static str],
    pub chosen_for: ChosenFor,
    pub rules: Vec<Rule>,
}

pub(crate) enum ChosenFor {
    Country,
    State(&'static str),
    /// It judges a call only if the line names the profile.
    Nobody,
}

#[derive(Clone)]
pub(crate) struct Rule {
    pub name: &'static str,
    pub from: Option<Date>,
    pub asks: Asks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    Contact,
    Subject,
    Debt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallerId {
    Shown,
    NoSpanishMobile,
    Indian140,
}

#[derive(Clone)]
pub(crate) enum Asks {
    /// Calling windows by weekday, from and to, in local minutes of the day. If `beside` is set, they hold in that zone
    /// for all callees.
    Hours {
        beside: Option<&'static str>,
        open: fn(Weekday) -> &'static [(i64, i64)],
    },
    NoSundays,
    NoHolidays(Holidays),
    /// Fewer than `fewer_than` counted attempts within `span` (milliseconds).
    Cap {
        fewer_than: usize,
        span: i64,
        per: Per,
    },
    /// No call for this long after a conversation about the debt.
    Conversation {
        span: i64,
    },
    /// No call for this long after a refusal. `None`: no call ever again.
    Refusal {
        span: Option<i64>,
    },
    /// One of these kinds of consent is required, with a proof if `proof` is true.
    Consent {
        kinds: &'static [&'static str],
        proof: bool,
    },
    /// A consent that only calls without an agent need.
    AgentlessConsent,
    CallerId(CallerId),
    /// The shortest ring timeout, in milliseconds.
    RingAtLeast(i64),
    /// No call for this long after an abandoned call, unless an agent is reserved.
    Abandoned {
        span: i64,
    },
}

const US: &[&str] = &["US", "PR", "VI", "GU", "AS", "MP"];
const CLOCK_8: i64 = 8 * 60;
const CLOCK_9: i64 = 9 * 60;
const CLOCK_10: i64 = 10 * 60;
const CLOCK_12: i64 = 12 * 60;
const CLOCK_20: i64 = 20 * 60;
const CLOCK_21: i64 = 21 * 60;

fn from_8_to_21(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_8, CLOCK_21)]
}
fn from_8_to_20(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_8, CLOCK_20)]
}
fn from_9_to_20(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_9, CLOCK_20)]
}
fn from_9_to_21(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_9, CLOCK_21)]
}
fn from_10_to_21(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_10, CLOCK_21)]
}
fn from_9_to_22(_: Weekday) -> &'static [(i64, i64)] {
    &[(CLOCK_9, 22 * 60)]
}
fn texas(day: Weekday) -> &'static [(i64, i64)] {
    if day == Weekday::Sunday {
        &[(CLOCK_12, CLOCK_21)]
    } else {
        &[(CLOCK_9, CLOCK_21)]
    }
}
fn france(day: Weekday) -> &'static [(i64, i64)] {
    if weekend(day) {
        &[]
    } else {
        &[(CLOCK_10, 13 * 60), (14 * 60, CLOCK_20)]
    }
}
fn canada(day: Weekday) -> &'static [(i64, i64)] {
    if weekend(day) {
        &[(CLOCK_10, 18 * 60)]
    } else {
        &[(CLOCK_9, 21 * 60 + 30)]
    }
}
fn australia(day: Weekday) -> &'static [(i64, i64)] {
    match day {
        Weekday::Sunday => &[],
        Weekday::Saturday => &[(CLOCK_9, 17 * 60)],
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => {
            &[(CLOCK_9, CLOCK_20)]
        }
    }
}
fn brazil(day: Weekday) -> &'static [(i64, i64)] {
    match day {
        Weekday::Sunday => &[],
        Weekday::Saturday => &[(CLOCK_10, 16 * 60)],
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => {
            &[(CLOCK_9, CLOCK_21)]
        }
    }
}
fn weekend(day: Weekday) -> bool {
    matches!(day, Weekday::Saturday | Weekday::Sunday)
}

fn rule(name: &'static str, asks: Asks) -> Rule {
    Rule {
        name,
        from: None,
        asks,
    }
}
fn since(day: Date, rule: Rule) -> Rule {
    Rule {
        from: Some(day),
        ..rule
    }
}
fn hours(open: fn(Weekday) -> &'static [(i64, i64)]) -> Rule {
    rule("hours", Asks::Hours { beside: None, open })
}
fn three_a_day(per: Per) -> Rule {
    rule(
        "attempts_24h",
        Asks::Cap {
            fewer_than: 3,
            span: 24 * HOUR,
            per,
        },
    )
}
fn written() -> Rule {
    rule(
        "consent",
        Asks::Consent {
            kinds: &["express_written"],
            proof: false,
        },
    )
}
fn caller_id(asks: CallerId) -> Rule {
    rule("caller_id", Asks::CallerId(asks))
}
fn ring_time() -> Rule {
    rule("ring_time", Asks::RingAtLeast(15_000))
}

fn country(name: &'static str, countries: &'static [&'static str], rules: Vec<Rule>) -> Profile {
    Profile {
        name,
        countries,
        chosen_for: ChosenFor::Country,
        rules,
    }
}
fn state(name: &'static str, state: &'static str, rules: Vec<Rule>) -> Profile {
    Profile {
        name,
        countries: &["US"],
        chosen_for: ChosenFor::State(state),
        rules,
    }
}

/// Every profile.
pub(crate) fn profiles() -> Vec<Profile> {
    let mut all = united_states();
    all.extend(states());
    all.extend(europe());
    all.extend(elsewhere());
    all.push(litigation());
    all
}

/// Stricter than any regulator, for a team that wants to avoid lawsuits.
fn litigation() -> Profile {
    let rules = vec![
        hours(from_9_to_20),
        three_a_day(Per::Contact),
        rule(
            "consent",
            Asks::Consent {
                kinds: &["express_written"],
                proof: true,
            },
        ),
        rule(
            "refusal_pause",
            Asks::Refusal {
                span: Some(365 * DAY),
            },
        ),
    ];
    Profile {
        name: "litigation",
        countries: US,
        chosen_for: ChosenFor::Nobody,
        rules,
    }
}

fn united_states() -> Vec<Profile> {
    let debt = vec![
        rule(
            "debt_attempts_7d",
            Asks::Cap {
                fewer_than: 7,
                span: 7 * DAY,
                per: Per::Debt,
            },
        ),
        rule("debt_conversation_7d", Asks::Conversation { span: 7 * DAY }),
    ];
    let agentless = rule("agentless_consent", Asks::AgentlessConsent);
    vec![
        country("us-ftc", US, vec![hours(from_8_to_21), ring_time()]),
        country("us-fcc", US, vec![hours(from_8_to_21), ring_time(), agentless]),
        country("us-cfpb", US, debt),
    ]
}

fn states() -> Vec<Profile> {
    let new_year_2026 = date(2026, 1, 1);
    let no_sundays = || rule("no_sundays", Asks::NoSundays);
    let florida = || vec![hours(from_8_to_20), three_a_day(Per::Subject), written()];
    let no_holidays = rule("no_holidays", Asks::NoHolidays(Holidays::UnitedStates));
    vec![
        state("us-fl", "FL", florida()),
        state("us-ok", "OK", florida()),
        state(
            "us-md",
            "MD",
            vec![hours(from_8_to_20), three_a_day(Per::Contact), written()],
        ),
        state(
            "us-wa",
            "WA",
            vec![
                hours(from_8_to_20),
                rule(
                    "refusal_pause",
                    Asks::Refusal {
                        span: Some(365 * DAY),
                    },
                ),
            ],
        ),
        state("us-tx", "TX", vec![hours(texas)]),
        state("us-ct", "CT", vec![hours(from_9_to_20), written()]),
        state(
            "us-pa",
            "PA",
            vec![no_holidays, since(date(2026, 10, 18), no_sundays())],
        ),
        state("us-al", "AL", vec![no_sundays()]),
        state("us-la", "LA", vec![no_sundays()]),
        state("us-ms", "MS", vec![no_sundays()]),
        state("us-ky", "KY", vec![hours(from_10_to_21)]),
        state(
            "us-or",
            "OR",
            vec![
                since(new_year_2026, hours(from_8_to_20)),
                since(new_year_2026, three_a_day(Per::Contact)),
            ],
        ),
        state("us-va", "VA", vec![since(new_year_2026, hours(from_8_to_21))]),
    ]
}

fn europe() -> Vec<Profile> {
    let abandoned = rule("abandon_pause", Asks::Abandoned { span: 72 * HOUR });
    let german = rule(
        "consent",
        Asks::Consent {
            kinds: &["express", "express_written"],
            proof: true,
        },
    );
    let french = rule(
        "consent",
        Asks::Consent {
            kinds: &["express", "express_written", "contract"],
            proof: true,
        },
    );
    let french = vec![
        hours(france),
        rule("no_holidays", Asks::NoHolidays(Holidays::France)),
        rule(
            "attempts_30d",
            Asks::Cap {
                fewer_than: 4,
                span: 30 * DAY,
                per: Per::Contact,
            },
        ),
        rule("refusal_pause", Asks::Refusal { span: Some(60 * DAY) }),
        since(date(2026, 8, 11), french),
    ];
    vec![
        country("uk-ofcom", &["GB"], vec![ring_time(), abandoned]),
        country("de", &["DE"], vec![german, caller_id(CallerId::Shown)]),
        country("fr", &["FR"], french),
        country(
            "es",
            &["ES"],
            vec![hours(from_9_to_21), caller_id(CallerId::NoSpanishMobile)],
        ),
    ]
}

fn elsewhere() -> Vec<Profile> {
    let beijing = rule(
        "hours",
        Asks::Hours {
            beside: Some("Asia/Shanghai"),
            open: from_8_to_21,
        },
    );
    let never_again = || rule("refusal_stop", Asks::Refusal { span: None });
    let chinese = vec![
        beijing,
        rule(
            "attempts_24h",
            Asks::Cap {
                fewer_than: 5,
                span: 24 * HOUR,
                per: Per::Contact,
            },
        ),
        rule(
            "attempts_5min",
            Asks::Cap {
                fewer_than: 3,
                span: 5 * MINUTE,
                per: Per::Contact,
            },
        ),
        rule(
            "consent",
            Asks::Consent {
                kinds: &["express", "express_written"],
                proof: false,
            },
        ),
        never_again(),
    ];
    let holidays = rule("no_holidays", Asks::NoHolidays(Holidays::Australia));
    vec![
        country("ca", &["CA"], vec![hours(canada)]),
        country(
            "au",
            &["AU"],
            vec![hours(australia), holidays, caller_id(CallerId::Shown)],
        ),
        country(
            "in",
            &["IN"],
            vec![hours(from_9_to_21), caller_id(CallerId::Indian140)],
        ),
        country("cn", &["CN"], chinese),
        country("hk", &["HK"], vec![hours(from_9_to_22)]),
        country("sg", &["SG"], Vec::new()),
        country("jp", &["JP"], vec![never_again()]),
        country("br", &["BR"], vec![hours(brazil)]),
    ]
}
