//! Recordings on the simulated PBX. Each follows a conversation and ends with it.

use super::{Recording, SimPbx, Who};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{PbxEvent, RecordingName};
use std::time::Duration;

impl SimPbx {
    pub(super) fn record(&mut self, leg: LegId, agent_leg: AgentLegId, name: RecordingName, announced: bool) {
        let fails = self.link.recording_fails();
        let talks = self
            .callees
            .get(&leg)
            .is_some_and(|c| c.with() == Some(agent_leg));
        if fails || !talks || self.recordings.contains_key(&name) {
            let reason = if talks {
                "the PBX could not record"
            } else {
                "no such bridge"
            }
            .to_owned();
            return self.report(
                leg.0,
                PbxEvent::RecordingFailed {
                    recording: name,
                    reason,
                },
            );
        }
        let starts_at = self.now
            + if announced {
                self.config.announcement
            } else {
                Duration::ZERO
            };
        self.agenda.insert((starts_at, Who::Recording(name.clone())));
        self.recordings.insert(
            name,
            Recording {
                leg,
                agent_leg,
                starts_at,
                started: false,
            },
        );
    }

    pub(super) fn end_recordings(&mut self, which: impl Fn(&Recording) -> bool) {
        let names: Vec<RecordingName> = self
            .recordings
            .iter()
            .filter(|(_, r)| which(r))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.end_recording(&name);
        }
    }

    /// Ends the recording with this name, if there is one.
    pub(super) fn end_recording(&mut self, name: &RecordingName) -> bool {
        let Some(recording) = self.recordings.remove(name) else {
            return false;
        };
        self.agenda
            .remove(&(recording.starts_at, Who::Recording(name.clone())));
        let event = if recording.started {
            let duration = Some(self.now.since(recording.starts_at));
            PbxEvent::RecordingEnded {
                recording: name.clone(),
                duration,
            }
        } else {
            let reason = "the call ended before the recording began".to_owned();
            PbxEvent::RecordingFailed {
                recording: name.clone(),
                reason,
            }
        };
        self.report(recording.leg.0, event);
        true
    }
}
