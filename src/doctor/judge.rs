//! What an Asterisk's facts mean for calls, and what to write where they are wrong. Pure. Facts about Asterisk were measured
//! on 22.10 and 16.28.

use super::ari::{Ari, Facts, Reach, SESSIONS_WANTED, endpoint_of};
use super::{Endpoint, Finding, Grade, Wanted};

/// A certificate, a calling hour or a recording's time is wrong by then.
const CLOCK_SKEW_S_MAX: i64 = 5;
/// The oldest that is tested against.
const MAJOR_MIN: u32 = 16;
/// The oldest that still gets fixes.
const MAJOR_CURRENT: u32 = 22;
/// What no call works without, and what it is for.
const MODULES: [(&str, &str); 12] = [
    ("res_stasis.so", "ARI applications"),
    ("res_ari_events.so", "the event stream"),
    ("res_ari_channels.so", "calls"),
    ("res_ari_bridges.so", "talking"),
    ("res_ari_endpoints.so", "endpoints"),
    ("res_ari_applications.so", "taking up calls after a lost link"),
    ("res_ari_recordings.so", "recordings"),
    ("res_stasis_answer.so", "answering"),
    ("res_stasis_playback.so", "announcements"),
    ("res_stasis_recording.so", "recordings"),
    ("bridge_simple.so", "talking"),
    ("chan_bridge_media.so", "announcements and music to a bridge"),
];

/// Judges; the worst first.
pub(super) fn judge(facts: &Facts, ari: &Ari, wanted: &[Wanted], records: bool) -> Vec<Finding> {
    let mut findings = vec![reach(&facts.reach, ari)];
    if facts.reach == Reach::Open {
        findings.push(user(facts, ari));
        findings.push(version(facts.version.as_deref().unwrap_or_default()));
        findings.extend(clock(facts.clock_ahead_s));
        findings.push(application(facts, ari));
        findings.extend(modules(facts));
        findings.push(sessions(facts.sessions));
        findings.push(recordings(facts.recordings, records));
        findings.extend(wanted.iter().map(|wanted| endpoint(wanted, facts)));
        findings.extend(codecs(wanted, facts));
        if wanted.iter().all(|wanted| !wanted.is_trunk) {
            let none = Finding::new(
                Grade::Warning,
                "trunks",
                "there is none on this PBX, so nobody can be called over it",
            );
            findings.push(none.cure("create one with POST /api/v1/trunks, such as PJSIP/{number}@carrier"));
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    findings
}

fn fine(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Fine, about, found)
}

fn warning(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Warning, about, found)
}

fn fault(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding::new(Grade::Fault, about, found)
}

fn reach(reach: &Reach, ari: &Ari) -> Finding {
    let url = &ari.url;
    let user = &ari.username;
    match reach {
        Reach::Open => fine("ARI", format!("answers at {url}")),
        Reach::NoServer => fault("ARI", format!("nothing answers at {url}")).cure(
            "let Asterisk run, and in http.conf write under [general] `enabled = yes`, `bindaddr` and `bindport` as the `url` \
             of paceline.toml has them; then `module reload http`",
        ),
        Reach::NoAri(_) => fault("ARI", format!("a web server answers at {url}, but it has no ARI")).cure(
            "in ari.conf write under [general] `enabled = yes`, and have res_ari.so loaded; or correct `url` in paceline.toml",
        ),
        Reach::BadPassword => fault("ARI", format!("does not let user `{user}` in")).cure(format!(
            "in ari.conf have a section [{user}] with `type = user` and the `password` that paceline.toml points to; then \
             `module reload res_ari.so`"
        )),
        Reach::Odd(status) => fault("ARI", format!("answers at {url} with HTTP {status}")).cure(
            "wait until Asterisk is up; if it stays so, see whether the `url` of paceline.toml leads to Asterisk itself",
        ),
    }
}

fn user(facts: &Facts, ari: &Ari) -> Finding {
    let user = &ari.username;
    if facts.may_write {
        fine("ARI user", format!("`{user}` may place calls"))
    } else {
        fault("ARI user", format!("`{user}` may only read"))
            .cure(format!("in ari.conf write `read_only = no` under [{user}]"))
    }
}

fn version(version: &str) -> Finding {
    let digits: String = version
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    let about = format!("Asterisk {version}");
    match digits.parse::<u32>() {
        Ok(major) if major < MAJOR_MIN => fault(
            about,
            format!("is older than {MAJOR_MIN}, which is the least that works"),
        )
        .cure(format!("upgrade to {MAJOR_CURRENT}")),
        Ok(major) if major < MAJOR_CURRENT => {
            let old = if major <= 18 {
                "works, gets no security fixes any more, and does not take requests over the event stream, so that calls cost \
                 it more"
            } else {
                "works, and gets no fixes any more"
            };
            warning(about, old).cure(format!("plan to upgrade to {MAJOR_CURRENT}"))
        }
        Ok(_) => fine(about, "is current"),
        Err(_) => warning(about, "does not tell a version that is understood"),
    }
}

fn clock(ahead_s: Option<i64>) -> Option<Finding> {
    let ahead_s = ahead_s?;
    if ahead_s.abs() <= CLOCK_SKEW_S_MAX {
        return Some(fine("clock", "agrees with ours"));
    }
    let which = if ahead_s > 0 { "ahead of" } else { "behind" };
    let found = format!("the switch is {} s {which} this machine", ahead_s.abs());
    Some(
        warning("clock", found)
            .cure("let both run NTP (`timedatectl set-ntp true`): calling hours and reports go by the clock"),
    )
}

fn application(facts: &Facts, ari: &Ari) -> Finding {
    let app = &ari.app;
    match (facts.app_taken, facts.paceline_runs) {
        (false, _) => fine("application", format!("`{app}` is free")),
        (true, true) => fine(
            "application",
            format!("`{app}` is in use by the Paceline that runs here"),
        ),
        (true, false) => fault(
            "application",
            format!("`{app}` is in use by another program, such as another dialer"),
        )
        .cure("stop that program, or give Paceline an application of its own with `app` in paceline.toml"),
    }
}

fn modules(facts: &Facts) -> Option<Finding> {
    let Some(running) = &facts.modules else {
        return Some(warning("modules", "Asterisk does not tell which are loaded"));
    };
    let missing: Vec<_> = MODULES
        .iter()
        .filter(|(module, _)| !running.contains(*module))
        .collect();
    if missing.is_empty() {
        return Some(fine("modules", "all that calls need are loaded"));
    }
    let list =
        |text: fn(&(&str, &str)) -> String| missing.iter().map(|m| text(m)).collect::<Vec<_>>().join(", ");
    let found = format!(
        "not loaded: {}",
        list(|(module, what)| format!("{module} ({what})"))
    );
    let loads = list(|(module, _)| format!("`load = {module}`"));
    Some(fault("modules", found).cure(format!("in modules.conf write {loads}, or `autoload = yes`")))
}

fn sessions(served: usize) -> Finding {
    if served >= SESSIONS_WANTED {
        return fine("HTTP sessions", format!("{served} at once are served"));
    }
    fault("HTTP sessions", format!("only {served} of {SESSIONS_WANTED} at once are served"))
        .cure("in http.conf write under [general] `sessionlimit = 200`, or end what keeps connections open; then `module reload http`")
}

fn recordings(listed: bool, wanted: bool) -> Finding {
    match (listed, wanted) {
        (true, _) => fine("recordings", "the folder is there"),
        (false, wanted) => Finding::new(
            if wanted { Grade::Fault } else { Grade::Warning },
            "recordings",
            if wanted {
                "cannot be listed, and a campaign records: there is no folder for them"
            } else {
                "cannot be listed, so none can be made: there is no folder for them"
            },
        )
        .cure("make the folder `recording` below `astspooldir` (see asterisk.conf) and give it to the user that Asterisk runs as"),
    }
}

fn endpoint(wanted: &Wanted, facts: &Facts) -> Finding {
    let Some(name) = endpoint_of(&wanted.dial) else {
        let context = wanted.dial.rsplit_once('@').map_or("", |(_, context)| context);
        let context = context.split('/').next().unwrap_or(context);
        let found =
            format!("goes through the dialplan's context `{context}`, which cannot be looked into from here");
        return fine(&wanted.about, found);
    };
    let Some(endpoint) = facts.endpoints.iter().find(|e| e.name == name) else {
        return missing(wanted, &name, facts);
    };
    match (endpoint.state.as_str(), wanted.is_trunk) {
        ("offline", true) => fault(&wanted.about, format!("`{name}` is offline: none of its contacts answers"))
            .cure("see `pjsip show contacts` and `pjsip show registrations`; correct the contact of its aor, or reach the carrier"),
        ("offline", false) => warning(&wanted.about, format!("`{name}` is offline"))
            .cure("switch the phone on, or correct its registration; until then this agent cannot log in"),
        (state, _) => fine(&wanted.about, describe(endpoint, state)),
    }
}

fn describe(endpoint: &Endpoint, state: &str) -> String {
    let mut text = format!("`{}` is {state}", endpoint.name);
    if !endpoint.codecs.is_empty() {
        text.push_str(&format!(", codecs {}", endpoint.codecs.join(" ")));
    }
    text
}

/// With the nearest names that there are.
fn missing(wanted: &Wanted, name: &str, facts: &Facts) -> Finding {
    const NEAREST: usize = 3;
    let mut near: Vec<_> = facts
        .endpoints
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
    let section = name.split_once('/').map_or(name, |(_, section)| section);
    let mut cure = format!("in pjsip.conf have a section [{section}] with `type = endpoint`");
    if near.is_empty() {
        cure.push_str(&format!(", or correct the dial string `{}`", wanted.dial));
    } else {
        cure.push_str(&format!(
            ", or correct the dial string `{}`: there is {}",
            wanted.dial,
            near.join(", ")
        ));
    }
    fault(&wanted.about, format!("there is no endpoint `{name}`")).cure(cure)
}

/// Every trunk against every agent: what they do not share must be translated for each call.
fn codecs(wanted: &[Wanted], facts: &Facts) -> Vec<Finding> {
    let of = |is_trunk: bool| {
        wanted
            .iter()
            .filter(move |w| w.is_trunk == is_trunk)
            .filter_map(|w| {
                let name = endpoint_of(&w.dial)?;
                let endpoint = facts.endpoints.iter().find(|e| e.name == name)?;
                (!endpoint.codecs.is_empty()).then_some((w, endpoint))
            })
    };
    let mut findings = Vec::new();
    for (trunk, trunks) in of(true) {
        let apart: Vec<_> = of(false)
            .filter(|(_, agents)| !agents.codecs.iter().any(|codec| trunks.codecs.contains(codec)))
            .collect();
        let Some((agent, agents)) = apart.first() else {
            continue;
        };
        let lacks = [&trunks.codecs, &agents.codecs]
            .into_iter()
            .flatten()
            .find(|codec| !can_translate(codec, facts));
        let others = match apart.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let found = format!(
            "has no codec in common with {}{others}: {} against {}",
            agent.about,
            trunks.codecs.join(" "),
            agents.codecs.join(" ")
        );
        findings.push(match lacks {
            Some(codec) => fault(
                &trunk.about,
                format!("{found}; and {codec} cannot be translated, so nobody would be heard"),
            )
            .cure(format!(
                "in pjsip.conf `allow` the same codec on both, or load codec_{codec}.so"
            )),
            None => warning(&trunk.about, format!("{found}; every call is translated"))
                .cure("in pjsip.conf `allow` the same codec on both"),
        });
    }
    findings
}

fn can_translate(codec: &str, facts: &Facts) -> bool {
    let module = match codec {
        "slin" => return true,
        "g729" => "codec_g729",
        codec => &format!("codec_{codec}"),
    };
    let running = facts.modules.as_ref();
    running.is_none_or(|running| running.iter().any(|name| name.starts_with(module)))
}
