//! Reads the state of the PBX after a gap in its events. Input: the PBX's lists of channels, bridges and endpoints, and its view
//! of our application, as JSON. Output: a [`Survey`] for the state machine, with the [`Snapshot`] for the engine. Pure.

use super::leg::{Found, FoundStage, Side, endpoint_of};
use super::requests;
use crate::progress::ProgressSeen;
use paceline_core::ids::AgentLegId;
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
    #[serde(default)]
    bridge_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    technology: String,
    resource: String,
    state: Option<String>,
}

impl Application {
    fn watches_trunks(&self) -> bool {
        self.endpoint_ids.iter().any(|endpoint| endpoint == "PJSIP")
    }
}

/// True if our application, as the PBX shows it, receives the events of trunks' channels.
pub(super) fn trunks_watched(application: &[u8]) -> bool {
    serde_json::from_slice(application).is_ok_and(|application: Application| application.watches_trunks())
}

/// Everything on the PBX that concerns us.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) snapshot: Snapshot,
    /// Our channels whose side is known.
    pub(super) found: HashMap<Uuid, Found>,
    /// Channels whose side the lists do not tell. A variable of the channel tells it. Channels of other installations may be
    /// among them.
    pub(super) sides_unknown: Vec<(Uuid, Found)>,
    /// Agents' legs that are gone and whose bridge still exists. A bridge in which a callee talks to a transfer target does not
    /// count.
    pub(super) bridges_left: Vec<Uuid>,
    /// The callee in an agent's bridge, by the agent's leg.
    pub(super) callees: HashMap<Uuid, Uuid>,
    /// Channels whose events our application receives.
    subscribed: HashSet<Uuid>,
    /// True if our application receives the events of trunks' channels.
    pub(super) trunks_watched: bool,
    /// Channels of others in agents' bridges, by their ids, with the agent's leg.
    pub(super) guests: HashMap<String, Uuid>,
    /// The endpoints of legs that are called without the dialplan, as `PJSIP/desk-1`, by the leg.
    pub(super) endpoints: HashMap<Uuid, String>,
    /// Endpoints that the PBX cannot reach, as `PJSIP/desk-1`.
    pub(super) offline: HashSet<String>,
    /// Endpoints whose state the PBX reports to our application.
    pub(super) endpoints_watched: HashSet<String>,
    /// Agents' bridges whose events our application does not receive, by the agent's leg.
    pub(super) bridges_unheard: Vec<Uuid>,
    /// True for an agent's leg that its phone has put on hold, false for one that it has not. Without an entry, the PBX does not
    /// show it.
    pub(super) on_hold: HashMap<Uuid, bool>,
    /// Agents' legs that were unknown to this run, and whose phones had sent audio steadily.
    pub(super) steady: HashSet<Uuid>,
}

/// The leg with this channel id. `None` if the id is not a UUID, or if it is a far half's, see [`requests::far_half`].
fn leg_id(id: &str) -> Option<Uuid> {
    (id.len() == 36)
        .then(|| Uuid::try_parse(id).ok())
        .flatten()
        .filter(|id| id.get_version_num() <= 8)
}

/// The first argument that we gave a channel when it was placed: `agent` or `callee`. `None` unless the channel is in our
/// application and has our mark.
fn in_app<'a>(channel: &'a Channel, app: &str, mark: &str) -> Option<&'a str> {
    let rest = (channel.dialplan.app_name == "Stasis")
        .then(|| channel.dialplan.app_data.strip_prefix(app))
        .flatten()?;
    rest.strip_prefix(',')?.strip_suffix(mark)?.strip_suffix(',')
}

/// Reads the lists. Error: a list is not the JSON that Asterisk writes.
pub(super) fn survey(
    app: &str,
    mark: &str,
    channels: &[u8],
    bridges: &[u8],
    application: &[u8],
    endpoints: &[u8],
) -> Result<Survey, serde_json::Error> {
    let channels: Vec<Channel> = serde_json::from_slice(channels)?;
    let bridges: Vec<Bridge> = serde_json::from_slice(bridges)?;
    let application: Application = serde_json::from_slice(application)?;
    let endpoints: Vec<Endpoint> = serde_json::from_slice(endpoints)?;
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
        .filter_map(|bridge| requests::agent_of(mark, &bridge.id).map(|id| (id, bridge)))
        .flat_map(|(id, bridge)| bridge.channels.iter().map(move |channel| (channel.as_str(), id)))
        .collect();
    let mut survey = Survey {
        trunks_watched: application.watches_trunks(),
        guests: guests(mark, &bridges, &by_id),
        offline: endpoints.into_iter().filter_map(offline).collect(),
        endpoints_watched: application.endpoint_ids.iter().cloned().collect(),
        ..Survey::default()
    };
    for channel in &channels {
        let Some(id) = leg_id(&channel.id) else { continue };
        let argument = in_app(channel, app, mark);
        let bridge = bridge_of.get(channel.id.as_str()).copied();
        let through_dialplan = channel.name.starts_with("Local/");
        let stage = match channel.state.as_str() {
            "Up" if bridge == Some(id) => FoundStage::Held,
            "Up" if through_dialplan && bridge.is_none() && !trunk_answered(id, &by_id) => {
                FoundStage::DialplanOnly
            }
            "Up" => FoundStage::Answered,
            _ => FoundStage::Dialing,
        };
        // If the agent's leg is in the bridge, the callee talks to the agent, even if channels of others listen.
        let with_guests = bridge.is_some_and(|agent| {
            survey.guests.values().any(|of| *of == agent)
                && bridge_of.get(agent.to_string().as_str()) != Some(&agent)
        });
        let elsewhere = stage == FoundStage::Answered
            && bridge.is_none()
            && !matches!(channel.dialplan.app_name.as_str(), "" | "AppDial2" | "Stasis");
        survey
            .endpoints
            .extend(endpoint_of(&channel.name).map(|endpoint| (id, endpoint.to_owned())));
        let found = Found {
            side: Side::Callee,
            stage,
            progress: ProgressSeen::of(channel.state == "Ringing", false),
            through_dialplan,
            in_app: argument.is_some(),
            bridge,
            with_others: with_guests || elsewhere,
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
            (FoundStage::Dialing, "Ringing") | (FoundStage::DialplanOnly, _) => ChannelPhase::Ringing,
            (FoundStage::Dialing, _) => ChannelPhase::Dialing,
            (FoundStage::Answered | FoundStage::Held, _) => ChannelPhase::Up,
        };
        survey.snapshot.channels.insert(
            id,
            ChannelState {
                phase,
                bridge: bridge.map(AgentLegId),
                in_our_app: argument.is_some(),
                up_for: None,
                trouble: None,
                with_others: found.with_others,
            },
        );
    }
    survey.subscribed = subscribed;
    for bridge in &bridges {
        let Some(id) = requests::agent_of(mark, &bridge.id) else {
            continue;
        };
        if !application.bridge_ids.contains(&bridge.id) {
            survey.bridges_unheard.push(id);
        }
        let gone = !by_id.contains_key(id.to_string().as_str());
        let transferred = survey.guests.values().any(|of| *of == id)
            && bridge.channels.iter().any(|channel| leg_id(channel).is_some());
        if gone && !transferred {
            survey.bridges_left.push(id);
        }
        let callee = bridge
            .channels
            .iter()
            .filter_map(|channel| leg_id(channel))
            .find(|channel| *channel != id);
        survey.callees.extend(callee.map(|callee| (id, callee)));
    }
    Ok(survey)
}

fn offline(endpoint: Endpoint) -> Option<String> {
    let offline = endpoint.state.as_deref() == Some("offline");
    offline.then(|| format!("{}/{}", endpoint.technology, endpoint.resource))
}

/// Channels of others in agents' bridges, by their ids, with the agent's leg.
fn guests(mark: &str, bridges: &[Bridge], by_id: &HashMap<&str, &Channel>) -> HashMap<String, Uuid> {
    bridges
        .iter()
        .filter_map(|bridge| requests::agent_of(mark, &bridge.id).map(|id| (id, bridge)))
        .flat_map(|(id, bridge)| bridge.channels.iter().map(move |channel| (channel, id)))
        .filter(|(channel, _)| leg_id(channel).is_none())
        // A channel that plays or records into a bridge is not a party of the call.
        .filter(|(channel, _)| {
            by_id.get(channel.as_str()).is_none_or(|channel| {
                !["Announcer/", "Recorder/"]
                    .iter()
                    .any(|kind| channel.name.starts_with(kind))
            })
        })
        .map(|(channel, id)| (channel.clone(), id))
        .collect()
}

impl Survey {
    /// Sets the side of a leg that the lists did not tell.
    pub(super) fn resolve(&mut self, id: Uuid, found: Found, side: Side) {
        self.found.insert(id, Found { side, ..found });
        if found.stage == FoundStage::Dialing
            && let Some(channel) = self.snapshot.channels.get_mut(&id)
        {
            channel.in_our_app = true;
        }
    }

    /// The legs of agents.
    pub(super) fn agents(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.found
            .iter()
            .filter(|(_, found)| found.side == Side::Agent)
            .map(|(id, _)| *id)
    }

    /// Our channels whose events our application does not receive.
    pub(super) fn unsubscribed(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.found
            .keys()
            .filter(|id| !self.subscribed.contains(id))
            .copied()
    }
}

/// True if the dialplan's half of this leg is connected to a trunk, and does not play a sound.
fn trunk_answered(leg: Uuid, by_id: &HashMap<&str, &Channel>) -> bool {
    let half = requests::far_half(leg).to_string();
    by_id
        .get(half.as_str())
        .is_some_and(|half| half.state == "Up" && half.dialplan.app_name == "Dial")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const AGENT: &str = "01a1f8b3-27df-703f-9797-f1891379e433";
    const CALLEE: &str = "01a1f8b3-2884-714d-9c94-4cb3dbfa8881";
    const WAITING: &str = "01a1f8b3-2844-7206-8b86-5f62f78b8b3e";
    const RINGING: &str = "01a1f8b3-2884-714d-9c94-4cb5dbcba5ec";
    const ROUTED: &str = "01a1f8b3-2884-714d-9c94-4cb46c419707";
    const ROUTED_FAR: &str = "01a1f8b3-2884-d14d-9c94-4cb46c419707";
    const STRANGER: &str = "01a1f8b3-2bb6-7555-900b-d28016743319";
    const LEFT: &str = "01a1f8b3-2bb6-7555-900b-d27feb26a771";

    fn channel(id: &str, name: &str, state: &str, app: &str, data: &str) -> Value {
        json!({
            "id": id, "name": name, "state": state, "protocol_id": "",
            "caller": {"name": "", "number": "+12025550100"}, "connected": {"name": "", "number": ""},
            "accountcode": "", "creationtime": "2026-11-20T10:55:48.227+0000", "language": "en",
            "dialplan": {"context": "none", "exten": "s", "priority": 1, "app_name": app, "app_data": data},
        })
    }

    fn on_pbx(far_half_runs: &str) -> Survey {
        let channels = json!([
            channel(
                AGENT,
                "PJSIP/agent-1-00000001",
                "Up",
                "Stasis",
                "paceline,agent,paceline-1"
            ),
            channel(
                CALLEE,
                "PJSIP/carrier-00000002",
                "Up",
                "Stasis",
                "paceline,callee,paceline-1"
            ),
            channel(
                WAITING,
                "PJSIP/carrier-00000003",
                "Up",
                "Stasis",
                "paceline,callee,paceline-1"
            ),
            channel(
                RINGING,
                "PJSIP/carrier-00000004",
                "Ringing",
                "AppDial2",
                "(Outgoing Line)"
            ),
            channel(
                ROUTED,
                "Local/12025550140@from-internal-00000001;1",
                "Up",
                "Stasis",
                "paceline,callee,paceline-1"
            ),
            channel(
                ROUTED_FAR,
                "Local/12025550140@from-internal-00000001;2",
                "Up",
                far_half_runs,
                ""
            ),
            channel(
                STRANGER,
                "PJSIP/desk-00000005",
                "Up",
                "Stasis",
                "paceline,agent,paceline-2"
            ),
            channel(
                "1795175310.133",
                "PJSIP/carrier-00000006",
                "Up",
                "AppDial",
                "(Outgoing Line)"
            ),
        ]);
        let bridges = json!([
            {"id": format!("paceline-1-{AGENT}"), "technology": "simple_bridge", "channels": [AGENT, CALLEE]},
            {"id": format!("paceline-1-{LEFT}"), "technology": "simple_bridge", "channels": []},
            {"id": LEFT, "technology": "simple_bridge", "channels": []},
            {"id": format!("paceline-2-{STRANGER}"), "technology": "simple_bridge", "channels": [STRANGER]},
        ]);
        let application = json!({
            "name": "paceline", "channel_ids": [AGENT, CALLEE, RINGING, ROUTED, ROUTED_FAR],
            "bridge_ids": [], "endpoint_ids": ["PJSIP"], "device_names": [],
        });
        let bytes = |value: &Value| value.to_string().into_bytes();
        survey(
            "paceline",
            "paceline-1",
            &bytes(&channels),
            &bytes(&bridges),
            &bytes(&application),
            b"[]",
        )
        .unwrap()
    }

    fn id(text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap()
    }

    #[test]
    fn each_kind_of_channel_is_recognised() {
        let mut survey = on_pbx("Dial");
        let stage = |survey: &Survey, leg| survey.found.get(&id(leg)).map(|found| (found.side, found.stage));
        assert_eq!(stage(&survey, AGENT), Some((Side::Agent, FoundStage::Held)));
        assert_eq!(stage(&survey, CALLEE), Some((Side::Callee, FoundStage::Answered)));
        assert_eq!(
            stage(&survey, WAITING),
            Some((Side::Callee, FoundStage::Answered))
        );
        assert_eq!(stage(&survey, ROUTED), Some((Side::Callee, FoundStage::Answered)));
        // Only a variable tells the side of these two. A channel of another installation does not have our mark in it.
        assert_eq!(stage(&survey, RINGING), None);
        let mut unknown: Vec<Uuid> = survey.sides_unknown.iter().map(|(id, _)| *id).collect();
        unknown.sort();
        assert_eq!(unknown, [id(RINGING), id(STRANGER)]);
        assert_eq!(survey.unsubscribed().collect::<Vec<_>>(), [id(WAITING)]);
        assert_eq!(survey.bridges_left, [id(LEFT)]);
        assert_eq!(survey.callees, HashMap::from([(id(AGENT), id(CALLEE))]));
        assert_eq!(survey.agents().collect::<Vec<_>>(), [id(AGENT)]);

        let (ringing, found) = survey.sides_unknown.remove(0);
        survey.resolve(ringing, found, Side::Agent);
        assert_eq!(stage(&survey, RINGING), Some((Side::Agent, FoundStage::Dialing)));
        assert!(survey.snapshot.channels[&ringing].in_our_app);
    }

    #[test]
    fn the_snapshot_has_every_uuid_once_and_says_which_are_ours() {
        let snapshot = on_pbx("Dial").snapshot;
        let of = |leg| {
            let channel = snapshot.channels[&id(leg)];
            (channel.phase, channel.bridge, channel.in_our_app)
        };
        let bridge = Some(AgentLegId(id(AGENT)));
        assert_eq!(snapshot.channels.len(), 6);
        assert_eq!(of(AGENT), (ChannelPhase::Up, bridge, true));
        assert_eq!(of(CALLEE), (ChannelPhase::Up, bridge, true));
        assert_eq!(of(WAITING), (ChannelPhase::Up, None, true));
        // It counts as ours only after its variable is read.
        assert_eq!(of(RINGING), (ChannelPhase::Ringing, None, false));
        assert_eq!(of(ROUTED), (ChannelPhase::Up, None, true));
        assert_eq!(of(STRANGER), (ChannelPhase::Up, None, false));
    }

    #[test]
    fn a_leg_that_the_dialplan_plays_something_to_is_not_answered() {
        let survey = on_pbx("Playback");
        assert_eq!(survey.found[&id(ROUTED)].stage, FoundStage::DialplanOnly);
        assert_eq!(survey.snapshot.channels[&id(ROUTED)].phase, ChannelPhase::Ringing);
    }

    #[test]
    fn lists_that_are_no_lists_are_errors() {
        for bad in ["", "{}", "[{}]", "null"] {
            assert!(
                survey("paceline", "paceline-1", bad.as_bytes(), b"[]", b"{}", b"[]").is_err(),
                "{bad}"
            );
        }
    }
}
