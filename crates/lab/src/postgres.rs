//! A PostgreSQL server of one's own in a temporary folder.

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

/// A running server; killed, and its data deleted, when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Declared first, so dropped first: it must be dead before its folder goes.
    process: Process,
    port: u16,
    programs: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Makes a database cluster in a temporary folder and starts a server on a free port of 127.0.0.1. It trades
    /// durability for speed: it survives [`Self::kill`], not a power cut.
    ///
    /// # Errors
    /// Says to run `scripts/tools` when PostgreSQL is missing, and shows its last words when it does not start.
    pub fn start() -> Result<Self> {
        let folder = folder::temporary()?;
        if is_root(folder.path())? {
            chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))
                .map_err(LabError::file("give away", folder.path()))?;
        }
        let programs = reachable_programs(folder.path())?;
        initdb(&programs, folder.path())?;
        let mut attempts_left = 3;
        loop {
            // Between finding a free port and the server's taking it, another program may.
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

    /// `postgres://…` of an empty database, with an all-powerful user.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as a crash would, with SIGKILL. [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        // The killed server's helpers end by themselves a moment later; until then they hold the data.
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

    /// Stops it in its tracks (SIGSTOP); its existing connections are served on by helpers of their own.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it run on after [`Self::freeze`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal("CONT")
    }
}

fn is_root(of_our_own: &Path) -> Result<bool> {
    // What we just made belongs to us.
    let metadata = fs::metadata(of_our_own).map_err(LabError::file("read", of_our_own))?;
    Ok(metadata.uid() == 0)
}

fn is_given_away(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.uid() == UNPRIVILEGED)
}

/// The folder with `initdb` and `postgres`. As root, what `scripts/tools` unpacked may lie below a home folder that the
/// unprivileged user cannot enter; then it is copied.
fn reachable_programs(folder: &Path) -> Result<PathBuf> {
    tools::program("initdb")?;
    tools::program("postgres")?;
    let unpacked = tools::folder()?;
    if !is_given_away(folder) {
        return Ok(unpacked.join("bin"));
    }
    let enterable = unpacked
        .join("bin")
        .ancestors()
        .all(|path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005));
    if enterable {
        return Ok(unpacked.join("bin"));
    }
    let copy = folder.join("tools");
    let mut command = Command::new("cp");
    fs::create_dir(&copy).map_err(LabError::file("make", &copy))?;
    command
        .arg("-a")
        .arg(unpacked.join("bin"))
        .arg(unpacked.join("postgresql"))
        .arg(&copy);
    run(command, "cp")?;
    Ok(copy.join("bin"))
}

/// The program, run by the unprivileged user if we are root.
fn command(programs: &Path, program: &'static str, folder: &Path) -> Command {
    let mut command = process::dying_with_us(Path::new("setpriv"));
    if is_given_away(folder) {
        let id = UNPRIVILEGED.to_string();
        command.args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--pdeathsig",
            "KILL",
        ]);
    }
    command
        .arg("--")
        .arg(programs.join(program))
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir(folder);
    command
}

fn initdb(programs: &Path, folder: &Path) -> Result<()> {
    let mut command = command(programs, "initdb", folder);
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

fn launch(programs: &Path, folder: &Path, port: u16) -> Result<Process> {
    let log_path = folder.join("log");
    let log = fs::File::create(&log_path).map_err(LabError::file("write", &log_path))?;
    let errors = log.try_clone().map_err(LabError::file("write", &log_path))?;
    let mut command = command(programs, "postgres", folder);
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    for setting in [
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=200",
    ] {
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
