//! Pacing decisions as metrics: what was wanted and launched, what kept more from being launched, the risk taken and the
//! abandon budget left.

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

/// Every campaign's.
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

/// One campaign's.
#[derive(Clone, Debug)]
pub struct PacingMetrics {
    families: PacingFamilies,
    campaign: String,
}

impl PacingFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "paceline_pacing_wanted_calls",
            "Calls that agents and the abandon budget allowed",
            self.wanted.clone(),
        );
        registry.register(
            "paceline_pacing_launched_calls",
            "Calls launched ahead of free agents",
            self.launched.clone(),
        );
        registry.register(
            "paceline_pacing_decisions",
            "Pacing decisions, by what kept one more call from being launched",
            self.decisions.clone(),
        );
        registry.register(
            "paceline_pacing_risk_ratio",
            "Probability that a person answering the next call would find no agent",
            self.risk.clone(),
        );
        registry.register(
            "paceline_pacing_risk_allowed_ratio",
            "The most of that probability that the abandon budget allows",
            self.risk_allowed.clone(),
        );
        registry.register(
            "paceline_pacing_expected_abandon_ratio",
            "Abandoned over live answers to expect of the calls in flight",
            self.expected.clone(),
        );
        registry.register(
            "paceline_pacing_budget_left_calls",
            "Calls that the strictest abandon rule still lets be abandoned",
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
    /// Shows nothing of it any more, on none of these.
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

    /// Counts a decision and shows what it was made of.
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
