//! Commands as text. In: ids and settings. Out: what is written to the Event Socket, without its final empty line. Pure.

use super::leg::Side;
use paceline_core::pbx::{CallerId, DialString, RecordingName, Sound};
use paceline_esl::{Unquotable, argument, originate};
use std::time::Duration;
use uuid::Uuid;

/// Whoever is left by the other is held, not hung up.
const HELD: [(&str, &str); 2] = [("park_after_bridge", "true"), ("hangup_after_bridge", "false")];
/// How long the PBX itself holds a callee with whom nobody talks, in seconds, and what it ends it for. Longer than the longest
/// connect limit, after which we end it, or play it a message that the PBX plays to its end; it counts seconds that begin.
const UNTAKEN: (&str, &str) = ("park_timeout", "13:ALLOTTED_TIMEOUT");

/// What a leg needs in order to be placed.
pub(super) struct Placement<'a> {
    pub(super) leg: Uuid,
    pub(super) side: Side,
    pub(super) dial: &'a DialString,
    pub(super) caller_id: Option<&'a CallerId>,
    pub(super) ring_timeout: Duration,
    pub(super) duration_max: Duration,
}

/// Whether that goes through the PBX's own dialplan, as two channels back to back.
pub(super) fn is_loopback(dial: &DialString) -> bool {
    dial.expose().starts_with("loopback/")
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
        "sched_hangup +{} {leg} ALLOTTED_TIMEOUT",
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
        // Not `execute_on_answer`: that may run once the leg is parked, which then does not look parked any more.
        ("api_on_answer", &limit),
    ];
    if let Some(number) = placement.caller_id.map(CallerId::as_str) {
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
        // An agent's phone may hang up too where a callee's sends nothing.
        Side::Callee => held.extend([UNTAKEN, ("bridge_generate_comfort_noise", "-1")]),
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
        originate(&variables, placement.dial.expose(), &own)?
    ))
}

pub(super) fn join(callee: Uuid, agent: Uuid) -> String {
    format!("api uuid_bridge {callee} {agent}")
}

/// Has the callee held for a while, should it ever be left by whom it talks with, or is about to: without the third it is hung up
/// where the other one ends while the two are being joined. `park` forgets the others as it begins.
pub(super) fn hold_once_left(callee: Uuid) -> String {
    let [(held, yes), _] = HELD;
    let (limit, seconds) = UNTAKEN;
    format!("api uuid_setvar_multi {callee} {held}={yes};{limit}={seconds};uuid_bridge_park_on_cancel=true")
}

/// Asks what a leg does, and whether the other side of its conversation is there.
pub(super) fn whom_with(leg: Uuid) -> String {
    format!("api eval uuid:{leg} ${{channel-state}} ${{uuid_exists(${{variable_bridge_uuid}})}}")
}

/// Whether [`whom_with`] printed that the other side is gone. In the dialplan, and in a conversation whose audio passes the PBX by,
/// there need not be one.
pub(super) fn is_with_nobody(printed: &str) -> bool {
    matches!(
        printed.trim(),
        "CS_RESET false" | "CS_SOFT_EXECUTE false" | "CS_EXCHANGE_MEDIA false"
    )
}

/// Whether [`whom_with`] printed that the leg is parked.
pub(super) fn is_parked(printed: &str) -> bool {
    let state = printed.split_whitespace().next();
    matches!(state, Some("CS_PARK" | "CS_EXECUTE"))
}

/// Whether [`whom_with`] printed that the leg is on the way into a conversation.
pub(super) fn is_between(printed: &str) -> bool {
    let state = printed.split_whitespace().next();
    matches!(state, Some("CS_HIBERNATE" | "CS_RESET" | "CS_SOFT_EXECUTE"))
}

pub(super) fn park(leg: Uuid) -> String {
    format!("api uuid_park {leg}")
}

pub(super) fn exists(leg: Uuid) -> String {
    format!("api uuid_exists {leg}")
}

pub(super) fn hang_up(leg: Uuid) -> String {
    format!("api uuid_kill {leg}")
}

/// What the far end last said of its audio.
pub(super) fn far_description(leg: Uuid) -> String {
    format!("api uuid_getvar {leg} switch_r_sdp")
}

/// How many audio packets have come from each of them, in one command: `LEG … COUNT;`.
pub(super) fn count_packets(legs: &[Uuid]) -> String {
    let mut text = "api eval ".to_owned();
    for leg in legs {
        let count = format!("${{uuid_getvar({leg} rtp_audio_in_media_packet_count)}}");
        text.push_str(&format!("{leg} ${{uuid_set_media_stats({leg})}}{count};"));
    }
    text
}

/// What [`count_packets`] printed. Of a channel that is gone, or has no audio of its own, there is no number.
pub(super) fn packets_counted(printed: &str) -> impl Iterator<Item = (Uuid, u64)> {
    printed.split(';').filter_map(|part| {
        let mut words = part.split_whitespace();
        let leg = Uuid::try_parse(words.next()?).ok()?;
        Some((leg, words.last()?.parse().ok()?))
    })
}

/// Every join adds a line to this variable, and every event of the channel carries all of them.
pub(super) fn forget_history(agent: Uuid) -> String {
    format!("api uuid_setvar {agent} transfer_history")
}

pub(super) fn mark_recording(callee: Uuid, name: &str) -> String {
    format!("api uuid_setvar {callee} paceline_recording {name}")
}

/// Where a recording is kept, unless the folder, which the PBX tells, or the name is no plain path.
pub(super) fn recording_path(folder: &str, name: &str) -> Option<String> {
    let name = RecordingName::new(name).ok()?;
    let path = format!("{}/{}.wav", folder.trim_end_matches('/'), name.as_str());
    argument(&path).is_ok().then_some(path)
}

pub(super) fn record(callee: Uuid, path: &str) -> String {
    format!("api uuid_record {callee} start {path}")
}

pub(super) fn stop_recording(callee: Uuid, path: &str) -> String {
    format!("api uuid_record {callee} stop {path}")
}

/// The file of a sound, among the PBX's sounds or at its path, unless the folder, which the PBX tells, is no plain path.
pub fn sound_file(sounds: &str, sound: &Sound) -> Option<String> {
    let name = sound.as_str().trim_start_matches("sound:");
    let path = if name.starts_with('/') {
        format!("{name}.wav")
    } else {
        format!("{}/{name}.wav", sounds.trim_end_matches('/'))
    };
    // `application::argument` would be carried out, not played.
    (argument(&path).is_ok() && !path.contains("::")).then_some(path)
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

/// Asks who drives the channels marked with `app`, as a job: the PBX writes the time into its event, and shows that it lives.
pub(super) fn ping(app: &str, job: Uuid) -> String {
    format!("bgapi global_getvar {}\nJob-UUID: {job}", owner_variable(app))
}

/// The variable of the PBX that says who drives the channels marked with `app`.
pub(super) fn owner_variable(app: &str) -> String {
    format!("paceline_owner_{app}")
}

/// The variable of the PBX that the owner changes with every ping.
pub(super) fn alive_variable(app: &str) -> String {
    format!("paceline_alive_{app}")
}

/// Shows the others that the owner lives.
pub(super) fn show_life(app: &str, ping: Uuid) -> String {
    format!("api global_setvar {}={ping}", alive_variable(app))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_names_everything_that_the_switch_must_keep() {
        let leg = Uuid::from_u128(7);
        let dial = DialString::new("sofia/gateway/carrier/+12025550123").unwrap();
        let caller_id = CallerId::new("+12025550100").unwrap();
        let placement = Placement {
            leg,
            side: Side::Callee,
            dial: &dial,
            caller_id: Some(&caller_id),
            ring_timeout: Duration::from_millis(2500),
            duration_max: Duration::from_secs(3600),
        };
        insta::assert_snapshot!(place("paceline", &placement).unwrap(), @r"
        bgapi originate {origination_uuid=00000000-0000-0000-0000-000000000007,paceline_app=paceline,paceline_leg=00000000-0000-0000-0000-000000000007,paceline_side=callee,originate_timeout=4,ignore_early_media=true,api_on_answer=sched_hangup\\\\s+3600\\\\s00000000-0000-0000-0000-000000000007\\\\sALLOTTED_TIMEOUT,origination_caller_id_number=+12025550100,origination_caller_id_name=+12025550100,park_after_bridge=true,hangup_after_bridge=false,park_timeout=13:ALLOTTED_TIMEOUT,bridge_generate_comfort_noise=-1}sofia/gateway/carrier/+12025550123 &park()
        Job-UUID: 00000000-0000-0000-0000-000000000007
        ");
        let agent = Placement {
            side: Side::Agent,
            caller_id: None,
            dial: &DialString::new("loopback/7001/office").unwrap(),
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
            dial: &DialString::new("loopback/+12025550123/office").unwrap(),
            ..placement
        };
        // On the leg alone: its far half is not parked.
        let own = "office set:park_after_bridge=true,set:hangup_after_bridge=false,set:park_timeout=13:ALLOTTED_TIMEOUT,set:bridge_generate_comfort_noise=-1,park inline";
        assert!(place("paceline", &routed).unwrap().contains(own));
    }

    proptest::proptest! {
        /// Whatever is stored as a trunk and as a caller id: one line, and in the places of the values nothing that is read
        /// as more than a value.
        #[test]
        fn a_placement_holds_one_dial_string_and_nothing_else_that_a_trunk_brought(
            (dial, caller_id) in crate::hostile::trunk(),
        ) {
            let placement = Placement {
                leg: Uuid::from_u128(7),
                side: Side::Callee,
                dial: &dial,
                caller_id: caller_id.as_ref(),
                ring_timeout: Duration::from_secs(20),
                duration_max: Duration::from_secs(60),
            };
            let text = place("paceline", &placement).unwrap();
            let (line, job) = text.split_once('\n').unwrap();
            proptest::prop_assert_eq!(job, "Job-UUID: 00000000-0000-0000-0000-000000000007");
            let (variables, rest) = line.rsplit_once('}').unwrap();
            let ours = if is_loopback(&dial) {
                " set:park_after_bridge=true,set:hangup_after_bridge=false,set:park_timeout=13:ALLOTTED_TIMEOUT,set:bridge_generate_comfort_noise=-1,park inline"
            } else {
                " &park()"
            };
            let told = rest.strip_suffix(ours).unwrap();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+*#".contains(&byte);
            proptest::prop_assert!(told.bytes().all(|byte| plain(byte) || b"/@".contains(&byte)));
            let shown = variables.split(',').find_map(|pair| pair.strip_prefix("origination_caller_id_number="));
            proptest::prop_assert_eq!(shown, caller_id.as_ref().map(CallerId::as_str));
            proptest::prop_assert!(shown.is_none_or(|shown| shown.bytes().all(plain)));
        }
    }

    #[test]
    fn packets_are_counted_only_for_channels_with_rtp() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let printed = format!("{a} +OK:\n45;{b} -ERR No such channel!\n;{c} +OK:\n_undef_;");
        assert_eq!(packets_counted(&printed).collect::<Vec<_>>(), [(a, 45)]);
        let asked = count_packets(&[a, b]);
        assert_eq!(asked.matches("uuid_set_media_stats").count(), 2);
    }

    #[test]
    fn names_and_media_that_are_more_than_a_word_are_refused() {
        assert_eq!(
            recording_path("/var/rec/", "a-1_b").as_deref(),
            Some("/var/rec/a-1_b.wav")
        );
        assert_eq!(recording_path("/var/rec", "../b"), None);
        assert_eq!(recording_path("/var/my rec", "b"), None);
        let file = |folder: &str, sound: &str| sound_file(folder, &Sound::new(sound).unwrap());
        assert_eq!(
            file("/usr/sounds", "sound:message").as_deref(),
            Some("/usr/sounds/message.wav")
        );
        assert_eq!(
            file("/usr/sounds", "sound:/var/sorry").as_deref(),
            Some("/var/sorry.wav")
        );
        for bad in ["a b", "a\nb", "${x}", "'a'", "system::reboot"] {
            assert_eq!(file(bad, "sound:message"), None, "{bad}");
        }
    }
}
