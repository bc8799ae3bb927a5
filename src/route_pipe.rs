//! The choice of trunks over a pipe, for another dialer or a simulator: it reads one JSON object per line, and writes one
//! line for each `choose` and for each line that it cannot use. `docs/trunks.md` describes the fields.
//!
//! A line that cannot be used changes nothing. Start at [`Session::take`].

pub mod line;

use line::{Config, Content, Id, Line, LineError};
use paceline_core::ids::{CampaignId, LegId, TrunkGroupId, TrunkId};
use paceline_core::time::Mono;
use paceline_core::trunks::{
    Arbiter, CampaignShare, Choice, Kind, LegStep, Request, Trunk, TrunkGroup, TrunkSettings,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// A bound for the memory of a session that gets one config after the other.
const TRUNKS_MAX: usize = 10_000;
const NAMES_MAX: usize = 100_000;

/// One session over a pipe.
#[derive(Debug, Default)]
pub struct Session {
    lines: u64,
    arbiter: Option<Arbiter>,
    names: Names,
    why: String,
    tried: Vec<TrunkId>,
}

/// The ids of the other side, and the arbiter's.
#[derive(Clone, Debug, Default)]
struct Names {
    trunks: BTreeMap<String, i64>,
    groups: BTreeMap<String, i64>,
    campaigns: BTreeMap<String, i64>,
    by_trunk: Vec<String>,
}

/// The reason why a line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("there is no config yet: send a line of type config first")]
    NoConfig,
    #[error("the config has no trunk with this id: send a config that has it")]
    NoTrunk,
    #[error("trunks[{0}]: its id comes twice")]
    TrunkTwice(usize),
    #[error("there are too many trunks, groups or campaigns: start a new session")]
    TooMany,
}

impl Names {
    fn trunk(&self, id: &Id) -> Option<TrunkId> {
        self.trunks.get(id.text()).copied().map(TrunkId)
    }

    fn name(&self, id: TrunkId) -> &str {
        let index = usize::try_from(id.0).ok();
        index
            .and_then(|index| self.by_trunk.get(index))
            .map_or("", String::as_str)
    }
}

/// The number of a name, a new one if it is new.
fn number(names: &mut BTreeMap<String, i64>, name: &str) -> Result<i64, Refusal> {
    if let Some(number) = names.get(name) {
        return Ok(*number);
    }
    if names.len() >= NAMES_MAX {
        return Err(Refusal::TooMany);
    }
    let number = i64::try_from(names.len()).map_err(|_| Refusal::TooMany)?;
    names.insert(name.to_owned(), number);
    Ok(number)
}

impl Session {
    /// Takes one line, without its line end. Appends the answer with its line end to `out`; most lines have none.
    pub fn take(&mut self, line: &[u8], out: &mut String) {
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        let length = out.len();
        if let Err(refusal) = self.understand(line, out) {
            out.truncate(length);
            let _ = write!(out, "{{\"line\":{},\"error\":", self.lines);
            quote(out, &refusal.to_string());
            out.push_str("}\n");
        }
    }

    fn understand(&mut self, line: &[u8], out: &mut String) -> Result<(), Refusal> {
        let Line { at_ms, content } = line::read(line)?;
        if let Content::Config(config) = &content {
            return self.configure(config);
        }
        let arbiter = self.arbiter.as_mut().ok_or(Refusal::NoConfig)?;
        let now = Mono(Duration::from_secs_f64(at_ms / 1_000.0));
        match content {
            Content::Config(_) => Ok(()),
            Content::Trunk { trunk, up } => {
                let trunk = self.names.trunk(&trunk).filter(|trunk| arbiter.has_trunk(*trunk));
                arbiter.link(now, trunk.ok_or(Refusal::NoTrunk)?, up);
                Ok(())
            }
            Content::Leg { leg, trunk, step } => {
                let trunk = self.names.trunk(&trunk).ok_or(Refusal::NoTrunk)?;
                arbiter.leg(now, leg_id(&leg), trunk, step);
                Ok(())
            }
            Content::Choose {
                leg,
                campaign,
                region,
                carrier,
                tier,
                tried,
            } => {
                let campaign = match campaign {
                    Some(id) => number(&mut self.names.campaigns, id.text())?,
                    None => i64::MAX,
                };
                self.tried.clear();
                let known = tried.iter().filter_map(|id| self.names.trunk(id));
                self.tried.extend(known);
                let request = Request {
                    leg: leg_id(&leg),
                    campaign: CampaignId(campaign),
                    region: region.as_deref(),
                    carrier: carrier.as_deref(),
                    tier,
                    tried: &self.tried,
                };
                let choice = arbiter.choose(now, &request);
                self.answer(at_ms, &leg, &choice, out);
                Ok(())
            }
        }
    }

    fn answer(&mut self, at_ms: f64, leg: &Id, choice: &Choice, out: &mut String) {
        out.push_str("{\"at_ms\":");
        write_ms(out, at_ms);
        out.push_str(",\"leg\":");
        match leg {
            Id::Text(text) => quote(out, text),
            Id::Number(number) => out.push_str(number),
        }
        match choice.trunk {
            Some((trunk, kind)) => {
                out.push_str(",\"trunk\":");
                quote(out, self.names.name(trunk));
                let _ = write!(out, ",\"kind\":\"{}\"", Kind::as_str(kind));
            }
            None => out.push_str(",\"trunk\":null,\"kind\":null"),
        }
        out.push_str(",\"retry_at_ms\":");
        match choice.retry_at {
            Some(at) => _ = write!(out, "{}", at.0.as_micros().div_ceil(1_000)),
            None => out.push_str("null"),
        }
        out.push_str(",\"why\":[");
        for (index, reason) in choice.reasons.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.why.clear();
            let _ = reason.write(&mut self.why, |trunk| self.names.name(trunk));
            quote(out, &self.why);
        }
        out.push_str("]}\n");
    }

    fn configure(&mut self, config: &Config) -> Result<(), Refusal> {
        if config.trunks.len() > TRUNKS_MAX {
            return Err(Refusal::TooMany);
        }
        let mut names = self.names.clone();
        let mut settings = TrunkSettings {
            weights: config.weights,
            ..TrunkSettings::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        for (index, trunk) in config.trunks.iter().enumerate() {
            let id = number(&mut names.trunks, trunk.id.text())?;
            if !seen.insert(id) {
                return Err(Refusal::TrunkTwice(index));
            }
            if names.by_trunk.len() < names.trunks.len() {
                names.by_trunk.push(trunk.id.text().to_owned());
            }
            let group = match &trunk.group {
                Some(group) => Some(TrunkGroupId(number(&mut names.groups, group.text())?)),
                None => None,
            };
            settings.trunks.push(Trunk {
                id: TrunkId(id),
                group,
                channels_max: trunk.channels_max,
                channels_inbound: 0,
                calls_per_s_max: trunk.calls_per_s_max,
                regions: trunk.regions.clone(),
                carriers: trunk.carriers.clone(),
                tier: trunk.tier,
                price_per_minute: trunk.price_per_minute,
            });
        }
        for group in &config.groups {
            let standby = match &group.standby {
                Some(standby) => Some(TrunkGroupId(number(&mut names.groups, standby.text())?)),
                None => None,
            };
            settings.groups.push(TrunkGroup {
                id: TrunkGroupId(number(&mut names.groups, group.id.text())?),
                standby,
            });
        }
        for campaign in &config.campaigns {
            settings.campaigns.push(CampaignShare {
                id: CampaignId(number(&mut names.campaigns, campaign.id.text())?),
                weight: campaign.weight,
            });
        }
        self.names = names;
        match &mut self.arbiter {
            Some(arbiter) => arbiter.configure(&settings),
            none => *none = Some(Arbiter::new(&settings)),
        }
        Ok(())
    }
}

/// A step of a leg. An outcome that is no word of Paceline shows nothing.
pub(crate) fn step(state: &str, ended: paceline_core::trunks::LegResult) -> Option<LegStep> {
    match state {
        "dialing" => Some(LegStep::Dialing),
        "ringing" => Some(LegStep::Ringing),
        "answered" => Some(LegStep::Answered),
        "ended" => Some(LegStep::Ended(ended)),
        _ => None,
    }
}

/// Combines two 64-bit hashes, so that no two ids get the same key in practice.
fn leg_id(id: &Id) -> LegId {
    use std::hash::{DefaultHasher, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(id.text().as_bytes());
        u128::from(hasher.finish())
    };
    LegId(uuid::Uuid::from_u128((half(0) << 64) | half(1)))
}

fn write_ms(out: &mut String, at_ms: f64) {
    // A whole number is written without a fraction, as it was received.
    let _ = if at_ms.fract() == 0.0 {
        write!(out, "{}", at_ms as u64)
    } else {
        write!(out, "{at_ms}")
    };
}

/// Appends a text as JSON.
fn quote(out: &mut String, text: &str) {
    // A text can always be written as JSON.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests;
