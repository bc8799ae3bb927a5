//! Forecast tables: the probability that a call needs an agent, or that an agent is still busy, at each horizon.
//!
//! Input: the hazards from [`super::hazards`]. Output: a [`Row`] with one probability for each horizon, for a call or an
//! agent in a given state and for a given age. The tables are computed from the highest age back to zero, in steps of half
//! a second. The tables of calls are rebuilt at most once a second. Those of agents change slowly and cost more, so they
//! are rebuilt every 10 s. A forecast is then only a look-up.

use super::hazards::{Delays, Hazards};

/// Number of horizons.
pub(super) const HORIZONS: usize = 12;
/// The horizons in steps of half a second: 1.5 s to 30 s.
const HORIZON_STEPS: [usize; HORIZONS] = [3, 6, 9, 12, 16, 20, 24, 28, 32, 38, 46, 60];
const STEP_SECS: f64 = 0.5;
/// A call may be dialing this much longer than the ring timeout.
const DIAL_MARGIN_SECS: f64 = 10.0;
/// Live answers per second that are assumed at ages that no call has reached yet. So a call at an unknown age reserves an
/// agent.
const UNSEEN_RATE: f64 = 1.0;
/// After this many calls at an age, `UNSEEN_RATE` counts a quarter there.
const UNSEEN_SPELLS: f64 = 1.0;
/// Number of points of a curve: 0 to 30 s in steps of half a second.
const POINTS: usize = 61;

/// One number for each horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row(pub(super) [f64; HORIZONS]);

impl Row {
    pub(super) const ZERO: Row = Row([0.0; HORIZONS]);
    pub(super) const ONE: Row = Row([1.0; HORIZONS]);

    pub(super) fn add_at(&mut self, i: usize, x: f64) {
        if let Some(v) = self.0.get_mut(i) {
            *v += x;
        }
    }

    /// The value at the last horizon.
    pub(super) fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The increase from each horizon to the next.
    pub(super) fn steps(&self) -> Row {
        let mut before = 0.0;
        Row(self.0.map(|x| {
            let step = (x - before).max(0.0);
            before = x;
            step
        }))
    }

    /// The same row for a call whose odds of a live answer are `odds` times those of an average call.
    pub(super) fn with_odds(&self, odds: f64) -> Row {
        Row(self.0.map(|p| (odds * p / (1.0 - p + odds * p)).clamp(0.0, 1.0)))
    }
}

/// The horizons in seconds.
pub(super) fn horizons() -> [f64; HORIZONS] {
    HORIZON_STEPS.map(|steps| steps as f64 * STEP_SECS)
}

/// One probability for each half second from now to 30 s.
type Curve = [f64; POINTS];

/// The causes that end dialing. The numbers are indexes of causes in [`Hazards`].
pub(super) mod dial {
    /// The phone rings.
    pub(in super::super) const RING: usize = 0;
    /// A person answers at once, on a trunk that reports no ringing.
    pub(in super::super) const LIVE: usize = 1;
    /// A machine answers at once.
    pub(in super::super) const MACHINE: usize = 2;
    /// The call ends.
    pub(in super::super) const END: usize = 3;
    pub(in super::super) const CAUSES: usize = 4;
}

/// The causes that end ringing. The numbers are indexes of causes in [`Hazards`].
pub(super) mod ring {
    /// A person answers.
    pub(in super::super) const LIVE: usize = 0;
    /// A machine answers.
    pub(in super::super) const MACHINE: usize = 1;
    /// The call ends.
    pub(in super::super) const END: usize = 2;
    pub(in super::super) const CAUSES: usize = 3;
}

/// The input of the tables.
pub(super) struct Sources<'a> {
    pub(super) dialing: &'a Hazards<{ dial::CAUSES }>,
    pub(super) ringing: &'a Hazards<{ ring::CAUSES }>,
    pub(super) talk: &'a Hazards<1>,
    pub(super) wrap_up: &'a Hazards<1>,
    pub(super) person_delay: &'a Delays,
    /// Factor on the hazard of a live answer.
    pub(super) drift: f64,
    /// Maximum ringing time, seconds.
    pub(super) ring_secs_max: f64,
    /// Maximum time from the moment when a person is recognised until an agent is connected, seconds.
    pub(super) connect_limit_secs: f64,
}

/// Probabilities by state and age.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    dialing: Vec<Row>,
    ringing: Vec<Row>,
    talk: Vec<Row>,
    wrap_up: Vec<Row>,
    /// Probability that a call launched now reaches a person.
    pub(super) answer_probability: f64,
}

/// Step and upper end, in seconds, of the ages in the tables of talk and wrap-up.
const BUSY_AGES: [(f64, f64); 4] = [(0.5, 10.0), (1.0, 30.0), (5.0, 300.0), (30.0, 1800.0)];

impl Tables {
    pub(super) fn new(from: &Sources) -> Self {
        let (dialing, ringing) = calls(from, UNSEEN_RATE);
        let (talk, wrap_up) = busy(from);
        Self {
            dialing,
            ringing,
            talk,
            wrap_up,
            answer_probability: answer_probability(from),
        }
    }

    /// Rebuilds the tables of calls only.
    pub(super) fn renew_calls(&mut self, from: &Sources) {
        (self.dialing, self.ringing) = calls(from, UNSEEN_RATE);
        self.answer_probability = answer_probability(from);
    }

    /// Probability, for each horizon, that a call that has been dialing for `age` seconds needs an agent by then.
    pub(super) fn dialing(&self, age: f64) -> &Row {
        at(
            &self.dialing,
            (age.max(0.0) / STEP_SECS + 0.5) as usize,
            &Row::ZERO,
        )
    }

    /// The same for a call that has been ringing for `age` seconds.
    pub(super) fn ringing(&self, age: f64) -> &Row {
        at(
            &self.ringing,
            (age.max(0.0) / STEP_SECS + 0.5) as usize,
            &Row::ZERO,
        )
    }

    /// Probability, for each horizon, that an agent who has talked for `age` seconds is still in this call or its wrap-up
    /// at the horizon plus the connect limit.
    pub(super) fn talk(&self, age: f64) -> &Row {
        at(&self.talk, busy_index(age), self.talk.last().unwrap_or(&Row::ONE))
    }

    /// The same for an agent who has been in wrap-up for `age` seconds.
    pub(super) fn wrap_up(&self, age: f64) -> &Row {
        at(
            &self.wrap_up,
            busy_index(age),
            self.wrap_up.last().unwrap_or(&Row::ONE),
        )
    }
}

fn at<'a>(rows: &'a [Row], i: usize, beyond: &'a Row) -> &'a Row {
    rows.get(i).unwrap_or(beyond)
}

/// Computes the rows from the highest age back to zero: a call that does not change in this step changes in a later one.
///
/// `live` is the cause that means a person, and `verdict` is the distribution of the time until that is recognised. `pass`
/// is the cause that leads to another state, and `onward` is the curve of that state.
fn step_back<const C: usize>(
    rates: &[[f64; C]],
    drift: f64,
    (live, verdict): (usize, &Curve),
    (pass, onward): (Option<usize>, &Curve),
) -> (Vec<Row>, Curve) {
    let mut rows = vec![Row::ZERO; rates.len()];
    let mut curve: Curve = [0.0; POINTS];
    for (row, rates) in rows.iter_mut().zip(rates).rev() {
        let step = Step::new(rates, drift, live);
        let p_pass = pass.map_or(0.0, |cause| step.share(rates, cause));
        let mut next: Curve = [0.0; POINTS];
        let parts = curve
            .iter()
            .zip(verdict.iter().skip(1))
            .zip(onward.iter().skip(1));
        for (p, ((later, verdict), onward)) in next.iter_mut().skip(1).zip(parts) {
            *p = step.live * verdict + p_pass * onward + (1.0 - step.any) * later;
        }
        curve = next;
        *row = pick(&curve);
    }
    (rows, curve)
}

/// Weight of `UNSEEN_RATE` at an age that this many calls or agents have reached. 1 if none has; it falls quickly to 0.
fn unseen(spells: f64) -> f64 {
    (1.0 + spells / UNSEEN_SPELLS).powi(-2)
}

/// Probability that a call launched now reaches a person, without `UNSEEN_RATE`.
fn answer_probability(from: &Sources) -> f64 {
    let rings = ever(
        &from.ringing.table(from.ring_secs_max),
        from.drift,
        ring::LIVE,
        None,
    );
    let dials = from.dialing.table(from.ring_secs_max + DIAL_MARGIN_SECS);
    ever(&dials, from.drift, dial::LIVE, Some((dial::RING, rings)))
}

/// Probability that a person answers in the end. `pass`: a cause that leads to another state, and the probability of a
/// person there.
fn ever<const C: usize>(rates: &[[f64; C]], drift: f64, live: usize, pass: Option<(usize, f64)>) -> f64 {
    let (mut running, mut person) = (1.0, 0.0);
    for rates in rates {
        let step = Step::new(rates, drift, live);
        let onward = pass.map_or(0.0, |(cause, person)| step.share(rates, cause) * person);
        person += running * (step.live + onward);
        running *= 1.0 - step.any;
    }
    person.clamp(0.0, 1.0)
}

/// Probabilities of the events in half a second at risk.
struct Step {
    any: f64,
    live: f64,
    /// Probability of a cause divided by its rate.
    per_rate: f64,
}

impl Step {
    fn new<const C: usize>(rates: &[f64; C], drift: f64, live: usize) -> Self {
        let of_live = rates.get(live).copied().unwrap_or(0.0);
        let total = rates.iter().sum::<f64>() + of_live * (drift - 1.0);
        let any = 1.0 - (-total * STEP_SECS).exp();
        let per_rate = any / total.max(1e-12);
        Self {
            any,
            live: of_live * drift * per_rate,
            per_rate,
        }
    }

    fn share<const C: usize>(&self, rates: &[f64; C], cause: usize) -> f64 {
        rates.get(cause).copied().unwrap_or(0.0) * self.per_rate
    }
}

/// The hazards at each half second. Ages that few calls have reached get additional live answers, `rate_unseen` per second
/// at most.
fn rates<const C: usize>(hazards: &Hazards<C>, until: f64, live: usize, rate_unseen: f64) -> Vec<[f64; C]> {
    let mut table = hazards.table(until);
    for (rates, seen) in table.iter_mut().zip(hazards.seen(until)) {
        if let Some(rate) = rates.get_mut(live) {
            *rate += rate_unseen * unseen(seen);
        }
    }
    table
}

/// Builds the tables of dialing and of ringing.
fn calls(from: &Sources, unseen: f64) -> (Vec<Row>, Vec<Row>) {
    let mut person = [0.0; POINTS];
    for (k, share) in person.iter_mut().enumerate() {
        *share = from.person_delay.share((k as f64 - 0.5) * STEP_SECS);
    }
    let nowhere = [0.0; POINTS];
    let (ringing, fresh_ring) = step_back(
        &rates(from.ringing, from.ring_secs_max, ring::LIVE, unseen),
        from.drift,
        (ring::LIVE, &person),
        (None, &nowhere),
    );
    // A call that begins to ring within a step begins in the middle of the step on average.
    let mut onward = fresh_ring;
    let mut before = 0.0;
    for p in &mut onward {
        let here = *p;
        *p = (here + before) / 2.0;
        before = here;
    }
    // On a trunk that reports no ringing, a call is dialing for the whole ring time.
    let (dialing, _) = step_back(
        &rates(
            from.dialing,
            from.ring_secs_max + DIAL_MARGIN_SECS,
            dial::LIVE,
            unseen,
        ),
        from.drift,
        (dial::LIVE, &person),
        (Some(dial::RING), &onward),
    );
    (dialing, ringing)
}

fn pick(curve: &Curve) -> Row {
    Row(HORIZON_STEPS.map(|steps| curve.get(steps).copied().unwrap_or(0.0)))
}

fn busy_ages() -> impl Iterator<Item = f64> {
    let mut from = 0.0;
    BUSY_AGES.into_iter().flat_map(move |(step, until)| {
        let start = from;
        from = until;
        let n = ((until - start) / step) as usize;
        (0..n).map(move |i| start + i as f64 * step)
    })
}

/// The middle of the range of ages that share the row of `age`.
fn busy_middle(age: f64) -> f64 {
    let step = BUSY_AGES.into_iter().find(|(_, until)| age < *until);
    age + step.map_or(0.0, |(step, _)| step / 2.0)
}

fn busy_index(age: f64) -> usize {
    let mut from = 0.0;
    let mut index = 0;
    for (step, until) in BUSY_AGES {
        if age < until {
            return index + ((age - from).max(0.0) / step) as usize;
        }
        index += ((until - from) / step) as usize;
        from = until;
    }
    index
}

/// Builds the tables of talk and wrap-up: the probability of being busy at each horizon plus the connect limit.
fn busy(from: &Sources) -> (Vec<Row>, Vec<Row>) {
    let last_age = BUSY_AGES.last().map_or(0.0, |(_, until)| *until);
    let ahead = horizons().map(|t| t + from.connect_limit_secs);
    let span = last_age + ahead.last().copied().unwrap_or(0.0) + 5.0;
    let talk = Survival::new(from.talk, span);
    let wrap = Survival::new(from.wrap_up, span);
    // A wrap-up that begins between two horizons is taken to begin in the middle.
    let mut begins = [(0.0, 0.0); HORIZONS];
    let mut before = 0.0;
    for (b, t) in begins.iter_mut().zip(ahead) {
        *b = (before, (before + t) / 2.0);
        before = t;
    }
    let mut later = [[0.0; HORIZONS]; HORIZONS];
    for (row, t) in later.iter_mut().zip(ahead) {
        for (p, (_, begin)) in row.iter_mut().zip(begins) {
            *p = if begin < t { wrap.from(0.0, t - begin) } else { 0.0 };
        }
    }
    let mut talk_rows = Vec::new();
    let mut wrap_rows = Vec::new();
    for age in busy_ages() {
        let age = busy_middle(age);
        wrap_rows.push(Row(ahead.map(|t| wrap.from(age, t))));
        let mut ends = [0.0; HORIZONS];
        let mut talking = [0.0; HORIZONS];
        let mut before = 1.0;
        for ((end, talking), t) in ends.iter_mut().zip(talking.iter_mut()).zip(ahead) {
            let still = talk.from(age, t);
            *end = before - still;
            *talking = still;
            before = still;
        }
        let mut row = Row::ZERO;
        for ((p, later), talking) in row.0.iter_mut().zip(&later).zip(talking) {
            let wrapping: f64 = ends.iter().zip(later).map(|(end, wrap)| end * wrap).sum();
            *p = (talking + wrapping).clamp(0.0, 1.0);
        }
        talk_rows.push(row);
    }
    (talk_rows, wrap_rows)
}

/// The cumulative hazard at each half second.
struct Survival(Vec<f64>);

impl Survival {
    fn new(hazards: &Hazards<1>, span: f64) -> Self {
        let mut sum = 0.0;
        let mut points = vec![0.0];
        for ([rate], seen) in hazards.table(span).into_iter().zip(hazards.seen(span)) {
            sum += rate * (1.0 - unseen(seen)) * STEP_SECS;
            points.push(sum);
        }
        Self(points)
    }

    fn at(&self, age: f64) -> f64 {
        let at = age.max(0.0) / STEP_SECS;
        let i = at as usize;
        let last = self.0.last().copied().unwrap_or(0.0);
        let (a, b) = (
            self.0.get(i).copied().unwrap_or(last),
            self.0.get(i + 1).copied().unwrap_or(last),
        );
        a + (b - a) * (at - i as f64).min(1.0)
    }

    /// Probability that a state which has lasted `age` seconds lasts `more` seconds longer.
    fn from(&self, age: f64, more: f64) -> f64 {
        (self.at(age) - self.at(age + more)).exp()
    }
}
