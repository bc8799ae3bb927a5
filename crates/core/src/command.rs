//! What an engine wants done. The shell carries it out and has no choices left.

use crate::agent::{AgentReason, AgentState, Wants};
use crate::ids::{AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId};
use crate::input::Lead;
use crate::outcome::{MessageResult, Outcome};
use crate::pacing::{Learnt, PacingReport};
use crate::pbx::{LegEnd, PbxCommand, Progress, RecordingName};
use crate::time::Wall;
use std::time::Duration;

/// One thing to do. Commands are carried out in order; a [`Command::Store`] is written before any later
/// [`Command::Prepare`] is answered, though not before later [`Command::Pbx`] are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Lease up to `limit` due contacts of this campaign's running tasks, asking the gate for each; feed back
    /// [`crate::input::Input::Leads`] or [`crate::input::Input::RefillFailed`].
    Refill {
        /// How many, at least 1.
        limit: usize,
    },
    /// Give these leased contacts back untouched: due now, no attempt made.
    Return {
        /// Which.
        contacts: Vec<(TaskId, ContactId)>,
    },
    /// Ask the gate again and, where it allows, store attempt, leg and decision in one transaction; feed back
    /// [`crate::input::Input::Prepared`].
    Prepare(NewAttempt),
    /// Store a change. Batched and in order; nothing is fed back.
    Store(Change),
    /// Show that an agent is in another state, or in the same for another reason. Nothing is fed back.
    AgentIs {
        /// Who.
        agent: AgentId,
        /// In which state.
        state: AgentState,
        /// Why.
        reason: AgentReason,
    },
    /// Show and keep how many calls it was decided to launch on a switch, and why. Nothing is fed back.
    Paced {
        /// On which.
        pbx: PbxName,
        /// What was decided.
        report: Box<PacingReport>,
    },
    /// Tell a switch.
    Pbx {
        /// Which.
        pbx: PbxName,
        /// What.
        command: PbxCommand,
    },
}

/// An attempt and its first leg, to be stored before it is dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The attempt's id.
    pub attempt: AttemptId,
    /// Its leg's id.
    pub leg: LegId,
    /// The switch to dial on.
    pub pbx: PbxName,
    /// The trunk to dial over.
    pub trunk: TrunkId,
    /// Whom.
    pub lead: Lead,
    /// When it was decided.
    pub created_at: Wall,
    /// How long it may ring: the gate's margin.
    pub ring_timeout: Duration,
}

/// A change of state to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A leg rings, or sends early media. Stored with the leg's answer or end.
    LegProgressed {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which.
        leg: LegId,
        /// Which of the two.
        kind: Progress,
        /// When.
        at: Wall,
    },
    /// The callee answered.
    Answered {
        /// Which attempt.
        attempt: AttemptId,
        /// By which leg.
        leg: LegId,
        /// When.
        at: Wall,
    },
    /// A person is given up, whom no agent took in time: abandoned from now on, whatever comes.
    Abandoned {
        /// Which attempt.
        attempt: AttemptId,
        /// When.
        at: Wall,
    },
    /// Callee and agent are in one bridge.
    Connected {
        /// Which attempt.
        attempt: AttemptId,
        /// With whom.
        agent: AgentId,
        /// When.
        at: Wall,
    },
    /// A message was played to a person whom no agent took in time.
    Messaged {
        /// Which attempt.
        attempt: AttemptId,
        /// What became of it.
        fate: MessageResult,
        /// When the switch was asked to play it.
        at: Wall,
    },
    /// A leg ended. Its attempt may live on: it ends by [`Change::AttemptEnded`].
    LegEnded {
        /// Of which attempt.
        attempt: AttemptId,
        /// Its id.
        leg: LegId,
        /// How, raw.
        end: LegEnd,
        /// When.
        at: Wall,
    },
    /// The attempt has its outcome. Its number is free again.
    AttemptEnded {
        /// Its id.
        attempt: AttemptId,
        /// Its last leg, whose end is stored.
        leg: LegId,
        /// For which task.
        task: TaskId,
        /// At which contact.
        contact: ContactId,
        /// What the line did.
        outcome: Outcome,
        /// When its last leg ended.
        at: Wall,
        /// When the contact is due again; `None`: done.
        retry_at: Option<Wall>,
        /// Whether it counts against the task's `retries_max`.
        spends_try: bool,
    },
    /// An agent's state as shown and as needed after a crash.
    Agent {
        /// Who.
        agent: AgentId,
        /// Now.
        state: AgentState,
        /// The switch of the agent's phone, unless offline.
        pbx: Option<PbxName>,
        /// The ringing or held leg, if any.
        leg: Option<AgentLegId>,
        /// What the agent wants once free.
        wants: Wants,
        /// The reason of the state.
        reason: AgentReason,
        /// When.
        at: Wall,
    },
    /// What pacing has learnt of how calls on a switch go, in place of what was stored before.
    Learnt {
        /// For which campaign.
        campaign: CampaignId,
        /// On which switch.
        pbx: PbxName,
        /// What.
        learnt: Box<Learnt>,
        /// When.
        at: Wall,
    },
    /// A recording was asked for.
    RecordingAsked {
        /// Its name on the switch.
        recording: RecordingName,
        /// Of which attempt.
        attempt: AttemptId,
        /// With whom.
        agent: AgentId,
        /// On which switch.
        pbx: PbxName,
        /// When.
        at: Wall,
    },
    /// It runs.
    RecordingStarted {
        /// Which.
        recording: RecordingName,
        /// When.
        at: Wall,
    },
    /// It is complete, or could not be made.
    RecordingEnded {
        /// Which.
        recording: RecordingName,
        /// How long, where the switch tells; or why not, in the switch's words.
        result: Result<Option<Duration>, String>,
        /// When.
        at: Wall,
    },
}
