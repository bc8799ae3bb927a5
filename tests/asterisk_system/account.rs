//! Compares the counts of the abandon rules with the attempts and with the carrier's log.
//!
//! The attempts say what each answer counts as, and the counts must equal their sum. The carrier's log says what each
//! answer may count as. That is one result, unless a gap hid the call or the callee hung up before the carrier could
//! tell.

use crate::evidence::{Gap, at};
use crate::rig::{Attempt, Site, System, wait_for};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use paceline_lab::SeenCall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The carrier recognises an agent's tone after 100 ms; in a conversation of this length it must recognise it.
const AUDIO_SURE_MS: i64 = 500;
/// The carrier's times and the PBX's differ by less than this: the carrier's log is read every 20 ms, on a busy machine.
const BLUR_MS: i64 = 400;

/// How an early hang-up counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    Ignored,
    Live,
    Abandoned,
}

/// A rule as the campaign's settings name it: all clocks are at the answer, as answers are not judged.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    limit_ms: i64,
    early: Early,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Window {
    Hours(i64),
    Day,
    Month,
    Ever,
}

/// One of each window, each way to count early hang-ups, and two limits. Only the first holds calls back.
const RULES: [Rule; 4] = [
    Rule {
        name: "federal",
        limit_ms: 2_000,
        early: Early::Ignored,
        window: Window::Hours(720),
    },
    Rule {
        name: "day",
        limit_ms: 2_000,
        early: Early::Live,
        window: Window::Day,
    },
    Rule {
        name: "month",
        limit_ms: 3_000,
        early: Early::Abandoned,
        window: Window::Month,
    },
    Rule {
        name: "ever",
        limit_ms: 2_000,
        early: Early::Abandoned,
        window: Window::Ever,
    },
];

/// Live answers, and abandoned ones among them.
type Counted = (u32, u32);

/// The result of an answered call. Every rule counts it in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerResult {
    /// An agent was connected this many milliseconds after the answer.
    Connected(i64),
    /// The callee hung up this many milliseconds after the answer, before an agent was connected.
    HungUp(i64),
    /// Paceline abandoned the call, or its end is unknown.
    Abandoned,
}

impl Rule {
    fn json(&self) -> Value {
        json!({
            "name": self.name, "limit_ms": self.limit_ms, "clock": "connected",
            "ring_ms_min": if self.holds_back() { 15_000 } else { 0 },
            "ratio_max": if self.holds_back() { 0.03 } else { 0.5 },
            "early_hangup": match self.early {
                Early::Ignored => "ignored",
                Early::Live => "live",
                Early::Abandoned => "abandoned",
            },
            "window": match self.window {
                Window::Hours(hours) => json!({ "hours": hours }),
                Window::Day => json!("calendar_day"),
                Window::Month => json!("calendar_month"),
                Window::Ever => json!("campaign"),
            },
        })
    }

    /// The other rules would hold calls back because of early hang-ups, which are frequent in these tests.
    fn holds_back(&self) -> bool {
        self.early == Early::Ignored
    }

    fn counts(&self, result: AnswerResult) -> Counted {
        match (result, self.early) {
            (AnswerResult::Abandoned, _) => (1, 1),
            (AnswerResult::Connected(ms), _) => (1, u32::from(ms > self.limit_ms)),
            (AnswerResult::HungUp(ms), _) if ms > self.limit_ms => (1, 1),
            (AnswerResult::HungUp(_), Early::Ignored) => (0, 0),
            (AnswerResult::HungUp(_), Early::Live) => (1, 0),
            (AnswerResult::HungUp(_), Early::Abandoned) => (1, 1),
        }
    }

    /// The start of the window. The campaigns of these tests use UTC.
    fn since(&self, now: Timestamp) -> Timestamp {
        let today = now.to_zoned(TimeZone::UTC).start_of_day().expect("a day");
        match self.window {
            Window::Hours(hours) => now - hours.hours(),
            Window::Day => today.timestamp(),
            Window::Month => today.first_of_month().expect("a month").timestamp(),
            Window::Ever => Timestamp::UNIX_EPOCH,
        }
    }
}

/// The rules as the campaign's settings contain them.
pub(crate) fn rules() -> Value {
    RULES.iter().map(Rule::json).collect()
}

/// The result by the attempt's row. `None` if there was no answer or the attempt has not ended.
fn told(attempt: &Attempt) -> Option<AnswerResult> {
    let answered_at = attempt.answered_at?;
    let waited_ms = |at: Timestamp| at.as_millisecond() - answered_at.as_millisecond();
    if attempt.abandoned_at.is_some() {
        return Some(AnswerResult::Abandoned);
    }
    if let Some(at) = attempt.connected_at {
        return Some(AnswerResult::Connected(waited_ms(at)));
    }
    match attempt.outcome.as_deref()? {
        "abandoned" | "unknown" => Some(AnswerResult::Abandoned),
        "machine" | "fax" | "screened" => None,
        _ => Some(AnswerResult::HungUp(waited_ms(attempt.ended_at))),
    }
}

/// The findings of a check of the carrier's log.
#[derive(Debug, Default)]
struct Heard {
    /// By rule: the smallest and the largest count that the carrier's log allows.
    least: BTreeMap<&'static str, Counted>,
    most: BTreeMap<&'static str, Counted>,
    /// Answered calls with one possible result by the carrier's log.
    exact: usize,
    /// Answered calls whose answer or result a gap hid.
    hidden: usize,
    /// Those of them whose answer Paceline never saw: their record is `unknown`, and no rule counts them.
    unseen: usize,
    /// Answered calls outside every gap that were too short for the carrier to tell, or too close to a limit.
    undecided: usize,
    /// Connected callees who heard their agent.
    heard: usize,
    /// Connected callees whose conversation was too short to hear, or during which the PBX was frozen.
    unheard: usize,
    /// The greatest difference of the carrier's time of an answer and the row's, outside every gap.
    apart_ms: i64,
    wrong: Vec<String>,
}

/// The counts of each rule equal the attempts and agree with the carrier's log, also after the process is killed.
/// Panics with a list of all differences.
pub(crate) async fn check_account<S: Site>(system: &mut System<S>, campaign: i64, task: i64, gaps: &[Gap]) {
    let rows = stored(system, task).await;
    let attempts: Vec<&Attempt> = rows.values().flatten().collect();
    let mut heard = Heard::default();
    let calls = system.lab.calls();
    for (number, of_number) in &rows {
        let call = calls.iter().find(|call| call.number == *number);
        let last = of_number.iter().max_by_key(|attempt| attempt.created_at);
        for attempt in of_number {
            let call = call.filter(|_| last.is_some_and(|last| last.id == attempt.id));
            heard.look_at(attempt, call, gaps);
        }
    }
    let before = counted(system, campaign).await;
    system.kill();
    system.launch().await;
    let after = counted(system, campaign).await;
    let mut text = String::new();
    for rule in &RULES {
        let since = rule.since(Timestamp::now());
        let in_window = attempts
            .iter()
            .filter(|a| a.answered_at.is_some_and(|at| at >= since));
        let sum = in_window
            .filter_map(|attempt| told(attempt))
            .map(|result| rule.counts(result))
            .fold((0, 0), plus);
        let (least, most) = (heard.least[rule.name], heard.most[rule.name]);
        for (when, accounts) in [("at the end", &before), ("after one more kill", &after)] {
            let account = accounts.get(rule.name);
            if account != Some(&sum) {
                heard.wrong.push(format!(
                    "{}: {account:?} is counted {when}, the attempts say {sum:?}",
                    rule.name
                ));
            }
        }
        if sum.0 < least.0 || sum.0 > most.0 || sum.1 < least.1 || sum.1 > most.1 {
            heard.wrong.push(format!(
                "{}: {sum:?} by the attempts, {least:?} to {most:?} by the carrier",
                rule.name
            ));
        }
        let _ = write!(
            text,
            " {} {}/{} (carrier {}..{}/{}..{})",
            rule.name, sum.1, sum.0, least.1, most.1, least.0, most.0
        );
    }
    println!(
        "abandoned/live by account = attempts:{text}; answered calls: {} decided by the carrier, {} hidden by gaps \
         (answers never seen: {}), {} undecided; connected: {} heard an agent, {} could not; answers at most {} ms apart",
        heard.exact, heard.hidden, heard.unseen, heard.undecided, heard.heard, heard.unheard, heard.apart_ms
    );
    assert!(
        heard.wrong.is_empty(),
        "{} are wrong:\n{}\ngaps: {gaps:?}",
        heard.wrong.len(),
        heard.wrong.join("\n")
    );
}

/// The attempts, after everything is stored.
async fn stored<S: Site>(system: &System<S>, task: i64) -> BTreeMap<String, Vec<Attempt>> {
    let none = "paceline_queue_depth{queue=\"store_changes\"} 0";
    wait_for("what waits to be stored", Duration::from_secs(30), async || {
        system.metrics().await.contains(none).then_some(())
    })
    .await;
    system.attempts(task).await
}

/// The counts of each rule, as the API reports them.
async fn counted<S: Site>(system: &System<S>, campaign: i64) -> BTreeMap<String, Counted> {
    let path = format!("/campaigns/{campaign}/live");
    let accounts = wait_for("the accounts", Duration::from_secs(20), async || {
        let live = system.api.try_get(&path).await?;
        live["abandon"].as_array().filter(|all| !all.is_empty()).cloned()
    })
    .await;
    let whole = |value: &Value| {
        let number = value.as_f64().expect("a number");
        assert!(number >= 0.0 && number.fract() == 0.0, "{number}");
        number as u32
    };
    let count = |account: &Value| {
        let name = account["rule"].as_str().expect("a name").to_owned();
        (
            name,
            (whole(&account["live_answers"]), whole(&account["abandoned"])),
        )
    };
    accounts.iter().map(count).collect()
}

fn plus(a: Counted, b: Counted) -> Counted {
    (a.0 + b.0, a.1 + b.1)
}

/// An answered call, as the carrier saw it.
#[derive(Clone, Copy, Debug)]
struct Answer<'a> {
    call: &'a SeenCall,
    at: Timestamp,
    /// From the answer to its end.
    lasted_ms: i64,
    /// True if a gap may have hidden the answer or its result from Paceline.
    is_hidden: bool,
}

impl<'a> Answer<'a> {
    fn of(call: &'a SeenCall, gaps: &[Gap]) -> Option<Self> {
        let answered_at = at(call.answered_at_ms?);
        let ended_at = call.ended_at_ms.map_or(Timestamp::MAX, at);
        let known_at = call.heard_agent.map_or(ended_at, |after| answered_at + after);
        Some(Self {
            call,
            at: answered_at,
            lasted_ms: ended_at.as_millisecond() - answered_at.as_millisecond(),
            is_hidden: gaps.iter().any(|gap| gap.hides(answered_at, known_at)),
        })
    }

    /// The results that fit what the callee heard.
    fn readings(&self) -> Vec<AnswerResult> {
        let mut readings = Vec::new();
        let mut around = |reading: fn(i64) -> AnswerResult, ms: i64| {
            readings.push(reading(ms));
            // The time is so near to a limit that both sides are possible.
            for limit_ms in RULES.map(|rule| rule.limit_ms) {
                if (ms - limit_ms).abs() <= BLUR_MS {
                    readings.extend([reading(limit_ms), reading(limit_ms + 1)]);
                }
            }
        };
        if let Some(after) = self.call.heard_agent {
            around(
                AnswerResult::Connected,
                i64::try_from(after.as_millis()).expect("short"),
            );
            return readings;
        }
        around(AnswerResult::HungUp, self.lasted_ms);
        if self.lasted_ms <= AUDIO_SURE_MS {
            // The callee hung up before it could hear an agent, but the agent may just have been connected.
            around(AnswerResult::Connected, self.lasted_ms);
        }
        if self.lasted_ms + BLUR_MS > RULES[0].limit_ms {
            readings.push(AnswerResult::Abandoned);
        }
        readings
    }
}

impl Heard {
    fn look_at(&mut self, attempt: &Attempt, call: Option<&SeenCall>, gaps: &[Gap]) {
        let told = told(attempt);
        let answer = call.and_then(|call| Answer::of(call, gaps));
        let allowed = match &answer {
            // If the carrier did not answer, there was no answer, with or without a gap.
            None => vec![None],
            Some(answer) => self.allowed(attempt, answer, gaps),
        };
        for rule in &RULES {
            let counts = |result: &Option<AnswerResult>| result.map_or((0, 0), |result| rule.counts(result));
            let all: Vec<Counted> = allowed.iter().map(counts).collect();
            if !all.contains(&counts(&told)) {
                self.wrong.push(format!(
                    "{}: counted as {told:?}, the carrier says {allowed:?}: {attempt:?}, {answer:?}",
                    rule.name
                ));
            }
            let (least, most) = bounds(&all);
            for (sums, bound) in [(&mut self.least, least), (&mut self.most, most)] {
                let sum = sums.entry(rule.name).or_default();
                *sum = plus(*sum, bound);
            }
        }
        match &answer {
            None => {}
            Some(answer) if answer.is_hidden => self.hidden += 1,
            Some(_) if allowed.len() == 1 => self.exact += 1,
            Some(_) => self.undecided += 1,
        }
        self.unseen += usize::from(answer.is_some() && told.is_none());
        if let Some(connected_at) = attempt.connected_at {
            self.listen(attempt, connected_at, answer.as_ref(), gaps);
        }
    }

    fn allowed(&mut self, attempt: &Attempt, answer: &Answer<'_>, gaps: &[Gap]) -> Vec<Option<AnswerResult>> {
        let mut allowed: Vec<_> = answer.readings().into_iter().map(Some).collect();
        if answer.is_hidden {
            // An unknown result counts as the worst one.
            allowed.push(Some(AnswerResult::Abandoned));
            if gaps
                .iter()
                .any(|gap| gap.is_mute() && gap.hides(answer.at, attempt.ended_at))
            {
                allowed.push(Some(AnswerResult::Connected(0)));
            }
            if let Some(AnswerResult::HungUp(ms)) = told(attempt)
                && answer.call.heard_agent.is_some()
                && answer.lasted_ms <= ms
            {
                // The callee was joined in the gap and hung up before its end: the record says that it hung up before
                // it got an agent. Within the limit that counts in neither term, so the rate can only look worse than
                // it is.
                allowed.push(Some(AnswerResult::HungUp(ms)));
            }
            if attempt.outcome.as_deref() == Some("unknown") {
                // Paceline did not see the answer, and the record says that the evidence is lost.
                allowed.push(None);
            }
        } else if let Some(at) = attempt.answered_at {
            let apart_ms = (at.as_millisecond() - answer.at.as_millisecond()).abs();
            self.apart_ms = self.apart_ms.max(apart_ms);
            if apart_ms > BLUR_MS {
                self.wrong
                    .push(format!("answered {apart_ms} ms apart: {attempt:?}, {answer:?}"));
            }
        }
        allowed
    }

    /// A connected callee heard an agent.
    fn listen(
        &mut self,
        attempt: &Attempt,
        connected_at: Timestamp,
        answer: Option<&Answer<'_>>,
        gaps: &[Gap],
    ) {
        let Some(answer) = answer else {
            let wrong = format!("connected, and the carrier saw no answer: {attempt:?}");
            self.wrong.push(wrong);
            return;
        };
        if answer.call.heard_agent.is_some() {
            self.heard += 1;
            return;
        }
        let over = answer.call.ended_at_ms.map_or(Timestamp::MAX, at);
        let is_short = over.as_millisecond() - connected_at.as_millisecond() <= AUDIO_SURE_MS;
        // A frozen PBX sends no audio.
        let is_mute = gaps
            .iter()
            .any(|gap| gap.is_mute() && gap.hides(connected_at, over));
        if is_short || is_mute {
            self.unheard += 1;
        } else {
            self.wrong
                .push(format!("connected, and heard no agent: {attempt:?}, {answer:?}"));
        }
    }
}

/// The smallest and the largest value of each.
fn bounds(all: &[Counted]) -> (Counted, Counted) {
    let live = || all.iter().map(|counted| counted.0);
    let abandoned = || all.iter().map(|counted| counted.1);
    let least = (live().min(), abandoned().min());
    let most = (live().max(), abandoned().max());
    let known = |bound: Option<u32>| bound.expect("one reading at least");
    ((known(least.0), known(least.1)), (known(most.0), known(most.1)))
}
