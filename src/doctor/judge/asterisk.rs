//! Makes findings of an Asterisk's facts. Measured on 22.10 and 16.28.

use super::{clock, fault, fine, warning};
use crate::doctor::ami::AmiError;
use crate::doctor::ari::{Ari, Facts, Reach, SESSIONS_WANTED, endpoint_of, is_listed};
use crate::doctor::sounds::on_asterisk;
use crate::doctor::{Endpoint, Finding, Grade, Records, Wanted, Watch};

/// The oldest version that is tested.
const MAJOR_MIN: u32 = 16;
/// The oldest version that still gets fixes.
const MAJOR_CURRENT: u32 = 22;
/// Modules that every call needs, and what each is for.
const MODULES: [(&str, &str); 12] = [
    ("res_stasis.so", "ARI applications"),
    ("res_ari_events.so", "the event stream"),
    ("res_ari_channels.so", "calls"),
    ("res_ari_bridges.so", "talking"),
    ("res_ari_endpoints.so", "endpoints"),
    ("res_ari_applications.so", "taking over calls after a lost link"),
    ("res_ari_recordings.so", "recordings"),
    ("res_stasis_answer.so", "answering"),
    ("res_stasis_playback.so", "announcements"),
    ("res_stasis_recording.so", "recordings"),
    ("bridge_simple.so", "talking"),
    ("chan_bridge_media.so", "announcements and music to a bridge"),
];

/// All findings, the worst first.
pub(in crate::doctor) fn asterisk(
    facts: &Facts,
    ari: &Ari,
    wanted: &[Wanted],
    records: &Records,
) -> Vec<Finding> {
    let mut findings = vec![reach(&facts.reach, ari)];
    if facts.reach == Reach::Open {
        findings.push(user(facts, ari));
        findings.push(version(facts.version.as_deref().unwrap_or_default()));
        findings.extend(clock(facts.clock_ahead_s));
        findings.push(application(facts, ari));
        findings.push(modules(facts));
        findings.push(sessions(facts.sessions));
        findings.push(recordings(facts.recordings, records.any));
        findings.extend(super::sounds(&facts.sounds, records, on_asterisk));
        if let Some(max) = facts.channels_max {
            findings.push(super::room(
                max,
                0,
                wanted,
                "in asterisk.conf raise `maxcalls`, then restart Asterisk",
            ));
        }
        findings.extend(wanted.iter().map(|wanted| endpoint(wanted, facts)));
        findings.extend(codecs(wanted, facts));
        findings.extend(phones(wanted, facts));
        findings.extend(super::no_caller_id(wanted));
        findings.extend(super::no_trunk(wanted, "PJSIP/{number}@carrier"));
        findings.extend(queues(facts));
    }
    super::worst_first(findings)
}

fn reach(reach: &Reach, ari: &Ari) -> Finding {
    let url = &ari.config.url;
    let user = &ari.config.username;
    match reach {
        Reach::Open => fine("ARI", format!("answers at {url}")),
        Reach::NoServer => fault("ARI", format!("nothing answers at {url}")).cure(
            "start Asterisk, and in http.conf write under [general] `enabled = yes`, `bindaddr` and `bindport` as the `url` \
             of paceline.toml has them; then `module reload http`",
        ),
        Reach::Untrusted => fault("ARI", format!("has a certificate at {url} that this machine does not trust")).cure(
            "in paceline.toml set `ca_file` to the certificate of the authority that signed it, and use in `url` the name that it \
             is for",
        ),
        Reach::NotTls => fault("ARI", format!("the server at {url} does not use TLS")).cure(
            "in paceline.toml write `http://` in `url`, or in http.conf `tlsenable = yes`, `tlsbindaddr` and `tlscertfile`",
        ),
        Reach::NoAri(_) => fault("ARI", format!("the web server at {url} has no ARI")).cure(
            "in ari.conf write under [general] `enabled = yes`, and have res_ari.so loaded; or correct `url` in paceline.toml",
        ),
        Reach::BadPassword => fault("ARI", format!("refuses the user `{user}`")).cure(format!(
            "in ari.conf add a section [{user}] with `type = user` and the `password` that paceline.toml points to; then \
             `module reload res_ari.so`"
        )),
        Reach::Odd(status) => fault("ARI", format!("answers at {url} with HTTP {status}")).cure(
            "wait until Asterisk has started; if this does not help, check that the `url` in paceline.toml is that of Asterisk",
        ),
    }
}

fn user(facts: &Facts, ari: &Ari) -> Finding {
    let user = &ari.config.username;
    if facts.may_write {
        fine("ARI user", format!("`{user}` may place calls"))
    } else {
        fault("ARI user", format!("`{user}` is read-only"))
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
            format!("is older than {MAJOR_MIN}, the oldest version that works"),
        )
        .cure(format!("upgrade to {MAJOR_CURRENT}")),
        Ok(major) if major < MAJOR_CURRENT => {
            let old = if major <= 18 {
                "works, but gets no security fixes any more and accepts no requests over the event stream, so that calls cost \
                 it more"
            } else {
                "works, but gets no fixes any more"
            };
            warning(about, old).cure(format!("plan to upgrade to {MAJOR_CURRENT}"))
        }
        Ok(_) => fine(about, "is current"),
        Err(_) => warning(about, "reports a version that cannot be read"),
    }
}

fn application(facts: &Facts, ari: &Ari) -> Finding {
    let app = &ari.config.app;
    match (facts.app_taken, facts.paceline_runs) {
        (false, _) => fine("application", format!("`{app}` is free")),
        (true, true) => fine(
            "application",
            format!("`{app}` is used by the Paceline that runs with this store"),
        ),
        (true, false) => fault(
            "application",
            format!("`{app}` is used by another program, such as another dialer"),
        )
        .cure("stop that program, or set another application name with `app` in paceline.toml"),
    }
}

fn modules(facts: &Facts) -> Finding {
    let Some(running) = &facts.modules else {
        return warning("modules", "Asterisk does not report which modules are loaded");
    };
    let missing: Vec<_> = MODULES
        .iter()
        .filter(|(module, _)| !running.contains(*module))
        .collect();
    if missing.is_empty() {
        return fine("modules", "all modules that calls need are loaded");
    }
    let list =
        |text: fn(&(&str, &str)) -> String| missing.iter().map(|m| text(m)).collect::<Vec<_>>().join(", ");
    let found = format!(
        "not loaded: {}",
        list(|(module, what)| format!("{module} ({what})"))
    );
    let loads = list(|(module, _)| format!("`load = {module}`"));
    fault("modules", found).cure(format!("in modules.conf write {loads}, or `autoload = yes`"))
}

fn sessions(served: usize) -> Finding {
    if served >= SESSIONS_WANTED {
        return fine(
            "HTTP sessions",
            format!("the HTTP server accepts {served} connections"),
        );
    }
    fault("HTTP sessions", format!("the HTTP server accepts only {served} connections, {SESSIONS_WANTED} are needed"))
        .cure("in http.conf write under [general] `sessionlimit = 200`, or stop other programs that keep connections open; then `module reload http`")
}

fn recordings(listed: bool, wanted: bool) -> Finding {
    match (listed, wanted) {
        (true, _) => fine("recordings", "the folder exists"),
        (false, wanted) => Finding::new(
            if wanted { Grade::Fault } else { Grade::Warning },
            "recordings",
            if wanted {
                "cannot be listed, and a campaign records: there is no folder for them"
            } else {
                "cannot be listed, so none can be made: there is no folder for them"
            },
        )
        .cure("create the folder `recording` below `astspooldir` (see asterisk.conf) and give it to the user that Asterisk runs as"),
    }
}

fn endpoint(wanted: &Wanted, facts: &Facts) -> Finding {
    let Some(name) = endpoint_of(&wanted.dial) else {
        let context = wanted.dial.rsplit_once('@').map_or("", |(_, context)| context);
        let context = context.split('/').next().unwrap_or(context);
        let found = format!("uses the dialplan context `{context}`, which cannot be checked from here");
        return fine(&wanted.about, found);
    };
    let Some(endpoint) = facts.endpoints.iter().find(|e| e.name == name) else {
        if is_listed(&name) {
            return missing(wanted, &name, facts);
        }
        let found = format!("uses `{name}`, which Asterisk does not list; place a test call to check it");
        return fine(&wanted.about, found);
    };
    match (endpoint.state.as_str(), wanted.is_trunk) {
        ("offline", true) => fault(&wanted.about, format!("`{name}` is offline: none of its contacts answers"))
            .cure("check `pjsip show contacts` and `pjsip show registrations`; correct the contact of its aor, or call the carrier"),
        ("offline", false) => warning(&wanted.about, format!("`{name}` is offline"))
            .cure("turn on the phone, or correct its registration; until then this agent cannot log in"),
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

fn missing(wanted: &Wanted, name: &str, facts: &Facts) -> Finding {
    let section = name.split_once('/').map_or(name, |(_, section)| section);
    let cure = format!("in pjsip.conf add a section [{section}] with `type = endpoint`");
    fault(&wanted.about, format!("there is no endpoint `{name}`")).cure(super::or_nearest(
        cure,
        wanted,
        name,
        &facts.endpoints,
    ))
}

/// Without a common codec each call must be translated.
fn codecs(wanted: &[Wanted], facts: &Facts) -> Vec<Finding> {
    let offered = |wanted: &Wanted| {
        let name = endpoint_of(&wanted.dial)?;
        let endpoint = facts.endpoints.iter().find(|e| e.name == name)?;
        Some(endpoint.codecs.as_slice())
    };
    super::apart(wanted, offered, |codec| can_translate(codec, facts))
        .into_iter()
        .map(|apart| match &apart.lacks {
            Some(codec) => fault(
                &apart.about,
                format!(
                    "{}; and {codec} cannot be translated, so nobody would be heard",
                    apart.found
                ),
            )
            .cure(format!(
                "in pjsip.conf `allow` the same codec on both, or load codec_{codec}.so"
            )),
            None => warning(&apart.about, format!("{}; every call is translated", apart.found))
                .cure("in pjsip.conf `allow` the same codec on both"),
        })
        .collect()
}

/// Checks whether Asterisk notices an agent's dead phone. Phones that do not exist are reported elsewhere.
fn phones(wanted: &[Wanted], facts: &Facts) -> Vec<Finding> {
    let watch = |agent: &Wanted| -> Option<Option<Watch>> {
        let Some(name) = endpoint_of(&agent.dial).filter(|name| is_listed(name)) else {
            return Some(None);
        };
        let endpoint = facts.endpoints.iter().find(|e| e.name == name)?;
        Some(endpoint.watch)
    };
    let agents = wanted.iter().filter(|wanted| !wanted.is_trunk);
    super::Phones::of(agents.filter_map(|agent| Some((agent, watch(agent)?)))).findings(
        (
            "Asterisk never asks whether the phone is there (`qualify_frequency` is 0), so an agent whose phone loses its power \
             counts as free for 24 to 36 s, or for hours if the phone sends no audio in silence, and is given callees",
            "in pjsip.conf write `qualify_frequency = 15` in the aor of each agent (FreePBX: Qualify Frequency of the extension), \
             then `module reload res_pjsip.so`: Paceline hears of a dead phone within 18 s and calls it again",
        ),
        (
            "Asterisk keeps a leg whose phone sends no audio any more (`rtp_timeout` is 0): while Paceline is stopped nobody ends \
             it, and a phone that answers but is not heard counts as free for 24 to 36 s, or for hours if it sends no audio in \
             silence",
            "in pjsip.conf write `rtp_timeout = 60` in the endpoint of each agent (FreePBX: RTP Timeout), then `module reload \
             res_pjsip.so`; switch silence suppression off on the phones, and leave `rtp_timeout_hold` at 0 or far higher, so that \
             agents may hold",
        ),
        "whether Asterisk notices that the phone has lost its power cannot be told from here; see that the endpoint behind it has \
         `rtp_timeout`, and its aor `qualify_frequency` (FreePBX: RTP Timeout and Qualify Frequency of the extension)",
    )
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

fn queues(facts: &Facts) -> Vec<Finding> {
    let queues = match &facts.queues {
        None => return Vec::new(),
        Some(Err(err)) => return vec![ami(err)],
        Some(Ok(queues)) => queues,
    };
    super::queues(
        queues,
        "in queues.conf add a `member`, or let agents log in to the queue",
        |member| {
            let name = endpoint_of(&member.interface);
            let missing =
                name.filter(|name| is_listed(name) && !facts.endpoints.iter().any(|e| e.name == *name));
            match missing {
                Some(name) => Some((
                    format!("`{name}`, which is not an endpoint"),
                    format!(
                        "in pjsip.conf add this endpoint, or remove `{}` from the queue",
                        member.interface
                    ),
                )),
                None if member.invalid => Some((
                    format!("`{}`, whose state Asterisk does not know", member.interface),
                    "correct the member's interface, or the hint or device after it (see `queue show`)"
                        .to_owned(),
                )),
                None => None,
            }
        },
    )
}

fn ami(err: &AmiError) -> Finding {
    let cure = match err {
        AmiError::NoServer => {
            "in manager.conf write under [general] `enabled = yes`, `bindaddr` and `port` as [pbx.ami] of paceline.toml has \
             them; then `module reload manager`"
        }
        AmiError::BadPassword => {
            "in manager.conf add a section for this user with the `secret` that paceline.toml points to, `read = agent` and a \
             `permit` for this machine; then `module reload manager`"
        }
        AmiError::Odd => "check that the `address` of [pbx.ami] is that of Asterisk's manager interface",
        AmiError::NoQueues => "load app_queue.so, or remove [pbx.ami] from paceline.toml",
    };
    warning("queues", format!("cannot be listed: {err}")).cure(cure)
}
