//! A carrier, phones and an Asterisk that know each other: what most tests want.

use std::time::Duration;

use crate::{
    Asterisk, AsteriskPorts, Audio, Callee, Carrier, FreeSwitch, FreeSwitchOptions, LabError, Options,
    Phones, Result, Version,
};

/// Options of a [`Lab`].
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The version of Asterisk; 22 by default.
    pub version: Version,
    /// The audio of callees and agents; tones by default.
    pub audio: Audio,
    /// Number of agents; 200 by default.
    pub agents: u32,
    /// Fixed ports; free ones by default.
    pub ports: Option<LabPorts>,
    /// As [`Options::append`].
    pub append: Vec<(String, String)>,
    /// As [`Options::qualify_s`].
    pub qualify_s: u32,
    /// As [`Options::rtp_timeout_s`].
    pub rtp_timeout_s: u32,
    /// As in [`Carrier::start_with`], unless ports are fixed; none by default.
    pub callees: Vec<Callee>,
}

/// Fixed ports for everything in a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabPorts {
    /// Asterisk's own.
    pub asterisk: AsteriskPorts,
    /// The carrier's SIP port.
    pub carrier: u16,
    /// The phones' SIP port.
    pub phones: u16,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            version: Version::V22,
            audio: Audio::Tones,
            agents: 200,
            ports: None,
            append: Vec::new(),
            qualify_s: 0,
            rtp_timeout_s: 0,
            callees: Vec::new(),
        }
    }
}

/// A whole lab; ends when dropped.
#[derive(Debug)]
pub struct Lab {
    /// The PBX.
    pub asterisk: Asterisk,
    /// Its trunk `carrier`.
    pub carrier: Carrier,
    /// Its endpoints `agent-N`.
    pub phones: Phones,
}

impl Lab {
    /// Asterisk 22 with everything at its default.
    ///
    /// # Errors
    /// As [`Asterisk::start`], [`Carrier::start`] and [`Phones::start`].
    pub fn start() -> Result<Self> {
        Self::start_with(&LabOptions::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: &LabOptions) -> Result<Self> {
        let (carrier, phones) = match options.ports {
            Some(ports) => (
                Carrier::start_on(ports.carrier, options.audio)?,
                Phones::start_on(ports.phones, options.audio)?,
            ),
            None => (
                Carrier::start_with(options.audio, &options.callees)?,
                Phones::start(options.audio)?,
            ),
        };
        let asterisk = Asterisk::start(
            options.version,
            &Options {
                agents: options.agents,
                carrier_port: Some(carrier.sip_port()),
                phones_port: Some(phones.sip_port()),
                ports: options.ports.map(|ports| ports.asterisk),
                append: options.append.clone(),
                qualify_s: options.qualify_s,
                rtp_timeout_s: options.rtp_timeout_s,
            },
        )?;
        Ok(Self {
            asterisk,
            carrier,
            phones,
        })
    }

    /// Kills the PBX as a crash would; the carrier and the phones take their calls for lost. `asterisk.restart()`
    /// brings it back.
    pub fn crash(&mut self) {
        self.asterisk.kill();
        self.carrier.lose_calls();
        self.phones.lose_calls();
    }

    /// Waits until the PBX has no channel and the carrier no call left; an error names what is left at the limit.
    ///
    /// # Errors
    /// [`LabError::CallsLeft`].
    pub fn settled(&self, limit: Duration) -> Result<()> {
        let channels = self.asterisk.channels_after(limit)?.len();
        settled(&self.carrier, channels, limit)
    }
}

fn settled(carrier: &Carrier, channels: usize, limit: Duration) -> Result<()> {
    let mut calls = 0;
    let settled = crate::process::poll(limit, || {
        calls = carrier.calls().iter().filter(|call| call.end.is_none()).count();
        calls == 0
    });
    if settled && channels == 0 {
        Ok(())
    } else {
        Err(LabError::CallsLeft { channels, calls })
    }
}

/// A carrier, phones and a FreeSWITCH that know each other; ends when dropped.
#[derive(Debug)]
pub struct FreeSwitchLab {
    /// The PBX.
    pub freeswitch: FreeSwitch,
    /// Its gateway `carrier`.
    pub carrier: Carrier,
    /// Its users `agent-N`.
    pub phones: Phones,
}

impl FreeSwitchLab {
    /// Starts one, with a carrier and phones of its own, on the ports that the options name or on free ones.
    ///
    /// # Errors
    /// As [`FreeSwitch::start`], [`Carrier::start`] and [`Phones::start`].
    pub fn start(audio: Audio, options: FreeSwitchOptions) -> Result<Self> {
        Self::start_with(audio, options, &[])
    }

    /// The same with callees as in [`Carrier::start_with`], unless the carrier's port is fixed.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(audio: Audio, options: FreeSwitchOptions, callees: &[Callee]) -> Result<Self> {
        let carrier = match options.carrier_port {
            Some(port) => Carrier::start_on(port, audio)?,
            None => Carrier::start_with(audio, callees)?,
        };
        let phones = match options.phones_port {
            Some(port) => Phones::start_on(port, audio)?,
            None => Phones::start(audio)?,
        };
        let freeswitch = FreeSwitch::start(&FreeSwitchOptions {
            carrier_port: Some(carrier.sip_port()),
            phones_port: Some(phones.sip_port()),
            ..options
        })?;
        Ok(Self {
            freeswitch,
            carrier,
            phones,
        })
    }

    /// As [`Lab::crash`].
    pub fn crash(&mut self) {
        self.freeswitch.kill();
        self.carrier.lose_calls();
        self.phones.lose_calls();
    }

    /// As [`Lab::settled`].
    ///
    /// # Errors
    /// [`LabError::CallsLeft`].
    pub fn settled(&self, limit: Duration) -> Result<()> {
        let channels = self.freeswitch.channels_after(limit)?.len();
        settled(&self.carrier, channels, limit)
    }
}
