//! Makes findings of a FreeSWITCH's facts. Measured on 1.11.3-dev. The required settings of the Event Socket are read from
//! `freeswitch-conf/existing`.

use super::{clock, fault, fine, warning};
use crate::doctor::esl::{Facts, Folder, Reach, Room, SocketSettings, Target, parameters, target_of};
use crate::doctor::sounds::on_freeswitch;
use crate::doctor::{Finding, Grade, Records, Wanted, Watch};
use std::net::IpAddr;

/// The smallest configuration that Paceline needs.
const EXISTING: &str = include_str!("../../../freeswitch-conf/existing/event_socket.conf.xml");
/// The oldest version that still gets fixes.
const CURRENT: (u32, u32) = (1, 10);
/// Paceline was never tested with an older version.
const OLDEST: (u32, u32) = (1, 6);
/// With fewer new channels per second calls are delayed.
const PER_SECOND_MIN: u64 = 10;

/// All findings, the worst first.
pub(in crate::doctor) fn freeswitch(
    facts: &Facts,
    address: &str,
    wanted: &[Wanted],
    records: &Records,
) -> Vec<Finding> {
    let mut findings = vec![reach(facts.reach, address)];
    if facts.reach == Reach::Open {
        findings.push(version(facts.version.as_deref().unwrap_or_default()));
        findings.extend(clock(facts.clock_ahead_s));
        findings.push(event_socket(facts.socket.as_ref()));
        findings.push(modules(facts, wanted, records));
        findings.push(paused(facts.paused));
        if let Some(room) = facts.room {
            let cure =
                "in switch.conf.xml raise `max-sessions`; until the restart `fsctl max_sessions N` does";
            findings.push(super::room(room.channels_max, room.channels, wanted, cure));
            findings.push(per_second(room));
        }
        findings.push(recordings(&facts.recordings, records.any));
        findings.extend(super::sounds(&facts.sounds, records, on_freeswitch));
        findings.extend(wanted.iter().map(|wanted| endpoint(wanted, facts)));
        findings.extend(codecs(wanted, facts));
        findings.extend(phones(wanted, facts));
        findings.extend(super::no_caller_id(wanted));
        findings.extend(super::no_trunk(wanted, "sofia/gateway/carrier/{number}"));
        findings.extend(queues(facts));
    }
    super::worst_first(findings)
}

fn reach(reach: Reach, address: &str) -> Finding {
    let about = "Event Socket";
    match reach {
        Reach::Open => fine(about, format!("answers at {address}")),
        Reach::NoServer => fault(about, format!("nothing answers at {address}")).cure(
            "start FreeSWITCH with mod_event_socket, and in event_socket.conf.xml write `listen-ip` and `listen-port` \
             as the `address` of paceline.toml has them; then `reload mod_event_socket`",
        ),
        Reach::Rejected => fault(about, format!("the access list at {address} refuses this machine")).cure(
            "in event_socket.conf.xml name a list with this machine's address in `apply-inbound-acl` (for the PBX's own \
             machine `loopback.auto`); then `reloadacl` and `reload mod_event_socket`",
        ),
        Reach::BadPassword => fault(about, format!("the password is refused at {address}")).cure(
            "write the `password` of event_socket.conf.xml into the file or variable that paceline.toml points to",
        ),
        Reach::NotEventSocket => fault(about, format!("the server at {address} is not an Event Socket")).cure(
            "write the `listen-port` of event_socket.conf.xml into `address` of paceline.toml (8021 unless set otherwise)",
        ),
        Reach::Mute => fault(about, format!("a server at {address} accepts connections, but sends nothing")).cure(
            "check that FreeSWITCH listens there; if it does, check its load and `status` in fs_cli",
        ),
        Reach::NoCommands => fault("modules", "not loaded: mod_commands (everything)")
            .cure("in modules.conf.xml write `<load module=\"mod_commands\"/>`, and `load mod_commands` in fs_cli"),
    }
}

fn version(version: &str) -> Finding {
    let about = format!(
        "FreeSWITCH {}",
        version.split(['+', '-']).next().unwrap_or(version)
    );
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return warning(about, "reports a version that cannot be read");
    };
    let cure = "upgrade to the newest 1.10";
    match (major, minor) {
        old if old < OLDEST => {
            fault(about, "is older than 1.6; Paceline was never tested with it").cure(cure)
        }
        old if old < CURRENT => warning(
            about,
            "gets no fixes any more, and Paceline is not tested with it",
        )
        .cure(cure),
        _ => fine(about, "is current"),
    }
}

/// Compares event_socket.conf with the smallest configuration.
fn event_socket(settings: Option<&SocketSettings>) -> Finding {
    let about = "event_socket.conf";
    let Some(settings) = settings else {
        return warning(about, "cannot be read from here")
            .cure("compare it with freeswitch-conf/existing yourself");
    };
    let mut wrong = Vec::new();
    let mut cures = Vec::new();
    if settings.password_known {
        wrong.push("has the well-known default password".to_owned());
        cures.push("choose another `password`, there and in paceline.toml".to_owned());
    } else if !settings.password_ours {
        wrong.push(
            "has another password than the running FreeSWITCH, so Paceline cannot connect after its next reload".to_owned(),
        );
        cures.push("write that `password` for paceline.toml, then `reload mod_event_socket`".to_owned());
    }
    for (name, value) in parameters(EXISTING) {
        let set = settings.parameters.get(&name);
        match (name.as_str(), set) {
            ("password" | "listen-port" | "nat-map", _) | ("listen-ip", None) => {}
            ("listen-ip", Some(ip)) => {
                let address: Option<IpAddr> = ip.parse().ok();
                if address.is_some_and(|ip| ip.is_unspecified()) {
                    wrong.push("listens on every address of the machine, unencrypted".to_owned());
                    cures.push(format!(
                        "write `<param name=\"listen-ip\" value=\"{value}\"/>`, or the address of a private network"
                    ));
                }
            }
            (_, Some(_)) => {}
            (_, None) => {
                wrong.push(format!("has no `{name}`"));
                cures.push(format!("write `<param name=\"{name}\" value=\"{value}\"/>`"));
            }
        }
    }
    if wrong.is_empty() {
        fine(about, "has what freeswitch-conf/existing asks for")
    } else {
        warning(about, wrong.join("; ")).cure(cures.join("; "))
    }
}

fn modules(facts: &Facts, wanted: &[Wanted], records: &Records) -> Finding {
    let dials = |of: fn(&Target<'_>) -> bool| wanted.iter().any(|wanted| of(&target_of(&wanted.dial)));
    let needed = [
        ("mod_dptools", "holding answered legs", true),
        (
            "mod_sofia",
            "SIP",
            dials(|target| matches!(target, Target::Gateway(_) | Target::Profile(_) | Target::User(..))),
        ),
        (
            "mod_loopback",
            "dial strings that begin with loopback/",
            dials(|target| matches!(target, Target::Context(_))),
        ),
        ("mod_sndfile", "recordings", records.any),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(module, _, needed)| *needed && !facts.modules.contains(module))
        .collect();
    if missing.is_empty() {
        return fine("modules", "all modules that calls need are loaded");
    }
    let list = |text: fn(&(&str, &str, bool)) -> String| {
        missing.iter().map(|m| text(m)).collect::<Vec<_>>().join(", ")
    };
    fault(
        "modules",
        format!(
            "not loaded: {}",
            list(|(module, what, _)| format!("{module} ({what})"))
        ),
    )
    .cure(format!(
        "in modules.conf.xml write {}; until the restart {} in fs_cli does",
        list(|(module, ..)| format!("`<load module=\"{module}\"/>`")),
        list(|(module, ..)| format!("`load {module}`"))
    ))
}

fn paused(paused: bool) -> Finding {
    if paused {
        fault("calls", "FreeSWITCH is paused and places no calls")
            .cure("run `fsctl resume` in fs_cli, after checking why it was paused")
    } else {
        fine("calls", "FreeSWITCH is not paused")
    }
}

fn per_second(room: Room) -> Finding {
    // Measured: FreeSWITCH refuses the last one.
    let made = room.per_second_max.saturating_sub(1);
    let found = format!("FreeSWITCH creates up to {made} channels per second");
    let cure = "in switch.conf.xml raise `sessions-per-second`; until the restart `fsctl sps N` does";
    if made == 0 {
        fault("channels a second", found).cure(cure)
    } else if made < PER_SECOND_MIN {
        warning("channels a second", format!("{found}; further calls wait")).cure(cure)
    } else {
        fine("channels a second", found)
    }
}

fn recordings(folder: &Folder, wanted: bool) -> Finding {
    let grade = if wanted { Grade::Fault } else { Grade::Warning };
    let (path, found, cure) = match folder {
        Folder::Writable(path) => return fine("recordings", format!("`{path}` can be written")),
        Folder::Unknown(path) => {
            let found = format!("it cannot be checked from here whether `{path}` can be written");
            return warning("recordings", found)
                .cure("check that the user of the FreeSWITCH process can write there");
        }
        Folder::Closed(path) => (
            path,
            "cannot be written, so nothing can be recorded",
            "use a folder that the user of the FreeSWITCH process can write",
        ),
        Folder::Odd(path) => (
            path,
            "is not a plain path, so nothing can be recorded",
            "start FreeSWITCH with `-recordings` and a path without spaces and quotes",
        ),
    };
    Finding::new(grade, "recordings", format!("`{path}` {found}")).cure(cure)
}

fn endpoint(wanted: &Wanted, facts: &Facts) -> Finding {
    let target = target_of(&wanted.dial);
    let name = match (&target, facts.endpoint_name(&wanted.dial)) {
        (_, Some(name)) => name,
        (Target::Context(context), None) if facts.contexts.contains(*context) => {
            return fine(&wanted.about, format!("uses the dialplan context `{context}`"));
        }
        (Target::Context(context), None) => {
            let found = format!("uses the context `{context}`, which is not in FreeSWITCH's own dialplan");
            return warning(&wanted.about, found).cure(format!(
                "correct the dial string `{}`, unless a script or a server creates this context; place a test call to check it",
                wanted.dial
            ));
        }
        _ => {
            return warning(
                &wanted.about,
                format!("`{}` cannot be checked from here", wanted.dial),
            );
        }
    };
    let Some(endpoint) = facts.endpoints.iter().find(|e| e.name == name) else {
        let cure = match target {
            Target::Gateway(gateway) => format!(
                "in sip_profiles add a `<gateway name=\"{gateway}\">`, then run `sofia profile external rescan`"
            ),
            Target::Profile(profile) => format!("start a SIP profile `{profile}`"),
            _ => "add this user to the directory, then run `reloadxml`".to_owned(),
        };
        return fault(&wanted.about, format!("there is no `{name}`")).cure(super::or_nearest(
            cure,
            wanted,
            &name,
            &facts.endpoints,
        ));
    };
    let codecs = match endpoint.codecs.as_slice() {
        [] => String::new(),
        codecs => format!(", codecs {}", codecs.join(" ")),
    };
    match (endpoint.state.strip_prefix("offline"), target) {
        (None, _) => fine(&wanted.about, format!("`{name}` is {}{codecs}", endpoint.state)),
        (Some(why), Target::Gateway(gateway)) => {
            let why = why.trim_start_matches([',', ' ']);
            fault(&wanted.about, format!("`{name}` is down ({why}), so FreeSWITCH places no call over it")).cure(format!(
                "check `sofia status gateway {gateway}`; correct its proxy, username and password, or call the carrier"
            ))
        }
        (Some(_), Target::Profile(profile)) => {
            fault(&wanted.about, format!("the SIP profile `{profile}` does not run")).cure(format!(
                "check its log for a port that is in use; then run `sofia profile {profile} start`"
            ))
        }
        (Some(why), _) if why.contains("dial-string") => {
            fault(&wanted.about, format!("`{name}` has no dial-string"))
                .cure("in the directory add the parameter `dial-string` to its domain, then run `reloadxml`")
        }
        (Some(_), _) => warning(&wanted.about, format!("`{name}` is not registered"))
            .cure("turn on the phone, or correct its registration; until then this agent cannot log in"),
    }
}

/// Checks whether FreeSWITCH notices an agent's dead phone. Phones that do not exist are reported elsewhere.
fn phones(wanted: &[Wanted], facts: &Facts) -> Vec<Finding> {
    let watch = |agent: &Wanted| -> Option<Option<Watch>> {
        let Some(name) = facts.endpoint_name(&agent.dial) else {
            return Some(None);
        };
        let endpoint = facts.endpoints.iter().find(|e| e.name == name)?;
        Some(endpoint.watch)
    };
    let agents = wanted.iter().filter(|wanted| !wanted.is_trunk);
    super::Phones::of(agents.filter_map(|agent| Some((agent, watch(agent)?)))).findings(
        (
            "FreeSWITCH never asks whether a registered phone is there (its SIP profile has no `all-reg-options-ping`), so an agent \
             whose phone has lost its power is called for the whole `agent_ring_timeout_ms` until the registration \
             runs out",
            "in the SIP profile write `<param name=\"all-reg-options-ping\" value=\"true\"/>` and `<param \
             name=\"unregister-on-options-fail\" value=\"true\"/>`, then `sofia profile NAME rescan`",
        ),
        (
            "FreeSWITCH keeps a leg whose phone sends no audio any more (no `media_timeout`): while Paceline is stopped nobody ends \
             it, and an agent whose phone loses its power counts as free for 9 to 12 s, or for hours if the phone sends no audio in \
             silence, and is given callees",
            "in the directory begin the parameter `dial-string` of the agents with `[media_timeout=60000]` (milliseconds), then \
             `reloadxml`; before FreeSWITCH 1.10 write `rtp-timeout-sec` into their SIP profile; switch silence suppression off on \
             the phones",
        ),
        "whether FreeSWITCH notices that the phone has lost its power cannot be told from here; see that it is called with \
         `media_timeout` (or `rtp-timeout-sec` in its SIP profile), and that the profile has `all-reg-options-ping`",
    )
}

/// A profile offers only codecs that FreeSWITCH has loaded. Without a common codec each call must be translated.
fn codecs(wanted: &[Wanted], facts: &Facts) -> Vec<Finding> {
    let offered = |wanted: &Wanted| {
        let name = facts.endpoint_name(&wanted.dial)?;
        let endpoint = facts.endpoints.iter().find(|e| e.name == name)?;
        Some(endpoint.codecs.as_slice())
    };
    let mut findings = Vec::new();
    for wanted in wanted {
        let Some(codecs) = offered(wanted).filter(|codecs| !codecs.is_empty()) else {
            continue;
        };
        if !codecs.iter().any(|codec| is_loaded(codec, &facts.codecs)) {
            let found = format!(
                "offers {}, but none of these codecs is loaded, so every call fails",
                codecs.join(" ")
            );
            findings.push(fault(&wanted.about, found).cure(
                "in `outbound-codec-prefs` of its SIP profile (or vars.xml) write codecs that there are, such as PCMU,PCMA; \
                 or load the codec's module",
            ));
        }
    }
    if findings.is_empty() {
        let apart = super::apart(wanted, offered, |codec| is_loaded(codec, &facts.codecs));
        findings.extend(apart.into_iter().map(|apart| {
            warning(apart.about, format!("{}; every call is translated", apart.found))
                .cure("write a common codec into `outbound-codec-prefs` of both SIP profiles")
        }));
    }
    findings
}

/// FreeSWITCH has its own names of codecs: `G.711 ulaw`, `G.722`, `OPUS (STANDARD)`.
fn is_loaded(codec: &str, loaded: &[String]) -> bool {
    let plain = |text: &str| -> String {
        let chars = text.chars().filter(char::is_ascii_alphanumeric);
        chars.map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = match codec.to_ascii_uppercase().as_str() {
        "PCMU" => "g711ulaw".to_owned(),
        "PCMA" => "g711alaw".to_owned(),
        "L16" => "rawsignedlinear".to_owned(),
        other => plain(other),
    };
    loaded.iter().any(|name| plain(name).contains(&wanted))
}

fn queues(facts: &Facts) -> Vec<Finding> {
    let queues = facts.queues.as_deref().unwrap_or_default();
    super::queues(
        queues,
        "in callcenter.conf.xml give it a `tier`, or `callcenter_config tier add`",
        |member| {
            if member.invalid {
                return Some((
                    "nowhere, because there is no such agent".to_owned(),
                    format!(
                        "`callcenter_config tier del` for {}, or add the agent",
                        member.name
                    ),
                ));
            }
            let name = facts.endpoint_name(&member.interface)?;
            let there = facts.endpoints.iter().any(|e| e.name == name);
            (!there).then(|| {
                (
                    format!("`{name}`, which does not exist"),
                    format!(
                        "correct the contact of agent {} in callcenter.conf.xml",
                        member.name
                    ),
                )
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn versions_are_compared_by_number() {
        for (text, grade) in [
            ("1.11.3-dev+git~20260821T141014Z~cc93a683ca~64bit", Grade::Fine),
            (
                "1.10.12-release+git~20240802T210227Z~a88d069d6f~64bit",
                Grade::Fine,
            ),
            ("1.8.7", Grade::Warning),
            ("1.4.26+git", Grade::Fault),
            ("?", Grade::Warning),
        ] {
            assert_eq!(version(text).grade, grade, "{text}");
        }
    }

    #[test]
    fn an_event_socket_is_compared_with_the_smallest_configuration() {
        let good = SocketSettings {
            parameters: parameters(EXISTING),
            password_known: false,
            password_ours: true,
        };
        assert_eq!(event_socket(Some(&good)).grade, Grade::Fine);
        let bad = SocketSettings {
            parameters: BTreeMap::from([("listen-ip".to_owned(), "::".to_owned())]),
            password_known: true,
            password_ours: true,
        };
        let found = event_socket(Some(&bad));
        insta::assert_snapshot!(format!("{}\n{}", found.found, found.cure.unwrap()), @r#"
        has the well-known default password; has no `apply-inbound-acl`; listens on every address of the machine, unencrypted
        choose another `password`, there and in paceline.toml; write `<param name="apply-inbound-acl" value="loopback.auto"/>`; write `<param name="listen-ip" value="127.0.0.1"/>`, or the address of a private network
        "#);
    }

    #[test]
    fn codecs_are_known_by_the_switchs_own_names() {
        let loaded = ["G.711 ulaw", "G.722", "OPUS (STANDARD)"].map(str::to_owned);
        for (codec, there) in [
            ("PCMU", true),
            ("PCMA", false),
            ("G722", true),
            ("opus", true),
            ("G729", false),
        ] {
            assert_eq!(is_loaded(codec, &loaded), there, "{codec}");
        }
    }
}
