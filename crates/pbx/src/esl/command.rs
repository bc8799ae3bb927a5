//! Commands as text. Input: ids and settings. Output: the text for the Event Socket, without its final empty line. Pure.

use super::leg::Side;
use paceline_core::pbx::{CallerId, DialString, RecordingName, Sound};
use paceline_esl::{Unquotable, argument, originate};
use std::time::Duration;
use uuid::Uuid;

/// If the other party leaves a conversation, the PBX parks this leg instead of hanging it up.
const HELD: [(&str, &str); 2] = [("park_after_bridge", "true"), ("hangup_after_bridge", "false")];
/// The PBX itself ends a parked callee after this many seconds, with this cause. The longest connect limit is shorter (10 s).
/// At that limit Paceline hangs up the callee or plays it a message, which the PBX plays to its end. The PBX counts a second that
/// has begun as a whole one.
const UNTAKEN: (&str, &str) = ("park_timeout", "13:ALLOTTED_TIMEOUT");

/// The parameters of an originate.
pub(super) struct Placement<'a> {
    pub(super) leg: Uuid,
    pub(super) side: Side,
    pub(super) dial: &'a DialString,
    pub(super) caller_id: Option<&'a CallerId>,
    pub(super) ring_timeout: Duration,
    pub(super) duration_max: Duration,
}

/// True if the call goes through the PBX's own dialplan, as two channels back to back.
pub(super) fn is_loopback(dial: &DialString) -> bool {
    dial.expose().starts_with("loopback/")
}

fn seconds_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
        .max(1)
}

/// Places a leg. The PBX parks it after its answer. The id of the background job is the id of the leg.
pub(super) fn place(app: &str, placement: &Placement<'_>) -> Result<String, Unquotable> {
    let leg = placement.leg.to_string();
    // The PBX counts a second that has begun as a whole one: a timeout of 2 s fired after 1.03 s. One more second ensures that no
    // phone rings for less than the ring timeout.
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
        // Otherwise a 183 counts as an answer. The far half of a loopback has this variable, too, and `true` would make it keep
        // a 183 from the leg.
        ("ignore_early_media", if loopback { "ring_ready" } else { "true" }),
        // Not `execute_on_answer`: that application may run after the leg was parked, and then the leg does not look parked.
        ("api_on_answer", &limit),
    ];
    if let Some(number) = placement.caller_id.map(CallerId::as_str) {
        variables.push(("origination_caller_id_number", number));
        variables.push(("origination_caller_id_name", number));
    }
    match placement.side {
        // The PBX sends no audio to a parked leg, and some phones hang up after 30 s without RTP.
        Side::Agent => variables.push(("send_silence_when_idle", "-1")),
        // Otherwise the key `*` breaks off the message and the announcement.
        Side::Callee => variables.push(("playback_terminators", "none")),
    }
    let mut held = HELD.to_vec();
    match placement.side {
        // If the callee's end sends no audio during the conversation, the agent's phone may hang up, too.
        Side::Callee => held.extend([UNTAKEN, ("bridge_generate_comfort_noise", "-1")]),
        Side::Agent => {}
    }
    // In braces, these variables also reach the far half of a loopback. It would be held when its trunk hangs up, and the leg
    // would never end.
    let own = if loopback {
        // Otherwise the leg's channel, and with it the leg's id, is gone as soon as the PBX joins the trunk's channel.
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

/// Makes the PBX park the callee, for a limited time, if the other party ends during the conversation or during the join. Without
/// the third variable, the PBX hangs up a callee whose other party ends during the join. `park` clears the first two when it begins.
pub(super) fn hold_once_left(callee: Uuid) -> String {
    let [(held, yes), _] = HELD;
    let (limit, seconds) = UNTAKEN;
    format!("api uuid_setvar_multi {callee} {held}={yes};{limit}={seconds};uuid_bridge_park_on_cancel=true")
}

/// Asks for the state of a leg, and whether the other channel of its conversation exists.
pub(super) fn whom_with(leg: Uuid) -> String {
    format!("api eval uuid:{leg} ${{channel-state}} ${{uuid_exists(${{variable_bridge_uuid}})}}")
}

/// True if [`whom_with`] printed that the other channel is gone. The other states prove nothing: a leg in the dialplan, or in a
/// conversation whose audio bypasses the PBX, need not have another channel.
pub(super) fn is_with_nobody(printed: &str) -> bool {
    matches!(
        printed.trim(),
        "CS_RESET false" | "CS_SOFT_EXECUTE false" | "CS_EXCHANGE_MEDIA false"
    )
}

/// True if [`whom_with`] printed that the leg is parked.
pub(super) fn is_parked(printed: &str) -> bool {
    let state = printed.split_whitespace().next();
    matches!(state, Some("CS_PARK" | "CS_EXECUTE"))
}

/// True if [`whom_with`] printed that the leg is on its way into a conversation.
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

/// Asks for the latest SDP of the far end.
pub(super) fn far_description(leg: Uuid) -> String {
    format!("api uuid_getvar {leg} switch_r_sdp")
}

/// Asks, in one command, how many audio packets have come from each leg. The PBX prints `LEG … COUNT;` for each.
pub(super) fn count_packets(legs: &[Uuid]) -> String {
    let mut text = "api eval ".to_owned();
    for leg in legs {
        let count = format!("${{uuid_getvar({leg} rtp_audio_in_media_packet_count)}}");
        text.push_str(&format!("{leg} ${{uuid_set_media_stats({leg})}}{count};"));
    }
    text
}

/// Reads the output of [`count_packets`]. A channel that is gone, or has no RTP, has no number and is skipped.
pub(super) fn packets_counted(printed: &str) -> impl Iterator<Item = (Uuid, u64)> {
    printed.split(';').filter_map(|part| {
        let mut words = part.split_whitespace();
        let leg = Uuid::try_parse(words.next()?).ok()?;
        Some((leg, words.last()?.parse().ok()?))
    })
}

/// Clears the variable to which every join adds a line. Every event of the channel carries all these lines.
pub(super) fn forget_history(agent: Uuid) -> String {
    format!("api uuid_setvar {agent} transfer_history")
}

pub(super) fn mark_recording(callee: Uuid, name: &str) -> String {
    format!("api uuid_setvar {callee} paceline_recording {name}")
}

/// Without a value, `uuid_setvar` removes the variable.
pub(super) fn unmark_recording(callee: Uuid) -> String {
    format!("api uuid_setvar {callee} paceline_recording")
}

/// The path of a recording's file on the PBX. `None` if the name is not a [`RecordingName`], or if the path is not one plain word of
/// a command.
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

/// The path of a sound's WAV file on the PBX. `sounds` is the PBX's `sounds_dir`; a sound that is an absolute path does not use it.
/// `None` if the path is not one plain word of a command, or if FreeSWITCH would execute it instead of playing it.
pub fn sound_file(sounds: &str, sound: &Sound) -> Option<String> {
    let name = sound.as_str().trim_start_matches("sound:");
    let path = if name.starts_with('/') {
        format!("{name}.wav")
    } else {
        format!("{}/{name}.wav", sounds.trim_end_matches('/'))
    };
    // FreeSWITCH executes `application::argument` instead of playing it.
    (argument(&path).is_ok() && !path.contains("::")).then_some(path)
}

pub(super) fn file_exists(path: &str) -> String {
    format!("api file_exists {path}")
}

/// Plays a file to both legs of a conversation.
pub(super) fn play_to_both(callee: Uuid, media: &str) -> String {
    format!("api uuid_broadcast {callee} {media} both")
}

/// Plays a file to a parked leg at once. `uuid_broadcast` takes 0.1 to 0.4 s to begin there, and on a leg that had just been
/// answered it did not end within 20 s.
pub(super) fn play(leg: Uuid, path: &str) -> String {
    format!("sendmsg {leg}\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: {path}")
}

pub(super) fn stop_playing(leg: Uuid) -> String {
    format!("api uuid_break {leg} all")
}

/// Asks for the owner of the channels of `app`, as a background job. The job's event has the PBX's time, and it proves that the PBX
/// is alive.
pub(super) fn ping(app: &str, job: Uuid) -> String {
    format!("bgapi global_getvar {}\nJob-UUID: {job}", owner_variable(app))
}

/// The global variable of the PBX that names the owner: the link that drives the channels of `app`.
pub(super) fn owner_variable(app: &str) -> String {
    format!("paceline_owner_{app}")
}

/// The global variable of the PBX that the owner changes with every ping.
pub(super) fn alive_variable(app: &str) -> String {
    format!("paceline_alive_{app}")
}

/// Shows other installations that the owner is alive.
pub(super) fn show_life(app: &str, ping: Uuid) -> String {
    format!("api global_setvar {}={ping}", alive_variable(app))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_names_everything_that_the_pbx_must_keep() {
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
        bgapi originate {origination_uuid=00000000-0000-0000-0000-000000000007,paceline_app=paceline,paceline_leg=00000000-0000-0000-0000-000000000007,paceline_side=callee,originate_timeout=4,ignore_early_media=true,api_on_answer=sched_hangup\\\\s+3600\\\\s00000000-0000-0000-0000-000000000007\\\\sALLOTTED_TIMEOUT,origination_caller_id_number=+12025550100,origination_caller_id_name=+12025550100,playback_terminators=none,park_after_bridge=true,hangup_after_bridge=false,park_timeout=13:ALLOTTED_TIMEOUT,bridge_generate_comfort_noise=-1}sofia/gateway/carrier/+12025550123 &park()
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
        // These are set on the leg alone, because its far half is not parked.
        let own = "office set:park_after_bridge=true,set:hangup_after_bridge=false,set:park_timeout=13:ALLOTTED_TIMEOUT,set:bridge_generate_comfort_noise=-1,park inline";
        assert!(place("paceline", &routed).unwrap().contains(own));
    }

    proptest::proptest! {
        /// Any stored trunk and caller id give one line, in which FreeSWITCH reads each value as one value and nothing else.
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
