//! The texts that go to a PBX or come from it, each checked once: nothing in them selects an application, a function, a host or a
//! shell.

use crate::dial::is_dial_string;
use crate::ids::LegId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A dial string as the PBX understands it, such as `PJSIP/+12025550123@carrier`. It has one of the forms of [`crate::dial`].
/// It contains a telephone number, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct DialString(String);

/// Not a [`DialString`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the allowed dial strings: see `dial` in the documentation of trunks")]
pub struct DialStringError;

impl DialString {
    /// Checks a dial string.
    ///
    /// # Errors
    /// [`DialStringError`].
    pub fn new(text: &str) -> Result<Self, DialStringError> {
        if is_dial_string(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DialStringError)
        }
    }

    /// Wraps the text that a template has rendered from checked parts.
    pub(crate) fn checked(text: String) -> Self {
        debug_assert!(is_dial_string(&text));
        Self(text)
    }

    /// As the PBX is told.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DialString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialString(redacted)")
    }
}

/// The number that the callee sees, as the PBX takes it: 1 to 64 letters, digits, `+`, `*`, `#`, `-`, `_` or `.`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallerId(String);

/// Not a [`CallerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller id is 1 to 64 letters, digits, `+`, `*`, `#`, `-`, `_` or `.`")]
pub struct CallerIdError;

impl CallerId {
    /// Checks a caller id.
    ///
    /// # Errors
    /// [`CallerIdError`].
    pub fn new(text: &str) -> Result<Self, CallerIdError> {
        let shown = |b: u8| b.is_ascii_alphanumeric() || b"+*#-_.".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(shown) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CallerIdError)
        }
    }

    /// As the PBX is told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerId(redacted)")
    }
}

impl TryFrom<String> for CallerId {
    type Error = CallerIdError;
    fn try_from(text: String) -> Result<Self, CallerIdError> {
        Self::new(&text)
    }
}

impl From<CallerId> for String {
    fn from(caller_id: CallerId) -> String {
        caller_id.0
    }
}

/// The name under which a recording is kept on the PBX: 1 to 128 letters, digits, `-` and `_`, no extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingName(String);

/// Not a [`RecordingName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording's name is 1 to 128 letters, digits, `-` or `_`")]
pub struct RecordingNameError;

impl RecordingName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`RecordingNameError`].
    pub fn new(text: &str) -> Result<Self, RecordingNameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RecordingNameError)
        }
    }

    /// The recording of this callee's conversation.
    pub fn of(leg: LegId) -> Self {
        Self(leg.0.to_string())
    }

    /// As the PBX is told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A sound on the PBX's own disk: `sound:` and its name or path, without its ending, as Asterisk writes it. On FreeSWITCH
/// it is that `.wav` file, below the PBX's `sounds_dir` unless the path begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sound(String);

/// Not a [`Sound`]. A PBX can also play scripts, addresses and whole applications; these are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sound is `sound:` and its name or path on the PBX without its ending, such as sound:custom/sorry: letters, digits, \
     `-`, `_`, `.` and `/`, at most 200 of them, no part of it empty, `.` or `..`"
)]
pub struct SoundError;

impl Sound {
    /// Checks a reference.
    ///
    /// # Errors
    /// [`SoundError`].
    pub fn new(reference: &str) -> Result<Self, SoundError> {
        let path = reference.strip_prefix("sound:").ok_or(SoundError)?;
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let parts = path.strip_prefix('/').unwrap_or(path);
        if path.len() <= 200 && parts.split('/').all(plain) {
            Ok(Self(reference.to_owned()))
        } else {
            Err(SoundError)
        }
    }

    /// The reference as written, with its `sound:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Sound {
    type Error = SoundError;
    fn try_from(text: String) -> Result<Self, SoundError> {
        Self::new(&text)
    }
}

impl From<Sound> for String {
    fn from(sound: Sound) -> String {
        sound.0
    }
}

/// A key of a phone (DTMF): `0` to `9`, `*` or `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digit(char);

/// The text is not a [`Digit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of a phone is `0` to `9`, `*` or `#`")]
pub struct NotADigit;

impl Digit {
    /// Checks a key.
    ///
    /// # Errors
    /// [`NotADigit`].
    pub fn new(text: &str) -> Result<Self, NotADigit> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(key @ ('0'..='9' | '*' | '#')), None) => Ok(Self(key)),
            _ => Err(NotADigit),
        }
    }
}

impl TryFrom<String> for Digit {
    type Error = NotADigit;
    fn try_from(text: String) -> Result<Self, NotADigit> {
        Self::new(&text)
    }
}

impl From<Digit> for String {
    fn from(digit: Digit) -> String {
        digit.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_is_a_name_or_a_path_and_nothing_that_a_pbx_would_execute() {
        for good in [
            "sound:sorry",
            "sound:custom/we-are.sorry_1",
            "sound:/var/lib/sounds/sorry",
        ] {
            assert_eq!(Sound::new(good).map(String::from).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "sorry",
            "sound:",
            "sound:/",
            "sound:a//b",
            "sound:../a",
            "sound:a/./b",
            "sound:a b",
            "sound:a,sound:b",
            "sound:a\nb",
            "sound:system::reboot",
            "sound:shell_stream://x",
            "sound:${x}",
            "tone_stream://%(1,0,1)",
            "sound:a&b=c",
            "recording:a",
            "sound:\u{e9}",
        ] {
            assert_eq!(Sound::new(bad), Err(SoundError), "{bad}");
        }
        assert_eq!(Sound::new(&format!("sound:{}", "a".repeat(201))), Err(SoundError));
    }

    #[test]
    fn caller_ids_and_names_of_recordings_are_single_plain_words() {
        for good in ["+12025550100", "anonymous", "1*2#3"] {
            assert_eq!(CallerId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Acme <+12025550100>",
            "1,2",
            "1\n",
            "1\r\nAction: Command",
            "${x}",
            "{x=1}",
            "'1'",
            "\"1\"",
            "1;2",
            "^^1",
            "1:_:2",
            "\u{e9}",
        ] {
            assert_eq!(CallerId::new(bad), Err(CallerIdError), "{bad:?}");
            assert_eq!(RecordingName::new(bad), Err(RecordingNameError), "{bad:?}");
        }
        for bad in ["../a", "a/b", "a.wav", "a b", "|reboot", "a\0"] {
            assert_eq!(RecordingName::new(bad), Err(RecordingNameError), "{bad:?}");
        }
        let leg = LegId(uuid::Uuid::from_u128(7));
        assert_eq!(RecordingName::new(&leg.0.to_string()), Ok(RecordingName::of(leg)));
        assert_eq!(CallerId::new(&"1".repeat(65)), Err(CallerIdError));
        assert_eq!(RecordingName::new(&"a".repeat(129)), Err(RecordingNameError));
    }
}
