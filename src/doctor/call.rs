//! One test call over one trunk. Input: a trunk and a number. Output: [`Call`]. The call belongs to no campaign, so it does
//! not disturb a running Paceline, and it has a time limit on the PBX. The interpretation is the same for all PBXes and is
//! here; [`ari`] and [`esl`] place the call.

mod ari;
mod esl;

pub(super) use ari::place as over_ari;
pub(super) use esl::place as over_esl;

use super::Grade;
use super::gate::AskGate;
use paceline_core::number::E164;
use paceline_core::pbx::CallerId;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Maximum ring time.
pub(super) const RING_S: u64 = 30;
/// An answered call is observed for this time. The statistics of its media come after five seconds.
const LISTEN: Duration = Duration::from_secs(6);
/// The PBX ends the call after this time, even if Paceline dies.
const LIMIT_S: u64 = 60;

/// The test call to place.
#[derive(Clone, Debug)]
pub struct CallPlan {
    /// The trunk.
    pub trunk: String,
    /// The called number.
    pub number: E164,
    /// The caller id. `None`: that of the trunk.
    pub caller_id: Option<CallerId>,
    /// The choice whether the do-not-call list and the calling hours apply.
    pub gate: AskGate,
}

/// The result of a test call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// Fine: it was answered, and audio arrived if it could be counted. Warning: the trunk works, but no audio arrived.
    pub grade: Grade,
    /// The events in order, with seconds since the start.
    pub seen: Vec<String>,
    /// The meaning of the result, and the advice.
    pub verdict: String,
}

impl Call {
    /// The gate refused the call.
    pub(super) fn not_placed(why: &str) -> Self {
        Self::default().ends(format!(
            "not placed: {why}. To call a phone of your own all the same, add `--without-gate`"
        ))
    }

    fn saw(&mut self, started: Instant, what: impl std::fmt::Display) {
        let seconds = started.elapsed().as_secs_f64();
        self.seen.push(format!("{seconds:.1} s: {what}"));
    }

    fn ends(mut self, verdict: impl Into<String>) -> Self {
        self.verdict = verdict.into();
        self
    }
}

/// The advice for a trunk on one kind of PBX, by the cause of the problem.
struct Cures {
    credentials: &'static str,
    codecs: &'static str,
    reach: &'static str,
    media: &'static str,
}

/// The finding from the audio packets of an answered call. `None`: they cannot be counted.
fn heard(mut call: Call, started: Instant, received: Option<u64>, cures: &Cures) -> Call {
    let Some(received) = received else {
        call.saw(
            started,
            "its media cannot be counted, as it goes through the dialplan",
        );
        call.grade = Grade::Fine;
        return call.ends("it was answered: the trunk works; whether it can be heard is for a person to say");
    };
    call.saw(started, format!("{received} packets of audio received"));
    if received > 0 {
        call.grade = Grade::Fine;
        call.ends("it was answered and can be heard: the trunk works")
    } else {
        call.ends(format!("it was answered and no audio came: {}", cures.media))
    }
}

/// The finding for an answered call that the callee ended before its audio could be counted.
fn hung_up_early(mut call: Call) -> Call {
    call.grade = Grade::Fine;
    call.ends(
        "it was answered and soon hung up: the trunk works; whether it can be heard is for a person to say",
    )
}

/// The finding for a call that was not answered.
fn meant(mut call: Call, cause: u64, sip: Option<u64>, cures: &Cures) -> Call {
    if matches!(
        (sip, cause),
        (Some(480 | 483 | 486 | 600 | 603), _) | (None, 17 | 19 | 21)
    ) {
        call.grade = Grade::Warning;
    }
    call.ends(meaning(cause, sip, cures))
}

fn meaning(cause: u64, sip: Option<u64>, cures: &Cures) -> String {
    match (sip, cause) {
        (Some(401 | 403 | 407), _) => format!("the carrier does not let us in: {}", cures.credentials),
        (Some(488 | 606), _) | (_, 58 | 65 | 88) => {
            format!("the carrier takes none of the codecs that are offered: {}", cures.codecs)
        }
        (Some(404 | 484 | 485 | 604), _) | (_, 1 | 3 | 28) => {
            "the carrier does not know the number in this form: see whether it wants {digits} in place of {number}, or a prefix"
                .to_owned()
        }
        (Some(486 | 600), _) | (_, 17) => "the line was busy: the trunk works as far as that".to_owned(),
        (Some(480 | 483), _) | (_, 19) => {
            "it rang and nobody answered: the trunk works as far as that".to_owned()
        }
        (Some(408), _) | (_, 18 | 20 | 102) => format!("the carrier does not answer: {}", cures.reach),
        (Some(603), _) | (_, 21) => {
            "the call was refused: by the callee, or by the carrier for its caller id".to_owned()
        }
        (Some(500..=599), _) | (_, 27 | 34 | 38 | 41 | 42) => {
            format!("the carrier has no way to that number now, or is not there: try another number, then {}", cures.reach)
        }
        _ => "it was not answered; the cause says why".to_owned(),
    }
}
