//! The risk of an abandoned call that is allowed now, so that every abandon rule holds over its own window.
//!
//! Input: the result of each live answer, and the time. Output: the allowed risk for one more call, and the rule that
//! allows the least. Answers before the start come from the store as [`Answers`]. Answers are counted by the quarter of an
//! hour in which they were answered, so the counters equal what the attempt rows say.
//!
//! If a rule has too many abandoned calls, the allowed risk shrinks smoothly over the next answers; it does not drop to
//! zero at once. Every window longer than a day also gets a daily rule, so that a good month does not pay for a bad day.
//! `docs/pacing.md` explains the constants.

use super::rules::{AbandonRule, AbandonWindow, AnswerResult, Answers, QUARTER_MS, Tally};
use crate::time::Wall;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_HOURS: u32 = 24;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Number of parts of a rolling window. One part leaves the window at a time.
const PARTS: i64 = 96;

/// Number of quarters of an hour that are kept separately: 95 days. Older ones are merged into the oldest.
const QUARTERS_MAX: usize = 96 * 95;

/// All abandon rules of a campaign, with their counters.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    accounts: Vec<Account>,
    zone: TimeZone,
    ledgers: Vec<Ledger>,
    /// The time of the latest call that passed one.
    last_now: Wall,
}

/// All live answers, judged with one connect limit.
#[derive(Clone, Debug)]
struct Ledger {
    limit_ms: u32,
    /// Key: Unix time in milliseconds of the start of the quarter of an hour in which the callee answered.
    quarters: BTreeMap<i64, Tally>,
}

/// The counters of one abandon rule in its current window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleAccount {
    /// The rule's name; with ` (day)` for the daily part of a longer rule.
    pub rule: Arc<str>,
    /// Number of live answers.
    pub live: f64,
    /// Number of abandoned calls among `live`.
    pub abandoned: f64,
}

/// The risk allowed now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowance {
    /// Highest allowed probability that the next callee finds no agent. 0: no risk is allowed.
    pub(super) risk_max: f64,
    /// The rule that sets `risk_max`.
    pub(super) rule: Arc<str>,
    /// Calls that may still be abandoned under this rule. Negative: too many were abandoned.
    pub(super) left: f64,
    /// Live answers in the rule's window.
    pub(super) live: f64,
    /// Abandoned calls in the rule's window.
    pub(super) abandoned: f64,
}

/// One rule with its counters over one window.
#[derive(Clone, Debug)]
struct Account {
    rule: AbandonRule,
    /// The rule's name, shared with all reports.
    name: Arc<str>,
    parts: VecDeque<Part>,
    live: f64,
    abandoned: f64,
    /// Natural logarithm of a learnt factor on the allowed risk.
    gain: f64,
    /// Start and end of the calendar window that was last computed.
    period: Option<(Wall, Wall)>,
}

/// The answers in one part of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Part {
    /// Start of this part.
    from: Wall,
    live: f64,
    abandoned: f64,
}

/// The learnt factor on a rule's allowed risk, stored across restarts. The counters are not stored here, because they are
/// derived from the attempt rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearntGain {
    /// The rule's name, as in [`RuleAccount::rule`].
    pub rule: String,
    /// Natural logarithm of the factor, -2.5 to 2.
    pub gain: f64,
}

impl Budget {
    pub(super) fn new(rules: &[AbandonRule], zone: TimeZone) -> Self {
        let mut accounts: Vec<Account> = Vec::new();
        let mut ledgers: Vec<Ledger> = Vec::new();
        for rule in rules {
            let short = match rule.window {
                AbandonWindow::Hours(hours) => hours <= DAY_HOURS,
                AbandonWindow::CalendarDay => true,
                AbandonWindow::CalendarMonth | AbandonWindow::Campaign => false,
            };
            if !short {
                accounts.push(Account::new(AbandonRule {
                    name: format!("{} (day)", rule.name),
                    window: AbandonWindow::Hours(DAY_HOURS),
                    ..rule.clone()
                }));
            }
            accounts.push(Account::new(rule.clone()));
            if ledgers.iter().all(|ledger| ledger.limit_ms != rule.limit_ms) {
                ledgers.push(Ledger {
                    limit_ms: rule.limit_ms,
                    quarters: BTreeMap::new(),
                });
            }
        }
        Self {
            accounts,
            zone,
            ledgers,
            last_now: Wall(i64::MIN),
        }
    }

    /// Replaces the rules and keeps the answers. A connect limit that no rule had before takes the results of another limit
    /// until the next start, when the store is read again.
    pub(super) fn configure(&mut self, rules: &[AbandonRule], zone: TimeZone) {
        let gains = self.gains();
        let old = std::mem::replace(self, Self::new(rules, zone));
        for ledger in &mut self.ledgers {
            let same = old.ledgers.iter().find(|known| known.limit_ms == ledger.limit_ms);
            if let Some(known) = same.or(old.ledgers.first()) {
                ledger.quarters.clone_from(&known.quarters);
            }
        }
        self.enter_all();
        self.recall_gains(&gains);
    }

    /// Loads the answers before the start, as the store has them.
    pub(super) fn recall(&mut self, answers: &[Answers]) {
        for ledger in &mut self.ledgers {
            let limit_ms = ledger.limit_ms;
            for answers in answers.iter().filter(|a| a.limit_ms == limit_ms) {
                ledger.add(answers.from, answers.tally);
            }
        }
        self.enter_all();
    }

    fn enter_all(&mut self) {
        for account in &mut self.accounts {
            account.clear();
            let ledger = self.ledgers.iter().find(|l| l.limit_ms == account.rule.limit_ms);
            for (from, tally) in ledger.iter().flat_map(|ledger| &ledger.quarters) {
                let (live, abandoned) = account.rule.weigh(tally);
                account.enter(Wall(*from), live, abandoned);
            }
        }
    }

    /// Counts one live answer. `live_per_sec`: the current average of live answers per second.
    pub(super) fn count(&mut self, now: Wall, answered_at: Wall, result: AnswerResult, live_per_sec: f64) {
        self.forget(now);
        for account in &mut self.accounts {
            account.count(answered_at, result, live_per_sec);
        }
        for ledger in &mut self.ledgers {
            // Rules with the same limit but different clocks share one ledger; it counts as the first of them does.
            if let Some(account) = self.accounts.iter().find(|a| a.rule.limit_ms == ledger.limit_ms) {
                ledger.add(answered_at, account.rule.tally(result));
            }
        }
    }

    /// The risk allowed now by the strictest rule. `None` if there is no rule.
    pub(super) fn allowance(&mut self, now: Wall, live_per_sec: f64) -> Option<Allowance> {
        self.forget(now);
        self.accounts
            .iter()
            .map(|account| account.allowance(live_per_sec))
            .min_by(|a, b| a.risk_max.total_cmp(&b.risk_max))
    }

    /// Removes the answers that have left the windows. If the clock was set back by more than a day, too much was removed, so
    /// all answers are entered again.
    fn forget(&mut self, now: Wall) {
        let set_back = now.plus(DAY) < self.last_now;
        self.last_now = now;
        if set_back {
            self.enter_all();
        }
        for account in &mut self.accounts {
            account.forget(now, &self.zone);
        }
    }

    /// The counters of each rule in the window that ends now. This does not rely on [`Budget::allowance`] having removed
    /// old parts, because a progressive campaign never calls it.
    pub(super) fn accounts(&self, now: Wall) -> Vec<RuleAccount> {
        let account = |a: &Account| {
            let (live, abandoned) = a.counted(now, &self.zone);
            RuleAccount {
                rule: a.name.clone(),
                live,
                abandoned,
            }
        };
        self.accounts.iter().map(account).collect()
    }

    pub(super) fn gains(&self) -> Vec<LearntGain> {
        self.accounts
            .iter()
            .map(|a| LearntGain {
                rule: a.rule.name.clone(),
                gain: a.gain,
            })
            .collect()
    }

    pub(super) fn recall_gains(&mut self, gains: &[LearntGain]) {
        for account in &mut self.accounts {
            let known = gains.iter().find(|known| known.rule == account.rule.name);
            if let Some(known) = known.filter(|known| known.gain.is_finite()) {
                account.gain = known.gain.clamp(GAIN_MIN, GAIN_MAX);
            }
        }
    }
}

impl Ledger {
    fn add(&mut self, at: Wall, tally: Tally) {
        let from = at.0.div_euclid(QUARTER_MS).saturating_mul(QUARTER_MS);
        self.quarters.entry(from).or_default().add(tally);
        while self.quarters.len() > QUARTERS_MAX
            && let Some((_, oldest)) = self.quarters.pop_first()
            && let Some(mut next) = self.quarters.first_entry()
        {
            next.get_mut().add(oldest);
        }
    }
}

const GAIN_MIN: f64 = -2.5;
const GAIN_MAX: f64 = 2.0;

impl Account {
    fn new(rule: AbandonRule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            rule,
            parts: VecDeque::new(),
            live: 0.0,
            abandoned: 0.0,
            gain: 0.0,
            period: None,
        }
    }

    /// Length of one part of the window, in milliseconds.
    fn part_ms(&self) -> i64 {
        match self.rule.window {
            AbandonWindow::Hours(hours) => (i64::from(hours.max(1)) * HOUR_MS / PARTS).max(1),
            // In every time zone a day begins at a full quarter of an hour UTC.
            AbandonWindow::CalendarDay | AbandonWindow::CalendarMonth => QUARTER_MS,
            AbandonWindow::Campaign => i64::from(DAY_HOURS) * HOUR_MS,
        }
    }

    /// Start and end of the window that contains `now`. `None` if the window has no start.
    fn window(&self, now: Wall, zone: &TimeZone) -> Option<(Wall, Wall)> {
        match self.rule.window {
            AbandonWindow::Hours(hours) => {
                let length_ms = i64::from(hours.max(1)).saturating_mul(HOUR_MS);
                Some((Wall(now.0.saturating_sub(length_ms)), now))
            }
            AbandonWindow::Campaign => None,
            AbandonWindow::CalendarDay | AbandonWindow::CalendarMonth => {
                let within = |(begins, ends): &(Wall, Wall)| now < *ends && *begins < now.plus(DAY);
                let known = self.period.filter(within);
                known.or_else(|| period(now, zone, self.rule.window))
            }
        }
    }

    /// Live answers and abandoned calls in the window that ends now.
    fn counted(&self, now: Wall, zone: &TimeZone) -> (f64, f64) {
        let begins = self.window(now, zone).map(|(begins, _)| begins.0);
        let part_ms = self.part_ms();
        let is_gone =
            |part: &&Part| begins.is_some_and(|begins| part.from.0.saturating_add(part_ms) <= begins);
        let gone = self.parts.iter().take_while(is_gone);
        gone.fold((self.live, self.abandoned), |(live, abandoned), part| {
            (live - part.live, abandoned - part.abandoned)
        })
    }

    /// Removes the parts that have left the window.
    fn forget(&mut self, now: Wall, zone: &TimeZone) {
        // If the clock was far ahead and was set right, parts dated into the future would never leave the window.
        if self.parts.back().is_some_and(|part| part.from > now.plus(DAY)) {
            for part in &mut self.parts {
                part.from = part.from.min(now);
            }
        }
        if self.rule.window == AbandonWindow::Campaign {
            // The oldest part keeps the sum of everything older than `PARTS` days.
            while self.parts.len() > PARTS as usize {
                let Some(old) = self.parts.pop_front() else { break };
                if let Some(next) = self.parts.front_mut() {
                    next.live += old.live;
                    next.abandoned += old.abandoned;
                }
            }
        }
        self.period = self.window(now, zone);
        let Some((begins, _)) = self.period else {
            return;
        };
        let part_ms = self.part_ms();
        while let Some(part) = self.parts.front() {
            if part.from.0.saturating_add(part_ms) > begins.0 {
                break;
            }
            self.live -= part.live;
            self.abandoned -= part.abandoned;
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            (self.live, self.abandoned) = (0.0, 0.0);
        }
    }

    fn clear(&mut self) {
        self.parts.clear();
        (self.live, self.abandoned, self.period) = (0.0, 0.0, None);
    }

    /// Adds answers to the part that contains `at`. This is nearly always one of the newest parts.
    fn enter(&mut self, at: Wall, live: f64, abandoned: f64) {
        let part_ms = self.part_ms();
        let from = Wall(at.0.div_euclid(part_ms).saturating_mul(part_ms));
        let place = self.parts.partition_point(|part| part.from < from);
        match self.parts.get_mut(place) {
            Some(part) if part.from == from => {
                part.live += live;
                part.abandoned += abandoned;
            }
            Some(_) | None => self.parts.insert(
                place,
                Part {
                    from,
                    live,
                    abandoned,
                },
            ),
        }
        self.live += live;
        self.abandoned += abandoned;
    }

    fn count(&mut self, answered_at: Wall, result: AnswerResult, live_per_sec: f64) {
        let (live, abandoned) = self.rule.weigh(&self.rule.tally(result));
        if live == 0.0 {
            return;
        }
        self.enter(answered_at, live, abandoned);
        let busy = busy(live_per_sec);
        let step = 3e-4 / busy * (self.room(busy) / busy.sqrt()).clamp(-8.0, 8.0);
        self.gain = (self.gain + step).clamp(GAIN_MIN, GAIN_MAX);
    }

    /// Calls that may have been abandoned by now: a share of the live answers, and at the start a small advance.
    fn granted(&self) -> f64 {
        self.rule.ratio_max * (self.live + 40.0 * (-self.live / 400.0).exp())
    }

    /// The calls of `granted` that are not abandoned yet, minus a reserve for random variation. Can be negative.
    fn room(&self, busy: f64) -> f64 {
        let granted = self.granted();
        let reserve = (0.5 + 0.1 * granted).min(0.4 * granted).min(12.0 * busy.sqrt());
        granted - self.abandoned - reserve
    }

    /// True if one more abandoned call would put a window with few answers over its limit. There the reserve is smaller
    /// than one abandoned call. With many answers this check would cost more utilisation than it saves.
    fn next_is_too_many(&self) -> bool {
        let grace = 5.0 + 50.0 * (-self.live / 120.0).exp();
        (30.0..400.0).contains(&self.live) && self.abandoned + 1.0 > self.rule.ratio_max * (self.live + grace)
    }

    /// True if too many calls were abandoned in the newest two parts of a daily window, that is, within half an hour.
    fn had_a_bad_half_hour(&self) -> bool {
        let is_a_day = matches!(self.rule.window, AbandonWindow::Hours(_)) && self.part_ms() <= HOUR_MS / 3;
        if !is_a_day {
            return false;
        }
        let (mut live, mut abandoned) = (0.0, 0.0);
        for part in self.parts.iter().rev().take(2) {
            live += part.live;
            abandoned += part.abandoned;
        }
        abandoned > 2.0 * self.rule.ratio_max * live + 1.5
    }

    fn allowance(&self, live_per_sec: f64) -> Allowance {
        let cap = self.rule.ratio_max;
        let busy = busy(live_per_sec);
        let horizon = self.live.min(300.0 * busy).max(60.0);
        let rate = (cap + self.room(busy) / horizon).clamp(0.0, 2.0 * cap);
        let mut risk_max = if cap > 0.0 {
            0.020
                * (cap / 0.03)
                * self.gain.exp()
                * (rate / cap).powf(1.2)
                * ((self.live + 40.0) / 60.0).min(1.0)
        } else {
            0.0
        };
        if self.live > 60.0 && self.abandoned > 1.33 * cap * (self.live + 30.0) {
            risk_max *= 0.1;
        }
        if self.next_is_too_many() {
            risk_max *= 0.2;
        }
        if self.had_a_bad_half_hour() {
            risk_max *= 0.25;
        }
        Allowance {
            risk_max,
            rule: self.name.clone(),
            left: self.granted() - self.abandoned,
            live: self.live,
            abandoned: self.abandoned,
        }
    }
}

/// Ratio of the live answers per second to the 0.3 of a small campaign; at least 1. It makes gains adapt per unit of time,
/// not per answer.
fn busy(live_per_sec: f64) -> f64 {
    (live_per_sec / 0.3).max(1.0)
}

/// Start of the calendar day or month that contains `now`, and of the next one.
fn period(now: Wall, zone: &TimeZone, window: AbandonWindow) -> Option<(Wall, Wall)> {
    let date = Timestamp::from_millisecond(now.0)
        .ok()?
        .to_zoned(zone.clone())
        .date();
    let (first, next) = match window {
        AbandonWindow::CalendarMonth => (date.first_of_month(), date.last_of_month().tomorrow().ok()?),
        AbandonWindow::CalendarDay | AbandonWindow::Hours(_) | AbandonWindow::Campaign => {
            (date, date.tomorrow().ok()?)
        }
    };
    let start =
        |d: jiff::civil::Date| Some(Wall(d.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()));
    Some((start(first)?, start(next)?))
}
