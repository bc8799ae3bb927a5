//! Makes a scenario from a campaign's own call records, to answer "what if" questions with real data.
//!
//! Input: [`CallRecord`]s and the campaign's settings. Output: the text of a scenario file, which
//! [`super::scenario::parse`] reads. It contains only counts and times, and no personal data. The records do not say which
//! agents were logged in without a call. So an agent counts as present between two conversations if they are at most a
//! quarter of an hour apart. Start at [`fit`].

use crate::store::CallRecord;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::ids::{AgentId, CampaignId};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Minimum number of ended calls and of conversations.
const CALLS_MIN: usize = 200;
const TALKS_MIN: usize = 30;
/// Minimum number of times for fitting a distribution. With fewer, the distribution of the stationary model is used.
const TIMES_MIN: usize = 30;
/// Length of the periods for which the number of agents and the answer rate are taken.
const SLICE_MS: i64 = 30 * 60_000;
/// A period with fewer calls gets the answer rate of all records.
const SLICE_CALLS_MIN: u32 = 50;
/// An agent without a call for longer than this was not present.
const ABSENCE_MS: i64 = 15 * 60_000;
/// A period without any call that is longer than this is left out, such as a night or a holiday.
const IDLE_MS: i64 = 30 * 60_000;
/// A record with a longer call, or one that ended before it began, comes from a corrected clock and is ignored.
const CALL_MS_MAX: i64 = 24 * 3_600_000;

/// The reason why no scenario can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// There are too few records.
    #[error(
        "the records have {calls} calls that a trunk carried and {talks} conversations, but {CALLS_MIN} and {TALKS_MIN} are needed; \
         take a longer period with --since and --until"
    )]
    TooFew {
        /// Number of ended calls that a trunk carried.
        calls: usize,
        /// Number of these that were connected to an agent.
        talks: usize,
    },
}

/// The kinds of ends of a call that the simulation distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Person,
    Machine,
    Refused,
    Nobody,
}

/// The end that an outcome shows of the callee. `None`: the outcome shows nothing, as the call was cut short or never reached
/// the network.
fn end(outcome: Outcome) -> Option<End> {
    match outcome {
        Outcome::Answered | Outcome::Abandoned => Some(End::Person),
        Outcome::Machine | Outcome::Fax | Outcome::Screened => Some(End::Machine),
        Outcome::Busy | Outcome::Rejected | Outcome::Invalid => Some(End::Refused),
        Outcome::NoAnswer => Some(End::Nobody),
        Outcome::Congestion | Outcome::Failed | Outcome::Cancelled | Outcome::Blocked | Outcome::Unknown => {
            None
        }
    }
}

/// Makes the text of a scenario file from these records, in any order.
pub fn fit(
    campaign: CampaignId,
    settings: &CampaignSettings,
    records: &[CallRecord],
) -> Result<String, FitError> {
    let records: Vec<&CallRecord> = records.iter().filter(|record| is_credible(record)).collect();
    let calls: Vec<(&CallRecord, End)> = records
        .iter()
        .filter_map(|record| Some((*record, end(record.outcome)?)))
        .collect();
    let talks: Vec<&CallRecord> = records
        .iter()
        .copied()
        .filter(|r| r.connected_at.is_some())
        .collect();
    if calls.len() < CALLS_MIN || talks.len() < TALKS_MIN {
        return Err(FitError::TooFew {
            calls: calls.len(),
            talks: talks.len(),
        });
    }
    let axis = Axis::new(&records);
    let slices = slices(&axis, settings, &calls, &talks);
    let count = |what: End| calls.iter().filter(|(_, end)| *end == what).count();
    let others = (calls.len() - count(End::Person)).max(1) as f64;
    let longest = settings.dialing.ring_timeout_ms as f64;
    let since_rang = |(record, _): &&(&CallRecord, End)| {
        let rang = record.rang_at.unwrap_or(record.created_at);
        record.answered_at.map(|at| ms(rang, at).min(longest))
    };
    let rings = |what: End| -> Vec<f64> {
        calls
            .iter()
            .filter(|(_, end)| *end == what)
            .filter_map(|call| since_rang(&call))
            .collect()
    };
    let setups: Vec<f64> = calls
        .iter()
        .filter_map(|(record, _)| Some(ms(record.created_at, record.rang_at?)))
        .collect();
    let talk_times: Vec<f64> = talks
        .iter()
        .filter_map(|record| Some(ms(record.connected_at?, record.ended_at)))
        .collect();
    let ratio_max = settings
        .pacing
        .abandon_rules
        .iter()
        .map(|rule| rule.ratio_max)
        .fold(1.0, f64::min);

    let mut text = format!(
        "# Fitted to {} calls and {} conversations of campaign {campaign}; {} stretches with calls, put end to end.\n\
         # Who was logged in but in no conversation for {} minutes is not seen, nor how long detection took.\n",
        calls.len(),
        talks.len(),
        axis.stretches.len(),
        ABSENCE_MS / 60_000,
    );
    let mut put = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    put(format!("name = \"records of campaign {campaign}\""));
    put(format!("hours = {:.3}", axis.length_ms as f64 / 3_600_000.0));
    put(format!(
        "agents = {}",
        steps(&slices, |slice| format!("{:.0}", slice.agents))
    ));
    put(format!(
        "live_ratio = {}",
        steps(&slices, |slice| format!("{:.4}", slice.live))
    ));
    put(format!(
        "machine_ratio = {:.4}",
        count(End::Machine) as f64 / others
    ));
    put(format!(
        "refused_ratio = {:.4}",
        count(End::Refused) as f64 / others
    ));
    for (field, times, law) in [
        ("setup", setups, Law::Gamma),
        ("ring_person", rings(End::Person), Law::Gamma),
        ("ring_machine", rings(End::Machine), Law::Gamma),
        ("talk", talk_times, Law::LogNormal),
        ("wrap_up", wrap_ups(settings, &talks), Law::Gamma),
    ] {
        if times.len() >= TIMES_MIN {
            put(format!("{field} = {}", law.fitted(&times)));
        }
    }
    if count(End::Machine) == 0 {
        put("amd_person = { kind = \"constant\", ms = 0.0 } # answers were not judged".into());
    }
    put(format!("ring_timeout_ms = {}", settings.dialing.ring_timeout_ms));
    put(format!(
        "connect_limit_ms = {}",
        settings.answering.connect_limit_ms
    ));
    put(format!("abandon_ratio_max = {ratio_max}"));
    Ok(text)
}

fn is_credible(record: &CallRecord) -> bool {
    let took_ms = record.ended_at.0.checked_sub(record.created_at.0);
    took_ms.is_some_and(|ms| (0..=CALL_MS_MAX).contains(&ms))
}

fn ms(from: Wall, until: Wall) -> f64 {
    until.0.saturating_sub(from.0).max(0) as f64
}

/// A time axis without the periods in which there were no calls.
struct Axis {
    /// Start and end in wall time, and start on the axis, of each period.
    stretches: Vec<(i64, i64, i64)>,
    length_ms: i64,
}

impl Axis {
    fn new(records: &[&CallRecord]) -> Self {
        let mut spans: Vec<(i64, i64)> = records.iter().map(|r| (r.created_at.0, r.ended_at.0)).collect();
        spans.sort_unstable();
        let mut axis = Self {
            stretches: Vec::new(),
            length_ms: 0,
        };
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for (from, until) in spans {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(IDLE_MS) => last.1 = last.1.max(until),
                _ => merged.push((from, until.max(from))),
            }
        }
        for (from, until) in merged {
            axis.stretches.push((from, until, axis.length_ms));
            axis.length_ms += until - from;
        }
        axis
    }

    /// Position of a time on the axis. A time within a gap has the position of the gap.
    fn place(&self, at: i64) -> i64 {
        let after = self.stretches.partition_point(|(from, ..)| *from <= at);
        let stretch = after.checked_sub(1).and_then(|i| self.stretches.get(i));
        stretch.map_or(0, |(from, until, start)| start + at.min(*until) - from)
    }
}

/// Half an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u32,
    persons: u32,
    present_ms: i64,
    agents: f64,
    live: f64,
}

fn slices(
    axis: &Axis,
    settings: &CampaignSettings,
    calls: &[(&CallRecord, End)],
    talks: &[&CallRecord],
) -> Vec<Slice> {
    let n = usize::try_from(axis.length_ms / SLICE_MS).unwrap_or(0) + 1;
    let mut slices = vec![Slice::default(); n];
    let slice_of = |at: i64| usize::try_from(axis.place(at) / SLICE_MS).unwrap_or(0);
    for (record, end) in calls {
        if let Some(slice) = slices.get_mut(slice_of(record.created_at.0)) {
            slice.calls += 1;
            slice.persons += u32::from(*end == End::Person);
        }
    }
    for (from, until) in presences(settings, talks) {
        let (from, until) = (axis.place(from), axis.place(until));
        for (i, slice) in slices.iter_mut().enumerate() {
            let begins = i as i64 * SLICE_MS;
            slice.present_ms += (until.min(begins + SLICE_MS) - from.max(begins)).max(0);
        }
    }
    let persons: u32 = slices.iter().map(|slice| slice.persons).sum();
    let overall = f64::from(persons) / calls.len().max(1) as f64;
    for (i, slice) in slices.iter_mut().enumerate() {
        let length = (axis.length_ms - i as i64 * SLICE_MS).clamp(1, SLICE_MS);
        let present = (slice.present_ms as f64 / length as f64).round();
        // Calls are only launched while an agent is present.
        slice.agents = present.max(if slice.calls > 0 { 1.0 } else { 0.0 });
        slice.live = if slice.calls >= SLICE_CALLS_MIN {
            f64::from(slice.persons) / f64::from(slice.calls)
        } else {
            overall
        };
    }
    slices
}

/// The conversations of each agent in order of time.
fn by_agent<'a>(talks: &[&'a CallRecord]) -> BTreeMap<AgentId, Vec<&'a CallRecord>> {
    let mut by_agent: BTreeMap<AgentId, Vec<&CallRecord>> = BTreeMap::new();
    for talk in talks {
        if let Some(agent) = talk.agent {
            by_agent.entry(agent).or_default().push(talk);
        }
    }
    for talks in by_agent.values_mut() {
        talks.sort_by_key(|talk| talk.connected_at);
    }
    by_agent
}

/// The periods in which an agent was present.
fn presences(settings: &CampaignSettings, talks: &[&CallRecord]) -> Vec<(i64, i64)> {
    let wrap_up_ms = i64::try_from(settings.agents.wrap_up_ms).unwrap_or(0);
    let mut all = Vec::new();
    for talks in by_agent(talks).into_values() {
        let mut there: Option<(i64, i64)> = None;
        for talk in talks {
            let from = talk.connected_at.unwrap_or(talk.created_at).0;
            let until = talk.ended_at.0.saturating_add(wrap_up_ms);
            there = match there {
                Some((since, last)) if from <= last.saturating_add(ABSENCE_MS) => {
                    Some((since, last.max(until)))
                }
                gone => {
                    all.extend(gone);
                    Some((from, until))
                }
            };
        }
        all.extend(there);
    }
    all
}

/// The wrap-up times between two conversations: the campaign's wrap-up time, or less if the next conversation began
/// earlier.
fn wrap_ups(settings: &CampaignSettings, talks: &[&CallRecord]) -> Vec<f64> {
    let longest = settings.agents.wrap_up_ms as f64;
    let mut times = Vec::new();
    for talks in by_agent(talks).into_values() {
        for (before, next) in talks.iter().zip(talks.iter().skip(1)) {
            let gap = next.connected_at.map_or(0.0, |at| ms(before.ended_at, at));
            times.push(gap.min(longest));
        }
    }
    times
}

/// Writes `[[hour, value], …]` with one entry for each change.
fn steps(slices: &[Slice], value: impl Fn(&Slice) -> String) -> String {
    let mut text = String::from("[");
    let mut before = String::new();
    for (i, slice) in slices.iter().enumerate() {
        let value = value(slice);
        if value != before {
            let comma = if i == 0 { "" } else { ", " };
            let hour = (i as i64 * SLICE_MS) as f64 / 3_600_000.0;
            let _ = write!(text, "{comma}[{hour:.1}, {value}]");
            before = value;
        }
    }
    text.push(']');
    text
}

/// A family of distributions.
#[derive(Clone, Copy)]
enum Law {
    Gamma,
    LogNormal,
}

impl Law {
    /// The distribution of this family with the same mean and variance. Times that hardly vary are constant.
    fn fitted(self, times: &[f64]) -> String {
        let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mean = mean_of(times);
        let variance = mean_of(&times.iter().map(|t| (t - mean).powi(2)).collect::<Vec<_>>());
        let shape = mean * mean / variance.max(1e-9);
        match self {
            _ if shape > 50.0 => format!("{{ kind = \"constant\", ms = {mean:.1} }}"),
            Law::Gamma => format!(
                "{{ kind = \"gamma\", mean_ms = {mean:.1}, shape = {:.0} }}",
                shape.round().max(1.0)
            ),
            Law::LogNormal => {
                // The log-normal distribution is fitted by its moments too, because a few calls of one second would lower
                // the mean of the logarithms.
                let sigma = (1.0 + 1.0 / shape).ln().sqrt().min(3.0);
                format!("{{ kind = \"log_normal\", mean_ms = {mean:.1}, sigma = {sigma:.3} }}")
            }
        }
    }
}
