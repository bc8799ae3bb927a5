//! The command line. Input: arguments and signals. Output: text, or JSON for programs, and an exit code. Each command has
//! its own file. Start at [`main`].

mod check;
mod demo;
mod doctor;
mod gate;
mod import;
mod keys;
mod ledger;
mod lines;
mod pace;
pub mod progress;
mod route;
pub mod screen;
mod serve;
mod signals;
mod simulate;
mod why;

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

/// Outbound dialing for your existing Asterisk or FreeSWITCH PBX.
///
/// Paceline decides which contact to call, when, and over which trunk, and connects answered calls to agents. Your PBX
/// keeps SIP and media. `serve` opens the HTTP API that controls everything; its page /api/docs documents it.
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
    /// Configuration file [default: paceline.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the log as JSON, one object per line. The environment variable RUST_LOG selects the messages
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show Paceline at work with a simulated PBX, agents and callees, in a temporary folder. Nothing to install or
    /// configure.
    ///
    /// At the end it prints a summary and compares it with the store and /metrics. Exit code 1 if they differ.
    Demo(demo::DemoArgs),
    /// Run the dialer, its HTTP API and /metrics until a signal.
    ///
    /// After Ctrl-C (or SIGTERM) it launches no more calls, serves those that ring for 30 s at most, and stops. Let a
    /// supervisor wait 45 s before it kills the process. Agents stay logged in and conversations go on, and the next start
    /// takes them over. To log agents out and end all calls first, send POST /api/v1/drain.
    Serve {
        /// Write progress as JSON to standard output, one line per second
        #[arg(long)]
        json: bool,
        /// For tests only: FILE holds a whole number of seconds, and Paceline's time of day is so far ahead of the machine's.
        ///
        /// It is read every 100 ms; replace it by a rename. Each step is logged as a warning, recorded in the ledger and shown by
        /// /readyz. Rules, dates and rows follow the moved time, timers do not. Refused unless every PBX and the API are on loopback
        /// addresses. Never use it with a PBX that can reach the telephone network: calls would go out at forbidden hours. Other
        /// commands use the machine's time.
        #[arg(long, value_name = "FILE")]
        test_clock: Option<PathBuf>,
    },
    /// Import a contact file into a new contact list. Each refused row is reported with the reason.
    ///
    /// The list appears after the whole file was read. A failed import leaves nothing. It may run while `serve` runs.
    Import(import::ImportArgs),
    /// Decide for another dialer, or for a simulator, how many calls to launch.
    ///
    /// Reads one JSON object per line from standard input: a `config`, then `agent` and `call` events and `tick`s. Writes
    /// one line for each tick. docs/pacing.md has the protocol.
    Pace,
    /// Decide for another dialer, or for a test set, whether calls may be made, and by which rules of which regulator.
    ///
    /// Reads one JSON object per line from standard input, and writes one for each. docs/compliance.md has the fields and
    /// says how each rule is read. Let counsel check the rules.
    Gate(gate::GateArgs),
    /// Choose for another dialer, or for a simulator, the trunk of each leg.
    ///
    /// Reads one JSON object per line from standard input: a `config`, then `trunk` and `leg` events and `choose` requests.
    /// Writes one line for each request. docs/trunks.md has the protocol and says how a trunk is chosen.
    Route,
    /// Simulate days of a call centre in virtual time, with Paceline's pacing and with others.
    ///
    /// Prints utilisation and abandon ratios of Paceline, progressive dialing, a fixed ratio and VICIdial's formulas. The
    /// last two also run with the settings that were best in hindsight. With --trunks, it compares choices of trunks instead.
    Simulate(simulate::SimulateArgs),
    /// Check every configured PBX. Report missing or wrong settings, and what to write instead.
    ///
    /// It changes nothing on the PBX. Exit code 1 if calls cannot work on a PBX, or if the test call failed.
    Doctor(doctor::DoctorArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Explain what the gate says of a number, or why a task is not dialed
    #[command(subcommand)]
    Why(why::WhyCommand),
    /// Check, prove and export the ledger: what the gate decided, opt-outs, changes of rules
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the configuration as understood, or everything that is wrong with it. Exit code 1 if it cannot be used
    Check {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

/// The command has failed and has already printed why.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct AlreadyTold;

/// Runs the command in the process's arguments. Exit codes: 0 done, 1 failed, 2 wrong arguments.
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
    if let Command::Route = cli.command {
        return route::run();
    }
    if let Command::Gate(args) = &cli.command {
        return gate::run(args);
    }
    if let Command::Simulate(args) = &cli.command {
        return simulate::run(args, file);
    }
    let mut config = match cli.command {
        Command::Demo(_) => Config::default(),
        _ => Config::load(file)?,
    };
    if let Command::Serve { test_clock, .. } = &cli.command {
        config.test_clock.clone_from(test_clock);
    }
    let level = match cli.command {
        Command::Serve { .. } => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    telemetry::init(cli.common.log_json || config.log_json, level, screen)?;
    // One thread is the fastest: an event passes through four tasks, and waking another thread for each costs more than all
    // else. SQLite has its own threads.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // The demo's clock may run faster than real time.
    if matches!(cli.command, Command::Serve { .. }) {
        runtime.on_thread_park(paceline_runtime::wakings::between_wakings());
    }
    let runtime = runtime.enable_all().build().context("cannot start the runtime")?;
    match cli.command {
        Command::Config(_) | Command::Gate(_) | Command::Pace | Command::Route | Command::Simulate(_) => {
            Ok(())
        }
        Command::Demo(args) => runtime.block_on(demo::run(args, screen)),
        Command::Serve { json, .. } => runtime.block_on(serve::run(&config, screen, json)),
        Command::Why(command) => runtime.block_on(why::run(&config, command)),
        Command::Ledger(command) => runtime.block_on(ledger::run(&config, command)),
        Command::Key(command) => runtime.block_on(keys::run(&config, command)),
        Command::Doctor(args) => runtime.block_on(doctor::run(&config, args)),
        Command::Import(args) => runtime.block_on(import::run(&config, args, screen)),
    }
}

/// Writes to standard output. It is not an error if the reader is gone, for example `head`.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// The error and its causes, one per line.
fn tell(error: &anyhow::Error, screen: &Screen) {
    if error.is::<AlreadyTold>() {
        return;
    }
    let mut text = match error.downcast_ref() {
        // This text begins with `error:` itself and shows the place.
        Some(ConfigError::Invalid(_)) => format!("{error}\n"),
        _ => format!("error: {error}\n"),
    };
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    screen.tell(&text);
}
