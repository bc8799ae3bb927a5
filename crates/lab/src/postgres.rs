//! A private PostgreSQL server in a temporary folder.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{LabError, Result, folder, ports, process, process::Process, tools};

/// `nobody` and `nogroup` on Debian: PostgreSQL refuses to run as root.
const UNPRIVILEGED: u32 = 65_534;

/// A running server. It is killed and its data deleted when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    // Declared first, so dropped first: the process must end before its folder is deleted.
    process: Process,
    port: u16,
    programs: Programs,
    folder: TempDir,
}

impl Postgres {
    /// Creates a database cluster in a temporary folder and starts a server on a free port of 127.0.0.1. For speed it is
    /// configured without durability: its data survive [`Self::kill`], but not a power failure.
    ///
    /// # Errors
    /// If PostgreSQL is missing (run `scripts/tools`), or if it does not start; the error contains the end of its log.
    pub fn start() -> Result<Self> {
        let folder = folder::temporary()?;
        let as_root = is_root(folder.path())?;
        if as_root {
            chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))
                .map_err(LabError::file("give away", folder.path()))?;
        }
        let programs = Programs::find(folder.path(), as_root)?;
        initdb(&programs, folder.path())?;
        let mut attempts_left = 3;
        loop {
            // Another program may take the port before the server does.
            let port = ports::likely_free_tcp()?;
            match launch(&programs, folder.path(), port) {
                Ok(process) => {
                    return Ok(Self {
                        process,
                        port,
                        programs,
                        folder,
                    });
                }
                Err(err) if attempts_left == 0 => return Err(err),
                Err(_) => attempts_left -= 1,
            }
        }
    }

    /// The `postgres://…` URL of an empty database, with a superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as a crash would, with SIGKILL. [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it as an administrator does: it refuses new connections and closes the existing ones. [`Self::restart`] starts
    /// it again.
    ///
    /// # Errors
    /// If it has already ended.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("INT")?;
        process::poll(Duration::from_secs(10), || !self.process.is_running());
        self.process.kill();
        Ok(())
    }

    /// Starts it again on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        // The helper processes of a killed server end a moment later. Until then they lock the data.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match launch(&self.programs, self.folder.path(), self.port) {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                Err(err) if Instant::now() >= deadline => return Err(err),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Stops the server and all its sessions (SIGSTOP), as a machine that stands still does.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")?;
        self.signal_sessions("STOP");
        Ok(())
    }

    /// Continues after [`Self::freeze`].
    ///
    /// # Errors
    /// If the server has ended.
    pub fn thaw(&self) -> Result<()> {
        self.signal_sessions("CONT");
        self.process.signal("CONT")
    }

    /// Signals the server's child processes. The stopped server makes no new ones meanwhile.
    fn signal_sessions(&self, signal: &'static str) {
        for pid in process::children(self.process.pid()) {
            // It fails only for a child that has just ended.
            let _ = process::send_signal(pid, signal);
        }
    }
}

fn is_root(of_our_own: &Path) -> Result<bool> {
    // A file that this process made belongs to its user.
    let metadata = fs::metadata(of_our_own).map_err(LabError::file("read", of_our_own))?;
    Ok(metadata.uid() == 0)
}

/// The server's programs, and how to run them.
#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    as_root: bool,
}

impl Programs {
    /// As root, what `scripts/tools` unpacked may lie below a home folder that the unprivileged user cannot enter; then
    /// it is copied into `own`.
    fn find(own: &Path, as_root: bool) -> Result<Self> {
        tools::program("initdb")?;
        tools::program("postgres")?;
        let unpacked = tools::folder()?;
        let enterable = || {
            unpacked.join("bin").ancestors().all(|path| {
                fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
            })
        };
        if !as_root || enterable() {
            return Ok(Self {
                folder: unpacked.join("bin"),
                as_root,
            });
        }
        let copy = own.join("tools");
        fs::create_dir(&copy).map_err(LabError::file("make", &copy))?;
        let mut command = Command::new("cp");
        command
            .arg("-a")
            .arg(unpacked.join("bin"))
            .arg(unpacked.join("postgresql"))
            .arg(&copy);
        run(command, "cp")?;
        Ok(Self {
            folder: copy.join("bin"),
            as_root,
        })
    }

    /// One of them, run by the unprivileged user if we are root.
    fn command(&self, program: &'static str, working_folder: &Path) -> Command {
        let mut command = process::dying_with_us(Path::new("setpriv"));
        if self.as_root {
            let id = UNPRIVILEGED.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        // Again, because the kernel forgets it when the user changes.
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.folder.join(program));
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir(working_folder);
        command
    }
}

fn initdb(programs: &Programs, folder: &Path) -> Result<()> {
    let mut command = programs.command("initdb", folder);
    command.arg("-D").arg(folder.join("data"));
    command.args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
        "--no-instructions",
    ]);
    run(command, "initdb")
}

fn run(mut command: Command, program: &'static str) -> Result<()> {
    let output = command.output().map_err(|err| LabError::Spawn {
        program: program.to_owned(),
        err,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let last_words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(LabError::NotReady {
        what: program.to_owned(),
        waited_ms: 0,
        last_words,
    })
}

fn launch(programs: &Programs, folder: &Path, port: u16) -> Result<Process> {
    let log_path = folder.join("log");
    let log = fs::File::create(&log_path).map_err(LabError::file("write", &log_path))?;
    let errors = log.try_clone().map_err(LabError::file("write", &log_path))?;
    let mut command = programs.command("postgres", folder);
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    for setting in ["fsync=off", "full_page_writes=off", "max_connections=200"] {
        command.args(["-c", setting]);
    }
    command.stdout(log).stderr(errors);
    let mut process = Process::spawn(command)?;
    let says_ready =
        || fs::read_to_string(&log_path).is_ok_and(|log| log.contains("ready to accept connections"));
    process::poll(Duration::from_secs(30), || !process.is_running() || says_ready());
    if process.is_running() && says_ready() && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
        return Ok(process);
    }
    Err(LabError::NotReady {
        what: "postgres".to_owned(),
        waited_ms: 30_000,
        last_words: process::last_words(&log_path),
    })
}
