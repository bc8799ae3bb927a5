//! What counts as an abandoned call, over which window, and how much of it is allowed: rules as data.
//!
//! [`PLACES`] lists the rules that are known, each with its source and what is unsure about it; counsel must check them.
//! A campaign takes any number of [`AbandonRule`]s at once. Start at [`AnswerRow::fate`].

use crate::outcome::Outcome;
use crate::time::Wall;
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

words! {
    /// Where the clock starts that says how long a person waited for an agent.
    AbandonClock {
        /// When the callee's phone was answered.
        Connected = "connected",
        /// When the callee began to speak.
        GreetingStart = "greeting_start",
        /// When the callee had spoken the greeting.
        GreetingEnd = "greeting_end",
    }
}

words! {
    /// What a person counts as who hangs up within the limit, before an agent was there.
    EarlyHangup {
        /// Neither a live answer nor abandoned.
        Ignored = "ignored",
        /// A live answer that was not abandoned.
        Live = "live",
        /// Abandoned.
        Abandoned = "abandoned",
    }
}

/// Over which time abandoned calls are set against live answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbandonWindow {
    /// The last so many hours.
    Hours(u32),
    /// The calendar day, in the campaign's time zone.
    CalendarDay,
    /// The calendar month, in the campaign's time zone.
    CalendarMonth,
    /// The campaign's whole life.
    Campaign,
}

/// One rule that a campaign keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AbandonRule {
    /// Its name in reports, such as `us-federal`.
    #[cfg_attr(feature = "openapi", schema(example = "us-federal"))]
    pub name: String,
    /// Abandoned calls over live answers, at most: 0 to 1.
    #[cfg_attr(feature = "openapi", schema(example = 0.03))]
    pub ratio_max: f64,
    /// Over which time: `{"hours": 720}`, `calendar_day` or `calendar_month` in the campaign's time zone, or `campaign`.
    #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({"hours": 720})))]
    pub window: AbandonWindow,
    /// Where the clock starts; what was not heard is as at the answer.
    pub clock: AbandonClock,
    /// From there until an agent must be there, milliseconds; 500 to 60,000.
    #[cfg_attr(feature = "openapi", schema(example = 2000))]
    pub limit_ms: u32,
    /// What a callee counts as who hangs up within the limit.
    pub early_hangup: EarlyHangup,
    /// How long a phone must be let ring, milliseconds; 0 to 120,000. 0: it does not matter.
    #[cfg_attr(feature = "openapi", schema(example = 15000))]
    pub ring_ms_min: u32,
    /// Whether an abandoned callee must hear `abandon_message` before being hung up.
    #[cfg_attr(feature = "openapi", schema(example = true))]
    #[serde(default)]
    pub message: bool,
}

/// How an answer by a person ended. Waits are counted from each rule's clock; what is unknown is as at the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFate {
    /// An agent took it after these waits.
    Connected(Waits),
    /// The dialer gave the call up, or dropped a person by a wrong verdict.
    Abandoned,
    /// The callee hung up after these waits, before an agent was there.
    HungUp(Waits),
}

/// How long a person waited, from each of the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// From the answer.
    pub connected: Duration,
    /// From the start of the greeting, where it was heard.
    pub greeting_start: Option<Duration>,
    /// From its end, where it was heard.
    pub greeting_end: Option<Duration>,
}

/// Answers are counted by the quarter of an hour, from the Unix epoch, in which they came.
pub const QUARTER_MS: i64 = 15 * 60 * 1000;

/// How answers by people ended, where an agent had to be there within some limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// An agent was there in time.
    pub connected: u64,
    /// An agent was there, too late.
    pub connected_late: u64,
    /// The dialer gave them up.
    pub abandoned: u64,
    /// Hung up in time, before an agent was there.
    pub hung_up: u64,
    /// Hung up past the limit, before an agent was there.
    pub hung_up_late: u64,
}

/// Answers of one quarter of an hour, as the attempts tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// When it began.
    pub from: Wall,
    /// The limit that they are told by.
    pub limit_ms: u32,
    /// How they ended.
    pub tally: Tally,
}

/// What an attempt's row says of its answer: the one place that says what each is counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRow {
    /// When it was answered.
    pub answered_at: Wall,
    /// When an agent was there.
    pub connected_at: Option<Wall>,
    /// When it was given up.
    pub abandoned_at: Option<Wall>,
    /// When it was over, and as what.
    pub ended: Option<(Wall, Outcome)>,
}

impl AnswerRow {
    /// How the answer ended; none while it has not, and for what was no person.
    ///
    /// Who was given up stays so, whatever came after. Of an answer whose evidence is lost (`unknown`) the worst is taken.
    pub fn fate(&self) -> Option<LiveFate> {
        let waits = |at: Wall| Waits {
            connected: at.since(self.answered_at),
            ..Waits::default()
        };
        if self.abandoned_at.is_some() {
            return Some(LiveFate::Abandoned);
        }
        if let Some(at) = self.connected_at {
            return Some(LiveFate::Connected(waits(at)));
        }
        match self.ended? {
            (_, Outcome::Abandoned | Outcome::Unknown) => Some(LiveFate::Abandoned),
            (_, Outcome::Machine | Outcome::Fax | Outcome::Screened) => None,
            (
                at,
                Outcome::Answered
                | Outcome::Busy
                | Outcome::NoAnswer
                | Outcome::Rejected
                | Outcome::Invalid
                | Outcome::Congestion
                | Outcome::Failed
                | Outcome::Cancelled
                | Outcome::Blocked,
            ) => Some(LiveFate::HungUp(waits(at))),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.connected += other.connected;
        self.connected_late += other.connected_late;
        self.abandoned += other.abandoned;
        self.hung_up += other.hung_up;
        self.hung_up_late += other.hung_up_late;
    }
}

/// How far back answers matter to these rules; none: to the beginning.
pub fn history(rules: &[AbandonRule]) -> Option<Duration> {
    let hours = |rule: &AbandonRule| match rule.window {
        AbandonWindow::Hours(hours) => Some(hours.saturating_add(hours / 8)),
        AbandonWindow::CalendarDay => Some(48),
        AbandonWindow::CalendarMonth => Some(32 * 24),
        AbandonWindow::Campaign => None,
    };
    // A rule that is set later may look further back than those of now.
    let mut most = 31 * 24;
    for rule in rules {
        most = most.max(hours(rule)?);
    }
    Some(Duration::from_secs(u64::from(most) * 3_600))
}

impl AbandonRule {
    /// At most this ratio over the last 24 hours, two seconds from the verdict, as `paceline pace` is told it.
    pub fn daily(ratio_max: f64, limit: Duration) -> Self {
        Self {
            name: "daily".into(),
            ratio_max,
            window: AbandonWindow::Hours(24),
            clock: AbandonClock::GreetingEnd,
            limit_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            early_hangup: EarlyHangup::Ignored,
            ring_ms_min: 0,
            message: false,
        }
    }

    /// An answer that ended so.
    pub fn tally(&self, fate: LiveFate) -> Tally {
        let late = |waits: Waits| {
            let waited = match self.clock {
                AbandonClock::Connected => waits.connected,
                AbandonClock::GreetingStart => waits.greeting_start.unwrap_or(waits.connected),
                AbandonClock::GreetingEnd => waits.greeting_end.unwrap_or(waits.connected),
            };
            waited > Duration::from_millis(u64::from(self.limit_ms))
        };
        let mut tally = Tally::default();
        *match fate {
            LiveFate::Abandoned => &mut tally.abandoned,
            LiveFate::Connected(waits) if late(waits) => &mut tally.connected_late,
            LiveFate::Connected(_) => &mut tally.connected,
            LiveFate::HungUp(waits) if late(waits) => &mut tally.hung_up_late,
            LiveFate::HungUp(_) => &mut tally.hung_up,
        } = 1;
        tally
    }

    /// Live answers, and how many of them this rule counts as abandoned.
    pub fn weigh(&self, tally: &Tally) -> (f64, f64) {
        let (early_live, early_abandoned) = match self.early_hangup {
            EarlyHangup::Ignored => (0, 0),
            EarlyHangup::Live => (tally.hung_up, 0),
            EarlyHangup::Abandoned => (tally.hung_up, tally.hung_up),
        };
        let abandoned = tally.abandoned + tally.connected_late + tally.hung_up_late;
        let live = tally.connected + abandoned + early_live;
        (live as f64, (abandoned + early_abandoned) as f64)
    }
}

/// A rule of a place, as it was found.
#[derive(Clone, Copy, Debug)]
pub struct PlaceRule {
    /// Name, as in [`AbandonRule::name`].
    pub name: &'static str,
    /// Where it applies.
    pub place: &'static str,
    /// At most, 0 to 1.
    pub ratio_max: f64,
    /// Over which time.
    pub window: AbandonWindow,
    /// Where the wait begins.
    pub clock: AbandonClock,
    /// From there until an agent must be there, milliseconds.
    pub limit_ms: u32,
    /// How long a phone must be let ring, milliseconds.
    pub ring_ms_min: u32,
    /// Whether a message must be played to whom no agent took in time.
    pub message: bool,
    /// Where it stands.
    pub citation: &'static str,
    /// When somebody compared this row with its source (a date), and what is unsure.
    pub verified: &'static str,
}

/// The rules that are known. Further rules are rows.
pub const PLACES: [PlaceRule; 3] = [
    PlaceRule {
        name: "us-federal",
        place: "United States: per campaign, over 30 days",
        ratio_max: 0.03,
        window: AbandonWindow::Hours(30 * 24),
        clock: AbandonClock::GreetingEnd,
        limit_ms: 2_000,
        ring_ms_min: 15_000,
        message: true,
        citation: "47 CFR 64.1200(a)(6)-(7); 16 CFR 310.4(b)(4)",
        verified: "from secondary sources, 2026; ring: 15 s or four rings; the message must begin within two seconds of the greeting's end \
                   and name the seller and a telephone number",
    },
    PlaceRule {
        name: "uk-legacy",
        place: "United Kingdom: the steps of the former safe harbour; today's target is none at all",
        ratio_max: 0.03,
        window: AbandonWindow::Hours(24),
        clock: AbandonClock::GreetingStart,
        limit_ms: 2_000,
        ring_ms_min: 15_000,
        message: true,
        citation: "Ofcom, policy on persistent misuse (the 3 % safe harbour lapsed on 1 March 2017)",
        verified: "from secondary sources, 2026; no recall for 72 hours without an agent kept for it",
    },
    PlaceRule {
        name: "ca-month",
        place: "Canada: per calendar month",
        ratio_max: 0.05,
        window: AbandonWindow::CalendarMonth,
        clock: AbandonClock::GreetingEnd,
        limit_ms: 2_000,
        ring_ms_min: 0,
        message: false,
        citation: "CRTC, Unsolicited Telecommunications Rules, Part IV",
        verified: "unconfirmed, 2026",
    },
];

impl PlaceRule {
    /// As a campaign keeps it.
    pub fn rule(&self) -> AbandonRule {
        AbandonRule {
            name: self.name.into(),
            ratio_max: self.ratio_max,
            window: self.window,
            clock: self.clock,
            limit_ms: self.limit_ms,
            early_hangup: EarlyHangup::Ignored,
            ring_ms_min: self.ring_ms_min,
            message: self.message,
        }
    }
}
