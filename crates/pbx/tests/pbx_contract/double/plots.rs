//! The behaviour of the callees and phones of the double.

use paceline_lab::{Behaviour, PhoneBehaviour};
use std::time::Duration;

/// The behaviour of a far end.
#[derive(Default)]
pub(super) struct Plot {
    pub(super) rings: Option<Duration>,
    pub(super) early_media: Option<Duration>,
    pub(super) silent: Option<Duration>,
    pub(super) refuses: Option<(&'static str, u16, u16)>,
    pub(super) never_answers: bool,
    pub(super) hangs_up_after: Option<Duration>,
}

const BUSY: (&str, u16, u16) = ("USER_BUSY", 17, 486);
const REJECTED: (&str, u16, u16) = ("CALL_REJECTED", 21, 603);
const UNREACHABLE: (&str, u16, u16) = ("NO_USER_RESPONSE", 18, 480);
const TIMER: (&str, u16, u16) = ("RECOVERY_ON_TIMER_EXPIRE", 102, 408);

fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

pub(super) fn callee(behaviour: Behaviour) -> Plot {
    let failure = |sip| Some(("NORMAL_TEMPORARY_FAILURE", 41, sip));
    let (rings, refuses, hangs_up_after) = match behaviour {
        Behaviour::TalksBriefly => (ms(200), None, ms(2_500)),
        Behaviour::Talks => (ms(200), None, None),
        Behaviour::RingsThenTalks => (ms(1_000), None, None),
        Behaviour::AnswersAtOnce | Behaviour::EarlyMedia => (None, None, None),
        Behaviour::HangsUpEarly => (ms(200), None, ms(300)),
        Behaviour::Busy => (None, Some(BUSY), None),
        Behaviour::Rings => (ms(0), None, None),
        Behaviour::Declines => (ms(300), Some(REJECTED), None),
        Behaviour::NotFound => (None, Some(("UNALLOCATED_NUMBER", 1, 404)), None),
        Behaviour::Unavailable => (None, Some(UNREACHABLE), None),
        Behaviour::Congested => (None, failure(503), None),
        Behaviour::ServerError => (None, failure(500), None),
        Behaviour::Silent => (None, Some(TIMER), None),
        Behaviour::Machine | Behaviour::Fax | Behaviour::Screener | Behaviour::Intercept => {
            (ms(200), None, ms(15_000))
        }
    };
    Plot {
        rings,
        refuses,
        hangs_up_after,
        early_media: (behaviour == Behaviour::EarlyMedia).then_some(Duration::from_secs(1)),
        silent: (behaviour == Behaviour::Silent).then_some(Duration::from_millis(6_400)),
        never_answers: behaviour == Behaviour::Rings,
    }
}

pub(super) fn phone(behaviour: PhoneBehaviour) -> Plot {
    let refuses = |how| Plot {
        refuses: Some(how),
        ..Plot::default()
    };
    match behaviour {
        PhoneBehaviour::Answers { after } => Plot {
            rings: Some(after),
            ..Plot::default()
        },
        PhoneBehaviour::Rings => Plot {
            rings: ms(0),
            never_answers: true,
            ..Plot::default()
        },
        PhoneBehaviour::Busy => refuses(BUSY),
        PhoneBehaviour::Declines => refuses(REJECTED),
        PhoneBehaviour::Unreachable => refuses(UNREACHABLE),
        PhoneBehaviour::Silent => Plot {
            silent: ms(6_400),
            ..refuses(TIMER)
        },
    }
}
