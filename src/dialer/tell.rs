//! What a campaign's commands and changes are as events for those who follow.

use paceline_core::command::{Change, NewAttempt};
use paceline_core::event::{AlarmKind, CallStep, What};
use paceline_core::ids::AttemptId;
use paceline_core::outcome::MessageFate;
use paceline_core::time::Wall;

/// Nothing is known of a call but how far it has come.
fn call(attempt: AttemptId, step: CallStep) -> What {
    What::Call {
        attempt,
        step,
        trunk: None,
        task: None,
        contact: None,
        agent: None,
        outcome: None,
    }
}

/// A stored attempt that is dialed now.
pub(super) fn dialing(new: &NewAttempt) -> What {
    What::Call {
        attempt: new.attempt,
        step: CallStep::Dialing,
        trunk: Some(new.trunk),
        task: Some(new.lead.task),
        contact: Some(new.lead.contact),
        agent: None,
        outcome: None,
    }
}

/// What a change tells those who follow, and when it happened; `None`: it is for the store alone.
pub(super) fn change(change: &Change) -> Option<(Wall, What)> {
    match change {
        Change::LegProgressed { attempt, at, .. } => Some((*at, call(*attempt, CallStep::Ringing))),
        Change::Answered { attempt, at, .. } => Some((*at, call(*attempt, CallStep::Answered))),
        Change::Abandoned { attempt, at } => Some((*at, call(*attempt, CallStep::Abandoned))),
        Change::Connected { attempt, agent, at } => {
            let what = What::Call {
                attempt: *attempt,
                step: CallStep::Connected,
                trunk: None,
                task: None,
                contact: None,
                agent: Some(*agent),
                outcome: None,
            };
            Some((*at, what))
        }
        Change::Ended {
            attempt,
            task,
            contact,
            outcome,
            at,
            ..
        } => {
            let what = What::Call {
                attempt: *attempt,
                step: CallStep::Ended,
                trunk: None,
                task: Some(*task),
                contact: Some(*contact),
                agent: None,
                outcome: Some(*outcome),
            };
            Some((*at, what))
        }
        Change::Messaged {
            attempt,
            fate: MessageFate::Failed,
            at,
        } => {
            let text = format!(
                "The PBX could not play the message for the abandoned callee of attempt {attempt}. \
                 `paceline doctor` tells whether the sound is there."
            );
            let alarm = AlarmKind::MessageFailed;
            Some((*at, What::Alarm { alarm, text }))
        }
        Change::Messaged {
            fate: MessageFate::Whole | MessageFate::CutShort,
            ..
        }
        | Change::Agent { .. }
        | Change::Learnt { .. }
        | Change::RecordingAsked { .. }
        | Change::RecordingStarted { .. }
        | Change::RecordingEnded { .. } => None,
    }
}
