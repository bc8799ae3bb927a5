//! A Paceline that is configured for a PBX, with trunks and agents, and the report of `paceline doctor` on it.

use paceline::store::{NewAgent, NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::ids::{PbxName, TrunkId};
use paceline_core::pbx::{CallerId, Sound};
use paceline_core::time::Wall;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

pub(crate) struct Office {
    folder: tempfile::TempDir,
    password: String,
}

impl Office {
    /// It has an agent `anna` at `agent-1`. `settings` are the lines of `[[pbx]]` after the name; the password is in
    /// the environment variable `PACELINE_TEST_PASSWORD`.
    pub(crate) async fn new(settings: &str, password: &str, trunks: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[server]\nlisten = \"127.0.0.1:1\"\n\n[[pbx]]\nname = \"main\"\n{settings}");
        std::fs::write(folder.path().join("paceline.toml"), text).unwrap();
        let office = Self {
            folder,
            password: password.to_owned(),
        };
        let store = office.store().await;
        for (n, dial) in trunks.iter().enumerate() {
            let trunk = NewTrunk {
                name: format!("t{}", n + 1),
                pbx: PbxName::new("main"),
                dial: TrunkTemplate::new(dial).unwrap(),
                caller_id: Some(CallerId::new("+12025550100").unwrap()),
            };
            store.create_trunk(&trunk).await.unwrap();
        }
        store.close().await;
        office.hire("anna", "agent-1").await;
        office
    }

    async fn store(&self) -> Store {
        let store = format!("sqlite:{}", self.folder.path().join("paceline.db").display());
        Store::open(&store, StoreMetrics::default()).await.unwrap()
    }

    /// Adds an agent.
    pub(crate) async fn hire(&self, name: &str, extension: &str) {
        let agent = NewAgent {
            name: name.into(),
            pbx: PbxName::new("main"),
            extension: Extension::new(extension).unwrap(),
        };
        let store = self.store().await;
        store.create_agent(&agent, Wall(0)).await.unwrap();
        store.close().await;
    }

    /// Adds a campaign over the first trunk that plays `sound` to abandoned callees, and a trunk without a caller id.
    pub(crate) async fn campaign(&self, sound: &str, bare: &str) {
        let store = self.store().await;
        let trunk = NewTrunk {
            name: "bare".into(),
            pbx: PbxName::new("main"),
            dial: TrunkTemplate::new(bare).unwrap(),
            caller_id: None,
        };
        store.create_trunk(&trunk).await.unwrap();
        let mut settings = CampaignSettings::default();
        settings.answering.abandon_message = Some(Sound::new(sound).unwrap());
        store
            .create_campaign(sound, &settings, &[TrunkId(1)], Wall(0))
            .await
            .unwrap();
        store.close().await;
    }

    pub(crate) fn doctor(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_paceline"))
            .arg("doctor")
            .args(args)
            .current_dir(self.folder.path())
            .env("PACELINE_TEST_PASSWORD", &self.password)
            .env_remove("RUST_LOG")
            .output()
            .unwrap()
    }

    /// The report as JSON. Asserts that `healthy` agrees with the exit code.
    pub(crate) fn told(&self, args: &[&str]) -> serde_json::Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        let output = self.doctor(&args);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(i32::from(told["healthy"] != true)),
            "{told:#}"
        );
        told
    }

    /// The result of a test call over a trunk.
    pub(crate) fn verdict(&self, trunk: &str, number: &str) -> String {
        let told = self.told(&["--call", number, "--trunk", trunk, "--without-gate"]);
        told["report"]["call"]["verdict"].as_str().unwrap().to_owned()
    }

    /// The exit code, and the faults and warnings with their cures.
    pub(crate) fn complaints(&self) -> String {
        let output = self.doctor(&[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!text.contains(&self.password) || self.password.len() < 8);
        let complaint =
            |line: &&str| line.contains("FAULT") || line.contains("look ") || line.contains("cure:");
        let lines: Vec<_> = text.lines().filter(complaint).map(without_ports).collect();
        format!("exit {}\n{}", output.status.code().unwrap(), lines.join("\n"))
    }
}

fn without_ports(line: &str) -> String {
    let mut parts = line.split("127.0.0.1:");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text.push_str("127.0.0.1:PORT");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

/// The text with `N` in place of the number after `before`, and that number.
pub(crate) fn without_number(text: &str, before: &str) -> (String, i64) {
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("{text}"));
    let number: String = after.chars().take_while(char::is_ascii_digit).collect();
    (text.replace(&number, "N"), number.parse().unwrap())
}

/// A port that leads to the PBX. `falsify` changes the bytes that the PBX sends.
pub(crate) fn through(to: u16, falsify: fn(&mut Vec<u8>)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let mut block = [0; 65_536];
                while let Ok(read @ 1..) = server.read(&mut block) {
                    let mut bytes = block[..read].to_vec();
                    falsify(&mut bytes);
                    if client.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}
