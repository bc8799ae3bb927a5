//! Measures the look-ups of the places of numbers, per second on one core. Usage: scripts/bench places

use paceline_core::number::E164;
use std::hint::black_box;
use std::time::Instant;

const NUMBERS: usize = 1 << 16;
const ROUNDS: usize = 100;

fn main() {
    let started = Instant::now();
    for number in numbers(1) {
        black_box(paceline_places::of_number(&number));
    }
    println!("tables read in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let numbers = numbers(NUMBERS);
    measure("of_number", &numbers, |number| {
        paceline_places::of_number(number).zones.len()
    });
    measure("region", &numbers, |number| {
        paceline_places::region(number).map_or(0, str::len)
    });
    measure("carrier", &numbers, |number| {
        paceline_places::carrier(number).map_or(0, str::len)
    });
}

fn measure(name: &str, numbers: &[E164], look_up: impl Fn(&E164) -> usize) {
    let started = Instant::now();
    for number in std::iter::repeat_n(numbers, ROUNDS).flatten() {
        black_box(look_up(black_box(number)));
    }
    let each = started.elapsed().as_secs_f64() / (numbers.len() * ROUNDS) as f64;
    println!(
        "{name}: {:.0} ns, {:.1} million a second",
        each * 1e9,
        each.recip() / 1e6
    );
}

/// Numbers of many countries, in an order that repeats.
fn numbers(count: usize) -> Vec<E164> {
    let plans: [(&str, usize); 18] = [
        ("+1212", 7),
        ("+1850", 7),
        ("+1907", 7),
        ("+1604", 7),
        ("+1800", 7),
        ("+4479", 8),
        ("+4930", 8),
        ("+336", 8),
        ("+346", 8),
        ("+614", 8),
        ("+618", 8),
        ("+9198", 8),
        ("+86139", 8),
        ("+8529", 7),
        ("+659", 7),
        ("+8190", 8),
        ("+55119", 8),
        ("+55929", 8),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let made = (0..count).filter_map(|_| {
        let index = usize::try_from(random()).unwrap_or_default() % plans.len();
        let (prefix, width) = plans.get(index)?;
        let rest = random() % 10_u64.pow(u32::try_from(*width).ok()?);
        E164::new(&format!("{prefix}{rest:0width$}")).ok()
    });
    made.collect()
}
