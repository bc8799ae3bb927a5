//! The summary of a demo, counted from the store. It also checks that its numbers agree with each other and with `/metrics`.

use super::{AGENTS, Demo};
use crate::metrics::{Glance, Metrics};
use crate::store::{AttemptFilter, AttemptRow, ContactState, Store, StoreError, TaskContactRow};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Rows read at once.
const PAGE: i64 = 2_000;

/// The summary of a demo.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Length of the demo by its own clock, in seconds.
    pub simulated_seconds: u64,
    /// Contacts of the task, each in one of these.
    pub contacts: Contacts,
    /// Attempts, each open or with one outcome.
    pub attempts: Attempts,
    /// Attempts in which a callee talked with an agent; a part of those answered.
    pub connected: u64,
    /// Attempts ended as answered by a callee who hung up before an agent was there.
    pub hung_up_first: u64,
    /// Agents at work.
    pub agents: u16,
    /// The part of their time that agents talked or wrapped up, 0 to 1.
    pub occupancy: f64,
    /// From reading an answer to handing over the command that connects, in real seconds: half of all answers took at
    /// most the first, 99 of 100 at most the second. None: nothing was answered.
    pub answer_to_connect_command_seconds: Option<(f64, f64)>,
    /// Numbers that do not agree. Empty, unless there is a bug.
    pub contradictions: Vec<String>,
}

/// The task's contacts by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contacts {
    /// Number of all contacts.
    pub total: u64,
    /// Dialed, and not to be dialed again.
    pub done: u64,
    /// Never dialed, as the gate refused them.
    pub refused: u64,
    /// Dialed, and to be dialed again.
    pub waiting_for_retry: u64,
    /// Not dialed yet.
    pub not_yet_dialed: u64,
    /// Leased by the dialer: about to be dialed, or in a call.
    pub in_hand: u64,
}

/// The attempts by their outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// Number of all attempts.
    pub total: u64,
    /// Ended attempts by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Attempts that have not ended.
    pub open: u64,
}

impl Summary {
    /// Counts. `stopped_at`: when the demo stopped launching calls.
    pub async fn of(
        demo: &Demo,
        store: &Store,
        stopped_at: Wall,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let mut summary = Self {
            agents: AGENTS,
            ..Self::default()
        };
        let mut after = None;
        loop {
            let rows = store.task_contacts(demo.task, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.contact.id.0);
            rows.iter().for_each(|row| summary.contacts.count(row));
        }
        let window = Window {
            from: demo.begun_at,
            until: stopped_at,
        };
        summary.simulated_seconds = window.length().as_secs();
        let filter = AttemptFilter {
            task: Some(demo.task),
            ..AttemptFilter::default()
        };
        let mut after = None;
        let mut busy = Duration::ZERO;
        loop {
            let rows = store.attempts(&filter, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in &rows {
                summary.count(row);
                busy += window.busy(row, demo.wrap_up);
            }
        }
        let logged_in = window.length() * u32::from(AGENTS);
        summary.occupancy = busy.as_secs_f64() / logged_in.as_secs_f64().max(1.0);
        let page = metrics.render();
        let within = |q| within(&page, "paceline_answer_to_connect_command_seconds", q);
        summary.answer_to_connect_command_seconds = within(0.5).zip(within(0.99));
        summary.check(&metrics.glance());
        Ok(summary)
    }

    fn count(&mut self, attempt: &AttemptRow) {
        self.attempts.total += 1;
        match attempt.outcome {
            Some(outcome) => *self.attempts.outcomes.entry(outcome).or_default() += 1,
            None => self.attempts.open += 1,
        }
        if attempt.connected_at.is_some() {
            self.connected += 1;
        } else if attempt.outcome == Some(Outcome::Answered) {
            self.hung_up_first += 1;
        }
    }

    fn check(&mut self, glance: &Glance) {
        let Contacts {
            total,
            done,
            refused,
            waiting_for_retry,
            not_yet_dialed,
            in_hand,
        } = self.contacts;
        let ended: u64 = self.attempts.outcomes.values().sum();
        let answered = self
            .attempts
            .outcomes
            .get(&Outcome::Answered)
            .copied()
            .unwrap_or(0);
        let with_agent = answered.saturating_sub(self.hung_up_first);
        let parts = done + refused + waiting_for_retry + not_yet_dialed + in_hand;
        let checks = [
            (total, parts, "contacts, and the sum of where they are"),
            (
                self.attempts.total,
                ended + self.attempts.open,
                "attempts, and the sum of their outcomes",
            ),
            (
                self.attempts.total,
                glance.attempts,
                "attempts in the store, and in the metrics",
            ),
            (
                ended,
                glance.outcomes.values().sum(),
                "outcomes in the store, and in the metrics",
            ),
        ];
        for (one, other, what) in checks {
            if one != other {
                self.contradictions.push(format!("{what}: {one} and {other}"));
            }
        }
        // An attempt still talking is connected and has no outcome yet.
        if self.attempts.open == 0 && with_agent > self.connected {
            self.contradictions.push(format!(
                "answered attempts with an agent, and connected ones: {with_agent} and {}",
                self.connected
            ));
        }
    }
}

impl Contacts {
    fn count(&mut self, row: &TaskContactRow) {
        self.total += 1;
        let place = match (row.state, row.attempts_made) {
            (ContactState::Leased, _) => &mut self.in_hand,
            (ContactState::Done, 0) => &mut self.refused,
            (ContactState::Done, _) => &mut self.done,
            (ContactState::Ready, 0) => &mut self.not_yet_dialed,
            (ContactState::Ready, _) => &mut self.waiting_for_retry,
        };
        *place += 1;
    }
}

/// The time in which agents were logged in.
struct Window {
    from: Wall,
    until: Wall,
}

impl Window {
    fn length(&self) -> Duration {
        between(self.from, self.until)
    }

    /// The part of the window that an agent spent on this attempt, wrap-up included.
    fn busy(&self, attempt: &AttemptRow, wrap_up: Duration) -> Duration {
        let Some(connected) = attempt.connected_at else {
            return Duration::ZERO;
        };
        let free_again = attempt.ended_at.map_or(self.until, |ended| ended.plus(wrap_up));
        between(connected.max(self.from), free_again.min(self.until))
    }
}

fn between(from: Wall, until: Wall) -> Duration {
    Duration::from_millis(u64::try_from(until.0.saturating_sub(from.0)).unwrap_or(0))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            simulated_seconds,
            contacts,
            attempts,
            connected,
            hung_up_first,
            agents,
            occupancy,
            answer_to_connect_command_seconds,
            contradictions,
        } = self;
        let (minutes, seconds) = (simulated_seconds / 60, simulated_seconds % 60);
        writeln!(f, "After {minutes} min {seconds} s of simulated time:")?;
        let places = [
            ("done", contacts.done),
            ("refused (do not call)", contacts.refused),
            ("waiting for a retry", contacts.waiting_for_retry),
            ("not yet dialed", contacts.not_yet_dialed),
            ("in hand", contacts.in_hand),
        ];
        writeln!(f, "  contacts  {} = {}", contacts.total, sum(places))?;
        let outcomes = attempts
            .outcomes
            .iter()
            .map(|(outcome, n)| (outcome.as_str(), *n));
        let outcomes = outcomes.chain([("still open", attempts.open)]);
        writeln!(f, "  attempts  {} = {}", attempts.total, sum(outcomes))?;
        let answered = connected + hung_up_first;
        let parts = [
            ("connected with an agent", *connected),
            ("hung up first", *hung_up_first),
        ];
        writeln!(f, "  answered  {answered} = {}", sum(parts))?;
        let percent = occupancy * 100.0;
        writeln!(
            f,
            "  agents    {agents}, talking or wrapping up {percent:.0} % of the time"
        )?;
        if let Some((half, most)) = answer_to_connect_command_seconds {
            let (half, most) = (half * 1000.0, most * 1000.0);
            writeln!(
                f,
                "  Paceline  sends the connect command after an answer within {half} ms for half of the calls and within {most} ms for 99 %"
            )?;
        }
        for contradiction in contradictions {
            writeln!(f, "  CONTRADICTION: {contradiction}")?;
        }
        Ok(())
    }
}

/// The bucket of a histogram on the metrics page that reaches this share of the observations. The histogram has one series.
fn within(page: &str, histogram: &str, share: f64) -> Option<f64> {
    let buckets = page.lines().filter_map(|line| {
        let labels = line.strip_prefix(histogram)?.strip_prefix("_bucket{le=\"")?;
        let (bound, rest) = labels.split_once('"')?;
        let (_, count) = rest.rsplit_once(' ')?;
        Some((bound.parse::<f64>().ok()?, count.parse::<f64>().ok()?))
    });
    let buckets: Vec<_> = buckets.collect();
    let all = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let reaches = |(_, count): &&(f64, f64)| all > 0.0 && *count >= all * share;
    buckets.iter().find(reaches).map(|(bound, _)| *bound)
}

/// Writes `3 busy + 4 failed`. Parts that are 0 are left out.
fn sum<'w>(parts: impl IntoIterator<Item = (&'w str, u64)>) -> String {
    let parts = parts.into_iter().filter(|(_, n)| *n > 0);
    let parts: Vec<_> = parts
        .map(|(word, n)| format!("{n} {}", word.replace('_', " ")))
        .collect();
    if parts.is_empty() {
        "0".to_owned()
    } else {
        parts.join(" + ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            simulated_seconds: 605,
            contacts: Contacts {
                total: 10,
                done: 3,
                refused: 1,
                waiting_for_retry: 2,
                not_yet_dialed: 4,
                in_hand: 0,
            },
            attempts: Attempts {
                total: 5,
                outcomes: BTreeMap::from([(Outcome::Answered, 3), (Outcome::NoAnswer, 2)]),
                open: 0,
            },
            connected: 2,
            hung_up_first: 1,
            agents: 20,
            occupancy: 0.625,
            answer_to_connect_command_seconds: Some((0.0005, 0.001)),
            contradictions: Vec::new(),
        }
    }

    fn glance() -> Glance {
        Glance {
            attempts: 5,
            outcomes: BTreeMap::from([(Outcome::Answered, 3), (Outcome::NoAnswer, 2)]),
            ..Glance::default()
        }
    }

    #[test]
    fn a_summary_shows_only_sums_with_all_their_parts() {
        let mut summary = summary();
        summary.check(&glance());
        assert_eq!(summary.contradictions, Vec::<String>::new());
        insta::assert_snapshot!(summary.to_string(), @"
        After 10 min 5 s of simulated time:
          contacts  10 = 3 done + 1 refused (do not call) + 2 waiting for a retry + 4 not yet dialed
          attempts  5 = 3 answered + 2 no answer
          answered  3 = 2 connected with an agent + 1 hung up first
          agents    20, talking or wrapping up 62 % of the time
          Paceline  sends the connect command after an answer within 0.5 ms for half of the calls and within 1 ms for 99 %
        ");
    }

    #[test]
    fn inconsistent_options_are_reported() {
        let mut summary = summary();
        summary.contacts.done += 1;
        summary.connected = 1;
        summary.check(&Glance {
            attempts: 6,
            ..glance()
        });
        insta::assert_snapshot!(summary.contradictions.join("\n"), @"
        contacts, and the sum of where they are: 10 and 11
        attempts in the store, and in the metrics: 5 and 6
        answered attempts with an agent, and connected ones: 2 and 1
        ");
    }

    #[test]
    fn a_share_of_observations_is_found_in_its_bucket() {
        let page = "h_bucket{le=\"0.1\",campaign=\"demo\"} 1\nh_bucket{le=\"0.5\",campaign=\"demo\"} 9\n\
            h_bucket{le=\"+Inf\",campaign=\"demo\"} 10\n";
        assert_eq!(within(page, "h", 0.5), Some(0.5));
        assert_eq!(within(page, "h", 0.99), Some(f64::INFINITY));
        assert_eq!(within("h_bucket{le=\"0.1\"} 0\n", "h", 0.5), None);
    }
}
