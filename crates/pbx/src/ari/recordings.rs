//! Recordings of agents' bridges: a pure state machine beside that of the legs. Input: commands, events and replies. Output:
//! requests and events. Nothing is recorded before the announcement was played to its end, and nothing after the callee has left.

use super::outbox::{Outbox, Purpose};
use super::requests;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{PbxEvent, RecordingName, Sound};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of recordings at once. It is far more than one PBX has agents.
const RECORDINGS_MAX: usize = 4096;
/// The prefix of the playback ids of our announcements. The recording's name follows.
const PLAYBACK_PREFIX: &str = "paceline-";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The announcement plays.
    Announcing,
    /// The driver has asked the PBX to record.
    Starting,
    /// The recording runs on the PBX.
    Running,
    /// The driver has asked the PBX to stop the recording.
    Stopping,
}

#[derive(Debug)]
struct Recording {
    leg: LegId,
    agent_leg: AgentLegId,
    stage: Stage,
    /// True if the driver must stop it as soon as the link is up again.
    stop_asked: bool,
}

/// All recordings that run or will start.
pub(super) struct Recordings {
    mark: String,
    by_name: BTreeMap<String, Recording>,
}

fn fail(recording: &str, reason: &str, out: &mut Outbox) {
    // Recordings of others on the PBX may have names that ours cannot have.
    if let Ok(recording) = RecordingName::new(recording) {
        let reason = reason.to_owned();
        out.events
            .push_back(PbxEvent::RecordingFailed { recording, reason });
    }
}

impl Recordings {
    pub(super) fn new(mark: String) -> Self {
        Self {
            mark,
            by_name: BTreeMap::new(),
        }
    }

    pub(super) fn start(
        &mut self,
        leg: LegId,
        agent_leg: AgentLegId,
        recording: &RecordingName,
        announcement: Option<&Sound>,
        callee_lives: bool,
        out: &mut Outbox,
    ) {
        let name = recording.as_str().to_owned();
        if !callee_lives {
            return fail(&name, "the callee is gone", out);
        }
        if self.by_name.len() >= RECORDINGS_MAX {
            return fail(&name, "too many recordings at once", out);
        }
        let stage = match announcement {
            Some(sound) => {
                let playback = format!("{PLAYBACK_PREFIX}{name}");
                let request = requests::play(&self.mark, agent_leg.0, &playback, sound);
                out.ask(leg.0, Purpose::Announced(name.clone()), request);
                Stage::Announcing
            }
            None => {
                self.ask_to_record(leg, agent_leg, &name, out);
                Stage::Starting
            }
        };
        self.by_name.insert(
            name,
            Recording {
                leg,
                agent_leg,
                stage,
                stop_asked: false,
            },
        );
    }

    fn ask_to_record(&self, leg: LegId, agent_leg: AgentLegId, name: &str, out: &mut Outbox) {
        // Asterisk does not list running recordings. If we crash, this variable gives the next run the recording's name.
        let mark = requests::set_variable(agent_leg.0, requests::RECORDING_VARIABLE, name);
        out.ask(leg.0, Purpose::Nothing, mark);
        let request = requests::record(&self.mark, agent_leg.0, name);
        out.ask(leg.0, Purpose::Recorded(name.to_owned()), request);
    }

    pub(super) fn stop(&mut self, recording: &RecordingName, out: &mut Outbox) {
        self.end(recording.as_str(), "stopped before it began", out);
    }

    /// Handles the stop command while the link is down. The recording is stopped when the link is up again.
    pub(super) fn stop_later(&mut self, recording: &RecordingName) {
        if let Some(recording) = self.by_name.get_mut(recording.as_str()) {
            recording.stop_asked = true;
        }
    }

    fn end(&mut self, name: &str, reason: &str, out: &mut Outbox) {
        let Some(recording) = self.by_name.get_mut(name) else {
            return;
        };
        let key = recording.leg.0;
        match recording.stage {
            Stage::Announcing => {
                let request = requests::stop_playback(&format!("{PLAYBACK_PREFIX}{name}"));
                out.ask(key, Purpose::Nothing, request);
                fail(name, reason, out);
                self.by_name.remove(name);
            }
            Stage::Starting | Stage::Running => {
                recording.stage = Stage::Stopping;
                out.ask(key, Purpose::Nothing, requests::stop_recording(name));
            }
            Stage::Stopping => {}
        }
    }

    fn end_all(&mut self, of: impl Fn(&Recording) -> bool, reason: &str, out: &mut Outbox) {
        if self.by_name.is_empty() {
            return;
        }
        let names: Vec<String> = self
            .by_name
            .iter()
            .filter(|(_, recording)| of(recording))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.end(&name, reason, out);
        }
    }

    pub(super) fn callee_left(&mut self, leg: LegId, out: &mut Outbox) {
        self.end_all(
            |recording| recording.leg == leg,
            "the callee left during the announcement",
            out,
        );
    }

    pub(super) fn agent_left(&mut self, agent_leg: AgentLegId, out: &mut Outbox) {
        self.end_all(
            |recording| recording.agent_leg == agent_leg,
            "the agent left during the announcement",
            out,
        );
    }

    // --- events and replies ---------------------------------------------------------------------------------

    pub(super) fn announced(&mut self, name: &str, fine: bool, words: &str, out: &mut Outbox) {
        let announcing = self
            .by_name
            .get(name)
            .is_some_and(|recording| recording.stage == Stage::Announcing);
        if announcing && !fine {
            fail(name, words, out);
            self.by_name.remove(name);
        }
    }

    pub(super) fn playback_finished(&mut self, playback: &str, played: bool, out: &mut Outbox) {
        let Some(name) = playback.strip_prefix(PLAYBACK_PREFIX) else {
            return;
        };
        let Some(recording) = self.by_name.get_mut(name) else {
            return;
        };
        if recording.stage != Stage::Announcing {
            return;
        }
        if played {
            recording.stage = Stage::Starting;
            let (leg, agent_leg) = (recording.leg, recording.agent_leg);
            self.ask_to_record(leg, agent_leg, name, out);
        } else {
            fail(name, "the announcement could not be played", out);
            self.by_name.remove(name);
        }
    }

    pub(super) fn recorded(&mut self, name: &str, fine: bool, words: &str, out: &mut Outbox) {
        if !fine && self.by_name.remove(name).is_some() {
            fail(name, words, out);
        }
    }

    pub(super) fn started(&mut self, name: &str, out: &mut Outbox) {
        if let Some(recording) = self.by_name.get_mut(name)
            && recording.stage == Stage::Starting
        {
            recording.stage = Stage::Running;
        }
        if let Ok(recording) = RecordingName::new(name) {
            out.events.push_back(PbxEvent::RecordingStarted { recording });
        }
    }

    pub(super) fn finished(&mut self, name: &str, duration_s: Option<u64>, out: &mut Outbox) {
        self.by_name.remove(name);
        if let Ok(recording) = RecordingName::new(name) {
            let duration = duration_s.map(Duration::from_secs);
            out.events
                .push_back(PbxEvent::RecordingEnded { recording, duration });
        }
    }

    pub(super) fn failed(&mut self, name: &str, cause: Option<&str>, out: &mut Outbox) {
        self.by_name.remove(name);
        fail(name, cause.unwrap_or("the PBX gave no reason"), out);
    }

    // --- after a gap ------------------------------------------------------------------------------------------

    /// Asks the PBX for the state of each recording after a gap in its events.
    pub(super) fn check(&mut self, out: &mut Outbox) {
        let names: Vec<(String, Uuid, Stage, bool)> = self
            .by_name
            .iter()
            .map(|(name, recording)| {
                (
                    name.clone(),
                    recording.leg.0,
                    recording.stage,
                    recording.stop_asked,
                )
            })
            .collect();
        for (name, key, stage, stop_asked) in names {
            if stop_asked || stage == Stage::Announcing {
                // It is unknown whether an announcement was played to its end during the gap.
                self.end(&name, "the link to the PBX broke during the announcement", out);
            }
            if stage != Stage::Announcing {
                let request = requests::live_recording(&name);
                out.ask(key, Purpose::RecordingChecked(name), request);
            }
        }
    }

    pub(super) fn checked(&mut self, name: &str, lives: bool, out: &mut Outbox) {
        if !lives && self.by_name.contains_key(name) {
            self.finished(name, None, out);
        }
    }

    /// Takes over a running recording of an earlier run. If its callee is gone, the recording ends.
    pub(super) fn adopt(
        &mut self,
        agent_leg: AgentLegId,
        callee: Option<LegId>,
        name: String,
        out: &mut Outbox,
    ) {
        let recording = Recording {
            leg: callee.unwrap_or(LegId(agent_leg.0)),
            agent_leg,
            stage: Stage::Running,
            stop_asked: false,
        };
        self.by_name.insert(name.clone(), recording);
        if callee.is_none() {
            self.end(&name, "its callee is gone", out);
        }
    }
}
