//! Converts a campaign's commands, changes and warnings to events of the event stream.

use paceline_core::command::{Change, NewAttempt};
use paceline_core::event::{AlarmKind, CallProgress, What};
use paceline_core::live::Warning;
use paceline_core::time::Wall;

/// The event for an attempt that is dialed now.
pub(super) fn dialing(new: &NewAttempt) -> What {
    What::Call {
        attempt: new.attempt,
        progress: CallProgress::Dialing {
            trunk: new.trunk,
            task: new.lead.task,
            contact: new.lead.contact,
        },
    }
}

/// The event for a change, with the change's time. `None` if the event stream does not show this kind of change.
pub(super) fn change(change: &Change) -> Option<(Wall, What)> {
    let (attempt, at, progress) = match change {
        Change::LegProgressed { attempt, at, .. } => (*attempt, *at, CallProgress::Ringing),
        Change::Answered { attempt, at, .. } => (*attempt, *at, CallProgress::Answered),
        Change::Abandoned { attempt, at } => (*attempt, *at, CallProgress::Abandoned),
        Change::Connected { attempt, agent, at } => {
            (*attempt, *at, CallProgress::Connected { agent: *agent })
        }
        Change::AttemptEnded {
            attempt,
            task,
            contact,
            outcome,
            at,
            ..
        } => {
            let (task, contact, outcome) = (*task, *contact, *outcome);
            let progress = CallProgress::Ended {
                task,
                contact,
                outcome,
            };
            (*attempt, *at, progress)
        }
        Change::Messaged { .. }
        | Change::LegEnded { .. }
        | Change::Agent { .. }
        | Change::Learnt { .. }
        | Change::RecordingAsked { .. }
        | Change::RecordingStarted { .. }
        | Change::RecordingEnded { .. } => return None,
    };
    Some((at, What::Call { attempt, progress }))
}

/// The alarm for an engine's warning, with its text. `None` for a warning that no engine raises.
pub(super) fn warning(warning: Warning, campaign: &str) -> Option<(AlarmKind, String)> {
    match warning {
        Warning::MessageFailed => {
            let text = format!(
                "The PBX could not play the abandon message of campaign `{campaign}`: abandoned callees hear nothing. `paceline doctor` \
                 tells whether the PBX has the sound."
            );
            Some((AlarmKind::MessageFailed, text))
        }
        Warning::RecordingsFailed => {
            let text = format!(
                "Several recordings in a row of campaign `{campaign}` have failed. GET /api/v1/recordings tells what the PBX said."
            );
            Some((AlarmKind::RecordingsFailed, text))
        }
        Warning::SoundUnchecked => None,
    }
}
