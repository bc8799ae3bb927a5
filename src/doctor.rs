//! Checks the PBXes. Input: the configuration, and the trunks and agents of the store. Output: a [`Report`] with everything
//! that was found, what is missing or wrong, and what to write instead. It changes nothing on a PBX. Start at [`examine`].
//! [`ari`] (with [`ami`] for queues) and [`esl`] collect the facts of a PBX, and [`judge`] makes findings of them.

mod ami;
mod ari;
mod call;
mod esl;
mod gate;
mod judge;
pub mod sounds;

pub use call::{Call, CallPlan};
pub use gate::AskGate;

use crate::clock::Clock;
use crate::config::{Config, PbxConfig, PbxKind};
use crate::store::{AgentRow, CampaignRow, Store, StoreError, TrunkFault, TrunkRow};
use paceline_core::dial::Extension;
use paceline_core::ids::{PbxName, TrunkId};
use paceline_core::pbx::Sound;
use serde::Serialize;

/// Maximum number of rows of each kind that are checked.
const ROWS_MAX: i64 = 1_000;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Correct.
    Fine,
    /// Calls work, but the operator should check this.
    Warning,
    /// Calls cannot work.
    #[default]
    Fault,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The severity.
    pub grade: Grade,
    /// The checked thing, such as `trunk carrier`.
    pub about: String,
    /// The result of the check.
    pub found: String,
    /// The advice. Absent if nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// A trunk or an agent, and its dial string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `trunk carrier` or `agent anna`.
    pub(crate) about: String,
    /// The dial string; for a trunk with its placeholder.
    pub(crate) dial: String,
    pub(crate) is_trunk: bool,
    /// True if Paceline sets the number shown to the callee. An agent's phone needs none.
    pub(crate) has_caller_id: bool,
}

/// An endpoint of the PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its name, such as `PJSIP/carrier`.
    pub name: String,
    /// `online`, `offline` or `unknown`.
    pub state: String,
    /// Codecs in order of preference, if the PBX lists them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<String>,
    /// Number of present calls.
    pub channels: usize,
    /// True if one of Paceline's trunks uses it.
    pub is_trunk: bool,
    /// For agents' phones: how the PBX notices a dead phone. `None` if the PBX does not show it.
    #[serde(skip)]
    pub(crate) watch: Option<Watch>,
}

/// The ways in which a PBX notices that a phone has lost its power or its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// True if the PBX checks the phone regularly, or does not need to.
    pub(crate) asks: bool,
    /// True if the PBX ends the leg of a phone that sends no audio any more.
    pub(crate) ends_silent: bool,
}

/// A queue of the PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its name, such as `sales` or `sales@example.com`.
    pub name: String,
    /// The members, who take its calls.
    pub members: Vec<Member>,
}

/// A member of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The name on the PBX.
    pub name: String,
    /// The dial string of the member.
    pub interface: String,
    /// The state as the PBX names it, such as `not in use` or `Available`.
    pub state: String,
    /// True if the queue sends the member no calls.
    pub paused: bool,
    /// True if the PBX reports that the device does not exist.
    #[serde(skip)]
    pub(crate) invalid: bool,
}

/// The recordings and sounds that campaigns need on a PBX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// True if a campaign records.
    pub(crate) any: bool,
    /// Sounds for callees, each with the setting that names it: ``campaign spring: `answering/abandon_message` ``.
    pub(crate) sounds: Vec<(String, Sound)>,
}

impl Records {
    fn to_play(&self) -> Vec<Sound> {
        self.sounds.iter().map(|(_, sound)| sound.clone()).collect()
    }
}

/// The report about one PBX.
#[derive(Clone, Debug, Serialize)]
pub struct PbxReport {
    /// The PBX's name.
    pub pbx: PbxName,
    /// `ari`, `esl` or `sim`.
    pub kind: &'static str,
    /// The PBX's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Maximum number of channels, if it is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels_max: Option<u64>,
    /// Maximum number of new channels per second, if it is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels_per_second_max: Option<u64>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The queues, if the PBX lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<Queue>>,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// The report about all PBXes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Findings about no PBX, or about one that is not configured.
    pub findings: Vec<Finding>,
    /// The reports of the PBXes.
    pub pbxes: Vec<PbxReport>,
    /// The test call, if one was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
}

/// The check could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// A rule file cannot be used.
    #[error("cannot use the rule files")]
    Rules(#[source] paceline_core::gate::FileError),
    /// The store cannot be read.
    #[error("cannot read trunks and agents from the store")]
    Store(#[source] StoreError),
    /// The trunk of the test call does not exist.
    #[error("there is no trunk `{trunk}`; there are `{trunks}`")]
    NoTrunk {
        /// The requested trunk.
        trunk: String,
        /// The existing trunks.
        trunks: String,
    },
    /// The trunk may not be used.
    #[error("no test call can be placed over trunk `{trunk}`")]
    Unusable {
        /// The trunk.
        trunk: String,
        /// The reason.
        #[source]
        source: TrunkFault,
    },
    /// The PBX of the trunk cannot place the call.
    #[error("a test call needs a real PBX that is configured: trunk `{trunk}` is on `{pbx}`")]
    NoPbx {
        /// The trunk.
        trunk: String,
        /// The PBX.
        pbx: PbxName,
    },
}

impl Finding {
    fn new(grade: Grade, about: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            grade,
            about: about.into(),
            found: found.into(),
            cure: None,
        }
    }

    fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl Report {
    /// True if no check found that calls cannot work.
    pub fn is_healthy(&self) -> bool {
        let faults = self.pbxes.iter().flat_map(|pbx| &pbx.findings);
        faults
            .chain(&self.findings)
            .all(|finding| finding.grade < Grade::Fault)
            && self.call.as_ref().is_none_or(|call| call.grade < Grade::Fault)
    }
}

/// Checks every configured PBX, and places the requested test call.
pub async fn examine(config: &Config, store: &Store, call: Option<CallPlan>) -> Result<Report, DoctorError> {
    let trunks = store.trunks(None, ROWS_MAX).await.map_err(DoctorError::Store)?;
    let agents = store.agents(None, ROWS_MAX).await.map_err(DoctorError::Store)?;
    let campaigns = store.live_campaigns().await.map_err(DoctorError::Store)?;
    let mut findings = elsewhere(config, &trunks, &agents, &campaigns);
    for (what, rows) in [
        ("trunk", trunks.unreadable()),
        ("agent", agents.unreadable()),
        ("campaign", campaigns.unreadable()),
    ] {
        findings.extend(rows.iter().map(|row| {
            let text = format!("its row cannot be read: {}", row.fault);
            let finding = Finding::new(Grade::Fault, format!("{what} {}", row.id), text);
            finding.cure("correct or delete the row in the database; nothing but Paceline should write there")
        }));
    }
    let mut pbxes = Vec::new();
    for pbx in &config.pbxes {
        let (wanted, unusable) = wanted(pbx, &trunks, &agents);
        let records = records(pbx, &trunks, &campaigns);
        let mut report = examine_one(config, pbx, &wanted, &records).await;
        report.findings.splice(0..0, unusable);
        pbxes.push(report);
    }
    let call = match call {
        None => None,
        Some(plan) => Some(place_if_allowed(config, store, &trunks, &plan).await?),
    };
    Ok(Report {
        findings,
        pbxes,
        call,
    })
}

/// The recordings and sounds of all campaigns that have a trunk on this PBX.
fn records(pbx: &PbxConfig, trunks: &[TrunkRow], campaigns: &[CampaignRow]) -> Records {
    let here = |id: &TrunkId| {
        trunks
            .iter()
            .any(|trunk| trunk.id == *id && trunk.pbx == pbx.name)
    };
    let mut records = Records::default();
    for campaign in campaigns
        .iter()
        .filter(|campaign| campaign.trunks.iter().any(here))
    {
        let sounds = campaign.settings.sounds().map(|(setting, sound)| {
            let about = format!("campaign {}: `{setting}`", campaign.name);
            (about, sound.clone())
        });
        records.sounds.extend(sounds);
        records.any |= campaign.settings.recording.enabled;
    }
    records
}

/// Findings that concern no configured PBX.
fn elsewhere(
    config: &Config,
    trunks: &[TrunkRow],
    agents: &[AgentRow],
    campaigns: &[CampaignRow],
) -> Vec<Finding> {
    if config.pbxes.is_empty() {
        let none = Finding::new(Grade::Fault, "PBX", "none is configured, so nobody can be called");
        return vec![none.cure("name one in a section [[pbx]] of paceline.toml (README.md shows it)")];
    }
    let configured = |name: &PbxName| config.pbxes.iter().any(|pbx| pbx.name == *name);
    let lost = |about: String, pbx: &PbxName, path: String| {
        Finding::new(Grade::Fault, about, format!("its PBX `{pbx}` is not configured")).cure(format!(
            "add it to paceline.toml, or name another with PUT {path}"
        ))
    };
    let trunks = trunks
        .iter()
        .filter(|trunk| !configured(&trunk.pbx))
        .map(|trunk| {
            let path = format!("/api/v1/trunks/{}", trunk.id);
            lost(format!("trunk {}", trunk.name), &trunk.pbx, path)
        });
    let agents = agents
        .iter()
        .filter(|agent| !configured(&agent.pbx))
        .map(|agent| {
            let path = format!("/api/v1/agents/{}", agent.id);
            lost(format!("agent {}", agent.name), &agent.pbx, path)
        });
    let campaigns = campaigns.iter().filter_map(|campaign| {
        let fault = campaign.fault.as_ref()?;
        let path = format!("PUT /api/v1/campaigns/{}/settings", campaign.id);
        Some(Finding::new(Grade::Fault, format!("campaign {}", campaign.name), fault).cure(path))
    });
    trunks.chain(agents).chain(campaigns).collect()
}

/// The trunks and agents of a PBX, and findings about those whose dial string cannot be used.
fn wanted(pbx: &PbxConfig, trunks: &[TrunkRow], agents: &[AgentRow]) -> (Vec<Wanted>, Vec<Finding>) {
    let (mut wanted, mut unusable) = (Vec::new(), Vec::new());
    for trunk in trunks.iter().filter(|trunk| trunk.pbx == pbx.name) {
        let about = format!("trunk {}", trunk.name);
        match trunk.way_out(&pbx.dial_allowed) {
            Ok(way) => wanted.push(Wanted {
                about,
                dial: way.dial.as_str().to_owned(),
                is_trunk: true,
                has_caller_id: way.caller_id.is_some(),
            }),
            Err(fault) => unusable.push(
                Finding::new(Grade::Fault, about, fault.to_string())
                    .cure(format!("correct it with PUT /api/v1/trunks/{}", trunk.id)),
            ),
        }
    }
    for agent in agents.iter().filter(|agent| agent.pbx == pbx.name) {
        let about = format!("agent {}", agent.name);
        let extension = Extension::new(&agent.extension).map_err(|fault| fault.to_string());
        let extension = extension.and_then(|extension| {
            let permitted = pbx.dial_allowed.permit_agent(&pbx.agent_dial, &extension);
            permitted.map_err(|fault| fault.to_string())?;
            Ok(extension)
        });
        match extension {
            Ok(extension) => wanted.push(Wanted {
                about,
                dial: pbx.agent_dial.render(&extension).expose().to_owned(),
                is_trunk: false,
                has_caller_id: true,
            }),
            Err(fault) => unusable.push(
                Finding::new(Grade::Fault, about, fault)
                    .cure(format!("correct it with PUT /api/v1/agents/{}", agent.id)),
            ),
        }
    }
    (wanted, unusable)
}

async fn place_if_allowed(
    config: &Config,
    store: &Store,
    trunks: &[TrunkRow],
    plan: &CallPlan,
) -> Result<Call, DoctorError> {
    let not_asked = match &plan.gate {
        AskGate::NotAsked => {
            Some("the gate was not asked, as told: neither for the do-not-call list nor for hours")
        }
        AskGate::Asked { time_zone } => {
            let now = Clock::real().now().wall;
            let rules = crate::app::rules(&config.overlays).map_err(DoctorError::Rules)?;
            let refusal = gate::refusal(store, &rules, &plan.number, time_zone.as_deref(), now);
            if let Some(why) = refusal.await? {
                return Ok(Call::not_placed(&why));
            }
            None
        }
    };
    let mut call = place(config, trunks, plan).await?;
    call.seen.splice(0..0, not_asked.map(str::to_owned));
    Ok(call)
}

async fn place(config: &Config, trunks: &[TrunkRow], plan: &CallPlan) -> Result<Call, DoctorError> {
    let trunk = trunks.iter().find(|trunk| trunk.name == plan.trunk);
    let trunk = trunk.ok_or_else(|| DoctorError::NoTrunk {
        trunk: plan.trunk.clone(),
        trunks: trunks
            .iter()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>()
            .join("`, `"),
    })?;
    let pbx = config.pbxes.iter().find(|pbx| pbx.name == trunk.pbx);
    if let Some(pbx) = pbx {
        let way = trunk.way_out(&pbx.dial_allowed);
        let way = way.map_err(|source| DoctorError::Unusable {
            trunk: plan.trunk.clone(),
            source,
        })?;
        if let Some(ari) = ari::Ari::of(&pbx.kind) {
            return Ok(call::over_ari(&ari, &way, plan).await);
        }
        if let Some(esl) = esl::Esl::of(pbx) {
            return Ok(call::over_esl(&esl, &way, plan).await);
        }
    }
    Err(DoctorError::NoPbx {
        trunk: plan.trunk.clone(),
        pbx: trunk.pbx.clone(),
    })
}

async fn examine_one(config: &Config, pbx: &PbxConfig, wanted: &[Wanted], records: &Records) -> PbxReport {
    let report = |kind, findings| PbxReport {
        pbx: pbx.name.clone(),
        kind,
        version: None,
        channels_max: None,
        channels_per_second_max: None,
        endpoints: Vec::new(),
        queues: None,
        findings,
    };
    if let Some(ari) = ari::Ari::of(&pbx.kind) {
        let facts = ari.facts(wanted, records, config.listen).await;
        let findings = judge::asterisk(&facts, &ari, wanted, records);
        return PbxReport {
            version: facts.version,
            channels_max: facts.channels_max,
            endpoints: facts.endpoints,
            queues: facts.queues.and_then(Result::ok),
            ..report("ari", findings)
        };
    }
    if let PbxKind::Ari { .. } = pbx.kind {
        let found = "cannot be asked: this machine trusts no certificate at all";
        let nobody = Finding::new(Grade::Fault, "ARI", found)
            .cure("install the authorities' certificates (package `ca-certificates`), or name one with `ca_file` in paceline.toml");
        return report("ari", vec![nobody]);
    }
    if let Some(esl) = esl::Esl::of(pbx) {
        let facts = esl.facts(wanted, records).await;
        let findings = judge::freeswitch(&facts, esl.address(), wanted, records);
        return PbxReport {
            version: facts.version,
            channels_max: facts.room.map(|room| room.channels_max),
            channels_per_second_max: facts.room.map(|room| room.per_second_max.saturating_sub(1)),
            endpoints: facts.endpoints,
            queues: facts.queues,
            ..report("esl", findings)
        };
    }
    let nothing = Finding::new(Grade::Fine, "simulated PBX", "has nothing that could be wrong");
    report("sim", vec![nothing])
}
