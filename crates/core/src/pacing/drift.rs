//! The ratio of today's answer rate to the learnt rate. It is a factor on the hazard of a live answer and reacts within
//! minutes.
//!
//! Input: the live answers that the learnt hazards predict, and the live answers seen. Output: a factor from 0.25 to 4.

/// Minimum number of answers over which the factor is averaged.
const ANSWERS_MIN: f64 = 35.0;
/// Minimum time over which it is averaged, if answers come fast.
const SECS_MIN: f64 = 120.0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    expected: f64,
    seen: f64,
}

impl Drift {
    pub(super) fn expect(&mut self, live: f64, live_per_sec: f64) {
        self.fade(live, live_per_sec);
        self.expected += live;
    }

    pub(super) fn see(&mut self, live_per_sec: f64) {
        self.fade(1.0, live_per_sec);
        self.seen += 1.0;
    }

    /// Expected and seen answers both reduce the weight of old evidence, half each. So old evidence fades even if one of
    /// them stops.
    fn fade(&mut self, live: f64, live_per_sec: f64) {
        let keep = (1.0 - live / (2.0 * span(live_per_sec))).max(0.0);
        self.expected *= keep;
        self.seen *= keep;
    }

    pub(super) fn factor(&self, live_per_sec: f64) -> f64 {
        let prior = span(live_per_sec) / 3.0;
        ((self.seen + prior) / (self.expected + prior)).clamp(0.25, 4.0)
    }
}

fn span(live_per_sec: f64) -> f64 {
    (SECS_MIN * live_per_sec).max(ANSWERS_MIN)
}
