//! A lab, a driver on it, and everything that the driver said so far.

use paceline::pbx::PbxHandle;
use paceline::pbx::ari::{self, AriConfig};
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{DialString, LegEnd, PbxCommand, PbxEvent, Snapshot};
use paceline_lab::{Audio, Lab, LabOptions, Version};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A driver, and what it said.
pub(crate) struct Driver {
    pub(crate) handle: PbxHandle,
    pub(crate) said: Vec<PbxEvent>,
}

/// A lab with a driver.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) driver: Driver,
}

pub(crate) fn lab(version: Version) -> Lab {
    lab_with(version, Audio::None, "")
}

/// `dialplan` is added to `extensions.conf`.
pub(crate) fn lab_with(version: Version, audio: Audio, dialplan: &str) -> Lab {
    Lab::start_with(&LabOptions {
        version,
        audio,
        agents: 20,
        append: vec![("extensions.conf".to_owned(), dialplan.to_owned())],
        ..LabOptions::default()
    })
    .expect("the lab starts")
}

pub(crate) fn config(lab: &Lab, url: &str) -> AriConfig {
    AriConfig {
        name: PbxName::new("pbx"),
        url: url.to_owned(),
        username: lab.asterisk.user().to_owned(),
        password: lab.asterisk.password().to_owned().into(),
        app: AriConfig::APP.to_owned(),
        authorities: Vec::new(),
    }
}

impl Bench {
    pub(crate) async fn start(version: Version) -> Self {
        Self::on(lab(version)).await
    }

    pub(crate) async fn on(lab: Lab) -> Self {
        let driver = Driver::start(config(&lab, &lab.asterisk.ari_url())).await;
        Self { lab, driver }
    }
}

impl Driver {
    /// Starts one and waits until it is linked.
    pub(crate) async fn start(config: AriConfig) -> Self {
        let mut driver = Self {
            handle: ari::spawn(config),
            said: Vec::new(),
        };
        driver.resynchronised().await;
        driver
    }

    pub(crate) async fn tell(&self, command: PbxCommand) {
        self.handle.commands.send(command).await.expect("the driver runs");
    }

    /// Waits until something was said that `want` makes a value of, now or before, and takes it out.
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

    pub(crate) async fn resynchronised(&mut self) -> Snapshot {
        self.wait("Resynchronised", |event| match event {
            PbxEvent::Resynchronised(snapshot) => Some(snapshot.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn link_lost(&mut self) {
        self.wait("LinkLost", |event| (*event == PbxEvent::LinkLost).then_some(()))
            .await;
    }

    pub(crate) async fn ended(&mut self, leg: LegId) -> LegEnd {
        self.wait(&format!("end of {leg}"), |event| match event {
            PbxEvent::Ended { leg: of, end } if *of == leg => Some(end.clone()),
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
        self.wait("Answered", |event| {
            (*event == PbxEvent::Answered { leg }).then_some(())
        })
        .await;
    }

    /// Calls a number over the trunk, directly or the way FreePBX is dialed.
    pub(crate) async fn call(&self, number: &str, way: Way) -> LegId {
        self.call_for(number, way, Duration::from_secs(3)).await
    }

    pub(crate) async fn call_for(&self, number: &str, way: Way, ring_timeout: Duration) -> LegId {
        self.dial(&way.dial(number), ring_timeout, Duration::from_secs(60))
            .await
    }

    pub(crate) async fn dial(&self, dial: &str, ring_timeout: Duration, duration_max: Duration) -> LegId {
        let leg = LegId(Uuid::now_v7());
        self.tell(PbxCommand::CallContact {
            leg,
            dial: DialString(dial.to_owned()),
            caller_id: Some("+12025550100".to_owned()),
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
            dial: DialString(format!("PJSIP/agent-{agent}")),
            caller_id: None,
            ring_timeout: Duration::from_secs(5),
            duration_max: Duration::from_secs(600),
        })
        .await;
        leg
    }

    /// An agent on the line.
    pub(crate) async fn agent(&mut self, agent: u32) -> AgentLegId {
        let leg = self.call_agent(agent).await;
        self.agent_ready(leg).await;
        leg
    }

    pub(crate) async fn agent_ready(&mut self, leg: AgentLegId) {
        self.wait("AgentReady", |event| {
            (*event == PbxEvent::AgentReady { leg }).then_some(())
        })
        .await;
    }

    /// Puts an answered callee through.
    pub(crate) async fn connect(&mut self, leg: LegId, agent_leg: AgentLegId) {
        self.tell(PbxCommand::Connect { leg, agent_leg }).await;
        self.wait("Connected", |event| {
            (*event == PbxEvent::Connected { leg, agent_leg }).then_some(())
        })
        .await;
    }
}

/// How a number is dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Dialplan,
}

impl Way {
    pub(crate) fn dial(self, number: &str) -> String {
        match self {
            Self::Direct => format!("PJSIP/{number}@carrier"),
            Self::Dialplan => format!("Local/{number}@from-internal/n"),
        }
    }
}

/// Waits until `holds`, without an event to wait for.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
