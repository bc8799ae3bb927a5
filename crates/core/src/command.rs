//! The commands of an engine. The shell executes them and decides nothing.

use crate::agent::{AgentReason, AgentState, Wants};
use crate::ids::{AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId};
use crate::input::Lead;
use crate::number::E164;
use crate::outcome::{MessageResult, Outcome};
use crate::pacing::{Learnt, PacingReport};
use crate::pbx::{LegEnd, PbxCommand, Progress, RecordingName};
use crate::time::Wall;
use std::time::Duration;

/// One command. Commands are executed in order. A [`Command::Store`] is written before a later [`Command::Prepare`] is
/// answered, but not before later [`Command::Pbx`] are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Lease up to `limit` due contacts of this campaign's running tasks, and ask the gate for each. The reply is
    /// [`crate::input::Input::Leads`] or [`crate::input::Input::RefillFailed`].
    Refill {
        /// Maximum number of contacts, at least 1.
        limit: usize,
    },
    /// Give these leased contacts back: they are due now, and no attempt was made.
    Return {
        /// The contacts, each with its task.
        contacts: Vec<(TaskId, ContactId)>,
    },
    /// Ask the gate again. If it allows the call, store attempt, leg and decision in one transaction. The reply is
    /// [`crate::input::Input::Prepared`].
    Prepare(NewAttempt),
    /// Store a change. Changes are written in order and in batches. There is no reply.
    Store(Change),
    /// The callee of this attempt asked by a key not to be called any more: put the number on the do-not-call list of every
    /// campaign. It is repeated until it is stored. There is no reply.
    OptOut {
        /// The attempt.
        attempt: AttemptId,
        /// The number.
        number: E164,
        /// Time of the keypress.
        at: Wall,
    },
    /// Show a new state or reason of an agent. There is no reply.
    AgentIs {
        /// The agent's id.
        agent: AgentId,
        /// The new state.
        state: AgentState,
        /// The reason of this state.
        reason: AgentReason,
    },
    /// Show and keep a pacing decision. There is no reply.
    Paced {
        /// The PBX.
        pbx: PbxName,
        /// The decision.
        report: Box<PacingReport>,
    },
    /// Send a command to a PBX.
    Pbx {
        /// The PBX.
        pbx: PbxName,
        /// The command.
        command: PbxCommand,
    },
}

/// An attempt and its first leg, to be stored before dialing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The attempt's id.
    pub attempt: AttemptId,
    /// Its leg's id.
    pub leg: LegId,
    /// The PBX to dial on.
    pub pbx: PbxName,
    /// The trunk to dial over.
    pub trunk: TrunkId,
    /// The contact and its number.
    pub lead: Lead,
    /// Time of the launch.
    pub created_at: Wall,
    /// Ring timeout; the gate must allow the whole time.
    pub ring_timeout: Duration,
}

/// A change to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A leg rings or sends early media. It is stored with the leg's answer or end.
    LegProgressed {
        /// The leg's attempt.
        attempt: AttemptId,
        /// The leg.
        leg: LegId,
        /// Ringing or early media.
        kind: Progress,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// The callee answered.
    Answered {
        /// The attempt.
        attempt: AttemptId,
        /// The answered leg.
        leg: LegId,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// No agent was connected to the callee in time. The attempt is abandoned, and no later event changes that.
    Abandoned {
        /// The attempt.
        attempt: AttemptId,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// Callee and agent are in one bridge.
    Connected {
        /// The attempt.
        attempt: AttemptId,
        /// The agent.
        agent: AgentId,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// A message to an abandoned callee has ended.
    Messaged {
        /// The attempt.
        attempt: AttemptId,
        /// The result.
        result: MessageResult,
        /// Time when the PBX was asked to play it.
        at: Wall,
    },
    /// A leg ended. Its attempt may go on; it ends with [`Change::AttemptEnded`].
    LegEnded {
        /// The leg's attempt.
        attempt: AttemptId,
        /// The leg.
        leg: LegId,
        /// The leg's end, as the PBX reported it.
        end: LegEnd,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// The attempt has its outcome, and its number is released.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// Its last leg, whose end is stored.
        leg: LegId,
        /// The contact's task.
        task: TaskId,
        /// The contact.
        contact: ContactId,
        /// The outcome.
        outcome: Outcome,
        /// Time when its last leg ended.
        at: Wall,
        /// Time when the contact is due again. `None`: it is done.
        retry_at: Option<Wall>,
        /// True if the attempt counts against the task's `retries_max`.
        spends_try: bool,
    },
    /// An agent's state, as shown, and as needed after a crash.
    Agent {
        /// The agent's id.
        agent: AgentId,
        /// The new state.
        state: AgentState,
        /// The PBX of the agent's phone. `None` if offline.
        pbx: Option<PbxName>,
        /// The ringing or held leg, if there is one.
        leg: Option<AgentLegId>,
        /// The agent's latest request. During a call it takes effect after the call.
        wants: Wants,
        /// The reason of the state.
        reason: AgentReason,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// The learnt pacing rates of a PBX. They replace the stored ones.
    Learnt {
        /// The campaign.
        campaign: CampaignId,
        /// The PBX.
        pbx: PbxName,
        /// The learnt pacing rates.
        learnt: Box<Learnt>,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// A recording was requested.
    RecordingAsked {
        /// The name on the PBX.
        recording: RecordingName,
        /// The recorded attempt.
        attempt: AttemptId,
        /// The agent.
        agent: AgentId,
        /// The PBX.
        pbx: PbxName,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// A recording started.
    RecordingStarted {
        /// The recording.
        recording: RecordingName,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
    /// A recording ended or failed.
    RecordingEnded {
        /// The recording.
        recording: RecordingName,
        /// Length if the PBX reports it, or the PBX's reason for the failure.
        result: Result<Option<Duration>, String>,
        /// Time, Unix time in milliseconds.
        at: Wall,
    },
}
