//! Converts OpenMetrics, which the library writes, to Prometheus's text format, which every scraper and `promtool` read.
//! They differ in the declaration of counters, in `# UNIT` and in `# EOF`.

/// Rewrites the declarations. Samples are equal in both formats.
pub(super) fn from_open_metrics(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Kept until the type shows whether the name needs `_total`.
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}
