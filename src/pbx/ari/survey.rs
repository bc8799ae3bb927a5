//! What lives on the switch after a gap. In: the switch's lists of channels and bridges and its view of our
//! application, as JSON. Out: a [`Survey`] for the state machine, and the [`Snapshot`] for everybody else. Pure.

use super::leg::{Found, Side, Stage};
use super::rest;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ChannelPhase, ChannelState, Snapshot};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

#[derive(Debug, Deserialize)]
struct Channel {
    id: String,
    name: String,
    state: String,
    dialplan: Dialplan,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dialplan {
    app_name: String,
    app_data: String,
}

#[derive(Debug, Deserialize)]
struct Bridge {
    id: String,
    channels: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Application {
    channel_ids: Vec<String>,
    endpoint_ids: Vec<String>,
}

/// All that concerns us on the switch.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) snapshot: Snapshot,
    /// Channels of ours whose side is known.
    pub(super) found: HashMap<Uuid, Found>,
    /// Channels of ours whose side is not known from the lists; ask for their variable.
    pub(super) sides_unknown: Vec<(Uuid, Found)>,
    /// Agents that are gone and left their bridge.
    pub(super) bridges_left: Vec<Uuid>,
    /// Recorders in our bridges, by the bridge; with the callee there, if there is one.
    pub(super) recorders: Vec<(AgentLegId, Option<LegId>, String)>,
    /// Channels that our application gets the events of.
    subscribed: HashSet<Uuid>,
    /// Whether the application gets events of trunks' channels.
    pub(super) trunks_watched: bool,
}

/// The id of a leg of ours: not a far half, see [`rest::far_half`].
fn leg_id(id: &str) -> Option<Uuid> {
    (id.len() == 36)
        .then(|| Uuid::try_parse(id).ok())
        .flatten()
        .filter(|id| id.get_version_num() <= 8)
}

fn in_app<'a>(channel: &'a Channel, app: &str) -> Option<&'a str> {
    let rest = (channel.dialplan.app_name == "Stasis")
        .then(|| channel.dialplan.app_data.strip_prefix(app))
        .flatten()?;
    rest.strip_prefix(',').or(rest.is_empty().then_some(rest))
}

/// Reads the three lists.
pub(super) fn survey(
    app: &str,
    channels: &[u8],
    bridges: &[u8],
    application: &[u8],
) -> Result<Survey, serde_json::Error> {
    let channels: Vec<Channel> = serde_json::from_slice(channels)?;
    let bridges: Vec<Bridge> = serde_json::from_slice(bridges)?;
    let application: Application = serde_json::from_slice(application)?;
    let subscribed: HashSet<Uuid> = application
        .channel_ids
        .iter()
        .filter_map(|id| leg_id(id))
        .collect();
    let by_id: HashMap<&str, &Channel> = channels
        .iter()
        .map(|channel| (channel.id.as_str(), channel))
        .collect();
    let bridge_of: HashMap<&str, Uuid> = bridges
        .iter()
        .filter_map(|bridge| rest::agent_of(app, &bridge.id).map(|id| (id, bridge)))
        .flat_map(|(id, bridge)| bridge.channels.iter().map(move |channel| (channel.as_str(), id)))
        .collect();
    let mut survey = Survey {
        trunks_watched: application
            .endpoint_ids
            .iter()
            .any(|endpoint| endpoint == "PJSIP"),
        ..Survey::default()
    };
    for channel in &channels {
        let Some(id) = leg_id(&channel.id) else { continue };
        let argument = in_app(channel, app);
        let bridge = bridge_of.get(channel.id.as_str()).copied();
        let through_dialplan = channel.name.starts_with("Local/");
        let stage = match channel.state.as_str() {
            "Up" if bridge == Some(id) => Stage::Held,
            "Up" if through_dialplan && bridge.is_none() && !trunk_answered(id, &by_id) => {
                Stage::DialplanOnly
            }
            "Up" => Stage::Answered,
            _ => Stage::Dialing,
        };
        let found = Found {
            side: Side::Callee,
            stage,
            rang: channel.state == "Ringing",
            through_dialplan,
            in_app: argument.is_some(),
            bridge,
        };
        let side = match bridge {
            Some(bridge) if bridge == id => Some(Side::Agent),
            Some(_) => Some(Side::Callee),
            None => argument.and_then(Side::of),
        };
        match side {
            Some(side) => {
                survey.found.insert(id, Found { side, ..found });
            }
            None => survey.sides_unknown.push((id, found)),
        }
        let phase = match (stage, channel.state.as_str()) {
            (Stage::Dialing, "Ringing") | (Stage::DialplanOnly, _) => ChannelPhase::Ringing,
            (Stage::Dialing, _) => ChannelPhase::Dialing,
            _ => ChannelPhase::Up,
        };
        survey.snapshot.channels.insert(
            id,
            ChannelState {
                phase,
                bridge: bridge.map(AgentLegId),
                in_our_app: argument.is_some() || (stage == Stage::Dialing && subscribed.contains(&id)),
            },
        );
    }
    survey.subscribed = subscribed;
    for bridge in &bridges {
        let Some(id) = rest::agent_of(app, &bridge.id) else {
            continue;
        };
        if !by_id.contains_key(id.to_string().as_str()) {
            survey.bridges_left.push(id);
        }
        let callee = bridge
            .channels
            .iter()
            .filter_map(|channel| leg_id(channel))
            .find(|channel| *channel != id);
        survey.recorders.extend(
            bridge
                .channels
                .iter()
                .filter(|channel| {
                    by_id
                        .get(channel.as_str())
                        .is_some_and(|channel| channel.name.starts_with("Recorder/"))
                })
                .map(|recorder| (AgentLegId(id), callee.map(LegId), recorder.clone())),
        );
    }
    Ok(survey)
}

impl Survey {
    /// Whose leg this is, which the lists did not tell.
    pub(super) fn resolve(&mut self, id: Uuid, found: Found, side: Side) {
        self.found.insert(id, Found { side, ..found });
        if found.stage == Stage::Dialing
            && let Some(channel) = self.snapshot.channels.get_mut(&id)
        {
            channel.in_our_app = true;
        }
    }

    /// Channels of ours that our application gets no events of.
    pub(super) fn unsubscribed(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.found
            .keys()
            .filter(|id| !self.subscribed.contains(id))
            .copied()
    }
}

/// Whether the dialplan's half of this leg talks to a trunk, and does not play something.
fn trunk_answered(leg: Uuid, by_id: &HashMap<&str, &Channel>) -> bool {
    let half = rest::far_half(leg).to_string();
    by_id
        .get(half.as_str())
        .is_some_and(|half| half.state == "Up" && half.dialplan.app_name == "Dial")
}
