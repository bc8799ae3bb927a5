//! How much risk of an abandoned call may be taken now, so that every rule holds over its own window.
//!
//! In: how each live answer ended, and the time. Out: the risk allowed for one more call, and which rule allows no more.
//! What was counted before the start is read from the store as [`Answers`]; all is kept in quarters of an hour of when people
//! answered, so that it equals what the attempts' rows say. An overdraft is paid back smoothly over the answers to come, not by a wall. Each window longer than a day is also kept
//! day by day, so that a good month does not pay for a bad day. Constants and their reasons: docs/pacing.md.

use super::rules::{AbandonRule, AbandonWindow, Answers, LiveFate, QUARTER_MS, Tally};
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
/// A window is kept in so many parts; it forgets one at a time.
const PARTS: i64 = 96;

/// Quarters of an hour that are kept apart: a little more than three months. What is older is one.
const QUARTERS_MAX: usize = 96 * 95;

/// All rules of a campaign.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    accounts: Vec<Account>,
    zone: TimeZone,
    ledgers: Vec<Ledger>,
    /// The time that was last told.
    told: Wall,
}

/// Every answer, as rules with this limit see it.
#[derive(Clone, Debug)]
struct Ledger {
    limit_ms: u32,
    /// By the start of the quarter of an hour in which they answered.
    quarters: BTreeMap<i64, Tally>,
}

/// What a rule has counted in its window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleAccount {
    /// The rule's name.
    pub rule: Arc<str>,
    /// Live answers.
    pub live: f64,
    /// Those abandoned.
    pub abandoned: f64,
}

/// What may be risked now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowance {
    /// Probability of no agent that one more call may have; 0: none.
    pub(super) risk_max: f64,
    /// Which rule says so.
    pub(super) rule: Arc<str>,
    /// Calls that may still be abandoned under it; negative: overdrawn.
    pub(super) left: f64,
    /// Live answers in its window.
    pub(super) live: f64,
    /// Abandoned calls in its window.
    pub(super) abandoned: f64,
}

/// One rule over one window.
#[derive(Clone, Debug)]
struct Account {
    rule: AbandonRule,
    /// Its name, shared with every report.
    name: Arc<str>,
    parts: VecDeque<Part>,
    live: f64,
    abandoned: f64,
    /// What experience adds to the risk allowed: a logarithm.
    gain: f64,
    /// The window that was last asked for: when it begins, and when another one does.
    period: Option<(Wall, Wall)>,
}

/// Answers of a part of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Part {
    /// Since when.
    from: Wall,
    live: f64,
    abandoned: f64,
}

/// What experience adds to the risk that a rule allows, for keeping across restarts. What was counted is not kept here: the
/// attempts tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearntGain {
    /// Which rule, and whether it is its day.
    pub rule: String,
    /// A logarithm.
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
            told: Wall(i64::MIN),
        }
    }

    /// Other rules, over the same answers. What a limit makes of them that no rule had so far is known from the next start on;
    /// until then it is taken as another limit had it.
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

    /// What the store knows of answers before the start.
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

    /// An answer by a person has ended. `pace`: live answers per second of late.
    pub(super) fn count(&mut self, now: Wall, answered_at: Wall, fate: LiveFate, pace: f64) {
        self.forget(now);
        for account in &mut self.accounts {
            account.count(answered_at, fate, pace);
        }
        for ledger in &mut self.ledgers {
            // Where several clocks are told apart, the rules with this limit share what the first of them sees.
            if let Some(account) = self.accounts.iter().find(|a| a.rule.limit_ms == ledger.limit_ms) {
                ledger.add(answered_at, account.rule.tally(fate));
            }
        }
    }

    /// What may be risked now, by the strictest rule. None: no rule.
    pub(super) fn allowance(&mut self, now: Wall, pace: f64) -> Option<Allowance> {
        self.forget(now);
        self.accounts
            .iter()
            .map(|account| account.allowance(pace))
            .min_by(|a, b| a.risk_max.total_cmp(&b.risk_max))
    }

    /// Drops what the windows no longer hold. A clock that was far ahead had dropped too much: all is entered anew.
    fn forget(&mut self, now: Wall) {
        let set_back = now.plus(DAY) < self.told;
        self.told = now;
        if set_back {
            self.enter_all();
        }
        for account in &mut self.accounts {
            account.forget(now, &self.zone);
        }
    }

    /// What every rule has counted in the window that ends now. Nobody may have asked for an allowance for days: a progressive
    /// campaign never does.
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

    /// How long a part is.
    fn part_ms(&self) -> i64 {
        match self.rule.window {
            AbandonWindow::Hours(hours) => (i64::from(hours.max(1)) * HOUR_MS / PARTS).max(1),
            // Days begin at a quarter of an hour in every time zone.
            AbandonWindow::CalendarDay | AbandonWindow::CalendarMonth => QUARTER_MS,
            AbandonWindow::Campaign => i64::from(DAY_HOURS) * HOUR_MS,
        }
    }

    /// When the window that holds `now` begins, and when another one does; none: it holds all.
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

    /// Drops what the window no longer holds.
    fn forget(&mut self, now: Wall, zone: &TimeZone) {
        // A clock that was far ahead and was put right: what it dated into the future would never leave the window.
        if self.parts.back().is_some_and(|part| part.from > now.plus(DAY)) {
            for part in &mut self.parts {
                part.from = part.from.min(now);
            }
        }
        if self.rule.window == AbandonWindow::Campaign {
            // One part holds all that is older than a few months.
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

    /// Adds answers of around `at`, which mostly is the newest part or close to it.
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

    fn count(&mut self, answered_at: Wall, fate: LiveFate, pace: f64) {
        let (live, abandoned) = self.rule.weigh(&self.rule.tally(fate));
        if live == 0.0 {
            return;
        }
        self.enter(answered_at, live, abandoned);
        let busy = busy(pace);
        let step = 3e-4 / busy * (self.room(busy) / busy.sqrt()).clamp(-8.0, 8.0);
        self.gain = (self.gain + step).clamp(GAIN_MIN, GAIN_MAX);
    }

    /// Calls that may be abandoned by now: a share of the live answers, and a little in advance at the start.
    fn granted(&self) -> f64 {
        self.rule.ratio_max * (self.live + 40.0 * (-self.live / 400.0).exp())
    }

    /// What is left of it beyond a reserve for bad luck.
    fn room(&self, busy: f64) -> f64 {
        let granted = self.granted();
        let reserve = (0.5 + 0.1 * granted).min(0.4 * granted).min(12.0 * busy.sqrt());
        granted - self.abandoned - reserve
    }

    /// Whether one more abandoned call would put a window of few answers over its cap, where the reserve is too small for one
    /// stroke of bad luck. Where there are many, this would cost more utilisation than it saves.
    fn next_is_too_many(&self) -> bool {
        let grace = 5.0 + 50.0 * (-self.live / 120.0).exp();
        (30.0..400.0).contains(&self.live) && self.abandoned + 1.0 > self.rule.ratio_max * (self.live + grace)
    }

    /// Whether bad luck has come in a row: a window of a day is kept in quarters of an hour.
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

    fn allowance(&self, pace: f64) -> Allowance {
        let cap = self.rule.ratio_max;
        let busy = busy(pace);
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

/// How many times busier than a small campaign: gains are in time, not per answer.
fn busy(pace: f64) -> f64 {
    (pace / 0.3).max(1.0)
}

/// First millisecond of the calendar period around `now`, and of the next.
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
