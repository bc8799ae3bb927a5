//! What fails again and again though calls go on, until it goes well again.

use super::Engine;
use crate::campaign::CampaignConfig;
use crate::live::Warning;
use crate::outcome::MessageResult;

/// One recording fails where its callee hangs up at that moment. So many in a row have another reason.
const RECORDINGS_FAILED_MIN: u32 = 5;

/// What failed last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    /// The PBX could not play the last abandon message.
    message: bool,
    /// Recordings in a row that came to nothing.
    recordings: u32,
}

impl Failures {
    pub(super) fn message_ended(&mut self, fate: MessageResult) {
        match fate {
            MessageResult::Whole => self.message = false,
            MessageResult::Failed => self.message = true,
            // Whether any of it was heard is not known.
            MessageResult::CutShort => {}
        }
    }

    pub(super) fn recording_ended(&mut self, well: bool) {
        self.recordings = if well {
            0
        } else {
            self.recordings.saturating_add(1)
        };
    }

    /// Other settings are given the benefit of the doubt.
    pub(super) fn configured(&mut self, old: &CampaignConfig, new: &CampaignConfig) {
        let (old, new) = (&old.settings, &new.settings);
        if old.answering.abandon_message != new.answering.abandon_message {
            self.message = false;
        }
        if old.recording != new.recording {
            self.recordings = 0;
        }
    }
}

impl Engine {
    /// What is not as it should be, though calls go on.
    pub fn warnings(&self) -> Vec<Warning> {
        let message = self.failures.message.then_some(Warning::MessageFailed);
        let recordings = self.failures.recordings >= RECORDINGS_FAILED_MIN;
        message
            .into_iter()
            .chain(recordings.then_some(Warning::RecordingsFailed))
            .collect()
    }
}
