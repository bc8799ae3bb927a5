//! The cost of a decision of the gate, and the number of lines per second that `paceline gate` answers on one core.
//! `scripts/bench gate`; the number of decisions may follow.
//!
//! The calls are to Florida and to an area code of two zones, with a history of 100 attempts, at times through a whole year,
//! so that most are deferred or allowed. The lines of the pipe have one attempt each.

use paceline::gate_pipe::Pipe;
use paceline_core::contact::ConsentKind;
use paceline_core::gate::{
    ConsentFact, ContactFacts, DialingMode, Facts, GateVerdict, PastAttempt, PlannedCall, Policy, Purpose,
    Rulebook,
};
use paceline_core::number::{E164, NumberText};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The same allocator as the binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;
const YEAR_MS: i64 = 365 * 86_400_000;

fn main() -> Result<(), Failure> {
    let decisions = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(300_000);
    let policy = Policy::by_place(Rulebook::shipped()?.clone());
    for (name, number) in [
        ("+1 850, two zones, 10 rules", "+18505550123"),
        ("+1 212, one zone, 6 rules", "+12125550123"),
        ("+33 1, 5 rules", "+33140205050"),
        ("+61 4, all zones of Australia", "+61412345678"),
    ] {
        decide(&policy, name, number, decisions)?;
    }
    pipe(decisions)
}

fn decide(policy: &Policy, name: &str, number: &str, decisions: i64) -> Result<(), Failure> {
    let number = E164::new(number)?;
    let places = paceline_places::of_number(&number);
    let consents = [ConsentFact {
        kind: Some(ConsentKind::ExpressWritten),
        scope: Some(Purpose::Marketing),
        granted_at: Wall(START_MS - YEAR_MS),
        expires_at: None,
        proven: true,
    }];
    let (mut allowed, mut deferred, mut denied) = (0_u64, 0_u64, 0_u64);
    let mut spent = Duration::ZERO;
    for round in 0..decisions {
        let at = Wall(START_MS + YEAR_MS / decisions * round);
        let history = history(at);
        let call = PlannedCall {
            at,
            ring_timeout: Duration::from_secs(20),
            purpose: Purpose::Marketing,
            mode: DialingMode::Predictive,
            campaign: Some("c1"),
            subject: Some("loans"),
            debt: None,
            caller_id: Some(NumberText("+61255501234")),
            number: NumberText::from(&number),
        };
        let facts = Facts {
            number: places,
            address: None,
            contact: ContactFacts {
                consents: &consents,
                ..ContactFacts::default()
            },
            history: &history,
            suppressed: &[],
            outside: None,
        };
        let started = Instant::now();
        let decision = black_box(policy.decide(black_box(&call), black_box(&facts)));
        spent += started.elapsed();
        *match decision.verdict {
            GateVerdict::Allow => &mut allowed,
            GateVerdict::Defer { .. } => &mut deferred,
            GateVerdict::Deny => &mut denied,
        } += 1;
    }
    let each = spent.as_nanos() / u128::try_from(decisions)?;
    println!("{name}: {each} ns a decision ({allowed} allowed, {deferred} deferred, {denied} denied)");
    Ok(())
}

/// A hundred attempts in 100 days, the last four days ago.
fn history(at: Wall) -> Vec<PastAttempt<'static>> {
    let attempts = (4..104).map(|days| PastAttempt {
        at: at.minus(Duration::from_secs(days * 86_400)),
        number: Some(NumberText("+12125550123")),
        campaign: Some("c1"),
        subject: Some("loans"),
        debt: None,
        outcome: Outcome::NoAnswer,
        disposition: None,
    });
    attempts.collect()
}

fn pipe(lines: i64) -> Result<(), Failure> {
    let mut pipe = Pipe::new(Rulebook::shipped()?.clone());
    for (name, number, profiles) in [
        ("+1 212, two profiles", "+12125550123", r#"["us-ftc","us-fcc"]"#),
        ("+1 850, by place", "+18505550123", "[]"),
    ] {
        let texts: Vec<String> = (0..lines)
            .map(|round| {
                let at = jiff::Timestamp::from_millisecond(START_MS + YEAR_MS / lines * round);
                at.map(|at| line(&at.to_string(), number, profiles))
            })
            .collect::<Result<_, _>>()?;
        let bytes: usize = texts.iter().map(String::len).sum();
        let mut out = Vec::with_capacity(1 << 20);
        let mut written = 0;
        let started = Instant::now();
        for text in &texts {
            out.clear();
            pipe.answer(text.as_bytes(), &mut out)?;
            written += out.len();
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "pipe, {name}: {:.0} lines a second ({} bytes in, {} bytes out a line)",
            lines as f64 / seconds,
            bytes / texts.len(),
            written / texts.len()
        );
    }
    Ok(())
}

fn line(at: &str, number: &str, profiles: &str) -> String {
    format!(
        r#"{{"at":"{at}","number":"{number}","purpose":"marketing","mode":"predictive","campaign":"c1","subject":"loans","debt":null,"caller_id":"+12125550100","profiles":{profiles},"ring_timeout_ms":20000,"contact":{{"time_zone":null,"country":null,"state":null,"postal_code":null,"tags":[],"consents":[{{"kind":"express_written","scope":"marketing","granted_at":"2025-01-01T00:00:00Z","expires_at":null,"proof":"form 7"}}]}},"history":[{{"at":"2026-11-19T15:04:05Z","number":"{number}","campaign":"c1","subject":"loans","debt":null,"outcome":"no_answer","disposition":null}}],"suppressed":[]}}"#
    )
}
