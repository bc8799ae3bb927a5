//! Calls in flight that are too many once agents have left: whoever answers them would find nobody.

use super::book::{CallSpell, Flight};
use super::crowd::Crowd;
use super::forecast::Row;
use super::{CallKey, Pacer, secs, weighted};
use crate::time::Now;

/// A call is one too many where its callee would find no agent with this probability. Far above what any launch may risk, so
/// that the ordinary error of a forecast takes nothing back.
const RISK_MAX: f64 = 0.2;

impl Pacer {
    /// How many of these calls are too many. `may_go`: calls in flight, those to be kept first; `storing`: calls that are still
    /// being stored, which are kept last. As many as agents are free are never too many.
    pub fn surplus(&mut self, now: Now, may_go: &[CallKey], storing: usize) -> usize {
        let at = secs(now.mono);
        self.expire(at, u32::try_from(storing).ok());
        let calls: Vec<_> = may_go
            .iter()
            .filter_map(|key| Some((*key, self.book.calls.remove(key)?)))
            .collect();
        let asked = std::mem::take(&mut self.book.asked);
        let scene = self.scene(at);
        let rows = calls.iter().map(|(_, spell)| self.row(spell, at));
        let stored = asked.iter().map(|_| *self.tables.dialing(0.0));
        let rows: Vec<Row> = rows.chain(stored).collect();
        self.book.calls.extend(calls);
        self.book.asked = asked;

        let mut crowd = Crowd::new(scene.seats, &scene.busy, &scene.calls, self.learner.doubt());
        let mut kept = 0;
        for row in &rows {
            let is_covered = scene.in_flight + kept < scene.free;
            if !is_covered && weighted(&row.steps(), &crowd.full(0)) > RISK_MAX {
                break;
            }
            crowd.add(row);
            kept += 1;
        }
        rows.len() - kept
    }

    /// When a call in flight may need an agent.
    pub(super) fn row(&self, spell: &CallSpell, at: f64) -> Row {
        let age = at - spell.since;
        let row = match spell.state {
            Flight::Dialing => *self.tables.dialing(age),
            Flight::Ringing => *self.tables.ringing(age),
            Flight::Listening(answer) => self.verdict_row(answer, age),
            Flight::Waiting => Row::ONE,
        };
        if spell.odds == 1.0 {
            row
        } else {
            row.with_odds(spell.odds)
        }
    }
}
