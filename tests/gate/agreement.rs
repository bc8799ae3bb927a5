//! Random lines: the gate and the model agree on the decision, on `until`, and on every reason.

use crate::calendar::{DAY, HOUR, SECOND, millis, written};
use crate::cases::{Random, draw};
use crate::line::{Answer, Line};
use crate::pipe;
use crate::reference::{Reference, Steps};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many lines one run checks.
struct Size {
    cases: u64,
    by_seconds: u64,
}

fn full() -> bool {
    std::env::var("PACELINE_PROOF").is_ok_and(|proof| proof == "full")
}

fn size() -> Size {
    let cases = std::env::var("PACELINE_CASES")
        .ok()
        .map(|cases| cases.parse().unwrap());
    if full() {
        Size {
            cases: cases.unwrap_or(1_000_000),
            by_seconds: 400,
        }
    } else {
        Size {
            cases: cases.unwrap_or(4_000),
            by_seconds: 6,
        }
    }
}

fn seed() -> u64 {
    match std::env::var("PACELINE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) if full() => std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        Err(_) => 20_261_128,
    }
}

/// Counts of what the cases proved, for the figures at the end.
#[derive(Default)]
struct Tally {
    decisions: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    earlier: u64,
}

impl Tally {
    fn add(&mut self, answer: &Answer, earlier: u64) {
        *self.decisions.entry(answer.decision.clone()).or_default() += 1;
        for (profile, rule, verdict) in &answer.reasons {
            if verdict != "allow" {
                *self.refusals.entry(format!("{profile} {rule}")).or_default() += 1;
            }
        }
        self.earlier += earlier;
    }
}

/// The answer, and how many instants before `until` were checked. The error shows both answers if the gate and the
/// model differ, or says what is wrong with `until`.
fn compare(line: &Line, random: &mut Random) -> Result<(Answer, u64), String> {
    let text = serde_json::to_string(line).unwrap();
    let ours = Reference::new(line, &pipe::places(&line.number)).answer(Steps::Borders);
    let theirs = pipe::ask(&text);
    if ours != theirs {
        return Err(format!("the gate: {theirs:?}\nthe model: {ours:?}"));
    }
    let Some(until) = ours.until else {
        return Ok((ours, 0));
    };
    let decision_at = |at: i64| {
        let line = Line {
            at: written(at),
            ..line.clone()
        };
        pipe::ask(&serde_json::to_string(&line).unwrap()).decision
    };
    let then = decision_at(until);
    if then != "allow" {
        return Err(format!("at `until` ({}) the gate says {then}", written(until)));
    }
    let at = millis(&line.at);
    let mut earlier = vec![
        until - SECOND,
        until - 1,
        until - 60 * SECOND,
        until - HOUR,
        until - DAY,
    ];
    earlier.extend((0..6).map(|_| random.between(at, until - 1) / SECOND * SECOND));
    earlier.retain(|t| (at..until).contains(t) && (t % SECOND == 0 || *t == until - 1));
    let mut asked = 0;
    for t in earlier {
        // The gate rounds `until` up to a whole second, so it may allow less than a second earlier.
        if t % SECOND != 0 && until - t < SECOND {
            continue;
        }
        asked += 1;
        if decision_at(t) == "allow" {
            return Err(format!("the gate allows at {}, before `until`", written(t)));
        }
    }
    Ok((ours, asked))
}

/// The smallest line that still shows a difference. Parts are removed one by one as long as the difference remains.
fn shrink(line: &Line) -> Line {
    let differs = |line: &Line| {
        std::panic::catch_unwind(|| compare(line, &mut Random::of_case(1, 1)).is_err()).unwrap_or(true)
    };
    let mut least = line.clone();
    loop {
        let smaller = smaller(&least).into_iter().find(differs);
        match smaller {
            Some(line) => least = line,
            None => return least,
        }
    }
}

fn smaller(line: &Line) -> Vec<Line> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Line)| {
        let mut line = line.clone();
        change(&mut line);
        all.push(line);
    };
    let rows = line.history.len();
    if rows > 3 {
        with(&|line| line.history.truncate(rows / 2));
        with(&|line| drop(line.history.drain(..rows / 2)));
    }
    for row in 0..rows {
        with(&|line| drop(line.history.remove(row)));
    }
    for row in 0..line.contact.consents.len() {
        with(&|line| drop(line.contact.consents.remove(row)));
    }
    for profile in 0..line.profiles.len() {
        if line.profiles.len() > 1 {
            with(&|line| drop(line.profiles.remove(profile)));
        }
    }
    with(&|line| line.suppressed.clear());
    with(&|line| line.contact.tags.clear());
    with(&|line| line.contact.postal_code = None);
    with(&|line| line.contact.time_zone = None);
    with(&|line| line.contact.state = None);
    with(&|line| line.contact.country = None);
    with(&|line| line.campaign = None);
    with(&|line| line.subject = None);
    with(&|line| line.debt = None);
    with(&|line| line.at = written(millis(&line.at)));
    for row in 0..rows {
        with(&|line| line.history[row].campaign = None);
        with(&|line| line.history[row].disposition = None);
    }
    let size = |line: &Line| serde_json::to_string(line).unwrap().len();
    let before = size(line);
    all.retain(|line| size(line) < before);
    all
}

#[test]
fn the_gate_and_the_model_agree_on_random_lines() {
    let (seed, Size { cases, .. }) = (seed(), size());
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let (tally, different) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let work = || {
        let mut own = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= cases || different.lock().unwrap().len() >= 20 {
                break;
            }
            if full() && number > 0 && number.is_multiple_of(cases.div_ceil(50)) {
                eprintln!("{number} of {cases} lines, {} s", started.elapsed().as_secs());
            }
            let mut random = Random::of_case(seed, number);
            let line = draw(&mut random);
            match std::panic::catch_unwind(|| compare(&line, &mut Random::of_case(seed + 1, number))) {
                Ok(Ok((answer, earlier))) => own.add(&answer, earlier),
                Ok(Err(_)) | Err(_) => different.lock().unwrap().push((number, line)),
            }
        }
        let mut tally = tally.lock().unwrap();
        for (decision, n) in own.decisions {
            *tally.decisions.entry(decision).or_default() += n;
        }
        for (rule, n) in own.refusals {
            *tally.refusals.entry(rule).or_default() += n;
        }
        tally.earlier += own.earlier;
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));

    let (tally, seconds) = (tally.into_inner().unwrap(), started.elapsed().as_secs_f64());
    println!(
        "seed {seed}: {cases} lines in {seconds:.1} s, {:?}",
        tally.decisions
    );
    println!(
        "{} instants before `until` asked; refusals by rule: {:#?}",
        tally.earlier, tally.refusals
    );
    let different = different.into_inner().unwrap();
    for (number, line) in different.iter().take(5) {
        let least = shrink(line);
        let said = std::panic::catch_unwind(|| compare(&least, &mut Random::of_case(1, 1)));
        let said = said.map_or_else(
            |_| "panicked".to_owned(),
            |said| said.map_or_else(|e| e, |_| String::new()),
        );
        println!(
            "\ncase {number} of seed {seed}:\n{}\n{said}",
            serde_json::to_string(&least).unwrap()
        );
    }
    assert!(different.is_empty(), "{} lines differ", different.len());
    if cases >= 100_000 {
        for (profile, rule) in crate::golden::rules() {
            assert!(
                tally.refusals.contains_key(&format!("{profile} {rule}")),
                "{profile} {rule} never refused"
            );
        }
    }
}

/// The model looks for `until` only at borders. This test judges every second instead, to prove that shortcut.
#[test]
fn the_model_misses_no_allowed_second_between_two_borders() {
    let (seed, Size { by_seconds, .. }) = (seed(), size());
    let mut asked = 0;
    let mut random = Random::of_case(seed, u64::MAX);
    while asked < by_seconds {
        let line = draw(&mut random);
        let model = Reference::new(&line, &pipe::places(&line.number));
        let answer = model.answer(Steps::Borders);
        if answer.decision == "allow"
            || answer
                .reasons
                .iter()
                .any(|(_, rule, v)| v == "deny" && rule != "never")
        {
            continue;
        }
        asked += 1;
        let last = millis(&line.at) + if full() { 26 * HOUR } else { 2 * HOUR };
        let (by_borders, by_seconds) = (
            model.until(Steps::Borders, last),
            model.until(Steps::Seconds, last),
        );
        assert_eq!(
            by_borders,
            by_seconds,
            "{}",
            serde_json::to_string(&line).unwrap()
        );
    }
}
