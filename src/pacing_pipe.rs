//! The pacing controller over a pipe: it reads one JSON object per line, and writes one line for each tick and for each
//! line that it cannot use. `docs/pacing.md` describes the protocol.
//!
//! A line that cannot be used changes nothing. Start at [`Session::take`].

pub mod line;

use line::{Content, Line, LineError, PipeConfig};
use paceline_core::pacing::rules::AbandonRule;
use paceline_core::pacing::{PacingConfig, PacingController, PacingMode, PacingReport, Room};
use paceline_core::time::{Mono, Now, Wall};
use serde::Serialize;
use std::time::Duration;

/// One session over a pipe.
#[derive(Debug, Default)]
pub struct Session {
    lines: u64,
    at_ms: f64,
    controller: Option<PacingController>,
}

/// The reason why a line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("`at_ms` is earlier than in a previous line: send lines in order of time")]
    Backwards,
    #[error("there is already a config: send it only once")]
    ConfigAgain,
    #[error("there is no config yet: send a line of type config first")]
    NoConfig,
}

#[derive(Serialize)]
struct Reply<'a> {
    at_ms: serde_json::Number,
    launch: u32,
    wanted: u32,
    limit: &'a str,
    expected_abandon_ratio: f64,
    mode: &'a str,
    why: String,
}

#[derive(Serialize)]
struct Complaint {
    line: u64,
    error: String,
}

impl Session {
    /// Takes one line, without its line end. Returns the reply with its line end; most lines have none.
    pub fn take(&mut self, line: &[u8]) -> Option<String> {
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return None;
        }
        let reply = match self.understand(line) {
            Ok(None) => return None,
            Ok(Some((at_ms, report))) => serde_json::to_string(&reply(at_ms, &report)),
            Err(refusal) => serde_json::to_string(&Complaint {
                line: self.lines,
                error: format!("line {}: {refusal}", self.lines),
            }),
        };
        // Numbers and strings can always be written as JSON.
        reply.ok().map(|mut text| {
            text.push('\n');
            text
        })
    }

    fn understand(&mut self, line: &[u8]) -> Result<Option<(f64, PacingReport)>, Refusal> {
        let Line { at_ms, content } = line::parse(line)?;
        if at_ms < self.at_ms {
            return Err(Refusal::Backwards);
        }
        let mono = Mono(Duration::from_secs_f64(at_ms / 1000.0));
        let now = Now {
            mono,
            wall: Wall(at_ms as i64),
        };
        let answer = match (content, &mut self.controller) {
            (Content::Config(_), Some(_)) => return Err(Refusal::ConfigAgain),
            (Content::Config(config), none) => {
                *none = Some(PacingController::new(settings(&config), None));
                None
            }
            (_, None) => return Err(Refusal::NoConfig),
            (
                Content::Agent {
                    agent,
                    step,
                    leaves_at_ms,
                },
                Some(controller),
            ) => {
                controller.agent(mono, agent, step);
                let leaves_at = leaves_at_ms.map(|ms| Mono(Duration::from_secs_f64(ms / 1000.0)));
                controller.agent_leaves(agent, leaves_at);
                None
            }
            (Content::Call { call, step }, Some(controller)) => {
                controller.call(now, call, step);
                None
            }
            (Content::Tick { channels_free }, Some(controller)) => {
                let room = Room {
                    channels: channels_free,
                    ..Room::default()
                };
                Some((at_ms, controller.tick(now, room)))
            }
        };
        self.at_ms = at_ms;
        Ok(answer)
    }
}

fn settings(config: &PipeConfig) -> PacingConfig {
    PacingConfig {
        mode: PacingMode::Predictive,
        rules: vec![AbandonRule::daily(config.abandon_ratio_max, config.connect_limit)],
        connect_limit: config.connect_limit,
        ring_timeout: config.ring_timeout,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn reply(at_ms: f64, report: &PacingReport) -> Reply<'_> {
    // A whole number is written without a fraction, as it was received.
    let whole = (at_ms.fract() == 0.0).then(|| serde_json::Number::from(at_ms as u64));
    Reply {
        at_ms: whole
            .or_else(|| serde_json::Number::from_f64(at_ms))
            .unwrap_or_else(|| 0.into()),
        launch: report.launch,
        wanted: report.wanted,
        limit: report.limit.as_str(),
        expected_abandon_ratio: (report.expected_abandon_ratio * 1e5).round() / 1e5,
        mode: report.mode.as_str(),
        why: report.to_string(),
    }
}

#[cfg(test)]
mod tests;
