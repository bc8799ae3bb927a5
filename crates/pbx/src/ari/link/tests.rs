use super::*;
use crate::driver;
use paceline_core::pbx::DialString;
use paceline_lab::{Asterisk, Options, Version};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_events_breaks_the_link_which_is_made_again_with_a_snapshot() {
    const ROOM: usize = 8;
    let asterisk = Asterisk::start(Version::V22, &Options::default()).unwrap();
    let config = AriConfig {
        name: PbxName::new("pbx"),
        url: asterisk.ari_url(),
        username: asterisk.user().to_owned(),
        password: asterisk.password().to_owned().into(),
        app: AriConfig::APP.to_owned(),
        installation: Uuid::nil(),
        authorities: Vec::new(),
    };
    let (commands, commands_in) = mpsc::channel(64);
    let (events_out, mut events) = mpsc::channel(ROOM);
    let stats = Arc::new(LinkStats::default());
    let ports = Ports {
        commands: commands_in,
        events: events_out,
        stats: Arc::clone(&stats),
    };
    let driver = tokio::spawn(driver::run(AriLink::new(config), ports));
    let first = events.recv().await.unwrap().event;
    assert!(matches!(first, PbxEvent::Resynchronised(_)));

    // Every one of these is refused, and nobody takes the refusals.
    for nth in 0..ROOM + 4 {
        let call = PbxCommand::CallAgent {
            leg: AgentLegId(Uuid::now_v7()),
            dial: DialString::new(&format!("PJSIP/nobody-{nth}")).unwrap(),
            caller_id: None,
            ring_timeout: Duration::from_secs(5),
            duration_max: Duration::from_secs(5),
            report_keys: false,
        };
        commands.send(call).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while stats.losses.load(Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the link is not let go");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The driver waits for room, and commands are answered or dropped meanwhile: nothing piles up.
    for _ in 0..200 {
        let leg = LegId(Uuid::now_v7());
        tokio::time::timeout(Duration::from_secs(5), commands.send(PbxCommand::HangUp { leg }))
            .await
            .unwrap()
            .unwrap();
    }
    let (mut ends, mut lost, mut back) = (0, false, false);
    while !back || ends < ROOM + 4 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv());
        match event.await.expect("every refusal is told, once").unwrap().event {
            PbxEvent::AgentEnded { .. } => ends += 1,
            PbxEvent::LinkLost => lost = true,
            PbxEvent::Resynchronised(snapshot) => {
                // The one that tried whether the PBX takes calls may be there still.
                assert!(lost && snapshot.channels.len() <= 1);
                back = true;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(commands);
    tokio::time::timeout(Duration::from_secs(5), driver)
        .await
        .expect("a driver whose handle is gone ends")
        .unwrap();
}
