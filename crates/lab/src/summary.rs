//! The description of a lab in the background, as TOML: the section for paceline.toml, and the paths of its files.

use paceline_lab::{Behaviour, Carrier, FreeSwitchLab, Lab, Phones};
use std::path::Path;

/// The description of an Asterisk lab.
pub(crate) fn asterisk(lab: &Lab, password_file: &Path) -> String {
    let asterisk = &lab.asterisk;
    let attach = format!(
        "kind = \"ari\"\nurl = {:?}\nusername = {:?}\npassword_file = {password_file:?}\nagent_dial = \"PJSIP/{{extension}}\"\n\n\
         [pbx.ami]\naddress = \"127.0.0.1:{}\"\nusername = {:?}\npassword_file = {password_file:?}\n",
        asterisk.ari_url(),
        asterisk.user(),
        asterisk.ami_port(),
        asterisk.user(),
    );
    let about = format!(
        "[asterisk]\nversion = \"{:?}\"\nsip_port = {}\nlog = {:?}\nrecordings = {:?}\nsounds = {:?}\n",
        asterisk.version(),
        asterisk.sip_port(),
        asterisk.log_path(),
        asterisk.recordings_dir(),
        asterisk.sounds_dir(),
    );
    let trunks = [
        "PJSIP/{number}@carrier",
        "Local/{number}@from-internal/n",
        "PJSIP/{number}@dead",
    ];
    summary(&attach, &about, trunks, (&lab.carrier, &lab.phones))
}

/// The description of a FreeSWITCH lab.
pub(crate) fn freeswitch(lab: &FreeSwitchLab, password_file: &Path) -> String {
    let freeswitch = &lab.freeswitch;
    let attach = format!(
        "kind = \"esl\"\naddress = {:?}\npassword_file = {password_file:?}\nagent_dial = \"user/{{extension}}\"\n",
        freeswitch.address(),
    );
    let about = format!(
        "[freeswitch]\nsip_port = {}\nlog = {:?}\nrecordings = {:?}\nsounds = {:?}\nconfiguration = {:?}\n",
        freeswitch.ports().sip,
        freeswitch.log_path(),
        freeswitch.recordings_dir(),
        freeswitch.sounds_dir(),
        freeswitch.folder().join("conf"),
    );
    let trunks = [
        "sofia/gateway/carrier/{number}",
        "loopback/{number}/from-internal",
        "sofia/gateway/dead/{number}",
    ];
    summary(&attach, &about, trunks, (&lab.carrier, &lab.phones))
}

fn summary(attach: &str, about: &str, trunks: [&str; 3], (carrier, phones): (&Carrier, &Phones)) -> String {
    let [trunk, routed, dead] = trunks;
    let behaviours: String = Behaviour::TABLE
        .iter()
        .map(|(behaviour, first, last)| {
            format!(
                "# {first:02} to {last:02}: {behaviour:?} ({})\n",
                behaviour.expected_outcome()
            )
        })
        .collect();
    format!(
        "# A lab that `scripts/lab up` started and `scripts/lab down` ends.\n\
         pid = {}\n\n\
         # This is what to write into paceline.toml.\n\
         [[pbx]]\nname = \"lab\"\n{attach}\n\
         {about}\n\
         [carrier]\nsip_port = {}\n\n[phones]\nsip_port = {}\n\n\
         # Dial strings for trunks: direct, over an office's routes, and where nobody answers. Agents' extensions are agent-1\n\
         # and so on.\n\
         [trunks]\ndirect = {trunk:?}\nrouted = {routed:?}\ndead = {dead:?}\n\n\
         # The last two digits of the number dialed choose what the callee does:\n\
         {behaviours}",
        std::process::id(),
        carrier.sip_port(),
        phones.sip_port(),
    )
}
