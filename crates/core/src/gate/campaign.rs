//! The rules of one campaign, made once for it and for each change of its settings. The lease and the originate share them.

use super::rulebook::fnv1a;
use super::{Decision, DialingMode, Facts, GateVerdict, PlannedCall, Policy, Purpose, Rulebook};
use crate::campaign::compliance::ComplianceSettings;
use crate::campaign::{CampaignConfig, Mode};
use crate::ids::TrunkId;
use crate::number::NumberText;
use crate::pbx::CallerId;
use crate::time::Wall;
use std::sync::Arc;
use std::time::Duration;

/// The rules of a campaign, and what its calls have in common.
#[derive(Clone, Debug)]
pub struct CampaignPolicy {
    config: Arc<CampaignConfig>,
    /// The campaign's id as the rules compare it.
    name: String,
    rules: Policy,
    fingerprint: String,
}

impl CampaignPolicy {
    /// The rules of a campaign with these settings and trunks. The check of the settings has refused names of
    /// profiles that do not exist; if one is here, no profile is asked, and every call is denied.
    pub fn new(book: &Arc<Rulebook>, config: Arc<CampaignConfig>) -> Self {
        let settings = &config.settings;
        let profiles = settings.compliance.profiles.as_slice();
        let rules = match profiles {
            [] => Policy::by_place(book.clone()),
            names => match Policy::named(book.clone(), names) {
                Ok(rules) => rules.and_by_place(),
                Err(_) => Policy::nowhere(book.clone()),
            },
        };
        Self {
            fingerprint: fingerprint(book, &config),
            name: config.id.0.to_string(),
            rules: rules.with_hours(&settings.hours),
            config,
        }
    }

    /// The campaign with its settings and trunks.
    pub fn config(&self) -> &Arc<CampaignConfig> {
        &self.config
    }

    /// A text that is equal for equal rules, settings of the gate and caller ids. If it changes, the gate may decide otherwise
    /// about contacts that wait or were denied.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The rules.
    pub fn rules(&self) -> &Policy {
        &self.rules
    }

    fn compliance(&self) -> &ComplianceSettings {
        &self.config.settings.compliance
    }

    /// What the calls are about.
    pub fn purpose(&self) -> Purpose {
        self.compliance().purpose
    }

    /// The subject of the calls.
    pub fn subject(&self) -> Option<&str> {
        self.compliance().subject.as_deref()
    }

    /// The attribute of a contact that names the debt.
    pub fn debt_attribute(&self) -> Option<&str> {
        self.compliance().debt_attribute.as_deref()
    }

    /// The caller id of a trunk. `None`: withheld, or the PBX's own.
    pub fn caller_id(&self, trunk: TrunkId) -> Option<&CallerId> {
        let found = self.config.trunks.iter().find(|known| known.id == trunk);
        found.and_then(|trunk| trunk.caller_id.as_ref())
    }

    /// The different caller ids of the campaign's trunks, at least one. Before the trunk is chosen, a call may be allowed if
    /// one of them allows it.
    pub fn caller_ids(&self) -> impl Iterator<Item = Option<&CallerId>> {
        let trunks = &self.config.trunks;
        let none = trunks.is_empty().then_some(None);
        let all = trunks.iter().enumerate();
        let distinct = all.filter(|(n, trunk)| {
            trunks
                .iter()
                .take(*n)
                .all(|earlier| earlier.caller_id != trunk.caller_id)
        });
        none.into_iter()
            .chain(distinct.map(|(_, trunk)| trunk.caller_id.as_ref()))
    }

    /// Decides about a call whose trunk is not chosen yet: one trunk that allows it is enough. `read` takes what the caller needs
    /// of the first decision that does not deny, or else of the first decision. Of `call`, the caller id is not read.
    pub fn decide<T>(&self, call: &PlannedCall, facts: &Facts, read: impl Fn(&Decision) -> T) -> T {
        let decide = |caller_id: Option<&CallerId>| {
            let caller_id = caller_id.map(|caller_id| NumberText(caller_id.as_str()));
            let call = PlannedCall { caller_id, ..*call };
            let decision = self.rules.decide(&call, facts);
            (decision.verdict, read(&decision))
        };
        let mut first = None;
        for caller_id in self.caller_ids() {
            let (verdict, said) = decide(caller_id);
            if verdict != GateVerdict::Deny {
                return said;
            }
            first.get_or_insert(said);
        }
        first.unwrap_or_else(|| decide(None).1)
    }

    fn mode(&self) -> DialingMode {
        match self.config.settings.pacing.mode {
            Mode::Progressive => DialingMode::Progressive,
            Mode::Predictive => DialingMode::Predictive,
            Mode::Power => DialingMode::Power,
        }
    }

    /// A call of the campaign, without its number, its debt and its caller id.
    pub fn call(&self, at: Wall, ring_timeout: Duration) -> PlannedCall<'_> {
        PlannedCall {
            at,
            ring_timeout,
            purpose: self.compliance().purpose,
            mode: self.mode(),
            campaign: Some(&self.name),
            subject: self.subject(),
            debt: None,
            caller_id: None,
            number: NumberText(""),
        }
    }
}

fn fingerprint(book: &Rulebook, config: &CampaignConfig) -> String {
    let settings = &config.settings;
    let mut hash = fnv1a(
        book.fingerprint(),
        &format!(
            "{:?} {:?} {:?} {:?} {:?}",
            settings.compliance,
            settings.hours,
            settings.suppression,
            settings.pacing.mode,
            settings.dialing.ring_timeout(),
        ),
    );
    for trunk in &config.trunks {
        let shown = trunk.caller_id.as_ref();
        hash = fnv1a(hash, shown.map_or("withheld", |shown| shown.as_str()));
    }
    format!("{hash:016x}")
}
