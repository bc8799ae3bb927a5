//! The command line. In: arguments, signals. Out: text for people, or JSON for programs; an exit code. Each command
//! has a file of its own; none of them decides anything about calls. Start at [`main`].

mod check;
mod demo;
mod doctor;
mod import;
mod keys;
mod pace;
pub mod progress;
pub mod screen;
mod serve;
mod signals;
mod simulate;

use crate::config::{Config, ConfigError};
use crate::telemetry;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use screen::Screen;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

const EXAMPLES: &str = "\
Try it, with nothing but this binary:
  paceline demo

With a PBX of your own:
  paceline config check                 is paceline.toml right?
  paceline doctor                       is the PBX set up for it?
  paceline key create me --role write   an API key, shown once
  paceline import contacts.csv --list spring --region US
  paceline serve                        the dialer, its API and /metrics";

/// Outbound dialing for the PBX that you run already.
///
/// Paceline decides whom to call, when, and over which trunk, and hands answered calls to agents. Your PBX keeps
/// SIP and media. Everything is driven by the HTTP API that `serve` opens; its page documents itself.
#[derive(Debug, Parser)]
#[command(name = "paceline", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Common {
    /// The configuration file [default: paceline.toml, if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log JSON, one object a line. Which messages: the environment variable RUST_LOG.
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: a simulated switch, agents and callees, in a temporary folder. Nothing to install or configure.
    ///
    /// Ends with a summary that adds up, checked against the store and /metrics; exit code 1 if it does not.
    Demo(demo::DemoArgs),
    /// Run the dialer, its HTTP API and /metrics, until a signal.
    ///
    /// Ctrl-C (or SIGTERM) launches nothing more, takes back what rings, and stops within seconds. Agents stay logged in and
    /// conversations up on the PBX, and the next start takes them over. To end for good, send POST /api/v1/drain first.
    Serve {
        /// Show progress as JSON lines on standard output, one a second.
        #[arg(long)]
        json: bool,
    },
    /// Read a contact file into a new contact list. Every row that cannot be taken is named with its reason.
    ///
    /// The list appears once it is complete; a failed import leaves nothing behind. It may run while `serve` does.
    Import(import::ImportArgs),
    /// Decide for another dialer, or a simulator, how many calls to launch: events and ticks in, decisions out.
    ///
    /// Reads one JSON object a line from standard input: a `config`, then `agent` and `call` events and `tick`s. Answers
    /// each tick with one line. docs/pacing.md has the protocol.
    Pace,
    /// Try pacing on a call centre's days in virtual time, beside other ways to pace.
    ///
    /// Shows utilisation and abandon rates of Paceline, progressive dialing, a fixed ratio and VICIdial's formulas; the
    /// last two also with the settings that did best in hindsight.
    Simulate(simulate::SimulateArgs),
    /// Look at every configured PBX: what is missing or wrongly set for calls, and what to write instead.
    ///
    /// Changes nothing there. Exit code 1 if calls cannot work somewhere, or the test call did not.
    Doctor(doctor::DoctorArgs),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show what the configuration says, or all that is wrong with it. Exit code 1 if it cannot be used.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The command has failed and has said so itself.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct AlreadyTold;

/// Runs the command that the process's arguments name. Exit codes: 0 done, 1 failed, 2 wrong arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::new();
    match run(cli, &screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.clear();
            tell(&error, &screen);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, screen: &Screen) -> anyhow::Result<()> {
    let file = cli.common.config.as_deref();
    if let Command::Config(ConfigCommand::Check { json }) = cli.command {
        return check::run(file, json);
    }
    if let Command::Pace = cli.command {
        return pace::run();
    }
    if let Command::Simulate(args) = &cli.command {
        return simulate::run(args, file);
    }
    let config = match cli.command {
        Command::Demo(_) => Config::default(),
        _ => Config::load(file)?,
    };
    let level = match cli.command {
        Command::Serve { .. } => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    telemetry::init(cli.common.log_json || config.log_json, level, screen)?;
    // One thread: an event passes through four tasks, and waking another thread for each costs more than all else. SQLite
    // has threads of its own.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // The demo's clock may run faster than the wall's.
    if matches!(cli.command, Command::Serve { .. }) {
        runtime.on_thread_park(paceline_runtime::wakings::between_wakings());
    }
    let runtime = runtime.enable_all().build().context("cannot start the runtime")?;
    match cli.command {
        Command::Config(_) | Command::Pace | Command::Simulate(_) => Ok(()),
        Command::Demo(args) => runtime.block_on(demo::run(args, screen)),
        Command::Serve { json } => runtime.block_on(serve::run(&config, screen, json)),
        Command::Key(command) => runtime.block_on(keys::run(&config, command)),
        Command::Doctor(args) => runtime.block_on(doctor::run(&config, args)),
        Command::Import(args) => runtime.block_on(import::run(&config, args, screen)),
    }
}

/// Writes to standard output. A reader who has gone, as `head` does, is no error.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// The error and what caused it, each on a line.
fn tell(error: &anyhow::Error, screen: &Screen) {
    if error.is::<AlreadyTold>() {
        return;
    }
    let mut text = match error.downcast_ref() {
        // Begins with `error:` itself, and shows the place.
        Some(ConfigError::Invalid(_)) => format!("{error}\n"),
        _ => format!("error: {error}\n"),
    };
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    screen.tell(&text);
}
