//! Makes findings of a PBX's facts: what they mean for calls, and what to write if they are wrong. Input: facts. Output:
//! findings, the worst first. Asterisk and FreeSWITCH have a file each; the common part is here.

mod asterisk;
mod freeswitch;

pub(super) use asterisk::asterisk;
pub(super) use freeswitch::freeswitch;

use super::sounds::{Presence, name_of};
use super::{Endpoint, Finding, Grade, Member, Queue, Records, Wanted, Watch};

/// With a greater difference of the clocks, certificates, calling hours and times of recordings become wrong.
const CLOCK_SKEW_S_MAX: i64 = 5;

fn fine(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Fine, about, found)
}

fn warning(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Warning, about, found)
}

fn fault(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Fault, about, found)
}

fn worst_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    findings
}

fn clock(ahead_s: Option<i64>) -> Option<Finding> {
    let ahead_s = ahead_s?;
    if ahead_s.saturating_abs() <= CLOCK_SKEW_S_MAX {
        return Some(fine("clock", "is equal to this machine's clock"));
    }
    let which = if ahead_s > 0 { "ahead of" } else { "behind" };
    let found = format!(
        "the PBX's clock is {} s {which} this machine's",
        ahead_s.saturating_abs()
    );
    Some(warning("clock", found).cure(
        "run NTP on both (`timedatectl set-ntp true`), because calling hours and reports use the clock",
    ))
}

/// Checks the sounds for callees. `cure` says what to do if a sound of that name is missing.
fn sounds(presences: &[Presence], records: &Records, cure: fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((about, sound), presence) in records.sounds.iter().zip(presences) {
        let name = name_of(sound);
        findings.push(match presence {
            Presence::There => fine(about, format!("`{name}` exists")),
            Presence::Missing => fault(
                about,
                format!("the PBX has no sound `{name}`, so an abandoned callee hears nothing, and nothing is recorded"),
            )
            .cure(cure(name)),
            Presence::Unknown(why) => warning(
                about,
                format!("it is not known whether the PBX has the sound `{name}`: {why}"),
            )
            .cure("check that the file exists"),
        });
    }
    findings
}

fn no_trunk(wanted: &[Wanted], example: &str) -> Option<Finding> {
    let none = wanted.iter().all(|wanted| !wanted.is_trunk);
    none.then(|| {
        warning(
            "trunks",
            "Paceline has no trunk on this PBX yet, so it can place no call there",
        )
        .cure(format!("create one with POST /api/v1/trunks, such as {example}"))
    })
}

/// Checks for trunks without a caller id.
fn no_caller_id(wanted: &[Wanted]) -> Vec<Finding> {
    let bare = wanted
        .iter()
        .filter(|wanted| wanted.is_trunk && !wanted.has_caller_id);
    let say = |wanted: &Wanted| {
        warning(&wanted.about, "has no caller id, so callees see the default of the PBX, or nothing")
            .cure("set `caller_id` with PUT /api/v1/trunks/{id}: many countries require a number that can be called back, and carriers refuse calls without one")
    };
    bare.map(say).collect()
}

/// Checks the maximum number of channels. Each agent's held leg is one channel, and each connected call is another.
fn room(max: u64, now: u64, wanted: &[Wanted], cure: &str) -> Finding {
    let agents = wanted.iter().filter(|wanted| !wanted.is_trunk).count();
    let needed = u64::try_from(agents).unwrap_or(u64::MAX).max(1).saturating_mul(2);
    let found = format!("the limit is {max}, {now} in use now");
    if max < needed {
        let found =
            format!("{found}; more than {needed} are needed for {agents} agent(s) with one call each");
        fault("channels", found).cure(cure)
    } else if now.saturating_add(needed) > max {
        warning(
            "channels",
            format!("{found}; {needed} are needed for {agents} agent(s)"),
        )
        .cure(cure)
    } else {
        fine("channels", found)
    }
}

/// Agents' phones, grouped by what the PBX does about a dead one.
#[derive(Default)]
struct Phones {
    watched: usize,
    /// Phones that the PBX does not check.
    unasked: Vec<String>,
    /// Phones whose leg the PBX keeps even if they send no audio any more.
    kept: Vec<String>,
    /// Phones of which the PBX does not show it.
    untold: Vec<String>,
}

impl Phones {
    fn of<'w>(agents: impl Iterator<Item = (&'w Wanted, Option<Watch>)>) -> Self {
        let mut phones = Self::default();
        for (agent, watch) in agents {
            let name = format!("`{}`", agent.dial);
            match watch {
                None => phones.untold.push(name),
                Some(Watch { asks, ends_silent }) => {
                    phones.watched += usize::from(asks && ends_silent);
                    phones.unasked.extend((!asks).then(|| name.clone()));
                    phones.kept.extend((!ends_silent).then_some(name));
                }
            }
        }
        phones
    }

    /// `found` and `cure` are the texts for the phones that are not checked, then for those whose leg is kept. `hint` is
    /// the text for those of which the PBX does not show it.
    fn findings(&self, unasked: (&str, &str), kept: (&str, &str), hint: &str) -> Vec<Finding> {
        let about = "agents' phones";
        let mut findings = Vec::new();
        for (phones, (found, cure)) in [(&self.unasked, unasked), (&self.kept, kept)] {
            if let Some(some) = some_of(phones) {
                findings.push(warning(about, format!("{some}: {found}")).cure(cure));
            }
        }
        if findings.is_empty() && self.watched > 0 {
            findings.push(fine(about, "the PBX notices if a phone loses its power"));
        }
        if let Some(some) = some_of(&self.untold) {
            findings.push(fine(about, format!("{some}: {hint}")));
        }
        findings
    }
}

/// The first of them, and how many more there are.
fn some_of(names: &[String]) -> Option<String> {
    let (first, more) = names.split_first()?;
    Some(match more.len() {
        0 => first.clone(),
        more => format!("{first} and {more} more"),
    })
}

/// Adds to a cure the dial string and the most similar existing names.
fn or_nearest(mut cure: String, wanted: &Wanted, name: &str, endpoints: &[Endpoint]) -> String {
    const NEAREST: usize = 3;
    let mut near: Vec<_> = endpoints
        .iter()
        .map(|e| (strsim::damerau_levenshtein(&e.name, name), &e.name))
        .collect();
    near.sort();
    let near: Vec<_> = near
        .into_iter()
        .take_while(|(distance, _)| *distance <= 4)
        .take(NEAREST)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    cure.push_str(&format!(", or correct the dial string `{}`", wanted.dial));
    if !near.is_empty() {
        cure.push_str(&format!(": there is {}", near.join(", ")));
    }
    cure
}

/// A trunk that has no codec in common with an agent.
struct Apart {
    about: String,
    found: String,
    /// A codec that the PBX cannot translate.
    lacks: Option<String>,
}

/// Compares every trunk with every agent. Without a common codec each call must be translated.
fn apart<'c>(
    wanted: &[Wanted],
    offered: impl Fn(&Wanted) -> Option<&'c [String]>,
    can_translate: impl Fn(&str) -> bool,
) -> Vec<Apart> {
    let of = |is_trunk: bool| {
        wanted
            .iter()
            .filter(move |w| w.is_trunk == is_trunk)
            .filter_map(|w| Some((w, offered(w).filter(|codecs| !codecs.is_empty())?)))
    };
    let mut all = Vec::new();
    for (trunk, trunks) in of(true) {
        let others: Vec<_> = of(false)
            .filter(|(_, agents)| !agents.iter().any(|codec| trunks.contains(codec)))
            .collect();
        let Some((agent, agents)) = others.first() else {
            continue;
        };
        let more = match others.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let lacks = trunks.iter().chain(*agents).find(|codec| !can_translate(codec));
        all.push(Apart {
            about: trunk.about.clone(),
            found: format!(
                "has no codec in common with {}{more}: {} and {}",
                agent.about,
                trunks.join(" "),
                agents.join(" ")
            ),
            lacks: lacks.cloned(),
        });
    }
    all
}

/// Checks the queues of the PBX. A wrong queue affects no call of Paceline, so it is never a fault. `wrong` returns where
/// the calls to a member go if they cannot arrive, and what to do.
fn queues(queues: &[Queue], none: &str, wrong: impl Fn(&Member) -> Option<(String, String)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in queues {
        let about = format!("queue {}", queue.name);
        let mut well = true;
        for member in &queue.members {
            if let Some((where_to, cure)) = wrong(member) {
                well = false;
                let found = format!("the calls to its member {} go to {where_to}", member.name);
                findings.push(warning(&about, found).cure(cure));
            }
        }
        let all = queue.members.len();
        let paused = queue.members.iter().filter(|member| member.paused).count();
        match all {
            0 => findings.push(warning(&about, "has no members, so its calls are never answered").cure(none)),
            _ if paused == all => {
                findings.push(
                    warning(&about, format!("all {all} members are paused"))
                        .cure("unpause at least one of them"),
                );
            }
            _ if well => findings.push(fine(&about, format!("{all} members, {paused} of them paused"))),
            _ => {}
        }
    }
    findings
}
