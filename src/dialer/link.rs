//! The reading end of one PBX: each event goes to the campaign that owns the leg. A leg that is ours by the PBX's
//! word and nobody's by our books is a stray, and is hung up.

use super::{Inner, Told};
use crate::pbx::Stamped;
use paceline_core::event::What;
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{PbxCommand, PbxEvent, RecordingName, Snapshot};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{info, warn};
use uuid::Uuid;

/// What an event is about.
enum About {
    /// The whole link.
    Link,
    /// One leg; `over` where it is the leg's last word, `stray` how to end it should nobody own it and it live.
    Leg {
        id: Uuid,
        over: bool,
        stray: Option<PbxCommand>,
    },
    /// A recording whose name is not one of ours.
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
        PbxEvent::Transferred { leg: id } => leg(id.0, false, None),
        PbxEvent::ConnectFailed { leg: id, .. } | PbxEvent::Played { leg: id, .. } => leg(id.0, false, None),
        PbxEvent::LegEnded { leg: id, .. } => leg(id.0, true, None),
        PbxEvent::AgentEnded { leg: id, .. } => leg(id.0, true, None),
        PbxEvent::RecordingStarted { recording: name }
        | PbxEvent::RecordingEnded { recording: name, .. }
        | PbxEvent::RecordingFailed { recording: name, .. } => recording(name),
    }
}

/// Reads one PBX until its driver stops.
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
                    // A campaign that has stopped has no legs left that matter.
                    let _ = owner
                        .send(Told::Event {
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
        // The driver stops only with us.
        let _ = face.commands.send(command).await;
    }
}
