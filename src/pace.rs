//! The controller over a pipe: one JSON object a line in, one line out for each tick and for each line that is not
//! understood. `docs/pacing.md` has the protocol.
//!
//! In: lines. Out: replies. A line that cannot be taken changes nothing. Start at [`Session::take`].

pub mod line;

use line::{Line, LineError, PaceConfig, Says};
use paceline_core::pacing::rules::AbandonRule;
use paceline_core::pacing::{PacingConfig, PacingController, PacingMode, PacingReport, Room};
use paceline_core::time::{Mono, Now, Wall};
use serde::Serialize;
use std::time::Duration;

/// One conversation over a pipe.
#[derive(Debug, Default)]
pub struct Session {
    lines: u64,
    at_ms: f64,
    pacer: Option<PacingController>,
}

/// Why a line that was understood cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Line(#[from] LineError),
    #[error("`at_ms` is earlier than a line before: time must not go backwards")]
    Backwards,
    #[error("a second config: the first one stands")]
    ConfigAgain,
    #[error("no config yet: the first line must be of type config")]
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
    /// Takes one line, without its end. Returns what to answer, a line with its end; nothing to most.
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
        // Numbers and strings always are JSON.
        reply.ok().map(|mut text| {
            text.push('\n');
            text
        })
    }

    fn understand(&mut self, line: &[u8]) -> Result<Option<(f64, PacingReport)>, Refusal> {
        let Line { at_ms, says } = line::parse(line)?;
        if at_ms < self.at_ms {
            return Err(Refusal::Backwards);
        }
        let mono = Mono(Duration::from_secs_f64(at_ms / 1000.0));
        let now = Now {
            mono,
            wall: Wall(at_ms as i64),
        };
        let answer = match (says, &mut self.pacer) {
            (Says::Config(_), Some(_)) => return Err(Refusal::ConfigAgain),
            (Says::Config(config), none) => {
                *none = Some(PacingController::new(settings(&config), None));
                None
            }
            (_, None) => return Err(Refusal::NoConfig),
            (
                Says::Agent {
                    agent,
                    step,
                    leaves_at_ms,
                },
                Some(pacer),
            ) => {
                pacer.agent(mono, agent, step);
                let leaves_at = leaves_at_ms.map(|ms| Mono(Duration::from_secs_f64(ms / 1000.0)));
                pacer.agent_leaves(agent, leaves_at);
                None
            }
            (Says::Call { call, step }, Some(pacer)) => {
                pacer.call(now, call, step);
                None
            }
            (Says::Tick { channels_free }, Some(pacer)) => {
                let room = Room {
                    channels: channels_free,
                    ..Room::default()
                };
                Some((at_ms, pacer.tick(now, room)))
            }
        };
        self.at_ms = at_ms;
        Ok(answer)
    }
}

fn settings(config: &PaceConfig) -> PacingConfig {
    PacingConfig {
        mode: PacingMode::Predictive,
        rules: vec![AbandonRule::daily(config.abandon_ratio_max, config.connect_limit)],
        connect_limit: config.connect_limit,
        ring_timeout: config.ring_timeout,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn reply(at_ms: f64, report: &PacingReport) -> Reply<'_> {
    // A whole number goes out as it came in.
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
