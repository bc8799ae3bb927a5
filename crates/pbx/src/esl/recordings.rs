//! Recordings of conversations: a pure state machine beside that of the legs. Input: commands, events of the PBX, replies. Output:
//! commands and events.
//!
//! **Invariant:** a recording starts only after its announcement, if there is one, was played to its end, and it ends if the callee
//! leaves.
//!
//! The PBX records both directions of the callee's channel, so the recording ends with that channel.

use super::command;
use super::outbox::{OnReply, Out};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::mask::mask_numbers;
use paceline_core::pbx::{PbxEvent, RecordingName, Sound};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of recordings at once. One PBX has far fewer agents.
const RECORDINGS_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The PBX was asked whether the announcement's file exists.
    Looking { media: String },
    /// The PBX was asked to play the announcement.
    Announcing,
    /// The PBX was asked whether the recording's file exists already. The recording would overwrite it.
    Clearing,
    /// The PBX was asked to start the recording.
    Starting,
    /// The recording runs.
    Running,
    /// The PBX was asked to stop the recording.
    Stopping,
}

#[derive(Debug)]
struct Recording {
    leg: LegId,
    agent_leg: Option<AgentLegId>,
    path: String,
    stage: Stage,
    /// Stop it as soon as the link is up again.
    stop_asked: bool,
}

/// The PBX's own folders: its `recordings_dir` and its `sounds_dir`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folders {
    pub(super) recordings: String,
    pub(super) sounds: String,
}

/// All recordings that run, and those that will start.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    pub(super) folders: Folders,
    by_name: BTreeMap<String, Recording>,
}

fn fail(recording: &str, reason: &str, out: &mut Out) {
    // A recording of ours always has a valid name.
    if let Ok(recording) = RecordingName::new(recording) {
        let reason = mask_numbers(reason).into_owned();
        out.events
            .push_back(PbxEvent::RecordingFailed { recording, reason });
    }
}

impl Recordings {
    pub(super) fn start(
        &mut self,
        leg: LegId,
        agent_leg: AgentLegId,
        recording: &RecordingName,
        announcement: Option<&Sound>,
        callee_lives: bool,
        out: &mut Out,
    ) {
        let name = recording.as_str().to_owned();
        if !callee_lives {
            return fail(&name, "the callee is gone", out);
        }
        if self.by_name.len() >= RECORDINGS_MAX {
            return fail(&name, "too many recordings at once", out);
        }
        if self.by_name.contains_key(&name) {
            return fail(&name, "a recording of this name runs", out);
        }
        let Some(path) = command::recording_path(&self.folders.recordings, &name) else {
            return fail(&name, "the PBX's recordings_dir is no plain path", out);
        };
        let media = match announcement {
            None => None,
            Some(sound) => match command::sound_file(&self.folders.sounds, sound) {
                Some(file) => Some(file),
                None => return fail(&name, "the PBX's sounds_dir is no plain path", out),
            },
        };
        let stage = match media {
            Some(media) => {
                out.ask(
                    OnReply::AnnouncementFound(name.clone()),
                    command::file_exists(&media),
                );
                Stage::Looking { media }
            }
            None => {
                out.ask(
                    OnReply::AnnouncementFound(name.clone()),
                    command::file_exists(&path),
                );
                Stage::Clearing
            }
        };
        self.by_name.insert(
            name,
            Recording {
                leg,
                agent_leg: Some(agent_leg),
                path,
                stage,
                stop_asked: false,
            },
        );
    }

    pub(super) fn stop(&mut self, recording: &RecordingName, out: &mut Out) {
        self.end(recording.as_str(), "stopped before it began", out);
    }

    /// Stops the recording when the link is up again.
    pub(super) fn stop_later(&mut self, recording: &RecordingName) {
        if let Some(recording) = self.by_name.get_mut(recording.as_str()) {
            recording.stop_asked = true;
        }
    }

    fn end(&mut self, name: &str, reason: &str, out: &mut Out) {
        let Some(recording) = self.by_name.get_mut(name) else {
            return;
        };
        match recording.stage {
            Stage::Looking { .. } | Stage::Announcing | Stage::Clearing => {
                if recording.stage == Stage::Announcing {
                    let agent = recording.agent_leg.map(|agent| agent.0);
                    for leg in [Some(recording.leg.0), agent].into_iter().flatten() {
                        out.ask(OnReply::Nothing, command::stop_playing(leg));
                    }
                }
                fail(name, reason, out);
                self.by_name.remove(name);
            }
            Stage::Starting | Stage::Running => {
                recording.stage = Stage::Stopping;
                out.ask(
                    OnReply::Nothing,
                    command::stop_recording(recording.leg.0, &recording.path),
                );
            }
            Stage::Stopping => {}
        }
    }

    fn names(&self, of: impl Fn(&Recording) -> bool) -> Vec<String> {
        self.by_name
            .iter()
            .filter(|(_, recording)| of(recording))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn callee_left(&mut self, leg: LegId, out: &mut Out) {
        if self.by_name.is_empty() {
            return;
        }
        for name in self.names(|recording| recording.leg == leg) {
            match self.by_name.get(&name).map(|recording| &recording.stage) {
                // The PBX closed the file when the channel ended. The event of that was lost, or comes too late.
                Some(Stage::Starting | Stage::Running | Stage::Stopping) => self.stopped(&name, None, out),
                _ => self.end(&name, "the callee left during the announcement", out),
            }
        }
    }

    /// The callee is with another party, so its recordings end.
    pub(super) fn callee_moved(&mut self, leg: LegId, out: &mut Out) {
        for name in self.names(|recording| recording.leg == leg) {
            self.end(&name, "the callee left during the announcement", out);
        }
    }

    pub(super) fn agent_left(&mut self, agent_leg: AgentLegId, out: &mut Out) {
        if self.by_name.is_empty() {
            return;
        }
        for name in self.names(|recording| recording.agent_leg == Some(agent_leg)) {
            self.end(&name, "the agent left during the announcement", out);
        }
    }

    // --- events and replies of the PBX ------------------------------------------------------------------------

    /// Takes the reply whether a file exists. The announcement's file must exist, and the recording's file must not.
    pub(super) fn announcement_found(&mut self, name: &str, found: bool, out: &mut Out) {
        let Some(recording) = self.by_name.get_mut(name) else {
            return;
        };
        match (&recording.stage, found) {
            (Stage::Looking { media }, true) => {
                out.ask(
                    OnReply::Announced(name.to_owned()),
                    command::play_to_both(recording.leg.0, media),
                );
                recording.stage = Stage::Announcing;
            }
            (Stage::Looking { .. }, false) => {
                fail(name, "the announcement could not be played", out);
                self.by_name.remove(name);
            }
            (Stage::Clearing, true) => {
                fail(name, "there is a recording of this name", out);
                self.by_name.remove(name);
            }
            (Stage::Clearing, false) => {
                recording.stage = Stage::Starting;
                // After a restart, Paceline finds the recording by this mark.
                out.ask(OnReply::Nothing, command::mark_recording(recording.leg.0, name));
                out.ask(
                    OnReply::Recorded(name.to_owned()),
                    command::record(recording.leg.0, &recording.path),
                );
            }
            _ => {}
        }
    }

    pub(super) fn announced(&mut self, name: &str, fine: bool, words: &str, out: &mut Out) {
        let announcing = self
            .by_name
            .get(name)
            .is_some_and(|recording| recording.stage == Stage::Announcing);
        if announcing && !fine {
            fail(name, words, out);
            self.by_name.remove(name);
        }
    }

    /// A playback to a callee ended. `done`: it was played to its end.
    pub(super) fn played(&mut self, leg: LegId, done: bool, out: &mut Out) {
        for name in self.names(|recording| recording.leg == leg && recording.stage == Stage::Announcing) {
            let Some(recording) = self.by_name.get_mut(&name) else {
                continue;
            };
            if done {
                recording.stage = Stage::Clearing;
                out.ask(
                    OnReply::AnnouncementFound(name.clone()),
                    command::file_exists(&recording.path),
                );
            } else {
                fail(&name, "the announcement was broken off", out);
                self.by_name.remove(&name);
            }
        }
    }

    pub(super) fn recorded(&mut self, name: &str, fine: bool, words: &str, out: &mut Out) {
        if fine {
            return;
        }
        self.forget(name, out);
        if self.by_name.remove(name).is_some() {
            fail(name, words.trim_start_matches("-ERR").trim(), out);
        }
    }

    /// The recording is over, and its callee lives on: removes the mark, so that no driver takes the recording over after a gap and
    /// reports a second end.
    pub(super) fn forget(&self, name: &str, out: &mut Out) {
        if let Some(recording) = self.by_name.get(name) {
            out.ask(OnReply::Nothing, command::unmark_recording(recording.leg.0));
        }
    }

    pub(super) fn started(&mut self, name: &str, out: &mut Out) {
        // Others on the PBX may record this channel, too.
        if let Some(recording) = self.by_name.get_mut(name)
            && matches!(recording.stage, Stage::Starting | Stage::Stopping)
        {
            if recording.stage == Stage::Starting {
                recording.stage = Stage::Running;
            }
            if let Ok(recording) = RecordingName::new(name) {
                out.events.push_back(PbxEvent::RecordingStarted { recording });
            }
        }
    }

    pub(super) fn stopped(&mut self, name: &str, ms: Option<u64>, out: &mut Out) {
        if self.by_name.remove(name).is_some()
            && let Ok(recording) = RecordingName::new(name)
        {
            let duration = ms.map(Duration::from_millis);
            out.events
                .push_back(PbxEvent::RecordingEnded { recording, duration });
        }
    }

    // --- after a gap ------------------------------------------------------------------------------------------

    /// Takes over the recording whose mark the leg bears, perhaps from an earlier run. It counts as running: the mark is removed when
    /// the end of a recording is reported.
    pub(super) fn adopt(&mut self, leg: LegId, agent: Option<Uuid>, name: &str) {
        let Some(path) = command::recording_path(&self.folders.recordings, name) else {
            return;
        };
        self.by_name.entry(name.to_owned()).or_insert(Recording {
            leg,
            agent_leg: agent.map(AgentLegId),
            path,
            stage: Stage::Running,
            stop_asked: false,
        });
    }

    /// The link is up again. Recordings that were to be stopped meanwhile are stopped now. A recording that had not been
    /// started fails, because nothing proves that its announcement was played to its end.
    pub(super) fn relinked(&mut self, out: &mut Out) {
        for name in self.names(|_| true) {
            let Some(recording) = self.by_name.get_mut(&name) else {
                continue;
            };
            match recording.stage {
                Stage::Looking { .. } | Stage::Announcing | Stage::Clearing => {
                    self.end(&name, "the link to the PBX broke during the announcement", out);
                }
                // The command or its event may have been lost. Only a stop ensures that nothing is recorded any more.
                Stage::Starting | Stage::Stopping => {
                    recording.stage = Stage::Running;
                    self.end(&name, "", out);
                }
                Stage::Running if recording.stop_asked => self.end(&name, "", out),
                Stage::Running => {}
            }
        }
    }
}
