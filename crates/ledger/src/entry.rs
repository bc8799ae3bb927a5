//! An entry: one fact as bytes. The same fact always gives the same bytes, and no other bytes give it.
//!
//! ```text
//! version (1) | kind | which subjects follow | time (8 bytes, Unix milliseconds) | the subjects | the body
//! ```
//!
//! The log is searched by the subjects. The body is opaque to the log; each kind has its own. An entry contains no
//! personal data: a number is a keyed hash ([`NumberMac`]), and everything else is an id or a rule.

use crate::key::NumberMac;

const VERSION: u8 = 1;
const NUMBER: u8 = 1;
const CAMPAIGN: u8 = 2;
const TASK: u8 = 4;
const CONTACT: u8 = 8;
const BUCKET: u8 = 16;
const ATTEMPT: u8 = 32;
const LEG: u8 = 64;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal $word:literal,)*) => {
        /// The fact that an entry records.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The kind's word, for people.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

kinds! {
    /// The gate decided over a contact, or over all contacts of a bucket.
    Decision = 1 "decision",
    /// A number must not be called.
    OptOut = 2 "opt_out",
    /// An opt-out was removed.
    OptOutLifted = 3 "opt_out_lifted",
    /// The rules of a campaign were set.
    RuleChange = 4 "rule_change",
    /// The rule files in force from here on, and the rules that a team has switched off.
    Overlay = 5 "overlay",
    /// Checkpoints are signed with this key from here on.
    KeyChange = 6 "key_change",
    /// The bodies of entries about a number were erased.
    Erasure = 7 "erasure",
    /// The bodies of entries that were older than their class is kept were erased.
    Retention = 8 "retention",
    /// An operator accepted that the file of checkpoints disagrees with the log.
    Accepted = 9 "accepted",
    /// For a test, the wall time of the process was moved. Later entries have times of the moved clock.
    ClockMoved = 10 "clock_moved",
}

/// The subject of an entry: the ids, and the hashed number, that the fact is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The keyed hash of the number.
    pub number: Option<NumberMac>,
    /// The campaign's id.
    pub campaign: Option<u64>,
    /// The task's id.
    pub task: Option<u64>,
    /// The contact's id.
    pub contact: Option<u64>,
    /// The bucket's id, if the entry is about all contacts that wait in it.
    pub bucket: Option<u64>,
    /// The attempt's id, a UUID.
    pub attempt: Option<[u8; 16]>,
    /// The id of the attempt's first leg, a UUID.
    pub leg: Option<[u8; 16]>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The kind of fact.
    pub kind: Kind,
    /// Time of the fact, Unix time in milliseconds.
    pub at_ms: i64,
    /// The subject.
    pub subject: Subject,
    /// The fact itself, in the form of its kind.
    pub body: &'a [u8],
}

/// The bytes are not an entry that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a ledger entry of version {VERSION}; a newer Paceline may have written them")]
pub struct EntryError;

impl<'a> Entry<'a> {
    /// The entry's bytes, which its leaf hash is made of.
    pub fn encode(&self) -> Vec<u8> {
        let s = &self.subject;
        let mut out = Vec::with_capacity(100 + self.body.len());
        let mut present = 0;
        for (flag, is) in [
            (NUMBER, s.number.is_some()),
            (CAMPAIGN, s.campaign.is_some()),
            (TASK, s.task.is_some()),
            (CONTACT, s.contact.is_some()),
            (BUCKET, s.bucket.is_some()),
            (ATTEMPT, s.attempt.is_some()),
            (LEG, s.leg.is_some()),
        ] {
            present |= if is { flag } else { 0 };
        }
        out.extend([VERSION, self.kind.code(), present]);
        out.extend(self.at_ms.to_be_bytes());
        out.extend(s.number.iter().flat_map(|number| number.as_bytes()));
        for id in [s.campaign, s.task, s.contact, s.bucket].into_iter().flatten() {
            put_varint(&mut out, id);
        }
        out.extend([s.attempt, s.leg].into_iter().flatten().flatten());
        out.extend(self.body);
        out
    }

    /// Reads an entry's bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        Self::read(bytes).ok_or(EntryError)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, kind, present], mut rest) = bytes.split_first_chunk()?;
        let kind = *Kind::ALL.iter().find(|known| known.code() == kind)?;
        if version != VERSION || present & 0x80 != 0 {
            return None;
        }
        let at_ms = i64::from_be_bytes(take(&mut rest)?);
        let has = |flag| present & flag != 0;
        let mut subject = Subject::default();
        if has(NUMBER) {
            subject.number = Some(NumberMac::from_bytes(take(&mut rest)?));
        }
        for (flag, id) in [
            (CAMPAIGN, &mut subject.campaign),
            (TASK, &mut subject.task),
            (CONTACT, &mut subject.contact),
            (BUCKET, &mut subject.bucket),
        ] {
            if has(flag) {
                *id = Some(take_varint(&mut rest)?);
            }
        }
        for (flag, id) in [(ATTEMPT, &mut subject.attempt), (LEG, &mut subject.leg)] {
            if has(flag) {
                *id = Some(take(&mut rest)?);
            }
        }
        Some(Self {
            kind,
            at_ms,
            subject,
            body: rest,
        })
    }
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// Seven bits a byte, the lowest first; the highest bit says that another byte follows.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        // Seven bits fit.
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// `None` if the bytes end too early, or if a shorter form of the same value exists.
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = take(rest)?;
        let low = u64::from(byte & 0x7f);
        if low.checked_shl(shift)? >> shift != low {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return (byte != 0 || shift == 0).then_some(value);
        }
    }
    None
}
