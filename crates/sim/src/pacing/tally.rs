//! The counters of a simulated day. Input: answers, busy agents and calls in flight over time. Output: utilisation, abandon
//! ratios, and one sample for each minute.

use std::time::Duration;

const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Half hours are compared at steps of five minutes.
const STEP_MINUTES: usize = 5;
const HALF_HOUR_MINUTES: usize = 30;

/// One minute of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Agent seconds logged in.
    pub staffed_secs: f64,
    /// Agent seconds in a call or in wrap-up.
    pub busy_secs: f64,
    /// Live answers that were connected or abandoned.
    pub live: u32,
    /// Abandoned calls among `live`.
    pub abandoned: u32,
    /// Launched calls.
    pub launched: u32,
    /// Seconds of calls in flight without an agent, summed over the calls.
    pub flight_secs: f64,
}

/// The counters of a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// The samples, one for each minute.
    pub samples: Vec<Sample>,
    beyond: Sample,
    /// Calls that failed because of a trunk outage.
    pub refused_by_outage: u64,
}

impl Tally {
    pub(super) fn at(&mut self, at: Duration) -> &mut Sample {
        let i = (at.as_secs() / SAMPLE_EVERY.as_secs()) as usize;
        if self.samples.len() <= i {
            self.samples.resize(i + 1, Sample::default());
        }
        self.samples.get_mut(i).unwrap_or(&mut self.beyond)
    }

    /// Sum of the minutes from `from` to before `until`.
    pub fn between(&self, from: usize, until: usize) -> Sample {
        let mut sum = Sample::default();
        for sample in self.samples.iter().take(until).skip(from) {
            sum.add(sample);
        }
        sum
    }

    /// Sum of the whole day.
    pub fn total(&self) -> Sample {
        self.between(0, self.samples.len())
    }

    /// Highest abandon ratio of all half hours that have at least `live_min` live answers.
    pub fn worst_half_hour(&self, live_min: u32) -> f64 {
        let starts = (self.samples.len() + 1).saturating_sub(HALF_HOUR_MINUTES);
        (0..starts)
            .step_by(STEP_MINUTES)
            .map(|from| self.between(from, from + HALF_HOUR_MINUTES))
            .filter(|s| s.live >= live_min)
            .map(|s| s.abandon_ratio())
            .fold(0.0, f64::max)
    }
}

impl Sample {
    /// Adds the counters of another period.
    pub fn add(&mut self, other: &Sample) {
        self.staffed_secs += other.staffed_secs;
        self.busy_secs += other.busy_secs;
        self.live += other.live;
        self.abandoned += other.abandoned;
        self.launched += other.launched;
        self.flight_secs += other.flight_secs;
    }

    /// Busy time divided by logged-in time.
    pub fn utilisation(&self) -> f64 {
        self.busy_secs / self.staffed_secs.max(1e-9)
    }

    /// Abandoned calls divided by live answers; 0 without live answers.
    pub fn abandon_ratio(&self) -> f64 {
        f64::from(self.abandoned) / f64::from(self.live.max(1))
    }
}
