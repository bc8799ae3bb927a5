//! `paceline-lab up|down|status`: a PBX, a carrier and agents' phones in the background, to try Paceline.
//!
//! `up` starts this program again as `serve`, which runs the lab until its pid file is removed; `down` removes it. All
//! information for users is in one folder outside the checkout: `lab.toml`, `password`, `pid`, `log`.

use std::{
    env, fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use paceline_lab::{
    AsteriskPorts, Audio, FreeSwitchLab, FreeSwitchOptions, FreeSwitchPorts, Lab, LabOptions, LabPorts,
    Version,
};

mod summary;

const USAGE: &str = "\
usage: scripts/lab up [--asterisk 22|16 | --freeswitch] [--agents N] [--no-audio] [--port FIRST] [--folder FOLDER]
       scripts/lab down|status [--folder FOLDER]

Runs a real PBX, a SIPp carrier and agents' phones on 127.0.0.1 in the background. Prints the section for paceline.toml.

  --asterisk    version, 22 unless told otherwise
  --freeswitch  a FreeSWITCH instead: the one on the PATH, or the one that PACELINE_FREESWITCH names
  --agents      how many phones agent-1, agent-2, … there are (200)
  --no-audio    nobody sends RTP
  --port        first of 1500 ports: ARI or Event Socket, SIP, AMI, a dead one, carrier, phones, then RTP (8900); 0 for
                free ones
  --folder      where the lab tells what it is ($XDG_RUNTIME_DIR/paceline-lab, or one below /tmp)
";

/// The arguments of this program.
#[derive(Debug)]
struct Arguments {
    verb: String,
    /// All arguments after the verb, for `serve`.
    rest: Vec<String>,
    options: LabOptions,
    freeswitch: bool,
    first_port: u16,
    folder: PathBuf,
}

fn main() -> ExitCode {
    let done = parse(env::args().skip(1).collect()).and_then(|arguments| match arguments.verb.as_str() {
        "up" => up(&arguments),
        "serve" => serve(arguments),
        "status" => status(&arguments.folder),
        "down" => down(&arguments.folder),
        _ => Err(USAGE.to_owned()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn parse(words: Vec<String>) -> Result<Arguments, String> {
    let mut words = words.into_iter();
    let verb = words.next().ok_or(USAGE)?;
    let rest: Vec<String> = words.collect();
    let mut options = LabOptions::default();
    let mut freeswitch = false;
    let mut first_port = 8_900;
    let mut folder = None;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if word == "--no-audio" {
            options.audio = Audio::None;
            continue;
        }
        if word == "--freeswitch" {
            freeswitch = true;
            continue;
        }
        let value = words.next().ok_or(USAGE)?;
        let wrong = || format!("`{word} {value}`: no such value\n{USAGE}");
        match word.as_str() {
            "--asterisk" => {
                options.version = match value.as_str() {
                    "22" => Version::V22,
                    "16" => Version::V16,
                    _ => return Err(wrong()),
                }
            }
            "--agents" => options.agents = value.parse().map_err(|_| wrong())?,
            "--port" => {
                first_port = value
                    .parse()
                    .ok()
                    .filter(|port| *port <= 64_000)
                    .ok_or_else(wrong)?
            }
            "--folder" => folder = Some(PathBuf::from(value)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let folder = match folder {
        Some(folder) => folder,
        None => default_folder()?,
    };
    Ok(Arguments {
        verb,
        rest,
        options,
        freeswitch,
        first_port,
        folder,
    })
}

fn default_folder() -> Result<PathBuf, String> {
    if let Some(runtime) = env::var_os("XDG_RUNTIME_DIR").filter(|runtime| !runtime.is_empty()) {
        return Ok(Path::new(&runtime).join("paceline-lab"));
    }
    let uid = fs::metadata("/proc/self")
        .map_err(|err| format!("read /proc/self: {err}"))?
        .uid();
    Ok(env::temp_dir().join(format!("paceline-{uid}")).join("lab"))
}

fn up(arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.folder;
    if let Some(pid) = running(folder) {
        return Err(format!(
            "a lab already runs as process {pid}; `scripts/lab status` shows it, `scripts/lab down` ends it"
        ));
    }
    fs::create_dir_all(folder).map_err(|err| format!("make {}: {err}", folder.display()))?;
    let summary = folder.join("lab.toml");
    if let Err(err) = fs::remove_file(&summary)
        && err.kind() != ErrorKind::NotFound
    {
        return Err(format!("remove {}: {err}", summary.display()));
    }
    let log_path = folder.join("log");
    let log = fs::File::create(&log_path).map_err(|err| format!("write {}: {err}", log_path.display()))?;
    let errors = log
        .try_clone()
        .map_err(|err| format!("write {}: {err}", log_path.display()))?;
    let own = env::current_exe().map_err(|err| format!("find this program: {err}"))?;
    // A separate session, so that closing the terminal does not end it.
    let mut server = Command::new("setsid")
        .arg(own)
        .arg("serve")
        .args(&arguments.rest)
        .args(["--folder", &folder.to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|err| format!("start the lab in the background: {err}"))?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline && matches!(server.try_wait(), Ok(None)) {
        if summary.exists() {
            return status(folder);
        }
        thread::sleep(Duration::from_millis(50));
    }
    let log = fs::read_to_string(&log_path).unwrap_or_default();
    Err(format!(
        "the lab did not start; {} says:\n{log}",
        log_path.display()
    ))
}

/// A running lab.
enum Running {
    Asterisk(Lab),
    FreeSwitch(FreeSwitchLab),
}

fn serve(arguments: Arguments) -> Result<(), String> {
    let folder = arguments.folder.clone();
    let lab = start(arguments)?;
    let pid_file = folder.join("pid");
    let password_file = folder.join("password");
    write(&pid_file, &std::process::id().to_string())?;
    let (password, summary) = match &lab {
        Running::Asterisk(lab) => (lab.asterisk.password(), summary::asterisk(lab, &password_file)),
        Running::FreeSwitch(lab) => (
            lab.freeswitch.password(),
            summary::freeswitch(lab, &password_file),
        ),
    };
    write(&password_file, password)?;
    // Written last, because `up` waits for it, and renamed, so that no reader sees half of it.
    let draft = folder.join("lab.toml.new");
    write(&draft, &summary)?;
    fs::rename(&draft, folder.join("lab.toml")).map_err(|err| format!("write lab.toml: {err}"))?;
    while pid_file.exists() {
        thread::sleep(Duration::from_millis(100));
    }
    drop(lab);
    Ok(())
}

fn start(arguments: Arguments) -> Result<Running, String> {
    let Arguments {
        mut options,
        freeswitch,
        first_port,
        ..
    } = arguments;
    let port = |nth: u16| first_port.saturating_add(nth);
    let fixed = first_port != 0;
    if freeswitch {
        let audio = options.audio;
        let options = FreeSwitchOptions {
            agents: options.agents,
            media_timeout_ms: phone_silence_max_s(audio) * 1_000,
            carrier_port: fixed.then(|| port(4)),
            phones_port: fixed.then(|| port(5)),
            ports: fixed.then(|| FreeSwitchPorts {
                event_socket: port(0),
                sip: port(1),
                dead: port(3),
                rtp_first: port(20),
                rtp_last: port(1_499),
            }),
            ..FreeSwitchOptions::default()
        };
        let lab = FreeSwitchLab::start(audio, options);
        return lab.map(Running::FreeSwitch).map_err(|err| explain(&err));
    }
    options.qualify_s = 15;
    options.rtp_timeout_s = phone_silence_max_s(options.audio);
    options.ports = fixed.then(|| LabPorts {
        asterisk: AsteriskPorts {
            http: port(0),
            sip: port(1),
            ami: port(2),
            dead: port(3),
            rtp_first: port(20),
            rtp_last: port(1_499),
        },
        carrier: port(4),
        phones: port(5),
    });
    let lab = Lab::start_with(&options);
    lab.map(Running::Asterisk).map_err(|err| explain(&err))
}

/// As users should configure it; 0 (never) if no phone sends audio.
fn phone_silence_max_s(audio: Audio) -> u32 {
    match audio {
        Audio::Tones => 60,
        Audio::None => 0,
    }
}

fn status(folder: &Path) -> Result<(), String> {
    let Some(pid) = running(folder) else {
        return Err(format!(
            "no lab runs ({}); start one with `scripts/lab up`",
            folder.display()
        ));
    };
    let path = folder.join("lab.toml");
    let summary = fs::read_to_string(&path).map_err(|err| format!("read {}: {err}", path.display()))?;
    print!("# {}, process {pid} running\n{summary}", path.display());
    Ok(())
}

fn down(folder: &Path) -> Result<(), String> {
    let Some(pid) = running(folder) else {
        println!("no lab runs");
        return Ok(());
    };
    fs::remove_file(folder.join("pid")).map_err(|err| format!("ask process {pid} to end: {err}"))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_ours(pid, folder) {
        if Instant::now() > deadline {
            return Err(format!(
                "process {pid} has not ended within 20 s; see {}",
                folder.join("log").display()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    println!("the lab has ended");
    Ok(())
}

/// The process that runs the lab in this folder.
fn running(folder: &Path) -> Option<u32> {
    let pid = fs::read_to_string(folder.join("pid")).ok()?.trim().parse().ok()?;
    is_ours(pid, folder).then_some(pid)
}

/// True if the process is a `serve` of this folder. Its id may have been reused by another program.
fn is_ours(pid: u32, folder: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let words: Vec<_> = command.split(|byte| *byte == 0).collect();
    let folder = folder.to_string_lossy();
    words.contains(&b"serve".as_slice()) && words.contains(&folder.as_bytes())
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|err| format!("write {}: {err}", path.display()))
}

/// The message of an error with the messages of its causes.
fn explain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  because: {cause}"));
        source = cause.source();
    }
    text
}
