//! Pacing decisions as metrics: wanted and launched calls, the reason against further ones, the risk, and the remaining
//! abandon budget.

use paceline_core::ids::PbxName;
use paceline_core::pacing::{LaunchLimit, PacingReport};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PacingLabels {
    campaign: String,
    pbx: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    campaign: String,
    limit: &'static str,
}

type Ratio = Family<PacingLabels, Gauge<f64, AtomicU64>>;

/// The families of all campaigns.
#[derive(Clone, Debug, Default)]
pub(super) struct PacingFamilies {
    wanted: Family<PacingLabels, Counter>,
    launched: Family<PacingLabels, Counter>,
    decisions: Family<LimitLabels, Counter>,
    risk: Ratio,
    risk_allowed: Ratio,
    expected: Ratio,
    budget: Ratio,
}

/// The metrics of one campaign.
#[derive(Clone, Debug)]
pub struct PacingMetrics {
    families: PacingFamilies,
    campaign: String,
}

impl PacingFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "paceline_pacing_wanted_calls",
            "Calls that agents and the abandon budget allow",
            self.wanted.clone(),
        );
        registry.register(
            "paceline_pacing_launched_calls",
            "Calls launched ahead of free agents",
            self.launched.clone(),
        );
        registry.register(
            "paceline_pacing_decisions",
            "Pacing decisions, by the reason why no further call was launched",
            self.decisions.clone(),
        );
        registry.register(
            "paceline_pacing_risk_ratio",
            "Probability that the next callee finds no agent, 0 to 1",
            self.risk.clone(),
        );
        registry.register(
            "paceline_pacing_risk_allowed_ratio",
            "Highest probability that the abandon budget allows, 0 to 1",
            self.risk_allowed.clone(),
        );
        registry.register(
            "paceline_pacing_expected_abandon_ratio",
            "Expected ratio of abandoned calls to live answers of the calls in flight, 0 to 1",
            self.expected.clone(),
        );
        registry.register(
            "paceline_pacing_budget_left_calls",
            "Calls that may still be abandoned under the strictest abandon rule",
            self.budget.clone(),
        );
    }

    pub(super) fn campaign(&self, name: &str) -> PacingMetrics {
        PacingMetrics {
            families: self.clone(),
            campaign: name.to_owned(),
        }
    }
}

impl PacingMetrics {
    /// Removes the campaign's series for these PBXes.
    pub(super) fn forget(&self, pbxes: impl Iterator<Item = PbxName>) {
        let families = &self.families;
        for pbx in pbxes {
            let labels = PacingLabels {
                campaign: self.campaign.clone(),
                pbx: pbx.as_str().to_owned(),
            };
            families.wanted.remove(&labels);
            families.launched.remove(&labels);
            for ratio in [
                &families.risk,
                &families.risk_allowed,
                &families.expected,
                &families.budget,
            ] {
                ratio.remove(&labels);
            }
        }
        for limit in LaunchLimit::ALL {
            families.decisions.remove(&LimitLabels {
                campaign: self.campaign.clone(),
                limit: limit.as_str(),
            });
        }
    }

    /// Counts a decision and shows its values.
    pub fn count(&self, pbx: &PbxName, report: &PacingReport) {
        let labels = PacingLabels {
            campaign: self.campaign.clone(),
            pbx: pbx.as_str().to_owned(),
        };
        let limit = LimitLabels {
            campaign: self.campaign.clone(),
            limit: report.limit.as_str(),
        };
        let families = &self.families;
        families
            .wanted
            .get_or_create(&labels)
            .inc_by(u64::from(report.wanted));
        families
            .launched
            .get_or_create(&labels)
            .inc_by(u64::from(report.launch));
        families.decisions.get_or_create(&limit).inc();
        families.risk.get_or_create(&labels).set(report.risk);
        families.risk_allowed.get_or_create(&labels).set(report.risk_max);
        families
            .expected
            .get_or_create(&labels)
            .set(report.expected_abandon_ratio);
        families.budget.get_or_create(&labels).set(report.budget_left);
    }
}
