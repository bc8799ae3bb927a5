//! The channels that exist on the PBX after a gap in its events. Input: the PBX's list of channels, then the dump of each channel.
//! Output: a [`Survey`] for the state machine, with the [`Snapshot`] for the engine. Pure.
//!
//! The PBX takes the list from a database that lags behind the channels. So the list only tells which channels to dump, and every
//! fact comes from a dump.

use super::esl_event::{on_hold, our_leg, uuid};
use super::leg::{Found, FoundStage, Side};
use crate::progress::ProgressSeen;
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::{ChannelPhase, ChannelState, Snapshot};
use paceline_esl::Event;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

#[derive(Deserialize)]
struct Channels {
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    uuid: String,
    #[serde(default)]
    direction: String,
}

/// The channels that were found on the PBX.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) snapshot: Snapshot,
    /// The channels that are our legs.
    pub(super) found: HashMap<Uuid, Found>,
}

/// The channels to dump: the outbound channels of the list, and the legs that we know. Fails if the list is not the expected JSON.
pub(super) fn candidates(list: &[u8], known: &HashSet<Uuid>) -> Result<BTreeSet<Uuid>, serde_json::Error> {
    let channels: Channels = serde_json::from_slice(list)?;
    Ok(channels
        .rows
        .iter()
        .filter(|row| row.direction == "outbound" && row.uuid.len() == 36)
        .filter_map(|row| Uuid::try_parse(&row.uuid).ok())
        .chain(known.iter().copied())
        .collect())
}

/// Applications that a leg of ours executes without being in the PBX's dialplan. Empty: it has executed none yet.
const KEEPING: [&[u8]; 4] = [b"", b"park", b"set", b"playback"];

/// The time since the answer. Both times are by the PBX's clock.
fn up_for(event: &Event<'_>) -> Option<Duration> {
    let us = event.at.number()?.checked_sub(event.answered_at.number()?)?;
    Some(Duration::from_micros(us))
}

impl Survey {
    /// Takes the dump of one channel, or the PBX's reply that the channel does not exist.
    pub(super) fn dump(&mut self, dump: &[u8], app: &str) {
        let event = Event::decode(dump);
        let Some(id) = uuid(event.channel) else { return };
        let hanging_up = matches!(event.state.0, b"CS_HANGUP" | b"CS_REPORTING" | b"CS_DESTROY");
        if hanging_up {
            return;
        }
        let answered = event.answered_at.is_some_time();
        let parked = event.state.0 == b"CS_PARK"
            || (event.state.0 == b"CS_EXECUTE" && event.current_application.0 == b"park");
        let talking = matches!(event.state.0, b"CS_EXCHANGE_MEDIA" | b"CS_SOFT_EXECUTE");
        let in_dialplan = event.state.0 == b"CS_EXECUTE" && !KEEPING.contains(&event.current_application.0);
        let progress = ProgressSeen::of(event.rang_at.is_some_time(), event.early_media_at.is_some_time());
        let ours = our_leg(&event, app).is_some();
        let phase = match (answered, progress.is_any()) {
            (true, _) => ChannelPhase::Up,
            (false, true) => ChannelPhase::Ringing,
            (false, false) => ChannelPhase::Dialing,
        };
        self.snapshot.channels.insert(
            id,
            ChannelState {
                phase,
                bridge: None,
                in_our_app: ours,
                up_for: answered.then(|| up_for(&event)).flatten(),
                trouble: None,
                with_others: false,
            },
        );
        let Some(side) = Side::of(event.side.0).filter(|_| ours) else {
            return;
        };
        self.found.insert(
            id,
            Found {
                side,
                stage: match (answered, parked || talking || in_dialplan) {
                    (true, true) => FoundStage::Held,
                    (true, false) => FoundStage::Answered,
                    (false, _) => FoundStage::Dialing,
                },
                progress,
                with: talking.then(|| uuid(event.other)).flatten(),
                elsewhere: answered && in_dialplan,
                on_hold: on_hold(&event.far_sdp.text()),
                recording: Some(event.recording.text().into_owned()).filter(|name| !name.is_empty()),
            },
        );
    }

    /// Determines which leg is in which agent's conversation. To be called after the last dump.
    pub(super) fn finish(mut self) -> Self {
        let sides: HashMap<Uuid, Side> = self.found.iter().map(|(id, found)| (*id, found.side)).collect();
        for (id, found) in &mut self.found {
            // The other channel may be none of our legs, or it has ended since.
            let joined = found
                .with
                .filter(|with| sides.get(with).is_some_and(|side| *side != found.side));
            let bridge = match found.side {
                Side::Agent => (found.stage == FoundStage::Held && !found.elsewhere).then_some(*id),
                Side::Callee => {
                    found.elsewhere |= found.with.is_some() && joined.is_none();
                    found.with = joined;
                    joined
                }
            };
            if let Some(channel) = self.snapshot.channels.get_mut(id) {
                channel.bridge = bridge.map(AgentLegId);
                channel.trouble = found.trouble();
                channel.with_others = found.side == Side::Callee && found.elsewhere;
                channel.in_our_app &= found.side == Side::Callee || !found.elsewhere;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "01a1f8b3-27df-703f-9797-f1891379e433";
    const CALLEE: &str = "01a1f8b3-2884-714d-9c94-4cb3dbfa8881";
    const RINGING: &str = "01a1f8b3-2884-714d-9c94-4cb5dbcba5ec";
    const STRANGER: &str = "01a1f8b3-2bb6-7555-900b-d28016743319";

    fn dump(
        id: &str,
        state: &str,
        application: &str,
        answered: bool,
        rang: bool,
        ours: &str,
        with: &str,
    ) -> Vec<u8> {
        format!(
            "Event-Name: CHANNEL_DATA\nEvent-Date-Timestamp: 1795182399264712\nChannel-State: {state}\nUnique-ID: {id}\nCaller-Channel-Answered-Time: {}\n\
             Caller-Channel-Progress-Time: {}\nOther-Leg-Unique-ID: {with}\nvariable_current_application: {application}\n{ours}\n",
            u64::from(answered) * 1_795_182_369_264_712,
            u64::from(rang) * 1_795_182_369_056_817,
        )
        .into_bytes()
    }

    fn mark(id: &str, app: &str, side: &str) -> String {
        format!("variable_paceline_app: {app}\nvariable_paceline_leg: {id}\nvariable_paceline_side: {side}\n")
    }

    #[test]
    fn each_kind_of_channel_is_recognised() {
        let id = |text: &str| Uuid::try_parse(text).unwrap();
        let mut survey = Survey::default();
        let agent = mark(AGENT, "paceline", "agent");
        survey.dump(
            &dump(AGENT, "CS_EXCHANGE_MEDIA", "park", true, true, &agent, CALLEE),
            "paceline",
        );
        let callee = mark(CALLEE, "paceline", "callee") + "variable_paceline_recording: r1\n";
        survey.dump(
            &dump(CALLEE, "CS_SOFT_EXECUTE", "park", true, true, &callee, AGENT),
            "paceline",
        );
        let ringing = mark(RINGING, "paceline", "callee");
        survey.dump(
            &dump(RINGING, "CS_CONSUME_MEDIA", "", false, true, &ringing, ""),
            "paceline",
        );
        let stranger = mark(STRANGER, "another", "callee");
        survey.dump(
            &dump(STRANGER, "CS_PARK", "", true, true, &stranger, AGENT),
            "paceline",
        );
        survey.dump(b"-ERR No such channel!\n", "paceline");
        let survey = survey.finish();
        let of = |text| {
            let channel = survey.snapshot.channels[&id(text)];
            (channel.phase, channel.bridge, channel.in_our_app)
        };
        let bridge = Some(AgentLegId(id(AGENT)));
        assert_eq!(of(AGENT), (ChannelPhase::Up, bridge, true));
        assert_eq!(of(CALLEE), (ChannelPhase::Up, bridge, true));
        assert_eq!(of(RINGING), (ChannelPhase::Ringing, None, true));
        assert_eq!(of(STRANGER), (ChannelPhase::Up, None, false));
        let up_for = |text| survey.snapshot.channels[&id(text)].up_for;
        assert_eq!(
            (up_for(CALLEE), up_for(RINGING)),
            (Some(Duration::from_secs(30)), None)
        );
        assert_eq!(survey.snapshot.channels.len(), 4);
        assert_eq!(survey.found.len(), 3);
        assert_eq!(survey.found[&id(CALLEE)].recording.as_deref(), Some("r1"));
        assert_eq!(survey.found[&id(RINGING)].stage, FoundStage::Dialing);
    }

    #[test]
    fn an_agent_whose_callee_has_gone_is_alone_again() {
        let id = Uuid::try_parse(AGENT).unwrap();
        let mut survey = Survey::default();
        let agent = mark(AGENT, "paceline", "agent");
        survey.dump(
            &dump(AGENT, "CS_PARK", "park", true, true, &agent, CALLEE),
            "paceline",
        );
        let survey = survey.finish();
        assert_eq!(
            (survey.found[&id].stage, survey.found[&id].with),
            (FoundStage::Held, None)
        );
        assert_eq!(survey.snapshot.channels[&id].bridge, Some(AgentLegId(id)));
    }

    #[test]
    fn the_channels_to_ask_for_are_those_of_the_list_and_of_our_legs() {
        let known = HashSet::from([Uuid::try_parse(RINGING).unwrap()]);
        let list = format!(
            r#"{{"row_count":3,"rows":[{{"uuid":"{CALLEE}","direction":"outbound","name":"a"}},
               {{"uuid":"{STRANGER}","direction":"inbound"}},{{"uuid":"short","direction":"outbound"}}]}}"#
        );
        let asked = candidates(list.as_bytes(), &known).unwrap();
        let expected = [CALLEE, RINGING].map(|id| Uuid::try_parse(id).unwrap());
        assert_eq!(asked, BTreeSet::from(expected));
        assert_eq!(
            candidates(br#"{"row_count": 0}"#, &HashSet::new()).unwrap(),
            BTreeSet::new()
        );
        assert!(candidates(b"-ERR", &known).is_err());
    }
}
