//! Live progress: a block at the foot of a terminal, a plain line from time to time elsewhere, JSON lines for programs.
//! Input: [`Metrics`].

use super::{say, screen::Screen};
use crate::metrics::{Glance, Metrics};
use indicatif::ProgressBar;
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const LIVE_EVERY: Duration = Duration::from_millis(500);
const JSON_EVERY: Duration = Duration::from_secs(1);
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// The rate is taken over this time.
const RATE_OVER: Duration = Duration::from_secs(10);

/// The form of the progress.
enum Shown {
    Live(Vec<ProgressBar>),
    Plain,
    Json,
}

/// The progress display. Run [`Progress::run`] beside the work; drop its future to stop.
pub struct Progress {
    metrics: Metrics,
    screen: Screen,
    shown: Shown,
    started: Instant,
    /// Number of attempts at each tick of the last [`RATE_OVER`].
    before: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// With `as_json` it writes JSON lines to standard output, else text to standard error.
    pub fn new(metrics: &Metrics, screen: &Screen, as_json: bool) -> Self {
        let shown = match (as_json, screen.is_live()) {
            (true, _) => Shown::Json,
            (false, true) => Shown::Live((0..LINES).map(|_| screen.line()).collect()),
            (false, false) => Shown::Plain,
        };
        Self {
            metrics: metrics.clone(),
            screen: screen.clone(),
            shown,
            started: Instant::now(),
            before: VecDeque::new(),
        }
    }

    /// Shows progress until the future is dropped.
    pub async fn run(mut self) {
        let every = match self.shown {
            Shown::Live(_) => LIVE_EVERY,
            Shown::Plain => PLAIN_EVERY,
            Shown::Json => JSON_EVERY,
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    fn tick(&mut self) {
        let glance = self.metrics.glance();
        let rate = self.rate(glance.attempts);
        match &self.shown {
            Shown::Live(bars) => {
                for (bar, line) in bars.iter().zip(lines(&glance, rate)) {
                    bar.set_message(line);
                }
            }
            Shown::Plain => {
                let line = lines(&glance, rate).join("; ");
                self.screen.tell(&format!("{line}\n"));
            }
            Shown::Json => {
                let uptime_s = self.started.elapsed().as_secs_f64();
                let line = json!({"uptime_s": uptime_s, "attempts_per_second": rate, "now": glance});
                // If the reader is gone, the work goes on.
                drop(say(&format!("{line}\n")));
            }
        }
    }

    /// Attempts per second, with one decimal.
    fn rate(&mut self, attempts: u64) -> f64 {
        let now = Instant::now();
        self.before.push_back((now, attempts));
        while self.before.len() > 2 && self.before.front().is_some_and(|(at, _)| now - *at > RATE_OVER) {
            self.before.pop_front();
        }
        let Some((at, count)) = self.before.front() else {
            return 0.0;
        };
        let (elapsed, new) = (now - *at, attempts.saturating_sub(*count));
        if elapsed < LIVE_EVERY / 2 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to look at")]
        let rate = new as f64 / elapsed.as_secs_f64();
        (rate * 10.0).round() / 10.0
    }
}

const LINES: usize = 4;

/// Present calls and agents; attempts and outcomes since the start.
fn lines(glance: &Glance, rate: f64) -> [String; LINES] {
    let calls = words(glance.in_progress.iter().map(|(phase, n)| (phase.as_str(), *n)));
    let agents = words(glance.agents.iter().map(|(state, n)| (state.as_str(), *n)));
    let outcomes = words(glance.outcomes.iter().map(|(outcome, n)| (outcome.as_str(), *n)));
    let down: Vec<_> = glance
        .pbxes
        .iter()
        .filter(|(_, up)| !**up)
        .map(|(name, _)| name.as_str())
        .collect();
    let down = match down.as_slice() {
        [] => String::new(),
        down => format!(" · PBX {} not connected", down.join(", ")),
    };
    [
        format!("calls     {}{down}", or_none(calls)),
        format!("agents    {}", or_none(agents)),
        format!("attempts  {} so far, {rate} a second", glance.attempts),
        format!("outcomes  {}", or_none(outcomes)),
    ]
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

fn words<N: std::fmt::Display>(counts: impl Iterator<Item = (&'static str, N)>) -> String {
    let parts: Vec<_> = counts
        .map(|(word, n)| format!("{n} {}", word.replace('_', " ")))
        .collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_core::agent::AgentState;
    use paceline_core::ids::PbxName;
    use paceline_core::live::AttemptPhase;
    use paceline_core::outcome::Outcome;
    use std::collections::BTreeMap;

    #[test]
    fn four_lines_show_calls_agents_and_outcomes() {
        let glance = Glance {
            attempts: 230,
            outcomes: BTreeMap::from([(Outcome::Answered, 120), (Outcome::NoAnswer, 60)]),
            in_progress: BTreeMap::from([(AttemptPhase::Ringing, 4), (AttemptPhase::Connected, 12)]),
            agents: BTreeMap::from([(AgentState::OnCall, 12), (AgentState::WrapUp, 2)]),
            hopper: 40,
            pbxes: BTreeMap::from([(PbxName::new("office"), false)]),
        };
        insta::assert_snapshot!(lines(&glance, 1.9).join("\n"), @"
        calls     4 ringing · 12 connected · PBX office not connected
        agents    12 on call · 2 wrap up
        attempts  230 so far, 1.9 a second
        outcomes  120 answered · 60 no answer
        ");
        insta::assert_snapshot!(lines(&Glance::default(), 0.0).join("\n"), @"
        calls     none
        agents    none
        attempts  0 so far, 0 a second
        outcomes  none
        ");
    }
}
