//! What may be in the way of a task, and in which order it matters.

use super::super::RuleCount;
use crate::api::words::Utc;
use paceline_core::gate::{RuleReason, Rulebook};
use paceline_core::live::Idle;
use serde::Serialize;

/// Something that is in the way.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Blocker {
    /// What it is.
    pub(super) kind: BlockerKind,
    /// A number of what `of` says. Null if there is nothing to count.
    #[schema(example = 300)]
    pub(super) count: Option<u64>,
    /// What `count` counts.
    pub(super) of: Option<Counted>,
    /// `true`: `count` is computed from a sample of 1,000 contacts.
    #[schema(example = false)]
    pub(super) estimated: bool,
    /// When it ends, or ends for the first contact. Null if that is not known.
    pub(super) until: Option<Utc>,
    /// The rules of the gate that are behind it, those with the most contacts first.
    pub(super) rules: Vec<RuleCount>,
    /// What it means, and what to do.
    #[schema(example = "300 contacts wait for their calling hours, the first until 2026-11-20T13:00:00Z.")]
    pub(super) explanation: String,
}

impl Blocker {
    pub(super) fn new(kind: BlockerKind, explanation: impl Into<String>) -> Self {
        Self {
            kind,
            count: None,
            of: None,
            estimated: false,
            until: None,
            rules: Vec::new(),
            explanation: explanation.into(),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    Contacts,
    Agents,
    Trunks,
    Pbxes,
    Tasks,
}

/// What is in the way, in the order in which it must go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BlockerKind {
    /// Paceline is not running, or does not run the campaign yet.
    NotRunning,
    /// The task does not run.
    TaskState,
    /// The campaign does not run.
    CampaignState,
    /// Paceline is stopping.
    Draining,
    /// The database failed a moment ago.
    StoreTrouble,
    /// The machine's clock has jumped.
    ClockDoubted,
    /// The link to a PBX is down.
    PbxLink,
    /// A PBX is in maintenance.
    PbxMaintenance,
    /// A PBX refuses calls.
    PbxFull,
    /// No agent is logged in.
    NoAgents,
    /// Every agent is busy.
    NoFreeAgent,
    /// There is no usable trunk.
    NoTrunk,
    /// Calls fail on the trunks.
    TrunkFailing,
    /// No call on the trunks has rung yet.
    TrunkSilent,
    /// The task has no contact left.
    NoContacts,
    /// It is no time to call.
    CallingHours,
    /// Numbers are on a do-not-call list, or on a suppression list.
    DoNotCall,
    /// Contacts have not given the consent that a rule asks for.
    Consent,
    /// The cap of attempts of a rule is reached.
    AttemptCap,
    /// A rule asks for a pause after a conversation, a refusal or an abandoned call.
    Pause,
    /// The outside check has not answered, or says no.
    OutsideCheck,
    /// The number is in no place whose rules are known.
    Place,
    /// Another rule, such as one about the caller id.
    OtherRule,
    /// Contacts wait for a retry.
    Retry,
    /// Another contact has the same number in use.
    NumberInUse,
    /// The engine waits for contacts from the database.
    Refilling,
    /// Agents and abandon rules allow no more calls in flight.
    Pacing,
    /// Other tasks of the campaign take turns.
    OtherTasks,
}

impl BlockerKind {
    pub(super) fn of_idle(reason: Idle) -> Option<Self> {
        Some(match reason {
            Idle::NotActive => Self::CampaignState,
            Idle::Draining => Self::Draining,
            Idle::NoAgents => Self::NoAgents,
            Idle::NoFreeAgent => Self::NoFreeAgent,
            // The contacts themselves say more.
            Idle::NoContacts => return None,
            Idle::PbxDown => Self::PbxLink,
            Idle::PbxMaintenance => Self::PbxMaintenance,
            Idle::PbxFull => Self::PbxFull,
            Idle::NoTrunk => Self::NoTrunk,
            Idle::TrunkFailing => Self::TrunkFailing,
            Idle::TrunkSilent => Self::TrunkSilent,
            Idle::Refilling => Self::Refilling,
            Idle::Pacing => Self::Pacing,
            Idle::ClockDoubted => Self::ClockDoubted,
            Idle::StoreTrouble => Self::StoreTrouble,
        })
    }

    /// The kind of a rule's refusal.
    pub(super) fn of_rule(book: &Rulebook, rule: &RuleReason) -> Self {
        match rule.rule.as_str() {
            _ if rule.profile != "paceline" => {
                let profile = book.profile(&rule.profile);
                let found =
                    profile.and_then(|profile| profile.rules.iter().find(|known| known.id == rule.rule));
                match found.map(|rule| rule.kind()) {
                    Some("hours") => Self::CallingHours,
                    Some("consent") => Self::Consent,
                    Some("attempts") => Self::AttemptCap,
                    Some("pause") => Self::Pause,
                    Some(_) | None => Self::OtherRule,
                }
            }
            "campaign_hours" => Self::CallingHours,
            "suppressed" | "dnc_disposition" => Self::DoNotCall,
            "outside_check" => Self::OutsideCheck,
            "impossible_number" | "no_zone" | "no_profile" | "other_country" => Self::Place,
            _ => Self::OtherRule,
        }
    }

    /// All contacts behind the same blocker compete by their number, not by their kind.
    pub(super) fn rank(self) -> Self {
        if self.is_about_contacts() {
            Self::CallingHours
        } else {
            self
        }
    }

    pub(super) fn is_about_contacts(self) -> bool {
        (Self::CallingHours..=Self::NumberInUse).contains(&self)
    }
}
