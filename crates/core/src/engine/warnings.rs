//! Warnings: failures of messages and recordings that do not stop the calls. A warning stays until the next success.

use super::Engine;
use crate::campaign::CampaignConfig;
use crate::ids::PbxName;
use crate::live::Warning;
use crate::outcome::MessageResult;
use std::collections::BTreeSet;

/// A single recording can fail because the callee hangs up at that moment. This many failures in a row have another cause.
const RECORDINGS_FAILED_MIN: u32 = 5;

/// The latest failures.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    /// PBXes that could not play their last abandon message. Each PBX is counted by itself, because one may have the sound
    /// and another not.
    messages: BTreeSet<PbxName>,
    /// Number of recordings in a row that failed.
    recordings: u32,
}

impl Failures {
    pub(super) fn message_ended(&mut self, pbx: &PbxName, result: MessageResult) {
        match result {
            MessageResult::Whole => {
                self.messages.remove(pbx);
            }
            MessageResult::Failed => {
                self.messages.insert(pbx.clone());
            }
            // A message that was cut short shows neither a success nor a failure.
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

    /// Forgets failures that the new settings may have corrected.
    pub(super) fn configured(&mut self, old: &CampaignConfig, new: &CampaignConfig) {
        let used = |pbx: &PbxName| new.trunks.iter().any(|trunk| &trunk.pbx == pbx);
        self.messages.retain(used);
        let (old, new) = (&old.settings, &new.settings);
        if old.answering.abandon_message != new.answering.abandon_message {
            self.messages.clear();
        }
        if old.recording != new.recording {
            self.recordings = 0;
        }
    }
}

impl Engine {
    /// The present warnings.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let messages = !self.failures.messages.is_empty();
        let message = messages.then_some(Warning::MessageFailed);
        let recordings = self.failures.recordings >= RECORDINGS_FAILED_MIN;
        message
            .into_iter()
            .chain(recordings.then_some(Warning::RecordingsFailed))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_one_pbx_has_does_not_hide_that_another_has_not() {
        let [with, without] = ["with", "without"].map(PbxName::new);
        let mut failures = Failures::default();
        for pbx in [&without, &with, &without, &with] {
            let result = if pbx == &with {
                MessageResult::Whole
            } else {
                MessageResult::Failed
            };
            failures.message_ended(pbx, result);
            assert!(!failures.messages.is_empty());
        }
        failures.message_ended(&without, MessageResult::CutShort);
        assert!(!failures.messages.is_empty(), "nothing is known of that one");
        failures.message_ended(&without, MessageResult::Whole);
        assert!(failures.messages.is_empty());
    }
}
