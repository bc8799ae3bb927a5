//! Logs to standard error: text for a terminal, or JSON with one object per line. `RUST_LOG` selects the messages.
//!
//! Paceline's own messages contain no personal data. Those of some libraries do at levels below INFO, because they show the
//! data on the wire. They are never shown, whatever `RUST_LOG` says.

use crate::cli::screen::Screen;
use std::env::VarError;
use std::io::IsTerminal as _;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a valid filter.
    #[error(
        "RUST_LOG is not a valid filter: use a level such as `info`, or targets such as `paceline_pbx=debug,info`"
    )]
    Filter(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Logging was already started in this process.
    #[error("logging is set up twice in one process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging for this process, with `level` if `RUST_LOG` is not set. Log lines go above the block of `screen`.
pub fn init(json: bool, level: LevelFilter, screen: &Screen) -> Result<(), TelemetryError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(text).map_err(|err| TelemetryError::Filter(Box::new(err)))?
        }
        Ok(_) | Err(VarError::NotPresent) => EnvFilter::default().add_directive(level.into()),
        Err(err) => return Err(TelemetryError::Filter(Box::new(err))),
    };
    let screen = screen.clone();
    let writer = move || screen.clone();
    let layer = if json {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed()
    } else {
        let ansi = std::io::stderr().is_terminal();
        fmt::layer().with_ansi(ansi).with_writer(writer).boxed()
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter_fn(may_pass)))
        .with(filter)
        .try_init()
        .map_err(TelemetryError::Twice)
}

fn may_pass(message: &Metadata<'_>) -> bool {
    let ours = message
        .target()
        .split("::")
        .next()
        .is_some_and(|crate_name| crate_name == "paceline" || crate_name.starts_with("paceline_"));
    ours || *message.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_never_contains_what_other_libraries_print_of_requests() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .with_filter(filter_fn(may_pass));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "tungstenite::protocol", "frame with +12025550123");
            tracing::debug!(target: "hyper", "GET /ari/channels?endpoint=+12025550123");
            tracing::debug!(target: "paceline_other", "ours too");
            tracing::debug!("ours");
            tracing::warn!(target: "sqlx", "slow");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("555"), "{text}");
        assert!(text.contains("ours too") && text.contains("slow"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
