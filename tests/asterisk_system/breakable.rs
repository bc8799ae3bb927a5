//! Labs whose PBX can be crashed or frozen, and whose link can be cut.

use crate::proxy::Proxy;
use crate::rig::Site;
use paceline_lab::{
    Audio, Carrier, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions, Phones, SeenCall, Version,
};
use std::time::Duration;

/// A lab whose PBX can be crashed or frozen.
pub(crate) trait Breakable: Site {
    const MAKE: &str;
    /// Its name in Paceline's configuration.
    const PBX: &str;
    /// The dial string of its carrier.
    const DIAL: &str;
    /// The port that Paceline connects to, and its key in the configuration.
    fn way_in(&self) -> (u16, String);
    fn crash(&mut self);
    fn restart(&mut self);
    /// SIGSTOP.
    fn freeze(&self);
    fn thaw(&self);
    fn channels(&self) -> Vec<String>;
    fn phones(&self) -> &Phones;
    fn carrier(&self) -> &Carrier;
}

/// An Asterisk whose callees and agents send tones.
pub(crate) fn asterisk(version: Version, agents: u32) -> Lab {
    Lab::start_with(&LabOptions {
        version,
        agents,
        ..LabOptions::default()
    })
    .expect("the lab starts; run scripts/tools if something is missing")
}

/// The same with a FreeSWITCH.
pub(crate) fn freeswitch(agents: u32) -> FreeSwitchLab {
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    FreeSwitchLab::start(Audio::Tones, options).expect("the lab starts")
}

impl Breakable for Lab {
    const MAKE: &str = "Asterisk";
    const PBX: &str = "main";
    const DIAL: &str = "PJSIP/{number}@carrier";

    fn way_in(&self) -> (u16, String) {
        let port = self.asterisk.ports().http;
        (port, format!("127.0.0.1:{port}"))
    }

    fn crash(&mut self) {
        self.crash();
    }

    fn restart(&mut self) {
        self.asterisk.restart().expect("it starts again");
    }

    fn freeze(&self) {
        self.asterisk.freeze().expect("it runs");
    }

    fn thaw(&self) {
        self.asterisk.thaw().expect("it runs");
    }

    fn channels(&self) -> Vec<String> {
        self.asterisk.channels().expect("channels")
    }

    fn phones(&self) -> &Phones {
        &self.phones
    }

    fn carrier(&self) -> &Carrier {
        &self.carrier
    }
}

impl Breakable for FreeSwitchLab {
    const MAKE: &str = "FreeSWITCH";
    const PBX: &str = "other";
    const DIAL: &str = "sofia/gateway/carrier/{number}";

    fn way_in(&self) -> (u16, String) {
        (self.freeswitch.ports().event_socket, self.freeswitch.address())
    }

    fn crash(&mut self) {
        self.crash();
    }

    fn restart(&mut self) {
        self.freeswitch.restart().expect("it starts again");
    }

    fn freeze(&self) {
        self.freeswitch.freeze().expect("it runs");
    }

    fn thaw(&self) {
        self.freeswitch.thaw().expect("it runs");
    }

    fn channels(&self) -> Vec<String> {
        self.freeswitch.channels().expect("channels")
    }

    fn phones(&self) -> &Phones {
        &self.phones
    }

    fn carrier(&self) -> &Carrier {
        &self.carrier
    }
}

/// A lab whose PBX is reached through a proxy.
pub(crate) struct Cuttable<L> {
    pub(crate) lab: L,
    pub(crate) proxy: Proxy,
}

impl<L: Breakable> Cuttable<L> {
    pub(crate) async fn over(lab: L) -> Self {
        let proxy = Proxy::to(lab.way_in().0).await;
        Self { lab, proxy }
    }
}

impl<L: Breakable> Site for Cuttable<L> {
    fn sections(&self) -> String {
        let (_, named) = self.lab.way_in();
        let proxy = format!("127.0.0.1:{}", self.proxy.port());
        self.lab.sections().replace(&named, &proxy)
    }

    fn passwords(&self) -> Vec<(&'static str, String)> {
        self.lab.passwords()
    }

    fn channels_after(&self, limit: Duration) -> Vec<String> {
        self.lab.channels_after(limit)
    }

    fn calls(&self) -> Vec<SeenCall> {
        self.lab.calls()
    }

    fn cpu_seconds(&self) -> f64 {
        self.lab.cpu_seconds()
    }
}
