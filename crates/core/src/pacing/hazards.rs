//! Learns how fast states end, by age and by cause. "Spell" means the time that a call or an agent spends in one state.
//!
//! Input: time at risk and ends of spells. Output: rates per second. The hazard is constant within each bin of age: events
//! divided by time at risk. So a spell that still runs, or that was cut short (a lost channel, an agent who logs out), does
//! not bias the rate. Each new event reduces the weight of older ones, so that the rates follow changes. Ages are in
//! seconds, rates per second.

use serde::{Deserialize, Serialize};

/// Resolution of ages. Every bin ends at a multiple of it.
const RESOLUTION_SECS: f64 = 0.5;
/// Weights are scaled back to one at this size, before they lose precision.
const WEIGHT_MAX: f64 = 1e9;

/// The hazards of `C` competing causes.
#[derive(Clone, Debug)]
pub(super) struct Hazards<const C: usize> {
    bins: Vec<Bin<C>>,
    /// The bin of each half second of age. Higher ages are in the last bin.
    index: Vec<u16>,
    /// Weight of an event that happens now. Older events have a smaller weight.
    weight: f64,
    /// Factor on `weight` after each event.
    growth: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bin<const C: usize> {
    until: f64,
    exposure: f64,
    events: [f64; C],
    prior_exposure: f64,
    prior_events: [f64; C],
}

/// The evidence of one bin, stored across restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearntBin {
    /// Time at risk, seconds.
    pub exposure: f64,
    /// Number of events for each cause.
    pub events: Vec<f64>,
}

impl<const C: usize> Hazards<C> {
    /// `edges`: the upper end of each bin, in ascending multiples of half a second; the last bin also holds all higher
    /// ages. `prior`: the rate of each cause at an age. `spells`: weight of the prior, as a number of spells.
    /// `events_eff`: number of events that are remembered.
    pub(super) fn new(edges: &[f64], prior: impl Fn(f64) -> [f64; C], spells: f64, events_eff: f64) -> Self {
        let mut bins = Vec::with_capacity(edges.len());
        let mut index = Vec::new();
        let mut from = 0.0;
        for (bin, until) in edges.iter().enumerate() {
            let prior_exposure = spells * (until - from);
            let rates = prior((from + until) / 2.0);
            bins.push(Bin {
                until: *until,
                exposure: 0.0,
                events: [0.0; C],
                prior_exposure,
                prior_events: rates.map(|rate| rate * prior_exposure),
            });
            while (index.len() as f64 + 0.5) * RESOLUTION_SECS < *until {
                index.push(u16::try_from(bin).unwrap_or(u16::MAX));
            }
            from = *until;
        }
        Self {
            bins,
            index,
            weight: 1.0,
            growth: 1.0 / (1.0 - 1.0 / events_eff.max(2.0)),
        }
    }

    fn bin(&self, age: f64) -> usize {
        let last = self.bins.len().saturating_sub(1);
        self.index
            .get((age.max(0.0) / RESOLUTION_SECS) as usize)
            .map_or(last, |bin| usize::from(*bin))
    }

    /// Adds the time at risk between two ages of a spell. Returns the expected number of events of `cause` in this time.
    pub(super) fn accrue(&mut self, from: f64, until: f64, cause: usize) -> f64 {
        let last = self.bins.len().saturating_sub(1);
        let mut from = from.max(0.0);
        let mut bin = self.bin(from);
        let mut expected = 0.0;
        while from < until {
            let Some(b) = self.bins.get(bin) else { break };
            let end = if bin == last { until } else { b.until.min(until) };
            let secs = (end - from).max(0.0);
            expected += secs * self.rates_of(b).get(cause).copied().unwrap_or(0.0);
            if let Some(b) = self.bins.get_mut(bin) {
                b.exposure += self.weight * secs;
            }
            (from, bin) = (end, bin + 1);
        }
        expected
    }

    /// Records that a spell ended at this age.
    pub(super) fn event(&mut self, age: f64, cause: usize) {
        let bin = self.bin(age);
        if let Some(n) = self.bins.get_mut(bin).and_then(|b| b.events.get_mut(cause)) {
            *n += self.weight;
        }
        self.weight *= self.growth;
        if self.weight > WEIGHT_MAX {
            let scale = 1.0 / self.weight;
            for bin in &mut self.bins {
                bin.exposure *= scale;
                bin.events = bin.events.map(|n| n * scale);
            }
            self.weight = 1.0;
        }
    }

    /// Rate of each cause at this age, per second.
    pub(super) fn rates(&self, age: f64) -> [f64; C] {
        self.bins
            .get(self.bin(age))
            .map_or([0.0; C], |b| self.rates_of(b))
    }

    fn rates_of(&self, b: &Bin<C>) -> [f64; C] {
        let exposure = b.exposure / self.weight + b.prior_exposure;
        let mut rates = [0.0; C];
        for ((rate, n), prior) in rates.iter_mut().zip(b.events).zip(b.prior_events) {
            *rate = (n / self.weight + prior) / exposure.max(1e-9);
        }
        rates
    }

    /// Number of remembered events of a cause, over all ages.
    pub(super) fn events(&self, cause: usize) -> f64 {
        let of = |b: &Bin<C>| b.events.get(cause).copied().unwrap_or(0.0);
        self.bins.iter().map(of).sum::<f64>() / self.weight
    }

    /// The rates at each half second of age up to `until`.
    pub(super) fn table(&self, until: f64) -> Vec<[f64; C]> {
        let by_bin: Vec<[f64; C]> = self.bins.iter().map(|b| self.rates_of(b)).collect();
        let last = by_bin.last().copied().unwrap_or([0.0; C]);
        let n = (until / RESOLUTION_SECS).clamp(1.0, 20_000.0) as usize;
        (0..n)
            .map(|i| {
                self.index
                    .get(i)
                    .and_then(|bin| by_bin.get(usize::from(*bin)))
                    .copied()
                    .unwrap_or(last)
            })
            .collect()
    }

    /// The number of spells that reached each half second of age up to `until`.
    pub(super) fn seen(&self, until: f64) -> Vec<f64> {
        let mut from = 0.0;
        let by_bin: Vec<f64> = self
            .bins
            .iter()
            .map(|b| {
                let secs = (b.until - from).max(RESOLUTION_SECS);
                from = b.until;
                b.exposure / self.weight / secs
            })
            .collect();
        let n = (until / RESOLUTION_SECS).clamp(1.0, 20_000.0) as usize;
        (0..n)
            .map(|i| {
                let bin = self.index.get(i).map_or(usize::MAX, |bin| usize::from(*bin));
                by_bin.get(bin).or(by_bin.last()).copied().unwrap_or(0.0)
            })
            .collect()
    }

    pub(super) fn learnt(&self) -> Vec<LearntBin> {
        let scale = 1.0 / self.weight;
        self.bins
            .iter()
            .map(|b| LearntBin {
                exposure: b.exposure * scale,
                events: b.events.iter().map(|n| n * scale).collect(),
            })
            .collect()
    }

    /// Loads what [`Hazards::learnt`] returned. Evidence with another number of bins is ignored; a value that is not a
    /// finite number counts as 0.
    pub(super) fn recall(&mut self, learnt: &[LearntBin]) {
        if learnt.len() != self.bins.len() {
            return;
        }
        self.weight = 1.0;
        for (bin, old) in self.bins.iter_mut().zip(learnt) {
            bin.exposure = sound(old.exposure);
            bin.events = [0.0; C];
            for (n, old) in bin.events.iter_mut().zip(&old.events) {
                *n = sound(*old);
            }
        }
    }
}

/// A stored count or time. A value that is not finite counts as 0; others are limited to 0 to 1e8.
pub(super) fn sound(x: f64) -> f64 {
    if x.is_finite() { x.clamp(0.0, 1e8) } else { 0.0 }
}

/// Histogram of the time that answering-machine detection takes.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    counts: [f64; DELAY_BINS],
    prior: [f64; DELAY_BINS],
    /// Share of verdicts that came by the end of each bin.
    cdf: [f64; DELAY_BINS],
}

/// Number of bins; each is a quarter of a second.
pub(super) const DELAY_BINS: usize = 40;
const DELAY_BIN_SECS: f64 = 0.25;
/// Number of verdicts that are remembered.
const DELAYS_EFF: f64 = 500.0;

impl Delays {
    /// Creates a prior of `spells` verdicts around `mean` seconds. 5 % of it is spread evenly over all bins.
    pub(super) fn new(mean: f64, spells: f64) -> Self {
        let mut prior = [0.0; DELAY_BINS];
        let shape = |t: f64| (t / mean) * (-2.0 * t / mean).exp();
        let mid = |i: usize| (i as f64 + 0.5) * DELAY_BIN_SECS;
        let total: f64 = (0..DELAY_BINS).map(|i| shape(mid(i))).sum();
        for (i, p) in prior.iter_mut().enumerate() {
            *p = spells * (0.95 * shape(mid(i)) / total.max(1e-9) + 0.05 / DELAY_BINS as f64);
        }
        let mut delays = Self {
            counts: [0.0; DELAY_BINS],
            prior,
            cdf: [0.0; DELAY_BINS],
        };
        delays.refresh();
        delays
    }

    pub(super) fn event(&mut self, delay: f64) {
        let bin = ((delay.max(0.0) / DELAY_BIN_SECS) as usize).min(DELAY_BINS - 1);
        for count in &mut self.counts {
            *count *= 1.0 - 1.0 / DELAYS_EFF;
        }
        if let Some(count) = self.counts.get_mut(bin) {
            *count += 1.0;
        }
    }

    /// Updates [`Delays::share`] with the latest events.
    pub(super) fn refresh(&mut self) {
        let total: f64 = self.counts.iter().chain(&self.prior).sum();
        let mut sum = 0.0;
        for ((cdf, count), prior) in self.cdf.iter_mut().zip(self.counts).zip(self.prior) {
            sum += count + prior;
            *cdf = sum / total.max(1e-9);
        }
    }

    /// Share of verdicts that came within `delay` seconds.
    pub(super) fn share(&self, delay: f64) -> f64 {
        if delay <= 0.0 {
            return 0.0;
        }
        let at = delay / DELAY_BIN_SECS;
        let bin = at as usize;
        let before = bin
            .checked_sub(1)
            .and_then(|b| self.cdf.get(b))
            .copied()
            .unwrap_or(0.0);
        match self.cdf.get(bin) {
            Some(after) if bin > 0 || *after < 0.5 => before + (after - before) * (at - bin as f64),
            // If most verdicts come at once, there is no detection: the answer itself is the verdict.
            Some(after) => *after,
            None => 1.0,
        }
    }

    pub(super) fn learnt(&self) -> Vec<f64> {
        self.counts.to_vec()
    }

    pub(super) fn recall(&mut self, learnt: &[f64]) {
        if learnt.len() == DELAY_BINS {
            for (count, old) in self.counts.iter_mut().zip(learnt) {
                *count = sound(*old);
            }
            self.refresh();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_still_run_do_not_count_as_ended() {
        // Ten spells end at 2 s and ninety are cut short there, so the rate in the first two seconds is 10 per 200 s.
        let mut h = Hazards::<1>::new(&[4.0, 8.0], |_| [0.0], 0.0, 1e9);
        for i in 0..100 {
            h.accrue(0.0, 2.0, 0);
            if i < 10 {
                h.event(1.99, 0);
            }
        }
        assert!((h.rates(1.0)[0] - 0.05).abs() < 1e-6);
    }

    #[test]
    fn evidence_fades_with_events() {
        let mut h = Hazards::<1>::new(&[1.0], |_| [0.0], 0.0, 100.0);
        for _ in 0..1000 {
            h.accrue(0.0, 1.0, 0);
            h.event(0.5, 0);
        }
        for _ in 0..1000 {
            h.accrue(0.0, 4.0, 0);
            h.event(0.5, 0);
        }
        assert!((h.rates(0.5)[0] - 0.25).abs() < 0.01, "{}", h.rates(0.5)[0]);
    }

    #[test]
    fn stored_learnt_rates_are_loaded_and_invalid_ones_are_not() {
        let edges = [1.0, 2.0, 5.0];
        let mut h = Hazards::<2>::new(&edges, |_| [0.1, 0.2], 4.0, 100.0);
        for i in 0..50 {
            h.accrue(0.0, 1.7, 0);
            h.event(1.7, i % 2);
        }
        let mut again = Hazards::<2>::new(&edges, |_| [0.1, 0.2], 4.0, 100.0);
        again.recall(&h.learnt());
        assert!((again.rates(1.7)[0] - h.rates(1.7)[0]).abs() < 1e-9);
        again.recall(&[
            LearntBin {
                exposure: f64::NAN,
                events: vec![f64::INFINITY],
            },
            LearntBin::default(),
            LearntBin::default(),
        ]);
        assert!(again.rates(1.7).iter().all(|r| r.is_finite()));
    }
}
