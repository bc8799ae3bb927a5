//! Child processes that end with this process, even if it is killed with -9.
//!
//! The kernel's parent-death signal does that (`setpriv --pdeathsig`). It is sent when the *thread* that started the
//! program ends, and tests start programs from short-lived threads. So one thread, which never ends before the process
//! does, starts all programs.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{LabError, Result};

type SpawnRequest = (Command, SyncSender<io::Result<Child>>);
static SPAWNER: OnceLock<SyncSender<SpawnRequest>> = OnceLock::new();

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, which [`dying_with_us`] made.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        let program = command
            .get_args()
            .nth(3)
            .unwrap_or(OsStr::new("setpriv"))
            .to_string_lossy()
            .into_owned();
        let spawner = SPAWNER.get_or_init(|| {
            let (sender, requests) = sync_channel::<SpawnRequest>(16);
            thread::spawn(move || {
                for (mut command, reply) in requests {
                    // The caller waits for the reply. If it is gone, its child is dropped with the channel.
                    let _ = reply.send(command.spawn());
                }
            });
            sender
        });
        let (reply, result) = sync_channel(1);
        spawner
            .send((command, reply))
            .map_err(|_| LabError::SpawnerGone)?;
        let child = result
            .recv()
            .map_err(|_| LabError::SpawnerGone)?
            .map_err(|err| LabError::Spawn { program, err })?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub(crate) fn kill(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, signal: &'static str) -> Result<()> {
        send_signal(self.pid(), signal)
    }

    /// CPU time, user plus system, seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that runs `program` and kills it when this process dies.
pub(crate) fn dying_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Sends a signal, by its name without SIG. It uses the shell, because the standard library cannot send signals.
pub(crate) fn send_signal(pid: u32, signal: &'static str) -> Result<()> {
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", signal])
        .arg(pid.to_string())
        .status()
        .is_ok_and(|status| status.success());
    if sent {
        Ok(())
    } else {
        Err(LabError::Signal { signal, pid })
    }
}

/// User plus system CPU time of a process, seconds, from /proc (proc(5), fields 14 and 15).
fn cpu_seconds(pid: u32) -> Result<f64> {
    // USER_HZ is 100 on every architecture that Debian 12 runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let read = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name may hold spaces; it ends at the last parenthesis.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        Some((user + system) / TICKS_PER_SECOND)
    };
    read().ok_or(LabError::CpuTime { pid })
}

/// True if a process exists and has not ended. A process that nobody has waited for stays in /proc as a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, fields)| !fields.starts_with(['Z', 'X']))
        })
        .unwrap_or(false)
}

/// The processes that this one has started and that still exist.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Calls `done` every 10 ms until it returns true. Returns false at the limit.
pub(crate) fn poll(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The last 2 KB of a log, for error messages.
pub(crate) fn last_words(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2_000)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|_| "(it wrote no log)".to_owned())
}
