//! The command line. In: arguments, signals. Out: text for people, or JSON for programs; an exit code. Each command
//! has a file of its own; none of them decides anything about calls. Start at [`main`].

mod check;
pub mod progress;
pub mod screen;

use crate::config::ConfigError;
use clap::{Args, Parser, Subcommand};
use screen::Screen;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Try it, with nothing but this binary:
  paceline demo

With a PBX of your own:
  paceline config check                 is paceline.toml right?
  paceline key create me --role write   an API key, shown once
  paceline import contacts.csv --list spring --region US
  paceline serve                        the dialer, its API and /metrics";

/// Outbound dialing for the PBX that you run already.
///
/// Paceline decides whom to call, when, and over which trunk, and hands answered calls to agents. Your Asterisk keeps
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

fn run(cli: Cli, _screen: &Screen) -> anyhow::Result<()> {
    match cli.command {
        Command::Config(ConfigCommand::Check { json }) => check::run(cli.common.config.as_deref(), json),
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
