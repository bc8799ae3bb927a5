//! Compares the attempts with the carrier's log: every contact has an attempt, no number is dialed twice, and each
//! outcome is the one that was played, unless a gap hid it.

use crate::rig::Attempt;
use jiff::Timestamp;
use paceline_lab::{Behaviour, CallEnd, SeenCall};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The longest time from the commit of an attempt to its originate.
const SENT_WITHIN: Duration = Duration::from_millis(50);

/// A period in which ends of calls may have been missed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    from: Timestamp,
    until: Timestamp,
    is_mute: bool,
}

/// The longest time that a change waits to be stored. A killed process loses these changes.
const UNSTORED: Duration = Duration::from_millis(500);
/// The precision of the carrier's times, and of the time at which Paceline is up again.
const BLUR: Duration = Duration::from_millis(200);
/// The longest time that Paceline needs to act on the PBX's state after it resynchronised.
const READ_BACK: Duration = Duration::from_millis(1_500);

impl Gap {
    /// A gap from the start of the first fault until everything is up again. A killed process also loses what it had
    /// not stored. `is_mute`: the PBX was frozen and sent no audio.
    pub(crate) fn new(from: Timestamp, until: Timestamp, is_killed: bool, is_mute: bool) -> Self {
        let lost = if is_killed { UNSTORED } else { Duration::ZERO };
        Self {
            from: from - lost - BLUR,
            until: until + BLUR,
            is_mute,
        }
    }

    /// True if Paceline may have missed an event in this period, or seen its effect only when it resynchronised.
    pub(crate) fn hides(&self, from: Timestamp, until: Timestamp) -> bool {
        from <= self.until + READ_BACK && until >= self.from
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// True if Paceline may have missed the end of a call at that time.
    fn holds(&self, at: Timestamp) -> bool {
        (self.from..=self.until).contains(&at)
    }

    /// True if the attempt was open during the gap, or while Paceline settled what the gap had hidden.
    fn meets(&self, attempt: &Attempt) -> bool {
        self.hides(attempt.created_at, attempt.ended_at)
    }
}

/// The findings of a check.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Contacts whose outcome is the one played.
    pub(crate) exact: usize,
    /// Calls that ended outside every gap.
    pub(crate) seen_to_end: usize,
    /// Calls that met no gap.
    pub(crate) undisturbed: usize,
    /// Attempts whose outcome a gap changed, by kind.
    pub(crate) touched: BTreeMap<String, usize>,
    /// Attempts whose originate failed during a gap, so that another attempt followed.
    pub(crate) not_placed: usize,
    /// True if calls are launched ahead of free agents.
    ahead: bool,
    wrong: Vec<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} exact; {} ended outside every gap, {} were met by none at all; {} not placed and tried again; not exact by a gap: {:?}",
            self.exact, self.seen_to_end, self.undisturbed, self.not_placed, self.touched
        )
    }
}

/// Compares every number's attempts with the carrier's log. Panics with a list of all differences.
pub(crate) fn check(
    numbers: &[String],
    attempts: &BTreeMap<String, Vec<Attempt>>,
    calls: &[SeenCall],
    gaps: &[Gap],
    ahead: bool,
) -> Seen {
    let mut seen = Seen {
        ahead,
        ..Seen::default()
    };
    let mut by_number: BTreeMap<&str, Vec<&SeenCall>> = BTreeMap::new();
    for call in calls {
        by_number.entry(&call.number).or_default().push(call);
    }
    for number in numbers {
        let calls = by_number.get(number.as_str()).map_or(&[][..], Vec::as_slice);
        let mut of_number: Vec<_> = attempts.get(number).into_iter().flatten().collect();
        of_number.sort_by_key(|attempt| attempt.created_at);
        if let Err(wrong) = seen.look_at(&of_number, calls, gaps) {
            let behaviour = Behaviour::of(number).expect("a behaviour");
            let calls: Vec<_> = calls
                .iter()
                .map(|call| (at(call.at_ms), call.answered, call.end, call.ended_at_ms.map(at)))
                .collect();
            seen.wrong.push(format!(
                "{behaviour:?} {wrong}: {of_number:?}, carrier: {calls:?}"
            ));
        }
    }
    assert!(
        seen.wrong.is_empty(),
        "{seen}; {} are wrong:\n{}\ngaps: {gaps:?}",
        seen.wrong.len(),
        seen.wrong.join("\n")
    );
    seen
}

impl Seen {
    fn look_at(&mut self, attempts: &[&Attempt], calls: &[&SeenCall], gaps: &[Gap]) -> Result<(), String> {
        let Some((last, before)) = attempts.split_last() else {
            return Err("was lost".to_owned());
        };
        if calls.len() > 1 {
            return Err(format!("was dialed {} times", calls.len()));
        }
        let met = |attempt: &Attempt| gaps.iter().any(|gap| gap.meets(attempt));
        for attempt in before {
            // The originate failed: the PBX refused it, or the link was lost before it was sent. That the carrier got
            // no second call is checked above.
            if !matches!(attempt.outcome.as_deref(), Some("failed" | "cancelled")) || !met(attempt) {
                return Err("was tried again".to_owned());
            }
            self.not_placed += 1;
        }
        let behaviour = Behaviour::of(&last.number).ok_or("has no behaviour")?;
        let outcome = last.outcome.as_deref().unwrap_or("none");
        let call = calls.first();
        let answered = call.is_some_and(|call| call.answered);
        self.undisturbed += usize::from(!met(last));
        self.seen_to_end += usize::from(call.is_some_and(|call| !ended_in(call, last, gaps)));
        if outcome == behaviour.expected_outcome() {
            if call.is_none() {
                return Err(format!("is {outcome} and was not dialed"));
            }
            if outcome == "answered" && !answered {
                return Err("is answered and did not answer".to_owned());
            }
            if answered && last.connected_at.is_none() && !met(last) && !self.ahead {
                return Err("answered, and was not connected".to_owned());
            }
            self.exact += 1;
            return Ok(());
        }
        let is_excused = match outcome {
            // Its end was missed, or Paceline cannot know if it was ever dialed.
            "unknown" => match call {
                Some(call) => ended_in(call, last, gaps),
                // A gap may begin between the commit and the originate that follows it.
                None => gaps
                    .iter()
                    .any(|gap| gap.holds(last.created_at) || gap.holds(last.created_at + SENT_WITHIN)),
            },
            // It was never dialed, or it rang when its agent was no longer there.
            "cancelled" => met(last) && call.is_none_or(|call| call.end == Some(CallEnd::Cancelled)),
            // It was answered when no agent could be connected. If calls are launched ahead of free agents, that may
            // happen at any time.
            "abandoned" => (met(last) || self.ahead) && answered,
            _ => false,
        };
        if !is_excused {
            return Err(format!("is {outcome}"));
        }
        let how = if call.is_none() { ", never dialed" } else { "" };
        *self
            .touched
            .entry(format!("{behaviour:?} as {outcome}{how}"))
            .or_default() += 1;
        Ok(())
    }
}

/// True if the call ended in a gap. If the callee never replied, the carrier cannot see when the PBX gave up.
fn ended_in(call: &SeenCall, attempt: &Attempt, gaps: &[Gap]) -> bool {
    match (call.end, call.ended_at_ms) {
        (Some(CallEnd::Ignored), _) => gaps.iter().any(|gap| gap.meets(attempt)),
        (_, Some(ended)) => gaps.iter().any(|gap| gap.holds(at(ended))),
        (_, None) => false,
    }
}

pub(crate) fn at(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .expect("a time")
}
