//! Whether one trunk works: working, in standby, out, or down.
//!
//! Input: what happened to each leg. Output: a [`State`], and the time of the next probe. A leg that failed ended in
//! congestion or failure, without progress and without a fault of our own PBX. A sign of life is progress, an answer, or a
//! final answer about the callee, of a leg that was dialed after the first failure. Start at [`Health::failed`] and
//! [`Health::lives`].

use super::history::Share;
use super::silence::{DEAD, LEGS_MIN, Silence};
use crate::outcome::Outcome;
use crate::time::Mono;
use std::time::Duration;

/// A trunk is out after this many failed legs without a sign of life...
const FAILED_MAX: u32 = 5;
/// ...that took at least this long: a moment's trouble passes.
const FAILED_FOR: Duration = Duration::from_secs(3);
/// The same final answer at once to this many numbers in a row is no answer about any of them.
const SAME_ANSWER_MAX: u32 = 10;
/// A final answer within this time after dialing may come from the trunk itself.
const AT_ONCE: Duration = Duration::from_millis(500);
/// From this many failed legs on, the trunk is in doubt.
const DOUBT_FAILED: u32 = 3;
/// A trunk in doubt gets a leg this often, to settle the doubt.
const DOUBT_LEG_EVERY: Duration = Duration::from_millis(500);
/// Wait between two probes. It doubles after each failed probe, up to `PROBE_WAIT_MAX`, so that a trunk is back within 30 s.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROBE_WAIT_MAX: Duration = Duration::from_secs(16);
/// Good probes after which a trunk is back, and after which one is back that was out shortly before.
const GOOD_PROBES: u32 = 2;
const GOOD_PROBES_AGAIN: u32 = 3;
/// Failure rate from which a trunk is only a standby, over the last `RATE_LEGS`, of which there must be `RATE_LEGS_MIN`.
const FAILURE_RATE_MAX: f64 = 0.10;
const RATE_LEGS: f64 = 200.0;
const RATE_LEGS_MIN: f64 = 80.0;
/// A higher rate shows in fewer legs.
const BURST_RATE_MAX: f64 = 0.28;
const BURST_LEGS: u32 = 32;
const BURST_LEGS_MIN: u32 = 20;
/// False answers from which a trunk is only a standby: their share of the last answers, and their number.
const FALSE_SHARE_MAX: f64 = 0.35;
const FALSE_MIN: f64 = 3.5;
const ANSWERS: f64 = 10.0;
/// Good legs after which a standby works again: of one that failed, and of one with false answers.
const GOOD_LEGS: u32 = 11;
const GOOD_LEGS_FALSE: u32 = 6;
/// A bad leg of a standby takes away this many good ones.
const BAD_LEG: u32 = 8;
/// A trunk that becomes a standby again within this time needs twice as many good legs, up to eight times.
const DEMOTED_AGAIN: Duration = Duration::from_secs(300);
const DEMOTED_FACTOR_MAX: u32 = 8;
/// A leg that rings this long is no false answer.
const RINGS_TRULY: Duration = Duration::from_secs(3);
/// If the carrier refused a leg while others talked, one leg in this time looks whether it has more channels.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// Why a trunk does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its legs fail, one after the other.
    Fails,
    /// Its legs get no event.
    Silent,
    /// It gives every number the same final answer at once.
    SameAnswer,
    /// Its gateway or link came back, and no leg has shown yet that it works.
    LinkRestored,
    /// Too many of its legs fail.
    FailureRate,
    /// Too many of its answers end at once: nobody is there.
    FalseAnswers,
}

/// The proof that a trunk works again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) cause: Cause,
    pub(super) since: Mono,
    pub(super) probe_at: Mono,
    last_probe: Option<Mono>,
    wait: Duration,
    good: u32,
    needed: u32,
    /// Why it was a standby before it was out.
    standby: Option<Cause>,
    /// Dialing time of the first silent leg.
    silent_from: Option<Mono>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Working,
    /// Used if nothing else has room, and by probes.
    Standby(Trial),
    /// Used by probes only.
    Out(Trial),
    /// The PBX says that its gateway or link is down.
    Down,
}

/// Failed legs since the last sign of life.
#[derive(Clone, Copy, Debug)]
struct Run {
    first_failed_at: Mono,
    failed: u32,
    /// The final answer that all of them got. `None`: they failed.
    answer: Option<Outcome>,
    /// The rates before the run, to which a trunk comes back.
    before: Rates,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    failed: Share,
    last: u32,
    last_count: u32,
}

/// The carrier refused legs while others talked, so it has only so many channels.
#[derive(Clone, Copy, Debug)]
struct Full {
    channels: u32,
    since: Mono,
    retry_at: Mono,
    refused: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) state: State,
    pub(super) silence: Silence,
    run: Option<Run>,
    full: Option<Full>,
    rates: Rates,
    false_answers: Share,
    doubtful: bool,
    doubt_leg_at: Mono,
    out_before: Option<Mono>,
    demoted: Option<(Mono, u32)>,
    /// Legs that ring while the trunk is a standby for false answers.
    ringing: Vec<(u64, Mono)>,
}

/// What a failed leg shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The trunk is full. This is no failure.
    Full,
    /// It counts.
    Counted,
    /// The trunk is out, so it caused this end.
    Out,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: State::Working,
            silence: Silence::default(),
            run: None,
            full: None,
            rates: Rates::default(),
            false_answers: Share::default(),
            doubtful: false,
            doubt_leg_at: Mono::default(),
            out_before: None,
            demoted: None,
            ringing: Vec::new(),
        }
    }
}

impl Rates {
    fn count(&mut self, failed: bool) {
        self.failed.count(failed, RATE_LEGS);
        self.last = (self.last << 1) | u32::from(failed);
        self.last_count = (self.last_count + 1).min(BURST_LEGS);
    }

    fn are_bad(&self) -> bool {
        let burst = f64::from(self.last.count_ones()) / f64::from(self.last_count.max(1));
        (self.failed.legs >= RATE_LEGS_MIN && self.failed.value() >= FAILURE_RATE_MAX)
            || (self.last_count >= BURST_LEGS_MIN && burst >= BURST_RATE_MAX)
    }
}

impl Trial {
    fn new(now: Mono, cause: Cause, needed: u32) -> Self {
        Self {
            cause,
            since: now,
            probe_at: now + PROBE_WAIT,
            last_probe: None,
            wait: PROBE_WAIT,
            good: 0,
            needed,
            standby: None,
            silent_from: None,
        }
    }

    fn probed(&mut self, now: Mono, grows: bool) {
        self.last_probe = Some(now);
        self.probe_at = now + self.wait;
        if grows {
            self.wait = (self.wait * 2).min(PROBE_WAIT_MAX);
        }
    }

    /// The trunk may work again: the next probe follows as soon as it may.
    fn hurry(&mut self) {
        self.wait = PROBE_WAIT;
        if let Some(last) = self.last_probe {
            self.probe_at = self.probe_at.min(last + PROBE_WAIT);
        }
    }
}

impl Health {
    /// Time of the next probe, if the trunk needs one.
    pub(super) fn probe_at(&self) -> Option<Mono> {
        match &self.state {
            State::Working if self.is_closed() => None,
            State::Working => self.doubtful.then_some(self.doubt_leg_at),
            State::Standby(trial) | State::Out(trial) => Some(trial.probe_at),
            State::Down => None,
        }
    }

    /// True if it works without any doubt.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.state, State::Working) && !self.doubtful
    }

    /// True if so many legs failed that only the time is missing until the trunk is out.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Working) && self.run.is_some_and(|run| run.failed >= run.max())
    }

    /// Time of the verdict, if the trunk is closed until then.
    pub(super) fn verdict_at(&self) -> Option<Mono> {
        let run = self.run.filter(|_| self.is_closed())?;
        Some(run.first_failed_at + FAILED_FOR)
    }

    /// The channels that the carrier seems to have. `None`: no limit, or it is time to look.
    pub(super) fn channels(&self, now: Mono) -> Option<u32> {
        let full = self.full.filter(|full| now < full.retry_at)?;
        Some(full.channels)
    }

    /// A leg was granted.
    pub(super) fn granted(&mut self, now: Mono, in_use: u32) {
        if let Some(full) = &mut self.full
            && in_use >= full.channels
        {
            full.retry_at = now + FULL_RETRY;
        }
        match &mut self.state {
            State::Working => self.doubt_leg_at = now + DOUBT_LEG_EVERY,
            // A leg that meets a false answer is lost.
            State::Standby(trial) => trial.probed(now, trial.cause == Cause::FalseAnswers),
            State::Out(trial) => trial.probed(now, true),
            State::Down => {}
        }
    }

    /// The verdicts that need time to pass.
    pub(super) fn review(&mut self, now: Mono) {
        match self.state {
            State::Working | State::Standby(_) => {
                self.judge_run(now);
                self.judge_silence(now);
                self.judge_ringing(now);
            }
            State::Out(_) | State::Down => {}
        }
        let failing = self
            .run
            .is_some_and(|run| run.failed >= DOUBT_FAILED && run.answer.is_none());
        self.doubtful = failing || self.silence.is_doubtful(now);
    }

    fn judge_run(&mut self, now: Mono) {
        if let Some(run) = self.run
            && run.failed >= run.max()
            && now.since(run.first_failed_at) >= FAILED_FOR
        {
            let cause = run.answer.map_or(Cause::Fails, |_| Cause::SameAnswer);
            self.rates = run.before;
            self.out(now, cause);
        }
    }

    fn judge_silence(&mut self, now: Mono) {
        let Some(since) = self.silence.since() else { return };
        if !self.doubtful && now.since(since) < Duration::from_secs(1) {
            return;
        }
        let (evidence, legs) = self.silence.evidence(now);
        if evidence >= DEAD && legs >= LEGS_MIN {
            self.out(now, Cause::Silent);
            if let State::Out(trial) = &mut self.state {
                trial.silent_from = Some(since);
            }
        }
    }

    fn judge_ringing(&mut self, now: Mono) {
        let before = self.ringing.len();
        self.ringing
            .retain(|(_, rang_at)| now.since(*rang_at) < RINGS_TRULY);
        for _ in self.ringing.len()..before {
            self.good_leg(now, now, Cause::FalseAnswers);
        }
    }

    fn out(&mut self, now: Mono, cause: Cause) {
        let standby = match self.state {
            State::Standby(trial) => Some(trial.cause),
            State::Working | State::Out(_) | State::Down => None,
        };
        let again = self
            .out_before
            .is_some_and(|at| now.since(at) < DEMOTED_AGAIN / 5);
        let needed = if again { GOOD_PROBES_AGAIN } else { GOOD_PROBES };
        let mut trial = Trial::new(now, cause, needed);
        trial.standby = standby;
        (self.run, self.full, self.doubtful) = (None, None, false);
        self.state = State::Out(trial);
    }

    /// The PBX says whether the gateway or link is up.
    pub(super) fn link(&mut self, now: Mono, up: bool) {
        match (self.state, up) {
            (State::Down, true) => {
                self.out(now, Cause::LinkRestored);
                if let State::Out(trial) = &mut self.state {
                    trial.probe_at = now;
                }
            }
            (State::Working | State::Standby(_) | State::Out(_), false) => self.state = State::Down,
            (State::Down, false) | (State::Working | State::Standby(_) | State::Out(_), true) => {}
        }
    }

    /// A leg that was dialed at `dialed_at` shows progress, or had a final answer about its callee. `used`: legs that the
    /// carrier has taken, with this one. True if that is a sign of life.
    pub(super) fn lives(&mut self, now: Mono, dialed_at: Mono, used: u32) -> bool {
        if let Some(full) = self.full
            && used > full.channels
        {
            // A leg of the same burst shows that the carrier has more channels, a later one that it was not full at all.
            if dialed_at <= full.since {
                self.full = Some(Full {
                    channels: used,
                    ..full
                });
            } else {
                self.full = None;
                for _ in 0..full.refused {
                    self.rates.count(true);
                }
            }
        }
        match self.state {
            State::Down => return false,
            State::Working | State::Standby(_) => {}
            State::Out(trial)
                if trial.silent_from.is_some_and(|from| from <= dialed_at) && dialed_at < trial.since =>
            {
                // It was only slow.
                self.back(now, trial);
                return true;
            }
            State::Out(trial) if dialed_at < trial.since => return false,
            State::Out(mut trial) => {
                trial.good = trial.good.saturating_add(1);
                trial.hurry();
                self.state = State::Out(trial);
                if trial.good >= trial.needed {
                    self.back(now, trial);
                }
                return true;
            }
        }
        if self.run.is_some_and(|run| dialed_at < run.first_failed_at) {
            return false;
        }
        self.run = None;
        self.rates.count(false);
        if self.rates.are_bad() {
            self.demote(now, Cause::FailureRate);
        }
        self.good_leg(now, dialed_at, Cause::FailureRate);
        self.doubtful = self.silence.is_doubtful(now);
        true
    }

    fn back(&mut self, now: Mono, trial: Trial) {
        self.out_before = Some(now);
        self.run = None;
        self.state = State::Working;
        if let Some(cause) = trial.standby {
            self.demote(now, cause);
        }
    }

    fn demote(&mut self, now: Mono, cause: Cause) {
        if !matches!(self.state, State::Working) {
            return;
        }
        let factor = match self.demoted {
            Some((at, factor)) if now.since(at) < DEMOTED_AGAIN => (factor * 2).min(2 * DEMOTED_FACTOR_MAX),
            Some(_) | None => 1,
        };
        self.demoted = Some((now, factor));
        let needed = match cause {
            Cause::FalseAnswers => GOOD_LEGS_FALSE,
            Cause::Fails | Cause::Silent | Cause::SameAnswer | Cause::LinkRestored | Cause::FailureRate => {
                GOOD_LEGS
            }
        };
        // The second time may be the same trouble, which is not over yet.
        self.state = State::Standby(Trial::new(now, cause, needed * (factor / 2).max(1)));
    }

    /// A leg shows that the trouble is over, if it was dialed after its discovery.
    fn good_leg(&mut self, now: Mono, dialed_at: Mono, of: Cause) {
        if let State::Standby(trial) = &mut self.state
            && trial.cause == of
            && dialed_at >= trial.since
        {
            trial.good = trial.good.saturating_add(1);
            if trial.good > 1 || of != Cause::FalseAnswers {
                trial.hurry();
            }
            if trial.good > trial.needed {
                self.state = State::Working;
                (self.rates, self.false_answers) = (Rates::default(), Share::default());
                self.demoted = self.demoted.map(|(_, factor)| (now, factor));
                self.ringing.clear();
            }
        }
    }

    fn bad_leg(&mut self, of: Cause) {
        if let State::Standby(trial) = &mut self.state
            && trial.cause == of
        {
            trial.good = trial.good.saturating_sub(BAD_LEG);
        }
    }

    /// A leg failed. `used`: other legs that the carrier has taken; `talks`: one of them is answered.
    pub(super) fn failed(&mut self, now: Mono, dialed_at: Mono, used: u32, talks: bool) -> Failed {
        match &mut self.state {
            State::Down => return Failed::Out,
            State::Out(trial) => {
                if dialed_at >= trial.since {
                    trial.good = 0;
                }
                return Failed::Out;
            }
            State::Working | State::Standby(_) => {}
        }
        if talks {
            match &mut self.full {
                Some(full) if dialed_at <= full.since => {
                    full.refused = full.refused.saturating_add(1);
                    return Failed::Full;
                }
                Some(full) if used >= full.channels => {
                    (full.since, full.retry_at) = (now, now + FULL_RETRY);
                    full.refused = full.refused.saturating_add(1);
                    return Failed::Full;
                }
                Some(_) | None => {
                    let first = self.full.is_none();
                    self.full = Some(Full {
                        channels: used,
                        since: now,
                        retry_at: now + FULL_RETRY,
                        refused: u32::from(first),
                    });
                    self.count_in_run(now, None);
                    if !first {
                        self.rates.count(true);
                        self.bad_leg(Cause::FailureRate);
                    }
                }
            }
        } else {
            self.count_in_run(now, None);
            self.rates.count(true);
            self.bad_leg(Cause::FailureRate);
        }
        self.review(now);
        match self.state {
            State::Out(_) | State::Down => Failed::Out,
            State::Working | State::Standby(_) => Failed::Counted,
        }
    }

    fn count_in_run(&mut self, now: Mono, answer: Option<Outcome>) {
        let before = self.rates;
        let run = self.run.get_or_insert(Run {
            first_failed_at: now,
            failed: 0,
            answer,
            before,
        });
        run.failed = run.failed.saturating_add(1);
    }

    /// A leg got a final answer about its callee without any progress. True if that is a sign of life.
    pub(super) fn answered_at_once(
        &mut self,
        now: Mono,
        dialed_at: Mono,
        outcome: Outcome,
        used: u32,
    ) -> bool {
        if now.since(dialed_at) > AT_ONCE {
            return self.lives(now, dialed_at, used);
        }
        match (&self.state, self.run) {
            // The probe of a trunk that answers every number so.
            (State::Out(trial), _) if trial.cause == Cause::SameAnswer => return false,
            (State::Out(_) | State::Down, _) => return self.lives(now, dialed_at, used),
            // Different answers show that the trunk looked at the numbers.
            (State::Working | State::Standby(_), Some(run)) if run.answer != Some(outcome) => {
                let lives = self.lives(now, dialed_at, used);
                if self.run.is_some() {
                    return lives;
                }
            }
            (State::Working | State::Standby(_), _) => {}
        }
        self.count_in_run(now, Some(outcome));
        self.rates.count(false);
        self.review(now);
        false
    }

    /// A leg rings.
    pub(super) fn rings(&mut self, now: Mono, dialed_at: Mono, leg: u64) {
        if let State::Standby(trial) = &self.state
            && trial.cause == Cause::FalseAnswers
            && dialed_at >= trial.since
            && self.ringing.len() < 64
        {
            self.ringing.push((leg, now));
        }
    }

    /// A leg was answered, so its ringing shows nothing more.
    pub(super) fn answered(&mut self, leg: u64) {
        self.ringing.retain(|(id, _)| *id != leg);
    }

    /// An answer is over, and it was false or true. `usual`: the share of false answers of the siblings.
    pub(super) fn answer_ended(&mut self, now: Mono, dialed_at: Mono, is_false: bool, usual: f64) {
        self.false_answers.count(is_false, ANSWERS);
        if is_false {
            self.bad_leg(Cause::FalseAnswers);
        } else {
            self.good_leg(now, dialed_at, Cause::FalseAnswers);
        }
        let Share { hits, legs } = self.false_answers;
        let expected = usual.clamp(0.02, 1.0) * legs;
        let unusual = hits - expected > 3.0 * (expected + 0.5).sqrt();
        if hits >= FALSE_MIN && self.false_answers.value() >= FALSE_SHARE_MAX && unusual {
            self.demote(now, Cause::FalseAnswers);
        }
    }

    /// Number of false answers among the last answers, and of these.
    pub(super) fn false_answers(&self) -> (f64, f64) {
        (self.false_answers.hits, self.false_answers.legs)
    }

    /// Share of false answers among the last answers.
    pub(super) fn false_share(&self) -> f64 {
        self.false_answers.value()
    }

    /// True if the trunk is used by probes only.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state, State::Out(_))
    }

    /// Share of failed legs among the last legs.
    pub(super) fn failure_rate(&self) -> f64 {
        self.rates.failed.value()
    }
}

impl Run {
    fn max(&self) -> u32 {
        match self.answer {
            None => FAILED_MAX,
            Some(_) => SAME_ANSWER_MAX,
        }
    }
}
