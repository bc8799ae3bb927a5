//! The counts for the abandon rules after a restart: the store's SQL must agree with the core about every answer.

use crate::support::{Db, NOW, ended, leg_ended, numbers};
use paceline_core::command::Change;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::{
    AbandonRule, AbandonWindow, AnswerRow, Answers, EarlyHangup, QUARTER_MS, Tally,
};
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

const LIMITS_MS: [u32; 2] = [2_000, 5_000];
/// Waits below, at and above each limit.
const WAITS_MS: [u64; 6] = [0, 1_999, 2_000, 2_001, 5_000, 5_001];
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// One attempt and its events, in milliseconds after its answer.
#[derive(Clone, Copy, Debug, Default)]
struct Case {
    not_answered: bool,
    connected_ms: Option<u64>,
    abandoned_ms: Option<u64>,
    ended: Option<(u64, Outcome)>,
    /// The time by which this answer is earlier than the others.
    earlier: Duration,
}

/// Every way in which an answered call can end, on both sides of every limit.
fn cases() -> Vec<Case> {
    let mut cases = vec![Case::default()];
    for outcome in Outcome::ALL {
        for wait_ms in WAITS_MS {
            cases.push(Case {
                ended: Some((wait_ms, *outcome)),
                ..Case::default()
            });
        }
        cases.push(Case {
            not_answered: true,
            ended: Some((9_000, *outcome)),
            ..Case::default()
        });
        cases.push(Case {
            abandoned_ms: Some(2_000),
            ended: Some((2_500, *outcome)),
            ..Case::default()
        });
        cases.push(Case {
            connected_ms: Some(2_001),
            ended: Some((60_000, *outcome)),
            ..Case::default()
        });
    }
    for wait_ms in WAITS_MS {
        for ended in [None, Some((60_000, Outcome::Answered))] {
            cases.push(Case {
                connected_ms: Some(wait_ms),
                ended,
                ..Case::default()
            });
            cases.push(Case {
                abandoned_ms: Some(wait_ms),
                ended,
                ..Case::default()
            });
        }
    }
    // Answers older than the window of a month's rule, and answers in two quarters of an hour that are so old that
    // they are counted together.
    for earlier in [DAY * 40, DAY * 100, DAY * 101] {
        cases.push(Case {
            ended: Some((6_000, Outcome::Answered)),
            earlier,
            ..Case::default()
        });
    }
    cases
}

fn rule(limit_ms: u32, window: AbandonWindow) -> AbandonRule {
    AbandonRule {
        limit_ms,
        window,
        early_hangup: EarlyHangup::Live,
        ..AbandonRule::daily(0.03, Duration::ZERO)
    }
}

fn add(to: &mut Tally, one: Tally) {
    to.connected += one.connected;
    to.connected_late += one.connected_late;
    to.abandoned += one.abandoned;
    to.hung_up += one.hung_up;
    to.hung_up_late += one.hung_up_late;
}

/// The core's counts for these rows: per rule's limit and quarter of an hour, the oldest together.
fn counted_apart(
    rows: &[AnswerRow],
    rules: &[AbandonRule],
    since: Wall,
    quarters_from: Wall,
) -> Vec<Answers> {
    let mut all = Vec::new();
    for rule in rules {
        let mut quarters: BTreeMap<i64, Tally> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.answered_at >= since) {
            let Some(result) = row.result() else { continue };
            let quarter = if row.answered_at < quarters_from {
                quarters_from.0 / QUARTER_MS - 1
            } else {
                row.answered_at.0 / QUARTER_MS
            };
            add(quarters.entry(quarter).or_default(), rule.tally(result));
        }
        all.extend(quarters.into_iter().map(|(quarter, tally)| Answers {
            from: Wall(quarter * QUARTER_MS),
            limit_ms: rule.limit_ms,
            tally,
        }));
    }
    all
}

/// Stores these attempts through the writer. Returns the expected rows of the answered ones.
async fn stored(db: &Db, campaign: &crate::support::Campaign<'_>, cases: &[Case]) -> Vec<AnswerRow> {
    campaign.task(&numbers(u32::try_from(cases.len()).unwrap())).await;
    let leads = campaign.lease(cases.len(), NOW).await.leads;
    assert_eq!(leads.len(), cases.len());
    let writer = db.store.writer();
    let mut rows = Vec::new();
    let mut shifts = Vec::new();
    let mut shown = Vec::new();
    // All attempts are queued before the first answer is awaited; otherwise each would wait for its own commit.
    let mut asked = Vec::new();
    for lead in &leads {
        let new = campaign.new_attempt(lead, NOW);
        asked.push((new.clone(), writer.prepare(new, campaign.policy()).await));
    }
    for ((n, case), (new, prepared)) in (0..).zip(cases).zip(asked) {
        // The answers are spread over several quarters of an hour.
        let answered_at = NOW.plus(Duration::from_secs(20 * n));
        let at = |ms| answered_at.plus(Duration::from_millis(ms));
        assert_eq!(prepared.await, Prepared::Allowed);
        let (attempt, leg) = (new.attempt, new.leg);
        let answered = (!case.not_answered).then_some(Change::Answered {
            attempt,
            leg,
            at: answered_at,
        });
        let connected = case.connected_ms.map(|ms| Change::Connected {
            attempt,
            agent: campaign.agent,
            at: at(ms),
        });
        let abandoned = case
            .abandoned_ms
            .map(|ms| Change::Abandoned { attempt, at: at(ms) });
        let leg_over = case.ended.map(|(ms, _)| leg_ended(&new, at(ms)));
        let over = case.ended.map(|(ms, outcome)| ended(&new, outcome, at(ms), None));
        for change in [answered, connected, abandoned, leg_over, over]
            .into_iter()
            .flatten()
        {
            writer.change(campaign.id, change).await;
        }
        shown.push((attempt, case.abandoned_ms.map(at)));
        if !case.earlier.is_zero() {
            shifts.push((new.lead.number.expose().to_owned(), case.earlier.as_millis()));
        }
        if !case.not_answered {
            let then = |at: Wall| at.minus(case.earlier);
            rows.push(AnswerRow {
                answered_at: then(answered_at),
                connected_at: case.connected_ms.map(|ms| then(at(ms))),
                abandoned_at: case.abandoned_ms.map(|ms| then(at(ms))),
                ended: case.ended.map(|(ms, outcome)| (then(at(ms)), outcome)),
            });
        }
    }
    writer.flush().await;
    for (attempt, abandoned_at) in shown {
        let row = db.store.attempt(attempt).await.unwrap().unwrap();
        assert_eq!(row.abandoned_at, abandoned_at);
    }
    for (number, ms) in shifts {
        db.run(&format!(
            "UPDATE attempts SET answered_at_ms = answered_at_ms - {ms}, ended_at_ms = ended_at_ms - {ms} \
             WHERE number = '{number}'"
        ))
        .await;
    }
    rows
}

pub(crate) async fn every_answer_is_counted_as_the_rules_say(db: &Db) {
    let campaign = db.campaign("c").await;
    let cases = cases();
    let rows = stored(db, &campaign, &cases).await;
    // Answers of another campaign must not be counted.
    let other = db.campaign("other").await;
    let now = NOW.plus(Duration::from_secs(3 * 3_600));
    let quarters_from = now.minus(DAY * 92);
    for (window, since) in [
        (AbandonWindow::Campaign, Wall(0)),
        (AbandonWindow::Hours(24), now.minus(DAY * 31)),
    ] {
        let rules = LIMITS_MS.map(|limit_ms| rule(limit_ms, window));
        let expected = counted_apart(&rows, &rules, since, quarters_from);
        let answers = db.store.answers(campaign.id, &rules, now).await.unwrap();
        assert_eq!(answers, expected, "{window:?}");
        assert_eq!(
            db.store.answers(other.id, &rules, now).await.unwrap(),
            [],
            "{window:?}"
        );
    }
}
