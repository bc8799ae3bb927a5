//! Asterisk's configuration files. The constant ones are in the folder `files/`.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{AsteriskPorts, Options};
use crate::{LabError, Result};

/// The file for `asterisk -C`.
pub(super) fn main_file(folder: &Path) -> PathBuf {
    folder.join("etc/asterisk.conf")
}

/// Writes all files below `folder`. `unpacked` is the folder with the packages that `scripts/tools` unpacked.
pub(super) fn write(
    folder: &Path,
    unpacked: &Path,
    options: &Options,
    ports: AsteriskPorts,
    password: &str,
) -> Result<()> {
    for name in [
        "etc",
        "lib",
        "db",
        "keys",
        "agi",
        "spool/recording",
        "run",
        "log",
        "data",
    ] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(LabError::file("make", &path))?;
    }
    // The sounds and the data folder are ours; the rest of the data folder is from the package.
    for name in ["documentation", "rest-api"] {
        let link = folder.join("data").join(name);
        symlink(unpacked.join("data").join(name), &link).map_err(LabError::file("link", &link))?;
    }
    let modules = unpacked.join("modules");
    let files = [
        ("asterisk.conf", asterisk_conf(folder, &modules)),
        ("modules.conf", modules_conf(&modules)),
        ("http.conf", http_conf(ports)),
        (
            "ari.conf",
            format!("[general]\nenabled = yes\n\n[paceline]\ntype = user\npassword = {password}\n"),
        ),
        ("manager.conf", manager_conf(ports, password)),
        ("pjsip.conf", pjsip_conf(options, ports)),
        (
            "rtp.conf",
            format!(
                "[general]\nrtpstart = {}\nrtpend = {}\n",
                ports.rtp_first, ports.rtp_last
            ),
        ),
        (
            "musiconhold.conf",
            format!(
                "[default]\nmode = files\ndirectory = {}\n",
                folder.join("moh").display()
            ),
        ),
        (
            "logger.conf",
            "[general]\n[logfiles]\nmessages => notice,warning,error\n".to_owned(),
        ),
        (
            "extensions.conf",
            include_str!("files/extensions.conf").to_owned(),
        ),
        (
            "indications.conf",
            include_str!("files/indications.conf").to_owned(),
        ),
        ("amd.conf", include_str!("files/amd.conf").to_owned()),
        ("cdr.conf", "[general]\nenable = no\n".to_owned()),
    ];
    for (name, text) in &files {
        append(folder, name, text)?;
    }
    // Modules complain about missing files; empty files are enough for them.
    for name in [
        "acl",
        "ccss",
        "cel",
        "confbridge",
        "features",
        "pjproject",
        "pjsip_wizard",
        "queues",
        "queuerules",
    ] {
        append(folder, &format!("{name}.conf"), "")?;
    }
    for name in [
        "sorcery",
        "stasis",
        "udptl",
        "websocket_client",
        "codecs",
        "dnsmgr",
        "agents",
    ] {
        append(folder, &format!("{name}.conf"), "")?;
    }
    for (name, text) in &options.append {
        append(folder, name, text)?;
    }
    Ok(())
}

fn append(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join("etc").join(name);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(LabError::file("write", &path))
}

fn asterisk_conf(folder: &Path, modules: &Path) -> String {
    let folder = folder.display();
    let modules = modules.display();
    format!(
        "[directories]\n\
         astetcdir => {folder}/etc\n\
         astmoddir => {modules}\n\
         astvarlibdir => {folder}/lib\n\
         astdbdir => {folder}/db\n\
         astkeydir => {folder}\n\
         astdatadir => {folder}/data\n\
         astagidir => {folder}/agi\n\
         astspooldir => {folder}/spool\n\
         astrundir => {folder}/run\n\
         astlogdir => {folder}/log\n\
         astsbindir => {folder}\n\
         [options]\n\
         nocolor = yes\n\
         [files]\n\
         astctl = ctl\n"
    )
}

/// Loads the modules for calls, ARI and AMI that this version has; about 120.
fn modules_conf(modules: &Path) -> String {
    let mut text = "[modules]\nautoload = no\n".to_owned();
    for module in include_str!("files/modules").split_whitespace() {
        if modules.join(format!("{module}.so")).is_file() {
            let _ = writeln!(text, "load = {module}.so");
        }
    }
    text
}

fn http_conf(ports: AsteriskPorts) -> String {
    // The limit counts open connections. A client with a connection pool has many under load; the default is 100.
    format!(
        "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nbindport = {}\nsessionlimit = 1000\n",
        ports.http
    )
}

fn manager_conf(ports: AsteriskPorts, password: &str) -> String {
    format!(
        "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = {}\n\n\
         [paceline]\nsecret = {password}\nread = system,call,agent,reporting\nwrite = reporting\n",
        ports.ami
    )
}

fn pjsip_conf(options: &Options, ports: AsteriskPorts) -> String {
    let AsteriskPorts { sip, dead, .. } = ports;
    let carrier = options.carrier_port.unwrap_or(dead);
    let phones = options.phones_port.unwrap_or(dead);
    let (qualify, rtp_timeout) = (options.qualify_s, options.rtp_timeout_s);
    // A dead trunk fails after timer B: 6.4 s here, 32 s by default.
    let mut text = format!(
        "[system]\ntype = system\ntimer_t1 = 100\ntimer_b = 6400\n\n\
         [global]\ntype = global\nmax_initial_qualify_time = 1\n\n\
         [udp]\ntype = transport\nprotocol = udp\nbind = 127.0.0.1:{sip}\n\n\
         [endpoint](!)\ntype = endpoint\ntransport = udp\ndisallow = all\nallow = ulaw\ndirect_media = no\n\n\
         [trunk](!,endpoint)\ncontext = from-trunk\n\n\
         [carrier](trunk)\naors = carrier\n[carrier]\ntype = aor\ncontact = sip:127.0.0.1:{carrier}\n\n\
         [dead](trunk)\naors = dead\n[dead]\ntype = aor\ncontact = sip:127.0.0.1:{dead}\n\n\
         [agent](!,endpoint)\ncontext = from-internal\ndevice_state_busy_at = 1\ncall_group = 1\npickup_group = 1\n\
         rtp_timeout = {rtp_timeout}\n\n"
    );
    for agent in 1..=options.agents {
        let _ = write!(
            text,
            "[agent-{agent}](agent)\naors = agent-{agent}\n\
             [agent-{agent}]\ntype = aor\ncontact = sip:agent-{agent}@127.0.0.1:{phones}\n\
             qualify_frequency = {qualify}\nqualify_timeout = 1.0\n"
        );
    }
    text
}
