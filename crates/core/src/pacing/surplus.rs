//! Finds the calls in flight that are too many after agents have left: their callees would find no agent.

use super::forecast::Row;
use super::poisson_binomial::PoissonBinomial;
use super::tracked::{CallPhase, CallSpell};
use super::{CallKey, PacingController, secs, weighted};
use crate::time::Now;

/// A call is too many if its callee would find no agent with this probability. It is far above the risk of any launch, so
/// that an ordinary forecast error cancels no call.
const RISK_MAX: f64 = 0.2;

impl PacingController {
    /// Returns the number of the given calls that are too many. `may_go`: calls in flight; the first ones are kept first.
    /// `storing`: number of calls that are still being stored; they are kept last. As many calls as there are free agents
    /// are never too many.
    pub fn surplus(&mut self, now: Now, may_go: &[CallKey], storing: usize) -> usize {
        let at = secs(now.mono);
        self.expire(at, u32::try_from(storing).ok());
        let calls: Vec<_> = may_go
            .iter()
            .filter_map(|key| Some((*key, self.tracked.calls.remove(key)?)))
            .collect();
        let asked = std::mem::take(&mut self.tracked.asked);
        let snapshot = self.snapshot(at);
        let rows = calls.iter().map(|(_, spell)| self.row(spell, at));
        let stored = asked.iter().map(|_| *self.tables.dialing(0.0));
        let rows: Vec<Row> = rows.chain(stored).collect();
        self.tracked.calls.extend(calls);
        self.tracked.asked = asked;

        let mut demand = PoissonBinomial::new(
            snapshot.seats,
            &snapshot.busy,
            &snapshot.calls,
            self.learner.doubt(),
        );
        let mut kept = 0;
        for row in &rows {
            let is_covered = snapshot.in_flight + kept < snapshot.free;
            if !is_covered && weighted(&row.steps(), &demand.full(0)) > RISK_MAX {
                break;
            }
            demand.add(row);
            kept += 1;
        }
        rows.len() - kept
    }

    /// The forecast for one call in flight.
    pub(super) fn row(&self, spell: &CallSpell, at: f64) -> Row {
        let age = at - spell.since;
        let row = match spell.state {
            CallPhase::Dialing => *self.tables.dialing(age),
            CallPhase::Ringing => *self.tables.ringing(age),
            CallPhase::Listening(answer) => self.verdict_row(answer, age),
            CallPhase::Waiting => Row::ONE,
        };
        if spell.odds == 1.0 {
            row
        } else {
            row.with_odds(spell.odds)
        }
    }
}
