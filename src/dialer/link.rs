//! Reads the events of one PBX and hands each to the campaign that owns the leg. A leg that has our mark on the PBX but no
//! owner in our records is a stray, and is hung up.

use super::{CampaignInput, Inner};
use crate::pbx::Stamped;
use paceline_core::event::What;
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{PbxCommand, PbxEvent, RecordingName, Snapshot};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{info, warn};
use uuid::Uuid;

/// The subject of an event.
enum About {
    /// The whole link.
    Link,
    /// One leg. `over`: the event is the end of the leg. `stray`: the command that ends the leg if it has no owner. `None`: an
    /// event without an owner is only counted.
    Leg {
        id: Uuid,
        over: bool,
        stray: Option<PbxCommand>,
    },
    /// A recording that has no leg's id as its name, so Paceline did not start it.
    Unknown,
}

fn about(event: &PbxEvent) -> About {
    let leg = |id: Uuid, over: bool, stray: Option<PbxCommand>| About::Leg { id, over, stray };
    let recording = |name: &RecordingName| {
        Uuid::try_parse(name.as_str()).map_or(About::Unknown, |id| leg(id, false, None))
    };
    match event {
        PbxEvent::LinkLost | PbxEvent::Resynchronised(_) => About::Link,
        PbxEvent::Progress { leg: id, .. }
        | PbxEvent::Answered { leg: id }
        | PbxEvent::Connected { leg: id, .. } => leg(id.0, false, Some(PbxCommand::HangUp { leg: *id })),
        PbxEvent::AgentRinging { leg: id } | PbxEvent::AgentReady { leg: id } => {
            leg(id.0, false, Some(PbxCommand::HangUpAgent { leg: *id }))
        }
        PbxEvent::AgentLeft { leg: id, .. } => leg(id.0, false, Some(PbxCommand::HangUpAgent { leg: *id })),
        PbxEvent::CalleeAlone { leg: id } => leg(id.0, false, Some(PbxCommand::HangUp { leg: *id })),
        PbxEvent::AgentTrouble { leg: id, .. } => leg(id.0, false, None),
        PbxEvent::Transferred { leg: id } | PbxEvent::Pressed { leg: id, .. } => leg(id.0, false, None),
        PbxEvent::ConnectFailed { leg: id, .. } | PbxEvent::Played { leg: id, .. } => leg(id.0, false, None),
        PbxEvent::LegEnded { leg: id, .. } => leg(id.0, true, None),
        PbxEvent::AgentEnded { leg: id, .. } => leg(id.0, true, None),
        PbxEvent::RecordingStarted { recording: name }
        | PbxEvent::RecordingEnded { recording: name, .. }
        | PbxEvent::RecordingFailed { recording: name, .. } => recording(name),
    }
}

/// Reads one PBX's events until its driver stops.
pub(super) async fn run(dialer: Arc<Inner>, pbx: PbxName, mut events: mpsc::Receiver<Stamped>) {
    let queue = dialer.metrics.queue("pbx_events");
    while let Some(stamped) = events.recv().await {
        queue.depth.set(i64::try_from(events.len()).unwrap_or(i64::MAX));
        match about(&stamped.event) {
            About::Link => {
                let connected = matches!(stamped.event, PbxEvent::Resynchronised(_));
                let what = What::Pbx {
                    pbx: pbx.clone(),
                    connected,
                };
                dialer.events.tell(dialer.clock.now().wall, None, what);
                if let PbxEvent::Resynchronised(snapshot) = &stamped.event {
                    info!(pbx.name = %pbx, channels = snapshot.channels.len(), "`{pbx}` is connected and resynchronised");
                    hang_up_strays(&dialer, &pbx, snapshot).await;
                } else {
                    warn!(pbx.name = %pbx, "the link to `{pbx}` is down: nothing is launched there until it is up again");
                }
                dialer.tell_all(&pbx, stamped).await;
            }
            About::Leg { id, over, stray } => match (dialer.routes.owner(id), stray) {
                (Some(owner), _) => {
                    // If the send fails, the campaign has stopped and needs no events.
                    let _ = owner
                        .send(CampaignInput::Event {
                            pbx: pbx.clone(),
                            stamped,
                        })
                        .await;
                    if over {
                        dialer.routes.ended(id);
                    }
                }
                (None, Some(command)) => tell(&dialer, &pbx, command).await,
                (None, None) => {
                    dialer.metrics.stale().inc();
                }
            },
            About::Unknown => {
                dialer.metrics.stale().inc();
            }
        }
    }
}

async fn hang_up_strays(dialer: &Inner, pbx: &PbxName, snapshot: &Snapshot) {
    for (id, channel) in &snapshot.channels {
        if !channel.in_our_app || dialer.routes.owner(*id).is_some() {
            continue;
        }
        warn!(pbx.name = %pbx, leg.id = %id, "leg {id} on `{pbx}` is a stray (no attempt or agent has it): hanging it up");
        let command = if channel.bridge == Some(AgentLegId(*id)) {
            PbxCommand::HangUpAgent { leg: AgentLegId(*id) }
        } else {
            PbxCommand::HangUp { leg: LegId(*id) }
        };
        tell(dialer, pbx, command).await;
    }
}

async fn tell(dialer: &Inner, pbx: &PbxName, command: PbxCommand) {
    if let Some(face) = dialer.pbxes.get(pbx) {
        // The send fails only if the driver has stopped, and then the process stops too.
        let _ = face.commands.send(command).await;
    }
}
