//! Parses the output of FreeSWITCH and dial strings. Input: text. Output: values, or nothing if the text is not understood.
//! It does no I/O.

use super::{Room, SocketSettings};
use std::collections::BTreeMap;

/// The target of a dial string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Target<'d> {
    Gateway(&'d str),
    Profile(&'d str),
    /// The user, and the domain if the dial string names one.
    User(&'d str, Option<&'d str>),
    Context(&'d str),
    Other,
}

/// Finds the target of a dial string.
pub(in crate::doctor) fn target_of(dial: &str) -> Target<'_> {
    // An agent of mod_callcenter may have variables before it.
    let dial = match (dial.starts_with('['), dial.rsplit_once(']')) {
        (true, Some((_, dial))) => dial,
        _ => dial,
    };
    let mut parts = dial.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("sofia"), Some("gateway"), Some(gateway)) => Target::Gateway(gateway),
        (Some("sofia"), Some(profile), _) => Target::Profile(profile),
        (Some("user"), Some(user), _) => match user.split_once('@') {
            Some((user, domain)) => Target::User(user, Some(domain)),
            None => Target::User(user, None),
        },
        (Some("loopback"), Some(_), context) => Target::Context(context.unwrap_or("default")),
        _ => Target::Other,
    }
}

pub(super) enum SofiaLine<'l> {
    Profile(&'l str, &'l str),
    /// Its profile, its name, its state.
    Gateway(&'l str, &'l str, &'l str),
}

/// A row of `sofia status`: name, type, address, state.
pub(super) fn sofia_line(line: &str) -> Option<SofiaLine<'_>> {
    let mut words = line.split_whitespace();
    let (name, kind, address, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
    match kind {
        // The last line of all: `1 profile 0 aliases`.
        _ if !address.contains(':') => None,
        "profile" => Some(SofiaLine::Profile(name, state)),
        "gateway" => {
            let (profile, name) = name.split_once("::")?;
            Some(SofiaLine::Gateway(profile, name, state))
        }
        _ => None,
    }
}

/// A line `NAME  <tab> value`.
pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// `PCMU@8000h@20i,PCMA` as `PCMU`, `PCMA`.
pub(super) fn codec_list(text: &str) -> Vec<String> {
    let codecs = text
        .split(',')
        .map(|codec| codec.split('@').next().unwrap_or(codec).trim());
    codecs
        .filter(|codec| !codec.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(super) fn codec_names(json: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Codecs {
        #[serde(default)]
        rows: Vec<Row>,
    }
    #[derive(serde::Deserialize)]
    struct Row {
        name: String,
    }
    let codecs: Option<Codecs> = serde_json::from_str(json).ok();
    let rows = codecs.map(|codecs| codecs.rows).unwrap_or_default();
    rows.into_iter().map(|row| row.name).collect()
}

/// Reads the channels and their limits from the output of `status`. `None`: one of the three is missing.
pub(super) fn room(status: &str) -> Option<Room> {
    let number = |words: &str| words.split_whitespace().next_back()?.parse::<u64>().ok();
    let mut found = (None, None, None);
    for line in status.lines() {
        if let Some((before, _)) = line.split_once(" session(s) max") {
            found.0 = number(before);
        } else if let Some((_, after)) = line.split_once("per Sec out of max ") {
            found.2 = after.split(',').next().and_then(number);
        } else if let Some((before, _)) = line.split_once(" session(s) - peak") {
            found.1 = number(before);
        }
    }
    Some(Room {
        channels_max: found.0?,
        channels: found.1?,
        per_second_max: found.2?,
    })
}

/// Time without audio, in milliseconds, after which the leg of this dial string ends: `[media_timeout=60000]sofia/…`.
pub(super) fn media_timeout(dial: &str) -> Option<u64> {
    let (_, after) = dial.split_once("media_timeout=")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The part of sofia.conf that configures this profile. `None`: there is no such profile.
pub(super) fn profile_of<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, after) = xml.split_once(&format!("<profile name=\"{name}\""))?;
    after.split("</profile>").next()
}

/// A table of mod_callcenter: a header, rows, `+OK`, columns split by `|`.
pub(super) fn table(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split('|').collect();
    lines
        .take_while(|line| !line.starts_with("+OK"))
        .map(|line| header.iter().copied().zip(line.split('|')).collect())
        .collect()
}

pub(super) fn cell<'t>(row: &BTreeMap<&str, &'t str>, column: &str) -> &'t str {
    row.get(column).copied().unwrap_or_default()
}

impl SocketSettings {
    pub(super) fn read(xml: &str, ours: &str) -> Option<Self> {
        let mut parameters = parameters(xml);
        if parameters.is_empty() {
            return None;
        }
        let password = parameters.remove("password").unwrap_or_default();
        Some(Self {
            password_known: password.is_empty() || password == "ClueCon",
            password_ours: password == ours,
            parameters,
        })
    }
}

/// Every `<param name="…" value="…"/>` outside comments.
pub(in crate::doctor) fn parameters(xml: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once('<') {
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        rest = after;
        if let Some(tag) = tag.strip_prefix("param ")
            && let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value"))
        {
            found.insert(name, value);
        }
    }
    found
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, after) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = after.split_once('"')?;
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let mut value = value.to_owned();
    for (entity, char) in entities {
        value = value.replace(entity, char);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_string_says_where_it_leads() {
        for (dial, target) in [
            ("sofia/gateway/carrier/{number}", Target::Gateway("carrier")),
            ("sofia/internal/{number}@10.0.0.1", Target::Profile("internal")),
            ("user/7001", Target::User("7001", None)),
            ("user/7001@office", Target::User("7001", Some("office"))),
            (
                "[leg_timeout=10]user/7001@office",
                Target::User("7001", Some("office")),
            ),
            ("loopback/{number}/routes", Target::Context("routes")),
            ("loopback/{number}", Target::Context("default")),
            ("verto.rtc/7001", Target::Other),
        ] {
            assert_eq!(target_of(dial), target, "{dial}");
        }
    }

    #[test]
    fn settings_are_read_without_comments_and_the_password_is_not_kept() {
        let xml = "<configuration><settings><!-- <param name=\"listen-ip\" value=\"0.0.0.0\"/> -->\n\
                   <param name=\"listen-ip\" value=\"127.0.0.1\"></param>\n\
                   <param name=\"password\" value=\"a&lt;b&amp;c\"/></settings></configuration>";
        let settings = SocketSettings::read(xml, "a<b&c").unwrap();
        assert!(settings.password_ours && !settings.password_known);
        assert_eq!(
            settings.parameters,
            BTreeMap::from([("listen-ip".to_owned(), "127.0.0.1".to_owned())])
        );
        assert_eq!(SocketSettings::read("can't find anything", ""), None);
    }

    #[test]
    fn the_output_of_a_freeswitch_is_parsed() {
        let status = "UP 0 years\nFreeSWITCH (Version 1.11.3-dev) is ready\n12 session(s) since startup\n\
                      3 session(s) - peak 4, last 5min 4 \n0 session(s) per Sec out of max 30, peak 1, last 5min 0 \n\
                      2000 session(s) max\nmin idle cpu 0.00/96.60";
        let expected = Room {
            channels_max: 2000,
            channels: 3,
            per_second_max: 30,
        };
        assert_eq!(room(status), Some(expected));
        assert_eq!(room("-ERR"), None);
        assert_eq!(
            field(
                "Name    \tlab\nCODECS OUT       \tPCMU,PCMA@8000h\n",
                "CODECS OUT"
            ),
            Some("PCMU,PCMA@8000h")
        );
        assert_eq!(codec_list("PCMU,PCMA@8000h@20i"), ["PCMU", "PCMA"]);
        let rows = table("queue|agent|state\nsales@lab|anna|Ready\n+OK");
        assert_eq!((rows.len(), cell(&rows[0], "agent")), (1, "anna"));
    }
}
