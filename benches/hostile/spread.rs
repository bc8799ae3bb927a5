//! The difference of two readings of a histogram of `/metrics`.

/// The observations of a histogram in a period.
pub(crate) struct Spread {
    /// Upper limits in seconds, and the number of observations up to each.
    buckets: Vec<(f64, f64)>,
    pub(crate) total: f64,
}

impl Spread {
    pub(crate) fn between(before: &str, after: &str, name: &str) -> Self {
        let (before, after) = (read(before, name), read(after, name));
        let counted = |(le, n): &(f64, f64)| {
            let earlier = before.iter().find(|(other, _)| other == le);
            (*le, n - earlier.map_or(0.0, |(_, n)| *n))
        };
        let buckets: Vec<(f64, f64)> = after.iter().map(counted).collect();
        let total = buckets.last().map_or(0.0, |(_, n)| *n);
        Self { buckets, total }
    }

    /// The limit in milliseconds below which this part (0 to 1) of all observations is.
    pub(crate) fn within(&self, part: f64) -> f64 {
        let found = self.buckets.iter().find(|(_, n)| *n >= part * self.total);
        found.map_or(f64::NAN, |(le, _)| le * 1000.0)
    }
}

/// The sums of the buckets over all campaigns.
fn read(metrics: &str, name: &str) -> Vec<(f64, f64)> {
    let bucket = format!("{name}_bucket{{");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in metrics.lines().filter(|l| l.starts_with(&bucket)) {
        let le = line
            .split_once("le=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        let (Some((le, _)), Some((_, count))) = (le, line.rsplit_once(' ')) else {
            continue;
        };
        let (le, count) = (le.parse().unwrap_or(f64::INFINITY), count.parse().unwrap_or(0.0));
        match buckets.iter_mut().find(|(other, _)| *other == le) {
            Some((_, n)) => *n += count,
            None => buckets.push((le, count)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}
