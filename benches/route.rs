//! The cost of a choice of a trunk, and the number of choices per second that `paceline route` makes on one core.
//! `scripts/bench route`; the number of choices may follow.
//!
//! The trunks have channels, calls per second, regions and carriers, and half of them a history of legs. Each choice is
//! dialed, rings and ends 200 choices later.

use paceline::route_pipe::Session;
use paceline_core::ids::{CampaignId, LegId, TrunkId};
use paceline_core::outcome::Outcome;
use paceline_core::time::Mono;
use paceline_core::trunks::{Arbiter, LegResult, LegStep, Request, Trunk, TrunkSettings};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The same allocator as the binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REGIONS: [&str; 4] = ["CN-11", "CN-31", "CN-44", "CN-51"];
const CARRIERS: [&str; 3] = ["unicom", "telecom", "mobile"];
/// The number of open legs.
const LEGS: usize = 200;

fn main() {
    let choices = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(200_000);
    for trunks in [6, 20, 200] {
        choose(trunks, choices);
    }
    pipe(20, choices);
}

fn choose(trunks: i64, choices: u64) {
    let trunk = |id| Trunk {
        channels_max: Some(1_000),
        calls_per_s_max: Some(500.0),
        ..Trunk::new(TrunkId(id))
    };
    let settings = TrunkSettings {
        trunks: (0..trunks).map(trunk).collect(),
        ..TrunkSettings::default()
    };
    let mut arbiter = Arbiter::new(&settings);
    let mut live = VecDeque::new();
    let (mut spent, mut none) = (Duration::ZERO, 0_u64);
    for (n, (region, carrier)) in (0..choices).zip(places().cycle()) {
        let now = Mono::START + Duration::from_millis(n);
        let leg = LegId(uuid::Uuid::from_u128(u128::from(n) + 1));
        let request = Request {
            leg,
            campaign: CampaignId(1),
            region: Some(region),
            carrier: Some(carrier),
            tier: None,
            tried: &[],
        };
        let started = Instant::now();
        let choice = black_box(arbiter.choose(now, black_box(&request)));
        spent += started.elapsed();
        let Some((trunk, _)) = choice.trunk else {
            none += 1;
            continue;
        };
        arbiter.leg(now, leg, trunk, LegStep::Dialing);
        arbiter.leg(now, leg, trunk, LegStep::Ringing);
        live.push_back((leg, trunk));
        if live.len() > LEGS
            && let Some((leg, trunk)) = live.pop_front()
        {
            let is_live = n % 4 == 0;
            if is_live {
                arbiter.leg(now, leg, trunk, LegStep::Answered);
            }
            let result = LegResult {
                outcome: Some(if is_live {
                    Outcome::Answered
                } else {
                    Outcome::NoAnswer
                }),
                talk: Some(Duration::from_secs(30)),
                ..LegResult::default()
            };
            arbiter.leg(now, leg, trunk, LegStep::Ended(result));
        }
    }
    let each = spent.as_nanos() / u128::from(choices.max(1));
    println!("{trunks} trunks: {each} ns a choice ({none} without a trunk)");
}

fn places() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    REGIONS
        .into_iter()
        .flat_map(|region| CARRIERS.into_iter().map(move |carrier| (region, carrier)))
}

fn pipe(trunks: i64, choices: u64) {
    let mut session = Session::default();
    let mut config = String::from(r#"{"type":"config","trunks":["#);
    for trunk in 0..trunks {
        let comma = if trunk > 0 { "," } else { "" };
        let _ = write!(
            config,
            r#"{comma}{{"id":"t{trunk}","channels_max":1000,"calls_per_s_max":500}}"#
        );
    }
    config.push_str("]}");
    let mut out = String::new();
    session.take(config.as_bytes(), &mut out);
    let mut live = VecDeque::new();
    let (mut bytes_in, mut bytes_out, mut line) = (0, 0, String::new());
    let started = Instant::now();
    for (n, (region, carrier)) in (0..choices).zip(places().cycle()) {
        let mut send = |text: std::fmt::Arguments, out: &mut String| {
            line.clear();
            let _ = line.write_fmt(text);
            bytes_in += line.len();
            session.take(line.as_bytes(), out);
        };
        out.clear();
        send(
            format_args!(
                r#"{{"at_ms":{n},"type":"choose","leg":"{n}","campaign":"c1","region":"{region}","carrier":"{carrier}","tier":1,"tried":[]}}"#
            ),
            &mut out,
        );
        bytes_out += out.len();
        let trunk = out
            .split("\"trunk\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let Some(trunk) = trunk.map(str::to_owned) else {
            continue;
        };
        for state in ["dialing", "ringing"] {
            send(
                format_args!(
                    r#"{{"at_ms":{n},"type":"leg","leg":"{n}","trunk":"{trunk}","state":"{state}"}}"#
                ),
                &mut out,
            );
        }
        live.push_back((n, trunk));
        if live.len() > LEGS
            && let Some((leg, trunk)) = live.pop_front()
        {
            send(
                format_args!(
                    r#"{{"at_ms":{n},"type":"leg","leg":"{leg}","trunk":"{trunk}","state":"ended","outcome":"no_answer"}}"#
                ),
                &mut out,
            );
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "pipe, {trunks} trunks: {:.0} choices a second, with three lines for each leg ({} bytes in, {} bytes out a choice)",
        choices as f64 / seconds,
        bytes_in as u64 / choices.max(1),
        bytes_out as u64 / choices.max(1)
    );
}
