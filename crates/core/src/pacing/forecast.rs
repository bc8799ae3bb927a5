//! Who will need an agent by when, and which agents will still be busy then: tables of probabilities by state and age.
//!
//! In: what [`super::hazards`] learnt. Out: a [`Row`] of probabilities, one for each horizon, for a call or an agent in
//! a given state since a given time. The tables are built by stepping hazards back in time on a half-second grid, those of
//! calls as seldom as once a second, those of agents, which change slowly and cost more, once in ten; so a forecast is a
//! look-up.

use super::hazards::{Delays, Hazards};

/// Number of horizons.
pub(super) const HORIZONS: usize = 12;
/// The horizons in steps of half a second: 1.5 s to 30 s.
const HORIZON_STEPS: [usize; HORIZONS] = [3, 6, 9, 12, 16, 20, 24, 28, 32, 38, 46, 60];
const STEP_SECS: f64 = 0.5;
/// How much longer than the ring timeout a call may be dialing.
const DIAL_MARGIN_SECS: f64 = 10.0;
/// Persons a second at ages that no call has reached yet: what is not known holds an agent.
const UNSEEN_RATE: f64 = 1.0;
/// Calls by which an age is known well enough that this is a quarter.
const UNSEEN_SPELLS: f64 = 1.0;
/// Points of a curve: 0 to 30 s.
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

    /// The last horizon's.
    pub(super) fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// What comes between each horizon and the one before it.
    pub(super) fn steps(&self) -> Row {
        let mut before = 0.0;
        Row(self.0.map(|x| {
            let step = (x - before).max(0.0);
            before = x;
            step
        }))
    }

    /// The same for a call whose odds of a person are `odds` times the usual.
    pub(super) fn with_odds(&self, odds: f64) -> Row {
        Row(self.0.map(|p| (odds * p / (1.0 - p + odds * p)).clamp(0.0, 1.0)))
    }
}

/// Each horizon in seconds.
pub(super) fn horizons() -> [f64; HORIZONS] {
    HORIZON_STEPS.map(|steps| steps as f64 * STEP_SECS)
}

/// A probability at each half second from now to 30 s.
type Curve = [f64; POINTS];

/// Causes by which dialing ends.
pub(super) mod dial {
    /// It rings.
    pub(in super::super) const RING: usize = 0;
    /// Answered at once by a person, where a trunk shows no ringing.
    pub(in super::super) const LIVE: usize = 1;
    /// Answered at once by a machine.
    pub(in super::super) const MACHINE: usize = 2;
    /// Over.
    pub(in super::super) const END: usize = 3;
    pub(in super::super) const CAUSES: usize = 4;
}

/// Causes by which ringing ends.
pub(super) mod ring {
    /// A person.
    pub(in super::super) const LIVE: usize = 0;
    /// A machine.
    pub(in super::super) const MACHINE: usize = 1;
    /// Over.
    pub(in super::super) const END: usize = 2;
    pub(in super::super) const CAUSES: usize = 3;
}

/// What the tables are made of.
pub(super) struct Sources<'a> {
    pub(super) dialing: &'a Hazards<{ dial::CAUSES }>,
    pub(super) ringing: &'a Hazards<{ ring::CAUSES }>,
    pub(super) talk: &'a Hazards<1>,
    pub(super) wrap_up: &'a Hazards<1>,
    pub(super) person_delay: &'a Delays,
    /// Multiplies the hazard of a person.
    pub(super) drift: f64,
    /// Longest that a call rings, seconds.
    pub(super) ring_secs_max: f64,
    /// From a person's verdict to the end of their patience, as the rules see it.
    pub(super) connect_limit_secs: f64,
}

/// Probabilities by state and age.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    dialing: Vec<Row>,
    ringing: Vec<Row>,
    talk: Vec<Row>,
    wrap_up: Vec<Row>,
    /// Probability that a call launched now reaches a person, as far as it was learnt.
    pub(super) answer_probability: f64,
}

/// Ages of the talk and wrap-up tables: every half second to 10 s, every second to half a minute, every 5 s to 5 minutes,
/// every 30 s to half an hour.
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

    /// Makes what is told of calls anew.
    pub(super) fn renew_calls(&mut self, from: &Sources) {
        (self.dialing, self.ringing) = calls(from, UNSEEN_RATE);
        self.answer_probability = answer_probability(from);
    }

    /// A call that has been dialing for so long needs an agent by each horizon.
    pub(super) fn dialing(&self, age: f64) -> &Row {
        at(
            &self.dialing,
            (age.max(0.0) / STEP_SECS + 0.5) as usize,
            &Row::ZERO,
        )
    }

    /// A call that has been ringing for so long.
    pub(super) fn ringing(&self, age: f64) -> &Row {
        at(
            &self.ringing,
            (age.max(0.0) / STEP_SECS + 0.5) as usize,
            &Row::ZERO,
        )
    }

    /// An agent who has talked for so long is still busy, with talk or wrap-up, the connect limit after each horizon.
    pub(super) fn talk(&self, age: f64) -> &Row {
        at(&self.talk, busy_index(age), self.talk.last().unwrap_or(&Row::ONE))
    }

    /// An agent who has been wrapping up for so long.
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

/// From the last age back to the first: what is not yet decided at an age is decided in this step or later. `live`: the
/// cause that is a person, whose hazard drifts, and how long their verdict takes; `onward`: the cause that passes on to
/// another state, and what happens there.
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

/// How little is known of an age that so many spells have reached: from one, of none, quickly to nothing.
fn unseen(spells: f64) -> f64 {
    (1.0 + spells / UNSEEN_SPELLS).powi(-2)
}

/// How often a call launched now reaches a person, by what was learnt alone.
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

/// Probability that a spell ends by a person, be it after passing on to another state with the probability given.
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

/// What half a second at risk brings.
struct Step {
    any: f64,
    live: f64,
    /// Probability of a cause, over its rate.
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

/// The hazards at each half second. Ages that few or no calls have reached yet hold persons at `unseen` a second.
fn rates<const C: usize>(hazards: &Hazards<C>, until: f64, live: usize, rate_unseen: f64) -> Vec<[f64; C]> {
    let mut table = hazards.table(until);
    for (rates, seen) in table.iter_mut().zip(hazards.seen(until)) {
        if let Some(rate) = rates.get_mut(live) {
            *rate += rate_unseen * unseen(seen);
        }
    }
    table
}

/// Tables of dialing and of ringing.
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
    // A call that begins to ring within a step begins half way, on average.
    let mut onward = fresh_ring;
    let mut before = 0.0;
    for p in &mut onward {
        let here = *p;
        *p = (here + before) / 2.0;
        before = here;
    }
    // Where trunks show no ringing, the whole ring time is spent dialing.
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

/// The middle of the ages that look up the row of this one.
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

/// Tables of talk and of wrap-up: the probability of being busy still, the connect limit after each horizon.
fn busy(from: &Sources) -> (Vec<Row>, Vec<Row>) {
    let last_age = BUSY_AGES.last().map_or(0.0, |(_, until)| *until);
    let ahead = horizons().map(|t| t + from.connect_limit_secs);
    let span = last_age + ahead.last().copied().unwrap_or(0.0) + 5.0;
    let talk = Survival::new(from.talk, span);
    let wrap = Survival::new(from.wrap_up, span);
    // Wrap-up that begins between two horizons, taken to begin half way.
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

    /// Probability that what has lasted `age` lasts `more` seconds more.
    fn from(&self, age: f64, more: f64) -> f64 {
        (self.at(age) - self.at(age + more)).exp()
    }
}
