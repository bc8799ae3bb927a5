//! `paceline serve` with a simulated PBX, in a process of its own.

use super::http::{Asked, ask};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running `paceline serve`. It is killed when this is dropped.
pub(crate) struct Serve {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) keys: Vec<String>,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serve {
    pub(crate) fn start(folder: &Path, speed: u32) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = port.local_addr().unwrap();
        drop(port);
        let config = format!(
            "[server]\nlisten = \"{addr}\"\n[compliance]\noverlays = [{:?}]\n[[pbx]]\nname = \"main\"\nkind = \"sim\"\nspeed = {speed}.0\n",
            concat!(env!("CARGO_MANIFEST_DIR"), "/data/loopback-rules.toml")
        );
        std::fs::write(folder.join("paceline.toml"), config).unwrap();
        let paceline = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            command.current_dir(folder).env("RUST_LOG", "warn");
            command
        };
        let keys = (0..8).map(|n| {
            let name = format!("key-{n}");
            let made = paceline()
                .args(["key", "create", &name, "--role", "write", "--sees-numbers"])
                .output()
                .unwrap();
            let out = String::from_utf8(made.stdout).unwrap();
            let key = out.split_whitespace().find(|word| word.starts_with("pl_"));
            key.unwrap_or_else(|| panic!("no key in {out}")).to_owned()
        });
        let keys = keys.collect();
        let child = paceline().arg("serve").stderr(Stdio::null()).spawn().unwrap();
        Self { child, addr, keys }
    }

    /// Sends a request with a key of ours, and repeats it until it succeeds.
    pub(crate) async fn api(&self, nth: usize, method: &str, path: &str, body: &Value) -> Value {
        let key = &self.keys[nth % 4];
        for _ in 0..200 {
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            match ask(
                self.addr,
                9,
                method,
                &format!("/api/v1{path}"),
                key,
                body.as_bytes(),
            )
            .await
            {
                Ok(Asked { status, body }) if status < 300 => {
                    return serde_json::from_slice(&body).unwrap_or(Value::Null);
                }
                Ok(Asked {
                    status: 429 | 503, ..
                })
                | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(Asked { status, body }) => {
                    panic!(
                        "{method} {path} answered {status} {}",
                        String::from_utf8_lossy(&body)
                    )
                }
            }
        }
        panic!("{method} {path} is not answered");
    }

    pub(crate) async fn metrics(&self) -> String {
        for _ in 0..50 {
            if let Ok(Asked { status: 200, body }) = ask(self.addr, 9, "GET", "/metrics", "", b"").await {
                return String::from_utf8(body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no metrics");
    }

    /// Starts a new measurement of the peak of the memory.
    pub(crate) fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    pub(crate) fn peak_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024
    }

    /// User and system time so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The fields after the command's name, which is in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().unwrap()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}
