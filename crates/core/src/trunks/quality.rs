//! How many calls a trunk connects, compared with its siblings in the same minutes.
//!
//! Each leg is compared with what the callees of its region and carrier answer in these minutes over any trunk. A trunk's
//! ratio is a product of four: of the trunk, and of the trunk for this region, this carrier, and both. Each is what was
//! observed by what was expected, shrunk to 1, so that a quiet trunk is like its siblings. Old legs count less. If the last
//! minute contradicts a trunk's ratio, the last minute is believed.

use super::history::{Forgetting, Ratio};
use crate::time::Mono;
use std::time::Duration;

/// After this time a leg counts 1/e in a trunk's ratios.
const RATIO_SECS: f64 = 900.0;
/// The same for what the callees answer.
const CALLEES_SECS: f64 = 240.0;
/// The same for the last minute, which a change shows in.
const FAST_SECS: f64 = 60.0;
/// Expected answers that stand for the siblings, in the four ratios.
const PRIOR_TRUNK: f64 = 8.0;
const PRIOR_PLACE: f64 = 14.0;
const PRIOR_CELL: f64 = 24.0;
/// Legs that stand for the other regions in what the callees of one answer.
const PRIOR_CALLEES: f64 = 12.0;
/// What callees answer before anything is known, and what those answer whose phone rings.
const CONNECT_UNKNOWN: f64 = 0.25;
const ASR_UNKNOWN: f64 = 0.4;
/// The last minute is believed from this many expected answers and standard deviations on.
const CHANGE_EXPECTED_MIN: f64 = 4.0;
const CHANGE_DEVIATIONS: f64 = 3.2;
/// Calls of MOS, loss and post-dial delay that count, and those that stand for a good line.
const MEDIA_MEMORY: f64 = 50.0;
const MEDIA_PRIOR: f64 = 5.0;

/// Where a call goes, as indexes of what is learnt. Without a region or carrier, there is no ratio for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: Option<usize>,
    pub(super) carrier: Option<usize>,
    pub(super) cell: Option<usize>,
    /// Of the callees' rates. 0 is that of all places that have none of their own.
    pub(super) callees: usize,
}

/// The rates of one trunk for one place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    /// Live answers by legs, relative to the callees' rate.
    pub(super) connect: f64,
    /// Answers by legs that got through, relative to the callees' rate.
    pub(super) asr: f64,
    /// Standard deviation of the logarithm of `connect`.
    pub(super) unsure: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    connect: Ratio,
    asr: Ratio,
    /// Legs without a result.
    pending: f64,
}

/// `observed` answers of `expected` legs, weighted by the ratios of their trunks.
#[derive(Clone, Copy, Debug, Default)]
struct Callees {
    connect: Ratio,
    asr: Ratio,
}

#[derive(Clone, Copy, Debug, Default)]
struct Media {
    mos: Mean,
    loss: Mean,
    delay: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        let keep = 1.0 - 1.0 / MEDIA_MEMORY;
        self.sum = self.sum * keep + value;
        self.count = self.count * keep + 1.0;
    }

    fn value(&self, good: f64) -> f64 {
        (self.sum + good * MEDIA_PRIOR) / (self.count + MEDIA_PRIOR)
    }
}

type Level = Vec<Track>;

#[derive(Clone, Debug)]
pub(super) struct Quality {
    ratio: Forgetting,
    callees_rate: Forgetting,
    fast_rate: Forgetting,
    trunks: Level,
    regions: Vec<Level>,
    carriers: Vec<Level>,
    cells: Vec<Level>,
    fast: Vec<Ratio>,
    callees: Vec<Callees>,
    all: Callees,
    media: Vec<Media>,
}

/// What a leg counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Live answers: 0 or 1, or a chance while that is not known.
    pub(super) connect: f64,
    /// Answers, if it got through.
    pub(super) asr: Option<f64>,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            ratio: Forgetting::new(RATIO_SECS),
            callees_rate: Forgetting::new(CALLEES_SECS),
            fast_rate: Forgetting::new(FAST_SECS),
            trunks: Vec::new(),
            regions: Vec::new(),
            carriers: Vec::new(),
            cells: Vec::new(),
            fast: Vec::new(),
            callees: vec![Callees::default()],
            all: Callees::default(),
            media: Vec::new(),
        }
    }
}

/// The gains of now, so that they are computed once for a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gains {
    ratio: f64,
    connect: f64,
}

impl Quality {
    pub(super) fn trunks(&mut self, count: usize) {
        self.trunks.resize(count, Track::default());
        self.fast.resize(count, Ratio::default());
        self.media.resize(count, Media::default());
    }

    /// Forgets the rates of all places, not those of the trunks.
    pub(super) fn forget_places(&mut self) {
        (self.regions, self.carriers, self.cells) = (Vec::new(), Vec::new(), Vec::new());
        self.callees = vec![Callees::default()];
    }

    /// Adds a region. Its index is returned, as in the next functions.
    pub(super) fn add_region(&mut self) -> usize {
        self.regions.push(Level::new());
        self.regions.len() - 1
    }

    pub(super) fn add_carrier(&mut self) -> usize {
        self.carriers.push(Level::new());
        self.carriers.len() - 1
    }

    pub(super) fn add_cell(&mut self) -> usize {
        self.cells.push(Level::new());
        self.cells.len() - 1
    }

    pub(super) fn add_callees(&mut self) -> usize {
        self.callees.push(Callees::default());
        self.callees.len() - 1
    }

    /// Keeps the counters finite. Must be called before events of `now` are counted.
    pub(super) fn renew(&mut self, now: Mono) {
        if let Some(factor) = self.ratio.renewed(now) {
            let levels = self
                .regions
                .iter_mut()
                .chain(&mut self.carriers)
                .chain(&mut self.cells);
            for track in levels.flatten().chain(&mut self.trunks) {
                track.connect.scale(factor);
                track.asr.scale(factor);
            }
        }
        if let Some(factor) = self.fast_rate.renewed(now) {
            self.fast.iter_mut().for_each(|fast| fast.scale(factor));
        }
        if let Some(factor) = self.callees_rate.renewed(now) {
            for callees in self.callees.iter_mut().chain([&mut self.all]) {
                callees.connect.scale(factor);
                callees.asr.scale(factor);
            }
        }
    }

    pub(super) fn gains(&self, now: Mono, place: Place) -> Gains {
        Gains {
            ratio: self.ratio.gain(now),
            connect: self.callees(now, place).0,
        }
    }

    /// What callees of this place answer over an average trunk: live answers by legs, answers by legs that got through.
    pub(super) fn callees(&self, now: Mono, place: Place) -> (f64, f64) {
        let prior = PRIOR_CALLEES * self.callees_rate.gain(now);
        let here = self.callees.get(place.callees).copied().unwrap_or_default();
        let rate = |here: Ratio, all: Ratio, unknown: f64| {
            let all = (all.observed + prior * unknown) / (all.expected + prior);
            let here = (here.observed + prior * all) / (here.expected + prior);
            here.clamp(1e-4, 1.0)
        };
        (
            rate(here.connect, self.all.connect, CONNECT_UNKNOWN),
            rate(here.asr, self.all.asr, ASR_UNKNOWN),
        )
    }

    pub(super) fn rates(&self, gains: Gains, place: Place, trunk: usize) -> Rates {
        let mut rates = Rates {
            connect: 1.0,
            asr: 1.0,
            unsure: 0.0,
        };
        let mut variance = 0.0;
        let mut of = |track: Option<&Track>, prior: f64| {
            let track = track.copied().unwrap_or_default();
            rates.connect *= track.connect.value(prior * gains.ratio);
            rates.asr *= track.asr.value(prior * gains.ratio);
            let expected = track.connect.expected / gains.ratio + track.pending * gains.connect;
            variance += 1.0 / (prior + expected);
        };
        of(self.trunks.get(trunk), PRIOR_TRUNK);
        let at =
            |levels: &[Level], index: usize| levels.get(index).and_then(|level| level.get(trunk)).copied();
        if let Some(region) = place.region {
            of(at(&self.regions, region).as_ref(), PRIOR_PLACE);
        }
        if let Some(carrier) = place.carrier {
            of(at(&self.carriers, carrier).as_ref(), PRIOR_PLACE);
        }
        if let Some(cell) = place.cell {
            of(at(&self.cells, cell).as_ref(), PRIOR_CELL);
        }
        rates.unsure = variance.sqrt();
        rates
    }

    fn levels(&mut self, place: Place, trunk: usize, mut each: impl FnMut(&mut Track, f64)) {
        if let Some(track) = self.trunks.get_mut(trunk) {
            each(track, PRIOR_TRUNK);
        }
        let places = [
            (&mut self.regions, place.region, PRIOR_PLACE),
            (&mut self.carriers, place.carrier, PRIOR_PLACE),
            (&mut self.cells, place.cell, PRIOR_CELL),
        ];
        for (levels, index, prior) in places {
            let Some(level) = index.and_then(|index| levels.get_mut(index)) else {
                continue;
            };
            if level.len() <= trunk {
                level.resize(trunk + 1, Track::default());
            }
            if let Some(track) = level.get_mut(trunk) {
                each(track, prior);
            }
        }
    }

    /// A leg goes out: its result is not known yet.
    pub(super) fn launched(&mut self, place: Place, trunk: usize) {
        self.levels(place, trunk, |track, _| track.pending += 1.0);
    }

    /// A leg has a result, or will have none.
    pub(super) fn landed(&mut self, place: Place, trunk: usize) {
        self.levels(place, trunk, |track, _| {
            track.pending = (track.pending - 1.0).max(0.0)
        });
    }

    /// Counts a leg.
    pub(super) fn count(&mut self, now: Mono, place: Place, trunk: usize, leg: Counted) {
        let gains = self.gains(now, place);
        let rates = self.rates(gains, place, trunk);
        let (connect, asr) = self.callees(now, place);
        let gain = gains.ratio;
        let mut without_trunk = 0.0;
        self.levels(place, trunk, |track, prior| {
            let others = rates.connect / track.connect.value(prior * gain);
            if without_trunk == 0.0 {
                without_trunk = connect * others;
            }
            track.connect.add(leg.connect * gain, connect * others * gain);
            if let Some(answered) = leg.asr {
                let others = rates.asr / track.asr.value(prior * gain);
                track.asr.add(answered * gain, asr * others * gain);
            }
        });
        let fast_gain = self.fast_rate.gain(now);
        if let Some(fast) = self.fast.get_mut(trunk) {
            fast.add(leg.connect * fast_gain, without_trunk * fast_gain);
        }
        let gain = self.callees_rate.gain(now);
        let here = self.callees.get_mut(place.callees);
        for callees in here.into_iter().chain([&mut self.all]) {
            callees.connect.add(leg.connect * gain, rates.connect * gain);
            if let Some(answered) = leg.asr {
                callees.asr.add(answered * gain, rates.asr * gain);
            }
        }
        self.believe_the_last_minute(now, trunk);
    }

    /// A leg that was counted turned out to be different.
    pub(super) fn correct(&mut self, now: Mono, place: Place, trunk: usize, by: Counted) {
        let gain = self.ratio.gain(now);
        self.levels(place, trunk, |track, _| {
            track.connect.observed += by.connect * gain;
            track.asr.observed += by.asr.unwrap_or(0.0) * gain;
        });
        let fast_gain = self.fast_rate.gain(now);
        if let Some(fast) = self.fast.get_mut(trunk) {
            fast.observed += by.connect * fast_gain;
        }
        let gain = self.callees_rate.gain(now);
        let here = self.callees.get_mut(place.callees);
        for callees in here.into_iter().chain([&mut self.all]) {
            callees.connect.observed = (callees.connect.observed + by.connect * gain).max(0.0);
            callees.asr.observed = (callees.asr.observed + by.asr.unwrap_or(0.0) * gain).max(0.0);
        }
        self.believe_the_last_minute(now, trunk);
    }

    fn believe_the_last_minute(&mut self, now: Mono, trunk: usize) {
        let (gain, fast_gain) = (self.ratio.gain(now), self.fast_rate.gain(now));
        let (Some(fast), Some(track)) = (self.fast.get(trunk), self.trunks.get_mut(trunk)) else {
            return;
        };
        let ratio = track.connect.value(PRIOR_TRUNK * gain);
        let observed = fast.observed.max(0.0) / fast_gain;
        let expected = fast.expected / fast_gain;
        let deviations = (observed - expected * ratio) / (expected * ratio + 0.5).sqrt();
        if expected * ratio.max(1.0) >= CHANGE_EXPECTED_MIN && deviations.abs() >= CHANGE_DEVIATIONS {
            track.connect = Ratio {
                observed: observed * gain,
                expected: expected * gain,
            };
        }
    }

    pub(super) fn media(
        &mut self,
        trunk: usize,
        mos: Option<f64>,
        loss: Option<f64>,
        delay: Option<Duration>,
    ) {
        if let Some(media) = self.media.get_mut(trunk) {
            if let Some(mos) = mos {
                media.mos.add(mos.clamp(1.0, 5.0));
            }
            if let Some(loss) = loss {
                media.loss.add(loss.clamp(0.0, 1.0));
            }
            if let Some(delay) = delay {
                media.delay.add(delay.as_secs_f64().min(30.0));
            }
        }
    }

    /// How much a trunk's sound and delay cost it, 0 to about 0.3, and its MOS, loss and post-dial delay in seconds.
    pub(super) fn penalty(&self, trunk: usize) -> (f64, [f64; 3]) {
        let media = self.media.get(trunk).copied().unwrap_or_default();
        let (mos, loss, delay) = (
            media.mos.value(4.0),
            media.loss.value(0.0),
            media.delay.value(2.5),
        );
        let penalty = (3.6 - mos).clamp(0.0, 2.0) * 0.08
            + (loss - 0.02).clamp(0.0, 0.1)
            + (delay - 3.0).clamp(0.0, 10.0) * 0.004;
        (penalty, [mos, loss, delay])
    }
}
