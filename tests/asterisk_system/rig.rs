//! A lab, a Paceline process beside it, and a client of its API.

#[path = "rig/api.rs"]
mod api;

pub(crate) use api::Api;
use jiff::Timestamp;
use paceline_lab::{FreeSwitchLab, Lab, LabOptions, SeenCall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// True if the full length of the tests is requested.
pub(crate) fn full() -> bool {
    std::env::var("PACELINE_PROOF").is_ok_and(|v| v == "full")
}

/// The seed of the test's random values: `PACELINE_SEED` if it is set. Otherwise 1, or a random one in the full length.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("PACELINE_SEED") {
            Ok(given) => given.parse().expect("PACELINE_SEED is a number"),
            Err(_) if full() => rand::random_range(0..1_000_000),
            Err(_) => 1,
        };
        println!("PACELINE_SEED={seed}");
        seed
    })
}

/// Polls until the condition holds. Panics after the limit, with the name of the condition.
pub(crate) async fn wait_for<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < until, "waited {limit:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The PBXes that Paceline uses, and their carriers.
pub(crate) trait Site {
    /// Its part of the configuration file: names, addresses, and `PACELINE_TEST_…_PASSWORD` for each password.
    fn sections(&self) -> String;
    /// These variables and their values.
    fn passwords(&self) -> Vec<(&'static str, String)>;
    /// The ids of the channels that are left at the end of the limit.
    fn channels_after(&self, limit: Duration) -> Vec<String>;
    /// The carriers' records of all calls.
    fn calls(&self) -> Vec<SeenCall>;
    /// User and system CPU seconds of the PBXes so far.
    fn cpu_seconds(&self) -> f64;
}

impl Site for Lab {
    fn sections(&self) -> String {
        format!(
            "[[pbx]]\nname = \"main\"\nkind = \"ari\"\nurl = \"{}\"\nusername = \"{}\"\n\
             password_env = \"PACELINE_TEST_ARI_PASSWORD\"\nagent_dial = \"PJSIP/{{extension}}\"\n",
            self.asterisk.ari_url(),
            self.asterisk.user(),
        )
    }

    fn passwords(&self) -> Vec<(&'static str, String)> {
        vec![("PACELINE_TEST_ARI_PASSWORD", self.asterisk.password().to_owned())]
    }

    fn channels_after(&self, limit: Duration) -> Vec<String> {
        self.asterisk.channels_after(limit).expect("channels")
    }

    fn calls(&self) -> Vec<SeenCall> {
        self.carrier.calls()
    }

    fn cpu_seconds(&self) -> f64 {
        self.asterisk.cpu_seconds().expect("it runs")
    }
}

impl Site for FreeSwitchLab {
    fn sections(&self) -> String {
        format!(
            "[[pbx]]\nname = \"other\"\nkind = \"esl\"\naddress = \"{}\"\n\
             password_env = \"PACELINE_TEST_ESL_PASSWORD\"\n",
            self.freeswitch.address(),
        )
    }

    fn passwords(&self) -> Vec<(&'static str, String)> {
        vec![(
            "PACELINE_TEST_ESL_PASSWORD",
            self.freeswitch.password().to_owned(),
        )]
    }

    fn channels_after(&self, limit: Duration) -> Vec<String> {
        self.freeswitch.channels_after(limit).expect("channels")
    }

    fn calls(&self) -> Vec<SeenCall> {
        self.carrier.calls()
    }

    fn cpu_seconds(&self) -> f64 {
        self.freeswitch.cpu_seconds().expect("it runs")
    }
}

/// Both PBXes at once.
impl<A: Site, B: Site> Site for (A, B) {
    fn sections(&self) -> String {
        format!("{}\n{}", self.0.sections(), self.1.sections())
    }

    fn passwords(&self) -> Vec<(&'static str, String)> {
        [self.0.passwords(), self.1.passwords()].concat()
    }

    fn channels_after(&self, limit: Duration) -> Vec<String> {
        [self.0.channels_after(limit), self.1.channels_after(limit)].concat()
    }

    fn calls(&self) -> Vec<SeenCall> {
        [self.0.calls(), self.1.calls()].concat()
    }

    fn cpu_seconds(&self) -> f64 {
        self.0.cpu_seconds() + self.1.cpu_seconds()
    }
}

/// A running system. Everything that it started ends with it.
pub(crate) struct System<S: Site = Lab> {
    pub(crate) lab: S,
    pub(crate) api: Api,
    pub(crate) folder: TempDir,
    paceline: Option<Child>,
    store_url: String,
    /// The first words of the command line, before the program.
    way_in: Vec<String>,
    port: u16,
}

/// One ended or open attempt, as the API shows it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) outcome: Option<String>,
    pub(crate) agent: Option<i64>,
    pub(crate) created_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) connected_at: Option<Timestamp>,
    pub(crate) abandoned_at: Option<Timestamp>,
    /// Far in the future while the attempt is open.
    pub(crate) ended_at: Timestamp,
}

impl System {
    /// Starts with SQLite.
    pub(crate) async fn start(options: &LabOptions) -> Self {
        Self::start_on(options, None).await
    }

    /// Starts with the store at `store_url`, or with SQLite in the system's folder.
    pub(crate) async fn start_on(options: &LabOptions, store_url: Option<String>) -> Self {
        let lab =
            Lab::start_with(options).expect("the lab starts; run scripts/tools if something is missing");
        Self::start_at(lab, store_url).await
    }
}

impl<S: Site> System<S> {
    /// Starts with PBXes that already run.
    pub(crate) async fn start_at(lab: S, store_url: Option<String>) -> Self {
        Self::start_inside(lab, store_url, Vec::new()).await
    }

    /// The same with a command line that begins with `way_in`.
    pub(crate) async fn start_inside(lab: S, store_url: Option<String>, way_in: Vec<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new()
            .prefix("paceline-system-")
            .tempdir()
            .expect("a folder");
        let store_url =
            store_url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("paceline.db").display()));
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let api = Api {
            base: format!("http://127.0.0.1:{port}/api/v1"),
            key: String::new(),
            // Paceline closes idle connections. After a freeze, it closes them at the moment of the next request.
            client: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client"),
        };
        let mut system = Self {
            lab,
            api,
            folder,
            paceline: None,
            store_url,
            way_in,
            port,
        };
        system.write_config();
        system.api.key = system.make_key();
        system.launch().await;
        system
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("paceline.toml")
    }

    fn write_config(&self) {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{}\"\n\n[store]\nurl = \"{}\"\n\n[compliance]\noverlays = [{:?}]\n\n{}",
            self.port,
            self.store_url,
            concat!(env!("CARGO_MANIFEST_DIR"), "/data/loopback-rules.toml"),
            self.lab.sections(),
        );
        std::fs::write(self.config_file(), text).expect("the configuration file is written");
    }

    pub(crate) fn binary(&self, args: &[&str]) -> Command {
        let mut words: Vec<&str> = self.way_in.iter().map(String::as_str).collect();
        words.push(env!("CARGO_BIN_EXE_paceline"));
        words.extend(args);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--config").arg(self.config_file());
        command.envs(self.lab.passwords());
        command.current_dir(self.folder.path());
        command
    }

    fn make_key(&self) -> String {
        let output = self
            .binary(&[
                "key",
                "create",
                "tests",
                "--role",
                "write",
                "--sees-numbers",
                "--json",
            ])
            .output()
            .expect("the binary runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        made["key"].as_str().expect("a key").to_owned()
    }

    /// Starts the process and waits until its API answers and the PBX is connected.
    pub(crate) async fn launch(&mut self) {
        self.spawn();
        let api = self.api.clone();
        wait_for(
            "the API to answer and the PBX to be connected",
            Duration::from_secs(30),
            async || api.is_connected().await.then_some(()),
        )
        .await;
    }

    /// Starts the process if it does not run, as a supervisor does.
    pub(crate) fn spawn(&mut self) {
        if let Some(child) = &mut self.paceline
            && child.try_wait().expect("a child").is_none()
        {
            return;
        }
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_file())
            .expect("a log");
        let child = self
            .binary(&["serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        self.paceline = Some(child);
    }

    /// The text of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let reply = self.ask("/metrics").await;
        reply.expect("/metrics answers").text().await.expect("text")
    }

    /// The status of `/readyz`; `None` if nothing answers.
    pub(crate) async fn readyz(&self) -> Option<u16> {
        let reply = self.ask("/readyz").await;
        reply.ok().map(|reply| reply.status().as_u16())
    }

    async fn ask(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = self.api.client.get(url).timeout(Duration::from_secs(10));
        request.send().await
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.path().join("paceline.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.paceline.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(&mut self, limit: Duration) {
        let done = Command::new("kill")
            .arg("-TERM")
            .arg(self.pid().to_string())
            .status()
            .expect("kill runs");
        assert!(done.success());
        self.ends(limit).await;
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ends(&mut self, limit: Duration) {
        let mut child = self.paceline.take().expect("it runs");
        wait_for("the process to stop", limit, async || {
            child.try_wait().expect("reaped")
        })
        .await;
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.paceline.as_ref().expect("it runs").id()
    }

    /// User and system CPU seconds of the process so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let pid = self.pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let after = stat.rsplit_once(')').expect("a name").1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: f64 =
            fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
        ticks / 100.0
    }

    /// An active campaign over one trunk of `main`. `settings` are merged over quick ones: always open, short wrap-up.
    pub(crate) async fn campaign(&self, name: &str, dial: &str, settings: Value) -> i64 {
        self.campaign_over(name, &[("main", dial)], settings).await
    }

    /// The same over a trunk on each of several PBXes.
    pub(crate) async fn campaign_over(&self, name: &str, trunks: &[(&str, &str)], settings: Value) -> i64 {
        let mut trunk_ids = Vec::new();
        for (pbx, dial) in trunks {
            let trunk = json!({"name": format!("{name}-{pbx}"), "pbx": pbx, "dial": dial});
            trunk_ids.push(self.api.post("/trunks", trunk).await["id"].clone());
        }
        let all_day = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from_minute": 0, "until_minute": 1440});
        let mut merged = json!({
            "dialing": {"ring_timeout_ms": 8000},
            "agents": {"wrap_up_ms": 0},
            "hours": {"time_zone": "Atlantic/Reykjavik", "windows": [all_day]},
        });
        for (concern, set) in settings.as_object().expect("settings") {
            for (setting, value) in set.as_object().expect("settings of a concern") {
                merged[concern][setting] = value.clone();
            }
        }
        let made = self
            .api
            .post(
                "/campaigns",
                json!({"name": name, "settings": merged, "trunk_ids": trunk_ids}),
            )
            .await;
        let id = made["id"].as_i64().expect("an id");
        self.api
            .post(&format!("/campaigns/{id}/activate"), json!({}))
            .await;
        id
    }

    /// Logs agents `first..first + count` of the lab in on `main`, ready in the campaign.
    pub(crate) async fn agents(&self, campaign: i64, first: u32, count: u32) -> Vec<i64> {
        self.agents_at("main", campaign, first, count).await
    }

    /// The same on another PBX.
    pub(crate) async fn agents_at(&self, pbx: &str, campaign: i64, first: u32, count: u32) -> Vec<i64> {
        let mut ids = Vec::new();
        for n in first..first + count {
            let phone = format!("agent-{n}");
            let made = self
                .api
                .post(
                    "/agents",
                    json!({"name": format!("{phone} on {pbx}"), "pbx": pbx, "extension": phone}),
                )
                .await;
            let id = made["id"].as_i64().expect("an id");
            self.api
                .post(&format!("/agents/{id}/log-in"), json!({"campaign_id": campaign}))
                .await;
            self.api.post(&format!("/agents/{id}/ready"), json!({})).await;
            ids.push(id);
        }
        ids
    }

    /// Waits until the PBX holds the legs of this many agents of the campaign.
    pub(crate) async fn wait_for_agents(&self, campaign: i64, count: usize) {
        wait_for("the agents to be held", Duration::from_secs(30), async || {
            let live = self.api.get(&format!("/campaigns/{campaign}/live")).await;
            let held = live["agents"]
                .as_array()?
                .iter()
                .filter(|a| a["state"] != "ringing" && a["state"] != "paused");
            (held.count() >= count).then_some(())
        })
        .await;
    }

    pub(crate) async fn task(&self, campaign: i64, name: &str, numbers: &[String], retries: u32) -> i64 {
        let task =
            json!({"name": name, "campaign_id": campaign, "number_pool": numbers, "max_retries": retries});
        self.api.post("/tasks", task).await["id"].as_i64().expect("an id")
    }

    pub(crate) async fn wait_until_completed(&self, task: i64, limit: Duration) {
        wait_for("the task to be completed", limit, async || {
            let task = self.api.try_get(&format!("/tasks/{task}")).await?;
            (task["state"] == "completed").then_some(())
        })
        .await;
    }

    /// Waits until every number has been dialed and has an outcome. If a trunk did not carry a call, its contact is due
    /// again in half an hour, so the task is not completed.
    pub(crate) async fn wait_until_tried(&self, task: i64, numbers: usize, limit: Duration) {
        wait_for("every number to be tried", limit, async || {
            let attempts = self.attempts(task).await;
            let over = attempts.values().flatten().all(|a| a.outcome.is_some());
            (attempts.len() == numbers && over).then_some(())
        })
        .await;
    }

    /// All attempts of the task, by number. A number may have more than one.
    pub(crate) async fn attempts(&self, task: i64) -> BTreeMap<String, Vec<Attempt>> {
        let mut all: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for item in self.api.all(&format!("/attempts?task_id={task}")).await {
            let attempt = Attempt {
                id: item["id"].as_str().expect("an id").to_owned(),
                number: item["number"].as_str().expect("a number").to_owned(),
                outcome: item["outcome"].as_str().map(str::to_owned),
                agent: item["agent_id"].as_i64(),
                created_at: timestamp(&item["created_at"]).expect("a time"),
                answered_at: timestamp(&item["answered_at"]),
                connected_at: timestamp(&item["connected_at"]),
                abandoned_at: timestamp(&item["abandoned_at"]),
                ended_at: timestamp(&item["ended_at"]).unwrap_or(Timestamp::MAX),
            };
            all.entry(attempt.number.clone()).or_default().push(attempt);
        }
        all
    }

    /// Agents hang up conversations that have lasted `talk`, until the handle is aborted.
    pub(crate) fn agents_hang_up_after(&self, campaign: i64, talk: Duration) -> tokio::task::JoinHandle<()> {
        let api = self.api.clone();
        tokio::spawn(async move {
            let mut talking: BTreeMap<i64, (String, Instant)> = BTreeMap::new();
            loop {
                if let Some(live) = api.try_get(&format!("/campaigns/{campaign}/live")).await {
                    for agent in live["agents"].as_array().into_iter().flatten() {
                        let Some(id) = agent["agent_id"].as_i64() else {
                            continue;
                        };
                        if agent["state"] != "on_call" {
                            talking.remove(&id);
                            continue;
                        }
                        let attempt = agent["attempt_id"].as_str().unwrap_or_default().to_owned();
                        let (seen, since) = talking
                            .entry(id)
                            .or_insert_with(|| (attempt.clone(), Instant::now()));
                        if *seen != attempt {
                            (*seen, *since) = (attempt, Instant::now());
                        } else if since.elapsed() >= talk {
                            // The live state is a moment old: the next one may still show this conversation.
                            *since = Instant::now();
                            // The conversation may have ended by now.
                            let _ = api
                                .send(
                                    reqwest::Method::POST,
                                    &format!("/agents/{id}/hang-up"),
                                    Some(json!({})),
                                )
                                .await;
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }

    /// Logs every agent out and checks that no channel of ours is left on the PBX and that the log has no error.
    pub(crate) async fn finish(mut self, agents: &[i64]) {
        self.wind_up(agents).await;
    }

    /// The same, but the store and the PBX stay. The process has ended.
    pub(crate) async fn wind_up(&mut self, agents: &[i64]) {
        for id in agents {
            self.api.post(&format!("/agents/{id}/log-out"), json!({})).await;
        }
        let left = self.lab.channels_after(Duration::from_secs(15));
        assert_eq!(left, Vec::<String>::new(), "channels are left on the PBX");
        self.terminate(Duration::from_secs(20)).await;
        let log = self.log();
        let trouble: Vec<&str> = log.lines().filter(|l| l.contains("ERROR")).collect();
        assert_eq!(trouble, Vec::<&str>::new());
        assert!(!log.contains("+1"), "a number in the log");
    }
}

impl<S: Site> Drop for System<S> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            for line in tail.into_iter().rev() {
                eprintln!("paceline: {line}");
            }
        }
    }
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
