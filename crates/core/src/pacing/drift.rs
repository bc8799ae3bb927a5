//! How today's answer rate differs from what was learnt: a factor on the hazard of a person that follows within minutes.
//!
//! In: live answers expected by the learnt hazards, live answers seen. Out: a factor between a quarter and four.

/// Fewest answers over which the factor is taken.
const ANSWERS_MIN: f64 = 35.0;
/// And the least time, where answers come fast.
const SECS_MIN: f64 = 120.0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    expected: f64,
    seen: f64,
}

impl Drift {
    pub(super) fn expect(&mut self, live: f64, pace: f64) {
        self.fade(live, pace);
        self.expected += live;
    }

    pub(super) fn see(&mut self, pace: f64) {
        self.fade(1.0, pace);
        self.seen += 1.0;
    }

    /// Both the expected and the seen push old evidence out, half each, so that it goes whichever stops.
    fn fade(&mut self, live: f64, pace: f64) {
        let keep = (1.0 - live / (2.0 * span(pace))).max(0.0);
        self.expected *= keep;
        self.seen *= keep;
    }

    pub(super) fn factor(&self, pace: f64) -> f64 {
        let prior = span(pace) / 3.0;
        ((self.seen + prior) / (self.expected + prior)).clamp(0.25, 4.0)
    }
}

fn span(pace: f64) -> f64 {
    (SECS_MIN * pace).max(ANSWERS_MIN)
}
