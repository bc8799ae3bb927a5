//! Maps the end of a leg to the outcome of its attempt. Sources: measurements on Asterisk and FreeSWITCH, RFC 3261, ITU-T
//! Q.850.

use crate::outcome::Outcome;
use crate::pbx::{EndedBy, LegEnd};

/// The outcome of an attempt whose leg ended before an agent was connected or requested.
///
/// A SIP status is used before the Q.850 cause that was made from it, because it says more. A timeout (SIP 408, cause 18 or
/// 102, or Paceline's ring timeout) without any ringing means that the trunk did not react, not the callee. It is
/// `congestion`, so that a dead trunk uses up no contact.
pub fn unanswered(end: &LegEnd) -> Outcome {
    match end.by {
        EndedBy::RingTimeout => silence(end.progressed),
        EndedBy::Us | EndedBy::NoRoom | EndedBy::Stopped => Outcome::Cancelled,
        EndedBy::Refused => Outcome::Failed,
        EndedBy::Vanished | EndedBy::TakenAway => Outcome::Unknown,
        EndedBy::Network => match (end.sip, end.q850) {
            (Some(sip), q850) => {
                by_sip(sip, end.progressed).unwrap_or_else(|| by_cause(q850, end.progressed))
            }
            (None, q850) => by_cause(q850, end.progressed),
        },
    }
}

fn silence(progressed: bool) -> Outcome {
    if progressed {
        Outcome::NoAnswer
    } else {
        Outcome::Congestion
    }
}

fn by_sip(sip: u16, progressed: bool) -> Option<Outcome> {
    Some(match sip {
        404 | 410 | 484 | 485 | 604 => Outcome::Invalid,
        486 | 600 => Outcome::Busy,
        408 => silence(progressed),
        480 | 487 => Outcome::NoAnswer,
        603 | 607 | 608 => Outcome::Rejected,
        // The carrier refused Paceline's call or account; no callee was reached.
        401..=403 | 407 | 500 | 502..=504 => Outcome::Congestion,
        300..=699 => Outcome::Failed,
        _ => return None,
    })
}

fn by_cause(q850: Option<u16>, progressed: bool) -> Outcome {
    match q850 {
        Some(1 | 22 | 28) => Outcome::Invalid,
        Some(17) => Outcome::Busy,
        Some(18 | 102) => silence(progressed),
        Some(19 | 20) => Outcome::NoAnswer,
        Some(21) => Outcome::Rejected,
        Some(27 | 34 | 38 | 41 | 42) => Outcome::Congestion,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(sip: Option<u16>, q850: Option<u16>, progressed: bool) -> LegEnd {
        LegEnd {
            sip,
            q850,
            progressed,
            ..LegEnd::default()
        }
    }

    #[test]
    fn sip_codes_and_causes_read_as_tabulated() {
        for (sip, q850, progressed, outcome) in [
            (Some(404), Some(1), false, Outcome::Invalid),
            (Some(486), Some(17), true, Outcome::Busy),
            (Some(480), Some(19), true, Outcome::NoAnswer),
            (Some(603), Some(21), true, Outcome::Rejected),
            (Some(503), Some(34), false, Outcome::Congestion),
            (Some(500), Some(38), false, Outcome::Congestion),
            (Some(401), Some(21), false, Outcome::Congestion),
            (Some(403), Some(21), false, Outcome::Congestion),
            (Some(407), Some(21), false, Outcome::Congestion),
            (Some(408), Some(18), false, Outcome::Congestion),
            (Some(408), Some(18), true, Outcome::NoAnswer),
            (Some(488), Some(58), false, Outcome::Failed),
            (None, Some(1), false, Outcome::Invalid),
            (None, Some(18), false, Outcome::Congestion),
            (None, Some(34), false, Outcome::Congestion),
            (None, Some(102), false, Outcome::Congestion),
            (None, Some(0), true, Outcome::Failed),
            (None, None, false, Outcome::Failed),
        ] {
            assert_eq!(
                unanswered(&end(sip, q850, progressed)),
                outcome,
                "{sip:?} {q850:?} {progressed}"
            );
        }
    }

    #[test]
    fn the_ending_side_decides_before_the_cause_of_the_pbx() {
        for (by, outcome) in [
            (EndedBy::RingTimeout, Outcome::NoAnswer),
            (EndedBy::Us, Outcome::Cancelled),
            (EndedBy::Refused, Outcome::Failed),
            (EndedBy::NoRoom, Outcome::Cancelled),
            (EndedBy::Stopped, Outcome::Cancelled),
            (EndedBy::Vanished, Outcome::Unknown),
        ] {
            assert_eq!(
                unanswered(&LegEnd {
                    by,
                    ..end(Some(486), Some(17), true)
                }),
                outcome
            );
        }
    }
}
