//! A PBX of any kind, a driver for it, and all events that the driver has sent so far.

use crate::double::{self, Double};
use crate::proxy::Proxy;
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{
    CallerId, ConnectFault, Destination, DialString, LegEnd, PbxCommand, PbxEvent, Snapshot,
};
use paceline_lab::{
    Audio, Carrier, FreeSwitchLab, FreeSwitchOptions, Lab, LabError, LabOptions, PhoneBehaviour, Phones,
    Version,
};
use paceline_pbx::PbxHandle;
use paceline_pbx::ari::{self, AriConfig};
use paceline_pbx::esl::{self, EslConfig};
use paceline_pbx::sim::{self, SimControl};
use paceline_runtime::clock::Clock;
use paceline_sim::config::{Callees, Phones as SimPhones};
use paceline_sim::random::Spread;
use paceline_sim::{Answer, SimConfig};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longer than any step takes on an overloaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The kind of PBX under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Asterisk22,
    Asterisk16,
    FreeSwitch,
    /// The double of FreeSWITCH. It runs on machines without FreeSWITCH too.
    Double,
    /// The simulated PBX. It has no audio, and no socket for a driver.
    Sim,
}

/// A running PBX with its carrier and phones.
pub(crate) enum Pbx {
    Asterisk(Lab),
    FreeSwitch(FreeSwitchLab),
    Double(Double),
    Sim(SimControl),
}

/// The link between a driver and its PBX, which a test can cut.
pub(crate) enum BreakableLink {
    Proxy(Proxy),
    Sim(SimControl),
}

/// A PBX with a driver.
pub(crate) struct Rig {
    pub(crate) pbx: Pbx,
    pub(crate) driver: Driver,
}

/// A driver with the events that it sent.
pub(crate) struct Driver {
    pub(crate) handle: PbxHandle,
    pub(crate) said: Vec<PbxEvent>,
    agent_dial: &'static str,
}

impl Pbx {
    pub(crate) fn start(kind: Kind, audio: Audio) -> Self {
        let asterisk = |version| {
            Lab::start_with(&LabOptions {
                version,
                audio,
                agents: 20,
                ..LabOptions::default()
            })
            .map(Self::Asterisk)
        };
        match kind {
            Kind::Double => Ok(Self::Double(Double::start())),
            Kind::Sim => Ok(Self::Sim(simulated())),
            Kind::Asterisk22 => asterisk(Version::V22),
            Kind::Asterisk16 => asterisk(Version::V16),
            Kind::FreeSwitch => FreeSwitchLab::start(
                audio,
                FreeSwitchOptions {
                    agents: 20,
                    ..FreeSwitchOptions::default()
                },
            )
            .map(Self::FreeSwitch),
        }
        .expect("the lab starts")
    }

    /// The carrier at the other end of the trunk. Panics if it is simulated.
    pub(crate) fn carrier(&self) -> &Carrier {
        match self {
            Self::Asterisk(lab) => &lab.carrier,
            Self::FreeSwitch(lab) => &lab.carrier,
            Self::Double(_) | Self::Sim(_) => panic!("no carrier is behind it"),
        }
    }

    /// The agents' phones. Panics if they are simulated.
    pub(crate) fn phones(&self) -> &Phones {
        match self {
            Self::Asterisk(lab) => &lab.phones,
            Self::FreeSwitch(lab) => &lab.phones,
            Self::Double(_) | Self::Sim(_) => panic!("it plays its phones itself"),
        }
    }

    /// Sets the behaviour of an agent's phone for its next calls.
    pub(crate) fn phone(&self, agent: u32, behaviour: PhoneBehaviour) {
        match self {
            Self::Double(double) => double.phone(agent, behaviour),
            Self::Sim(sim) => sim.set_phone(&sim_phone(agent), answer(behaviour)),
            other => other.phones().set(agent, behaviour),
        }
    }

    pub(crate) fn phone_hangs_up(&self, agent: u32) {
        match self {
            Self::Double(double) => double.phone_hangs_up(agent),
            Self::Sim(sim) => {
                let held = sim.held_at(&sim_phone(agent)).expect("it is on a call");
                sim.far_end_hangs_up(held.0);
            }
            other => other.phones().hang_up(agent).expect("the phone hangs up"),
        }
    }

    pub(crate) fn is_on_call(&self, agent: u32) -> bool {
        match self {
            Self::Double(double) => double.is_on_call(agent),
            Self::Sim(sim) => sim.held_at(&sim_phone(agent)).is_some(),
            other => other.phones().is_on_call(agent),
        }
    }

    /// The port that a driver connects to.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Asterisk(lab) => lab.asterisk.ports().http,
            Self::FreeSwitch(lab) => lab.freeswitch.ports().event_socket,
            Self::Double(double) => double.port(),
            Self::Sim(_) => 0,
        }
    }

    /// A connected driver and its link.
    pub(crate) async fn driver_over_a_breakable_link(&self) -> (BreakableLink, Driver) {
        let (link, mut driver) = match self {
            Self::Sim(sim) => (BreakableLink::Sim(sim.clone()), self.spawn(self.port())),
            other => {
                let proxy = Proxy::to(other.port()).await;
                let driver = other.spawn(proxy.port());
                (BreakableLink::Proxy(proxy), driver)
            }
        };
        driver.resynchronised().await;
        (link, driver)
    }

    /// A driver that connects to this port, which is the PBX's or a proxy's.
    pub(crate) fn spawn(&self, port: u16) -> Driver {
        self.spawn_with(port, None)
    }

    pub(crate) fn spawn_with(&self, port: u16, password: Option<&str>) -> Driver {
        self.spawn_of(Uuid::nil(), port, password)
    }

    /// A driver of another installation, which uses the same names.
    pub(crate) fn stranger(&self) -> Driver {
        self.spawn_of(Uuid::from_u128(1), self.port(), None)
    }

    fn spawn_of(&self, installation: Uuid, port: u16, password: Option<&str>) -> Driver {
        let name = PbxName::new("pbx");
        let handle = match self {
            Self::Asterisk(lab) => ari::spawn(AriConfig {
                name,
                url: format!("http://127.0.0.1:{port}"),
                username: lab.asterisk.user().to_owned(),
                password: password.unwrap_or(lab.asterisk.password()).to_owned().into(),
                app: AriConfig::APP.to_owned(),
                installation,
                authorities: Vec::new(),
            }),
            Self::FreeSwitch(_) | Self::Double(_) => {
                let own = match self {
                    Self::FreeSwitch(lab) => lab.freeswitch.password(),
                    Self::Double(_) | Self::Asterisk(_) | Self::Sim(_) => double::PASSWORD,
                };
                esl::spawn(EslConfig {
                    name,
                    address: format!("127.0.0.1:{port}"),
                    password: password.unwrap_or(own).to_owned().into(),
                    app: EslConfig::APP.to_owned(),
                    installation,
                })
            }
            Self::Sim(sim) => sim.attach(),
        };
        let driver = Driver::of(handle);
        match self {
            Self::Asterisk(_) | Self::Sim(_) => driver,
            Self::FreeSwitch(_) | Self::Double(_) => Driver {
                agent_dial: "user/agent-",
                ..driver
            },
        }
    }

    /// A connected driver.
    pub(crate) async fn driver(&self) -> Driver {
        let mut driver = self.spawn(self.port());
        driver.resynchronised().await;
        driver
    }

    /// The dial string of a number over the trunk.
    pub(crate) fn dial(&self, number: &str) -> String {
        match self {
            Self::Asterisk(_) | Self::Sim(_) => format!("PJSIP/{number}@carrier"),
            Self::FreeSwitch(_) | Self::Double(_) => format!("sofia/gateway/carrier/{number}"),
        }
    }

    /// The dial string of a number over the routes of an office, if the PBX has any.
    pub(crate) fn dial_routed(&self, number: &str) -> String {
        match self {
            Self::Asterisk(_) | Self::Sim(_) => format!("Local/{number}@from-internal/n"),
            Self::FreeSwitch(_) => format!("loopback/{number}/from-internal"),
            Self::Double(_) => self.dial(number),
        }
    }

    /// The dial string of a trunk that does not exist.
    pub(crate) fn dial_nowhere(&self) -> &'static str {
        match self {
            Self::Asterisk(_) | Self::Sim(_) => "PJSIP/nobody",
            Self::FreeSwitch(_) | Self::Double(_) => "sofia/gateway/nobody/12025550100",
        }
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Self::Asterisk(lab) => lab.crash(),
            Self::FreeSwitch(lab) => lab.crash(),
            Self::Double(double) => double.kill(),
            // The PBX stays down until it is restarted.
            Self::Sim(sim) => sim.restart(Duration::from_secs(3600)),
        }
    }

    pub(crate) fn restart(&mut self) {
        match self {
            Self::Asterisk(lab) => lab.asterisk.restart(),
            Self::FreeSwitch(lab) => lab.freeswitch.restart(),
            Self::Double(double) => {
                double.restart();
                Ok(())
            }
            Self::Sim(sim) => {
                sim.restore_link();
                Ok(())
            }
        }
        .expect("it starts again");
    }

    pub(crate) fn freeze(&self) {
        match self {
            Self::Asterisk(lab) => lab.asterisk.freeze(),
            Self::FreeSwitch(lab) => lab.freeswitch.freeze(),
            Self::Double(_) | Self::Sim(_) => panic!("it has no process of its own"),
        }
        .expect("it runs");
    }

    pub(crate) fn thaw(&self) {
        match self {
            Self::Asterisk(lab) => lab.asterisk.thaw(),
            Self::FreeSwitch(lab) => lab.freeswitch.thaw(),
            Self::Double(_) | Self::Sim(_) => panic!("it has no process of its own"),
        }
        .expect("it runs");
    }

    /// The ids of all channels.
    pub(crate) fn channels(&self) -> Vec<String> {
        match self {
            Self::Asterisk(lab) => lab.asterisk.channels(),
            Self::FreeSwitch(lab) => lab.freeswitch.channels(),
            Self::Double(double) => Ok(double.channels()),
            Self::Sim(sim) => Ok(sim.channel_ids().iter().map(Uuid::to_string).collect()),
        }
        .expect("it answers")
    }

    /// Ends a channel without a command of the driver.
    pub(crate) fn hang_up(&self, channel: Uuid) {
        match self {
            Self::Asterisk(lab) => {
                lab.asterisk
                    .ari("DELETE", &format!("/channels/{channel}"))
                    .expect("ARI answers");
            }
            Self::FreeSwitch(lab) => {
                lab.freeswitch
                    .api(&format!("uuid_kill {channel}"))
                    .expect("it answers");
            }
            Self::Double(double) => double.hang_up(&channel.to_string()),
            Self::Sim(sim) => sim.far_end_hangs_up(channel),
        }
    }

    pub(crate) fn recordings_dir(&self) -> PathBuf {
        match self {
            Self::Asterisk(lab) => lab.asterisk.recordings_dir(),
            Self::FreeSwitch(lab) => lab.freeswitch.recordings_dir(),
            Self::Double(_) | Self::Sim(_) => panic!("it has no disk"),
        }
    }

    /// Waits until the PBX has no channel left.
    pub(crate) async fn settled(&self) {
        let settled: Result<(), LabError> = match self {
            Self::Asterisk(lab) => lab.settled(PATIENCE),
            Self::FreeSwitch(lab) => lab.settled(PATIENCE),
            Self::Double(_) | Self::Sim(_) => {
                until("nothing is left", || self.channels().is_empty()).await;
                Ok(())
            }
        };
        settled.expect("nothing is left");
    }
}

impl BreakableLink {
    pub(crate) fn cut(&self) {
        match self {
            Self::Proxy(proxy) => proxy.cut(),
            Self::Sim(sim) => sim.cut_link(Duration::ZERO),
        }
    }

    pub(crate) fn mend(&self) {
        match self {
            Self::Proxy(proxy) => proxy.mend(),
            Self::Sim(sim) => sim.restore_link(),
        }
    }
}

const PJSIP_PHONE: &str = "PJSIP/agent-";

fn sim_phone(agent: u32) -> String {
    format!("{PJSIP_PHONE}{agent}")
}

/// A simulated PBX whose callees behave like the lab's carrier, and whose phones answer as fast as the lab's.
fn simulated() -> SimControl {
    let quick = Duration::from_millis(50);
    let config = SimConfig {
        callees: Callees {
            scripted: true,
            ..Callees::default()
        },
        phones: SimPhones {
            pick_up: Spread::Uniform(quick, quick),
            ..SimPhones::default()
        },
        ..SimConfig::default()
    };
    sim::spawn_seeded(config, 7, Clock::real()).1
}

fn answer(behaviour: PhoneBehaviour) -> Answer {
    let refuses = |after, sip, q850| Answer::Refuses { after, sip, q850 };
    match behaviour {
        PhoneBehaviour::Answers { after } => Answer::PicksUp {
            after,
            drops_after: None,
        },
        PhoneBehaviour::Rings => Answer::Ignores,
        PhoneBehaviour::Busy => refuses(Duration::ZERO, 486, 17),
        PhoneBehaviour::Declines => refuses(Duration::ZERO, 603, 21),
        PhoneBehaviour::Unreachable => refuses(Duration::ZERO, 480, 19),
        PhoneBehaviour::Silent => refuses(Duration::from_millis(6400), 408, 18),
    }
}

impl Rig {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, Audio::None).await
    }

    pub(crate) async fn start_with(kind: Kind, audio: Audio) -> Self {
        let pbx = Pbx::start(kind, audio);
        let driver = pbx.driver().await;
        Self { pbx, driver }
    }

    /// A new driver takes the place of this one, which ends as in a crash.
    pub(crate) fn restarted(self) -> Self {
        let Self { pbx, driver } = self;
        drop(driver);
        let driver = pbx.spawn(pbx.port());
        Self { pbx, driver }
    }

    /// Calls a number directly over the trunk.
    pub(crate) async fn call(&self, number: &str) -> LegId {
        self.call_for(number, Duration::from_secs(3)).await
    }

    /// Calls a number over the routes of an office, if the PBX has any.
    pub(crate) async fn call_routed(&self, number: &str) -> LegId {
        let dial = self.pbx.dial_routed(number);
        self.driver
            .dial(&dial, Duration::from_secs(3), Duration::from_secs(60))
            .await
    }

    pub(crate) async fn call_for(&self, number: &str, ring_timeout: Duration) -> LegId {
        let dial = self.pbx.dial(number);
        self.driver
            .dial(&dial, ring_timeout, Duration::from_secs(60))
            .await
    }
}

impl Driver {
    /// A driver without events so far.
    pub(crate) fn of(handle: PbxHandle) -> Self {
        Self {
            handle,
            said: Vec::new(),
            agent_dial: PJSIP_PHONE,
        }
    }

    pub(crate) async fn tell(&self, command: PbxCommand) {
        self.handle.commands.send(command).await.expect("the driver runs");
    }

    /// Waits for an event for which `want` returns a value. Earlier events count too. Removes the event from the list.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut want: impl FnMut(&PbxEvent) -> Option<T>) -> T {
        if let Some((place, found)) = self
            .said
            .iter()
            .enumerate()
            .find_map(|(place, event)| want(event).map(|found| (place, found)))
        {
            self.said.remove(place);
            return found;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let stamped = tokio::time::timeout_at(deadline, self.handle.events.recv())
                .await
                .unwrap_or_else(|_| panic!("no {what} in time; said: {:?}", self.said))
                .expect("the driver runs");
            if let Some(found) = want(&stamped.event) {
                return found;
            }
            self.said.push(stamped.event);
        }
    }

    /// Waits for exactly this event.
    pub(crate) async fn hears(&mut self, wanted: PbxEvent) {
        self.wait(&format!("{wanted:?}"), |event| (*event == wanted).then_some(()))
            .await;
    }

    /// Waits for exactly this event, which must be new. Returns its age when we read it.
    pub(crate) async fn age_of(&mut self, wanted: PbxEvent) -> Duration {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.handle.events.recv()).await;
            let stamped = next.expect("it comes in time").expect("the driver runs");
            if stamped.event == wanted {
                return stamped.ago;
            }
            self.said.push(stamped.event);
        }
    }

    pub(crate) async fn resynchronised(&mut self) -> Snapshot {
        self.wait("Resynchronised", |event| match event {
            PbxEvent::Resynchronised(snapshot) => Some(snapshot.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn rings(&mut self, leg: LegId) {
        self.wait("ringing", |event| match event {
            PbxEvent::Progress { leg: of, .. } if *of == leg => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn ended(&mut self, leg: LegId) -> LegEnd {
        self.wait(&format!("end of {leg}"), |event| match event {
            PbxEvent::LegEnded { leg: of, end } if *of == leg => Some(end.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn agent_ended(&mut self, leg: AgentLegId) -> LegEnd {
        self.wait(&format!("end of agent {leg}"), |event| match event {
            PbxEvent::AgentEnded { leg: of, end } if *of == leg => Some(end.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn answered(&mut self, leg: LegId) {
        self.hears(PbxEvent::Answered { leg }).await;
    }

    pub(crate) async fn dial(&self, dial: &str, ring_timeout: Duration, duration_max: Duration) -> LegId {
        let leg = LegId(Uuid::now_v7());
        self.tell(PbxCommand::CallContact {
            leg,
            dial: DialString::new(dial).unwrap(),
            caller_id: Some(CallerId::new("+12025550100").unwrap()),
            ring_timeout,
            duration_max,
        })
        .await;
        leg
    }

    pub(crate) async fn call_agent(&self, agent: u32) -> AgentLegId {
        let leg = AgentLegId(Uuid::now_v7());
        self.tell(PbxCommand::CallAgent {
            leg,
            dial: DialString::new(&format!("{}{agent}", self.agent_dial)).unwrap(),
            caller_id: None,
            ring_timeout: Duration::from_secs(5),
            duration_max: Duration::from_secs(600),
            report_keys: false,
        })
        .await;
        leg
    }

    /// The held leg of an agent.
    pub(crate) async fn agent(&mut self, agent: u32) -> AgentLegId {
        let leg = self.call_agent(agent).await;
        self.hears(PbxEvent::AgentReady { leg }).await;
        leg
    }

    /// Connects an answered callee to an agent.
    pub(crate) async fn connect(&mut self, leg: LegId, agent_leg: AgentLegId) {
        self.tell(PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg),
        })
        .await;
        self.hears(PbxEvent::Connected { leg, agent_leg }).await;
    }

    /// Tries to connect a callee, which must fail. Returns the reason.
    pub(crate) async fn fault(&mut self, leg: LegId, agent_leg: AgentLegId) -> ConnectFault {
        self.tell(PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg),
        })
        .await;
        self.wait("ConnectFailed", |event| match event {
            PbxEvent::ConnectFailed {
                leg: callee,
                agent_leg: agent,
                fault,
            } if (*callee, *agent) == (leg, agent_leg) => Some(*fault),
            _ => None,
        })
        .await
    }
}

/// Polls until `holds` returns true.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
