//! Commands as text. In: ids and settings. Out: what is written to the Event Socket, without its final empty line. Pure.

use super::leg::Side;
use paceline_core::pbx::DialString;
use paceline_esl::{Unquotable, argument, originate};
use std::time::Duration;
use uuid::Uuid;

/// Whoever is left by the other is held, not hung up.
const HELD: [(&str, &str); 2] = [("park_after_bridge", "true"), ("hangup_after_bridge", "false")];
/// How long the switch itself holds a callee with whom nobody talks, in seconds, and what it ends it for. Longer than the longest
/// connect limit, after which we end it, or play it a message that the switch plays to its end; it counts seconds that begin.
const UNTAKEN: (&str, &str) = ("park_timeout", "13:ALLOTTED_TIMEOUT");

/// What a leg needs in order to be placed.
pub(super) struct Placement<'a> {
    pub(super) leg: Uuid,
    pub(super) side: Side,
    pub(super) dial: &'a DialString,
    pub(super) caller_id: Option<&'a str>,
    pub(super) ring_timeout: Duration,
    pub(super) duration_max: Duration,
}

/// Whether that goes through the switch's own dialplan, as two channels back to back.
pub(super) fn is_loopback(dial: &DialString) -> bool {
    dial.0.starts_with("loopback/")
}

fn seconds_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
        .max(1)
}

/// Places a leg and parks it once answered. The job bears the leg's id.
pub(super) fn place(app: &str, placement: &Placement<'_>) -> Result<String, Unquotable> {
    let leg = placement.leg.to_string();
    // It counts the seconds that begin: a timeout of 2 has fired after 1.03 s. Nobody is to ring too short.
    let ring_timeout = seconds_up(placement.ring_timeout).saturating_add(1).to_string();
    let limit = format!(
        "sched_hangup::+{} ALLOTTED_TIMEOUT",
        seconds_up(placement.duration_max)
    );
    let loopback = is_loopback(placement.dial);
    let mut variables = vec![
        ("origination_uuid", leg.as_str()),
        ("paceline_app", app),
        ("paceline_leg", &leg),
        ("paceline_side", placement.side.word()),
        ("originate_timeout", &ring_timeout),
        // Else a 183 counts as an answer. The far half of a loopback goes by this too, and would keep a 183 to itself.
        ("ignore_early_media", if loopback { "ring_ready" } else { "true" }),
        ("execute_on_answer", &limit),
    ];
    if let Some(number) = placement.caller_id {
        variables.push(("origination_caller_id_number", number));
        variables.push(("origination_caller_id_name", number));
    }
    match placement.side {
        // Parked legs send nothing, and some phones hang up after 30 s without RTP.
        Side::Agent => variables.push(("send_silence_when_idle", "-1")),
        Side::Callee => {}
    }
    let mut held = HELD.to_vec();
    match placement.side {
        Side::Callee => held.push(UNTAKEN),
        Side::Agent => {}
    }
    // The far half of a loopback would be held too when its trunk hangs up, and its leg never end.
    let own = if loopback {
        // Else the leg's channel, and with it its id, goes as soon as the trunk is joined.
        variables.push(("loopback_bowout", "false"));
        variables.push(("loopback_bowout_on_execute", "false"));
        held
    } else {
        variables.extend(held);
        Vec::new()
    };
    Ok(format!(
        "bgapi {}\nJob-UUID: {leg}",
        originate(&variables, &placement.dial.0, &own)?
    ))
}

pub(super) fn join(callee: Uuid, agent: Uuid) -> String {
    format!("api uuid_bridge {callee} {agent}")
}

/// Has the callee held for a while, should it ever be left by whom it talks with. `park` forgets both as it begins.
pub(super) fn hold_once_left(callee: Uuid) -> String {
    let [(held, yes), _] = HELD;
    let (limit, seconds) = UNTAKEN;
    format!("api uuid_setvar_multi {callee} {held}={yes};{limit}={seconds}")
}

pub(super) fn exists(leg: Uuid) -> String {
    format!("api uuid_exists {leg}")
}

pub(super) fn hang_up(leg: Uuid) -> String {
    format!("api uuid_kill {leg}")
}

/// Every join adds a line to this variable, and every event of the channel carries all of them.
pub(super) fn forget_history(agent: Uuid) -> String {
    format!("api uuid_setvar {agent} transfer_history")
}

pub(super) fn mark_recording(callee: Uuid, name: &str) -> String {
    format!("api uuid_setvar {callee} paceline_recording {name}")
}

/// Where a recording is kept: `name` is letters, digits, `-` and `_`.
pub(super) fn recording_path(folder: &str, name: &str) -> Option<String> {
    let plain = !name.is_empty()
        && name.len() <= 128
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let path = format!("{}/{name}.wav", folder.trim_end_matches('/'));
    (plain && argument(&path).is_ok()).then_some(path)
}

pub(super) fn record(callee: Uuid, path: &str) -> String {
    format!("api uuid_record {callee} start {path}")
}

pub(super) fn stop_recording(callee: Uuid, path: &str) -> String {
    format!("api uuid_record {callee} stop {path}")
}

/// The file or stream that a media reference means: `sound:NAME` is `NAME.wav` among the switch's sounds, or at that path.
pub(super) fn media(sounds: &str, reference: &str) -> Option<String> {
    let path = match reference.strip_prefix("sound:") {
        Some(path) if path.starts_with('/') => format!("{path}.wav"),
        Some(name) => format!("{}/{name}.wav", sounds.trim_end_matches('/')),
        None => reference.to_owned(),
    };
    // `application::argument` would be carried out, not played.
    (argument(&path).is_ok() && !path.contains("::")).then_some(path)
}

/// Whether that is a file, whose presence can be asked for.
pub(super) fn is_file(media: &str) -> bool {
    !media.contains("://")
}

pub(super) fn file_exists(path: &str) -> String {
    format!("api file_exists {path}")
}

/// Plays something to both ends of a conversation.
pub(super) fn play_to_both(callee: Uuid, media: &str) -> String {
    format!("api uuid_broadcast {callee} {media} both")
}

/// Plays a file to a parked leg, at once: `uuid_broadcast` takes 0.1 to 0.4 s to begin there, and from a leg that was
/// answered just now it has not come to an end for 20 s.
pub(super) fn play(leg: Uuid, path: &str) -> String {
    format!("sendmsg {leg}\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: {path}")
}

pub(super) fn stop_playing(leg: Uuid) -> String {
    format!("api uuid_break {leg} all")
}

/// The variable of the switch that says who drives the channels marked with `app`.
pub(super) fn owner_variable(app: &str) -> String {
    format!("paceline_owner_{app}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_names_everything_that_the_switch_must_keep() {
        let leg = Uuid::from_u128(7);
        let dial = DialString("sofia/gateway/carrier/+12025550123".to_owned());
        let placement = Placement {
            leg,
            side: Side::Callee,
            dial: &dial,
            caller_id: Some("+12025550100"),
            ring_timeout: Duration::from_millis(2500),
            duration_max: Duration::from_secs(3600),
        };
        insta::assert_snapshot!(place("paceline", &placement).unwrap(), @r"
        bgapi originate {origination_uuid=00000000-0000-0000-0000-000000000007,paceline_app=paceline,paceline_leg=00000000-0000-0000-0000-000000000007,paceline_side=callee,originate_timeout=4,ignore_early_media=true,execute_on_answer=sched_hangup::+3600\\\\sALLOTTED_TIMEOUT,origination_caller_id_number=+12025550100,origination_caller_id_name=+12025550100,park_after_bridge=true,hangup_after_bridge=false,park_timeout=13:ALLOTTED_TIMEOUT}sofia/gateway/carrier/+12025550123 &park()
        Job-UUID: 00000000-0000-0000-0000-000000000007
        ");
        let agent = Placement {
            side: Side::Agent,
            caller_id: None,
            dial: &DialString("loopback/7001/office".to_owned()),
            ..placement
        };
        let text = place("paceline", &agent).unwrap();
        assert!(text.contains(",ignore_early_media=ring_ready,"));
        assert!(text.contains(",send_silence_when_idle=-1,") && text.contains(",loopback_bowout=false,"));
        let own =
            "}loopback/7001/office set:park_after_bridge=true,set:hangup_after_bridge=false,park inline\n";
        assert!(text.contains(own), "{text}");
        assert!(!text.contains("caller_id") && !text.contains("park_timeout"));
        let routed = Placement {
            dial: &DialString("loopback/+12025550123/office".to_owned()),
            ..placement
        };
        // On the leg alone: its far half is not parked.
        let own = "office set:park_after_bridge=true,set:hangup_after_bridge=false,set:park_timeout=13:ALLOTTED_TIMEOUT,park inline";
        assert!(place("paceline", &routed).unwrap().contains(own));
        for bad in ["sofia/gateway/a/1\nb", "a b", "a,b", "a|b", "{x=1}a", ""] {
            let placement = Placement {
                dial: &DialString(bad.to_owned()),
                ..agent
            };
            assert!(place("paceline", &placement).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_media_that_are_more_than_a_word_are_refused() {
        assert_eq!(
            recording_path("/var/rec/", "a-1_b").as_deref(),
            Some("/var/rec/a-1_b.wav")
        );
        assert_eq!(recording_path("/var/rec", "../b"), None);
        assert_eq!(recording_path("/var/my rec", "b"), None);
        assert_eq!(
            media("/usr/sounds", "sound:message").as_deref(),
            Some("/usr/sounds/message.wav")
        );
        assert_eq!(
            media("", "tone_stream://%(200,0,1000)").as_deref(),
            Some("tone_stream://%(200,0,1000)")
        );
        assert_eq!(
            media("/usr/sounds", "sound:/var/sorry").as_deref(),
            Some("/var/sorry.wav")
        );
        for bad in ["a b", "a\nb", "", "${x}", "'a'", "system::reboot"] {
            assert_eq!(media("/usr/sounds", bad), None, "{bad}");
        }
    }
}
