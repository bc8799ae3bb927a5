//! Abandon rules as data: the definition of an abandoned call, the window, and the allowed ratio.
//!
//! The legal rules are in the rule files ([`Rulebook::abandon_rules`](crate::gate::Rulebook::abandon_rules)). A campaign has
//! any number of [`AbandonRule`]s, and all hold at the same time. Start at [`AnswerRow::result`].

use crate::outcome::Outcome;
use crate::time::Wall;
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

words! {
    /// The moment from which a callee's wait for an agent is counted.
    AbandonClock {
        /// The callee answered.
        Connected = "connected",
        /// The callee began to speak.
        GreetingStart = "greeting_start",
        /// The callee ended the greeting.
        GreetingEnd = "greeting_end",
    }
}

words! {
    /// The way to count a callee who hangs up within the limit and before an agent is connected.
    EarlyHangup {
        /// Not counted at all.
        Ignored = "ignored",
        /// As a live answer that was not abandoned.
        Live = "live",
        /// As an abandoned call.
        Abandoned = "abandoned",
    }
}

/// The window over which abandoned calls are compared with live answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbandonWindow {
    /// The last so many hours.
    Hours(u32),
    /// The calendar day in the campaign's time zone.
    CalendarDay,
    /// The calendar month in the campaign's time zone.
    CalendarMonth,
    /// The whole life of the campaign.
    Campaign,
}

/// One abandon rule of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AbandonRule {
    /// The rule's name in reports, such as `us-ftc`.
    #[cfg_attr(feature = "openapi", schema(example = "us-ftc"))]
    pub name: String,
    /// Highest allowed ratio of abandoned calls to live answers, 0 to 1.
    #[cfg_attr(feature = "openapi", schema(example = 0.03))]
    pub ratio_max: f64,
    /// The window: `{"hours": 720}`, `calendar_day` or `calendar_month` in the campaign's time zone, or `campaign`.
    #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({"hours": 720})))]
    pub window: AbandonWindow,
    /// The moment from which the wait is counted. If it is not known, the wait counts from the answer.
    pub clock: AbandonClock,
    /// Time from `clock` until an agent must be connected, in milliseconds; 500 to 60,000.
    #[cfg_attr(feature = "openapi", schema(example = 2000))]
    pub limit_ms: u32,
    /// The way to count a callee who hangs up within the limit and before an agent is connected.
    pub early_hangup: EarlyHangup,
    /// Minimum ring timeout that the rule requires, in milliseconds; 0 to 120,000. 0: no minimum.
    #[cfg_attr(feature = "openapi", schema(example = 15000))]
    pub ring_ms_min: u32,
    /// True if an abandoned callee must hear `abandon_message` before the hang-up.
    #[cfg_attr(feature = "openapi", schema(example = true))]
    #[serde(default)]
    pub message: bool,
}

/// The result of a live answer. If a wait is not known, it counts from the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerResult {
    /// An agent was connected after these waits.
    Connected(Waits),
    /// No agent was connected in time and Paceline gave the call up, or a wrong verdict ended it.
    Abandoned,
    /// The callee hung up after these waits, before an agent was connected.
    HungUp(Waits),
}

/// The callee's waiting time, measured from each of the three clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// From the answer.
    pub connected: Duration,
    /// From the start of the greeting. `None` if it was not heard.
    pub greeting_start: Option<Duration>,
    /// From the end of the greeting. `None` if it was not heard.
    pub greeting_end: Option<Duration>,
}

/// Length in milliseconds of the periods by which answers are counted. They start at multiples of it in Unix time.
pub const QUARTER_MS: i64 = 15 * 60 * 1000;

/// Number of live answers by result, for one connect limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// An agent was connected in time.
    pub connected: u64,
    /// An agent was connected after the limit.
    pub connected_late: u64,
    /// Given up by Paceline.
    pub abandoned: u64,
    /// The callee hung up within the limit, before an agent was connected.
    pub hung_up: u64,
    /// The callee hung up after the limit, before an agent was connected.
    pub hung_up_late: u64,
}

/// The live answers of one quarter of an hour, counted from the attempt rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Start of the quarter of an hour.
    pub from: Wall,
    /// The connect limit by which they were judged, in milliseconds.
    pub limit_ms: u32,
    /// Their results.
    pub tally: Tally,
}

/// The fields of an attempt row that describe its answer. Only [`AnswerRow::result`] decides how the answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRow {
    /// Time of the answer.
    pub answered_at: Wall,
    /// Time when an agent was connected.
    pub connected_at: Option<Wall>,
    /// Time when Paceline gave the call up.
    pub abandoned_at: Option<Wall>,
    /// Time and outcome of the end.
    pub ended: Option<(Wall, Outcome)>,
}

impl AnswerRow {
    /// The result of the answer. `None` while the call runs, and if no person answered.
    ///
    /// A call that Paceline gave up stays abandoned after any later event. An `unknown` outcome counts as abandoned, because
    /// the evidence is lost.
    pub fn result(&self) -> Option<AnswerResult> {
        let waits = |at: Wall| Waits {
            connected: at.since(self.answered_at),
            ..Waits::default()
        };
        if self.abandoned_at.is_some() {
            return Some(AnswerResult::Abandoned);
        }
        if let Some(at) = self.connected_at {
            return Some(AnswerResult::Connected(waits(at)));
        }
        match self.ended? {
            (_, Outcome::Abandoned | Outcome::Unknown) => Some(AnswerResult::Abandoned),
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
            ) => Some(AnswerResult::HungUp(waits(at))),
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

/// Length of the period, up to now, of the answers that these rules need from the store. `None`: all answers.
pub fn history(rules: &[AbandonRule]) -> Option<Duration> {
    let hours = |rule: &AbandonRule| match rule.window {
        AbandonWindow::Hours(hours) => Some(hours.saturating_add(hours / 8)),
        AbandonWindow::CalendarDay => Some(48),
        AbandonWindow::CalendarMonth => Some(32 * 24),
        AbandonWindow::Campaign => None,
    };
    // A rule that is added later may have a longer window than the rules of now.
    let mut most = 31 * 24;
    for rule in rules {
        most = most.max(hours(rule)?);
    }
    Some(Duration::from_secs(u64::from(most) * 3_600))
}

impl AbandonRule {
    /// A rule over the last 24 hours, counted from the end of the greeting. `paceline pace` uses it.
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

    /// One answer with this result, as this rule judges it.
    pub fn tally(&self, result: AnswerResult) -> Tally {
        let late = |waits: Waits| {
            let waited = match self.clock {
                AbandonClock::Connected => waits.connected,
                AbandonClock::GreetingStart => waits.greeting_start.unwrap_or(waits.connected),
                AbandonClock::GreetingEnd => waits.greeting_end.unwrap_or(waits.connected),
            };
            waited > Duration::from_millis(u64::from(self.limit_ms))
        };
        let mut tally = Tally::default();
        *match result {
            AnswerResult::Abandoned => &mut tally.abandoned,
            AnswerResult::Connected(waits) if late(waits) => &mut tally.connected_late,
            AnswerResult::Connected(_) => &mut tally.connected,
            AnswerResult::HungUp(waits) if late(waits) => &mut tally.hung_up_late,
            AnswerResult::HungUp(_) => &mut tally.hung_up,
        } = 1;
        tally
    }

    /// Number of live answers, and number of those that this rule counts as abandoned.
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
