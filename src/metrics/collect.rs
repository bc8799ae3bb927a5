//! Metrics that are read at each scrape: the links to the PBXes, and this process.

use super::lock;
use crate::pbx::LinkStats;
use paceline_core::ids::PbxName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The links to the PBXes, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(Arc<Mutex<BTreeMap<PbxName, Arc<LinkStats>>>>);

impl Links {
    pub(super) fn watch(&self, pbx: &PbxName, stats: Arc<LinkStats>) {
        lock(&self.0).insert(pbx.clone(), stats);
    }

    pub(super) fn up(&self) -> BTreeMap<PbxName, bool> {
        let links = lock(&self.0);
        let up = |(name, stats): (&PbxName, &Arc<LinkStats>)| {
            (name.clone(), stats.connected.load(Ordering::Relaxed))
        };
        links.iter().map(up).collect()
    }
}

impl Collector for Links {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let links = lock(&self.0).clone();
        if links.is_empty() {
            return Ok(());
        }
        let mut up = encoder.encode_descriptor(
            "paceline_pbx_up",
            "1 if the link to the PBX is up and resynchronised, else 0.",
            None,
            ConstGauge::<i64>::TYPE,
        )?;
        for (pbx, stats) in &links {
            let value = ConstGauge::new(i64::from(stats.connected.load(Ordering::Relaxed)));
            value.encode(up.encode_family(&[("pbx", pbx.as_str())])?)?;
        }
        type Read = fn(&LinkStats) -> &AtomicU64;
        let counters: [(&str, &str, Read); 5] = [
            (
                "paceline_pbx_connects",
                "How often the link to the PBX came up.",
                |s| &s.connects,
            ),
            (
                "paceline_pbx_link_losses",
                "How often the link to the PBX was lost.",
                |s| &s.losses,
            ),
            (
                "paceline_pbx_events",
                "Events read from the PBX, known and unknown.",
                |s| &s.events_read,
            ),
            (
                "paceline_pbx_dropped",
                "Events and commands of the PBX lost because a queue was full.",
                |s| &s.dropped,
            ),
            (
                "paceline_pbx_commands_failed",
                "Commands that the PBX refused or did not answer in time.",
                |s| &s.commands_failed,
            ),
        ];
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (pbx, stats) in &links {
                let value = ConstCounter::new(read(stats).load(Ordering::Relaxed));
                value.encode(family.encode_family(&[("pbx", pbx.as_str())])?)?;
            }
        }
        Ok(())
    }
}

/// Resource use of this process, under the standard names of Prometheus clients. Empty on systems without `/proc`.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = cpu_seconds() {
            let help = "Total user and system CPU time spent in seconds.";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        if let Some(bytes) = resident_bytes() {
            let help = "Resident memory size in bytes.";
            let name = "process_resident_memory_bytes";
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}

/// Unit of CPU time in `/proc`: 1/100 s on every Linux architecture that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may contain spaces, so fields are counted after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
