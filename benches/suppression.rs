//! Suppression lists on SQLite: the time to read, hash and store a list, to replace it by a slightly different one, and
//! to load it at a start; and the cost of a look-up. `cargo bench --bench suppression`; the numbers of the list may
//! follow `--`, 10 million by default.

use paceline::numbers;
use paceline::store::{NewList, Store, StoreMetrics, SuppressionKey};
use paceline::suppression_file::{Numbers, Read};
use paceline_core::number::E164;
use paceline_core::suppression::{ListKind, ListName};
use paceline_core::time::Wall;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error>;

const LINES_PER_PART: u64 = 10_000;
const LOOK_UPS: u64 = 1_000_000;

fn main() -> Result<(), Failure> {
    let count = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(10_000_000);
    numbers::load_plans();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(count))
}

/// The number with this index: ten digits, all numbers different.
fn number(n: u64) -> u64 {
    2_000_000_000 + n * 7 % 7_999_999_999
}

/// Reads a file with `count` numbers from `from` on, as an upload does.
async fn read(from: u64, count: u64, key: &SuppressionKey) -> Result<Read, Failure> {
    let (parts, waiting) = mpsc::channel(16);
    let columns = Numbers::new(Some("US"), "1").map_err(|(_, detail)| detail)?;
    let key = key.clone();
    let count_max = usize::try_from(count)?;
    let reading = tokio::task::spawn_blocking(move || columns.read(waiting, &key, count_max));
    let mut n = from;
    while n < from + count {
        let end = (n + LINES_PER_PART).min(from + count);
        let mut text = String::new();
        for n in n..end {
            writeln!(text, "{}", number(n))?;
        }
        parts.send(text.into()).await?;
        n = end;
    }
    drop(parts);
    Ok(reading.await?)
}

async fn measure(count: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let key = SuppressionKey::new(&[7; 32]);
    let store = Store::open(&url, StoreMetrics::default()).await?;
    store.open_suppression(key.clone()).await?;
    for (what, from) in [("a new list", 0), ("the next version", count / 100)] {
        let started = Instant::now();
        let Read { hashes, rejected, .. } = read(from, count, &key).await?;
        let read_in = started.elapsed();
        let new = NewList {
            name: ListName::new("bench")?,
            kind: ListKind::Registry,
            as_of: Wall(0),
            max_age: Duration::from_secs(31 * 86_400),
            rejected,
            api_key: None,
        };
        let row = store.replace_list(new, hashes, Wall(1)).await?;
        println!(
            "{what} of {} numbers: read and hashed in {:.1} s, in use after {:.1} s; {} added, {} removed",
            row.numbers,
            read_in.as_secs_f64(),
            started.elapsed().as_secs_f64(),
            row.added,
            row.removed,
        );
    }
    store.close().await;
    let store = Store::open(&url, StoreMetrics::default()).await?;
    let started = Instant::now();
    store.open_suppression(key).await?;
    println!("loaded at a start in {:.1} s", started.elapsed().as_secs_f64());
    let wanted: Result<Vec<E164>, _> = (0..LOOK_UPS)
        .map(|n| E164::new(&format!("+1{}", number(n * 13 % (2 * count)))))
        .collect();
    let wanted = wanted?;
    let started = Instant::now();
    let mut found = 0;
    for number in &wanted {
        found += black_box(store.lists_holding(black_box(number))?).len();
    }
    let each = started.elapsed().as_secs_f64() / wanted.len() as f64;
    println!("a look-up: {:.0} ns ({found} of {LOOK_UPS} found)", each * 1e9);
    store.close().await;
    Ok(())
}
