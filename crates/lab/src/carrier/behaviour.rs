//! The behaviour of a callee, by the last two digits of the dialed number. The SIPp scenario, the audio and the expectations of
//! tests all come from this one table.

use crate::media::{CALLEE_HZ, Sound};

/// The behaviour of a callee.
///
/// | last two digits | behaviour | outcome |
/// |---|---|---|
/// | 00–39 | [`TalksBriefly`](Self::TalksBriefly): rings 0.2 s, answers, hangs up after 2.5 s | answered |
/// | 40–49 | [`Talks`](Self::Talks): rings 0.2 s, answers, talks until hung up | answered |
/// | 50–54 | [`RingsThenTalks`](Self::RingsThenTalks): rings 1 s, answers, talks until hung up | answered |
/// | 55–59 | [`AnswersAtOnce`](Self::AnswersAtOnce): 200 with no ringing before it, talks until hung up | answered |
/// | 60–64 | [`EarlyMedia`](Self::EarlyMedia): 183 and audio for 1 s, answers, talks until hung up | answered |
/// | 65–69 | [`HangsUpEarly`](Self::HangsUpEarly): rings 0.2 s, answers, hangs up after 0.3 s | answered |
/// | 70–74 | [`Busy`](Self::Busy): 486 | busy |
/// | 75–79 | [`Rings`](Self::Rings): 180 and never an answer | no_answer |
/// | 80–82 | [`Declines`](Self::Declines): rings 0.3 s, 603 | rejected |
/// | 83–85 | [`NotFound`](Self::NotFound): 404 | invalid |
/// | 86–87 | [`Unavailable`](Self::Unavailable): 480 | no_answer |
/// | 88–89 | [`Congested`](Self::Congested): 503 | congestion |
/// | 90–91 | [`ServerError`](Self::ServerError): 500 | congestion |
/// | 92–93 | [`Silent`](Self::Silent): no reply at all | congestion |
/// | 94–96 | [`Machine`](Self::Machine): answers, 4 s of greeting, beep, hangs up after 15 s | machine |
/// | 97 | [`Fax`](Self::Fax): answers with 2100 Hz, hangs up after 15 s | fax |
/// | 98 | [`Intercept`](Self::Intercept): answers with special information tones, hangs up after 5 s | invalid |
/// | 99 | [`Screener`](Self::Screener): answers, 2.5 s of greeting, listens, hangs up after 15 s | screened |
///
/// A person's audio is a "hello" of 0.5 s, a pause of 1.3 s, then talk without end: answering machine detection hears a
/// person. Until answers are judged, 94 to 99 end as answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behaviour {
    /// Rings 0.2 s, answers, hangs up after 2.5 s.
    TalksBriefly,
    /// Rings 0.2 s, answers, talks until hung up (10 minutes at most).
    Talks,
    /// Rings 1 s, answers, talks until hung up.
    RingsThenTalks,
    /// Answers with no ringing before, talks until hung up.
    AnswersAtOnce,
    /// Sends 183 and audio for 1 s, answers, talks until hung up.
    EarlyMedia,
    /// Rings 0.2 s, answers, hangs up 0.3 s later.
    HangsUpEarly,
    /// Replies 486.
    Busy,
    /// Rings (180) and never answers.
    Rings,
    /// Rings 0.3 s, replies 603.
    Declines,
    /// Replies 404.
    NotFound,
    /// Replies 480.
    Unavailable,
    /// Replies 503.
    Congested,
    /// Replies 500.
    ServerError,
    /// Never replies.
    Silent,
    /// A voicemail box: rings 0.2 s, answers, 4 s of greeting, a beep, then silence; hangs up after 15 s.
    Machine,
    /// A fax: rings 0.2 s, answers with 2100 Hz; hangs up after 15 s.
    Fax,
    /// An operator's announcement: answers with special information tones; hangs up after 5 s.
    Intercept,
    /// A call screener: rings 0.2 s, answers, 2.5 s of greeting, then listens; hangs up after 15 s.
    Screener,
}

/// Existing area codes, so that programs that check numbers accept the lab's numbers.
const AREAS: [u16; 267] = [
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228, 229,
    231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281, 301, 302, 303, 304,
    305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 323, 325, 330, 334, 336, 337,
    339, 347, 351, 352, 360, 361, 386, 401, 402, 404, 405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417,
    419, 423, 425, 430, 432, 434, 435, 440, 443, 469, 478, 479, 480, 484, 501, 502, 503, 504, 505, 507, 508,
    509, 510, 512, 513, 515, 516, 517, 518, 520, 530, 540, 541, 551, 559, 561, 562, 563, 567, 570, 571, 573,
    574, 580, 585, 586, 601, 602, 603, 605, 606, 607, 608, 609, 610, 612, 614, 615, 616, 617, 618, 619, 620,
    623, 626, 630, 631, 636, 641, 646, 650, 651, 660, 661, 662, 678, 682, 701, 702, 703, 704, 706, 707, 708,
    712, 713, 714, 715, 716, 717, 718, 719, 720, 724, 727, 731, 732, 734, 740, 754, 757, 760, 763, 765, 770,
    772, 773, 774, 775, 781, 785, 786, 801, 802, 803, 804, 805, 806, 808, 810, 812, 813, 814, 815, 816, 817,
    818, 828, 830, 831, 832, 843, 845, 847, 848, 850, 856, 857, 858, 859, 860, 862, 863, 864, 865, 870, 901,
    903, 904, 906, 907, 908, 909, 910, 912, 913, 914, 915, 916, 917, 918, 919, 920, 925, 928, 931, 936, 937,
    940, 941, 949, 952, 954, 956, 970, 971, 972, 973, 978, 979, 980, 985, 989,
];

/// A step of a callee, for the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send 180, then wait this many ms.
    Ring(u32),
    /// Send 183 with media and wait, ms.
    Progress(u32),
    /// Send 200, talk for so many ms, then hang up.
    Talk(u32),
    /// Send a final refusal.
    Refuse(u16, &'static str),
    /// Never reply.
    Ignore,
}

/// Long enough to be "until hung up", and a bound for calls that a killed PBX left behind.
const UNTIL_HUNG_UP_MS: u32 = 600_000;
/// Longer than any originate timeout.
const FOR_EVER_MS: u32 = 300_000;

const SILENCE: Sound = Sound {
    hz: 0,
    length_ms: u32::MAX,
};
const PERSON: [Sound; 3] = [
    voice(500),
    Sound {
        hz: 0,
        length_ms: 1_300,
    },
    voice(u32::MAX),
];
const MACHINE: [Sound; 3] = [
    voice(4_000),
    Sound {
        hz: 1_000,
        length_ms: 400,
    },
    SILENCE,
];
const SCREENER: [Sound; 2] = [voice(2_500), SILENCE];
const FAX: [Sound; 1] = [Sound {
    hz: 2_100,
    length_ms: u32::MAX,
}];
const INTERCEPT: [Sound; 4] = [
    Sound {
        hz: 914,
        length_ms: 380,
    },
    Sound {
        hz: 1_371,
        length_ms: 380,
    },
    Sound {
        hz: 1_777,
        length_ms: 380,
    },
    SILENCE,
];
const RINGBACK: [Sound; 1] = [Sound {
    hz: 1_400,
    length_ms: u32::MAX,
}];

const fn voice(length_ms: u32) -> Sound {
    Sound {
        hz: CALLEE_HZ,
        length_ms,
    }
}

impl Behaviour {
    /// Every behaviour with its first and last number ending, in order and without a gap.
    pub const TABLE: [(Self, u32, u32); 18] = [
        (Self::TalksBriefly, 0, 39),
        (Self::Talks, 40, 49),
        (Self::RingsThenTalks, 50, 54),
        (Self::AnswersAtOnce, 55, 59),
        (Self::EarlyMedia, 60, 64),
        (Self::HangsUpEarly, 65, 69),
        (Self::Busy, 70, 74),
        (Self::Rings, 75, 79),
        (Self::Declines, 80, 82),
        (Self::NotFound, 83, 85),
        (Self::Unavailable, 86, 87),
        (Self::Congested, 88, 89),
        (Self::ServerError, 90, 91),
        (Self::Silent, 92, 93),
        (Self::Machine, 94, 96),
        (Self::Fax, 97, 97),
        (Self::Intercept, 98, 98),
        (Self::Screener, 99, 99),
    ];

    /// The behaviour of a number such as `+12125550170`; nothing when it does not end in two digits.
    pub fn of(number: &str) -> Option<Self> {
        let ending: u32 = number.get(number.len().checked_sub(2)?..)?.parse().ok()?;
        Self::TABLE
            .iter()
            .find(|(_, first, last)| (*first..=*last).contains(&ending))
            .map(|(behaviour, ..)| *behaviour)
    }

    /// A fictional number with this behaviour, `+1NPA55501XX`. Numbers differ by `nth`; some 280 area codes times
    /// the endings that the behaviour has are available, after which they repeat.
    pub fn number(self, nth: u32) -> String {
        let (first, last) = Self::TABLE
            .iter()
            .find(|(behaviour, ..)| *behaviour == self)
            .map_or((0, 0), |(_, first, last)| (*first, *last));
        let endings = last - first + 1;
        let ending = first + nth % endings;
        let nth_area = usize::try_from(nth / endings).unwrap_or(0) % AREAS.len();
        let area = AREAS.get(nth_area).copied().unwrap_or(202);
        format!("+1{area}55501{ending:02}")
    }

    /// The expected outcome of such a call, in the design's words, if no side hangs up early and the answers are judged.
    pub fn expected_outcome(self) -> &'static str {
        match self {
            Self::TalksBriefly
            | Self::Talks
            | Self::RingsThenTalks
            | Self::AnswersAtOnce
            | Self::EarlyMedia
            | Self::HangsUpEarly => "answered",
            Self::Busy => "busy",
            Self::Rings | Self::Unavailable => "no_answer",
            Self::Declines => "rejected",
            Self::NotFound | Self::Intercept => "invalid",
            Self::Congested | Self::ServerError | Self::Silent => "congestion",
            Self::Machine => "machine",
            Self::Fax => "fax",
            Self::Screener => "screened",
        }
    }

    /// True if the line answers, whether by a person or not.
    pub fn answers(self) -> bool {
        self.steps().iter().any(|step| matches!(step, Step::Talk(_)))
    }

    /// The SIP status of the refusal. `None`: the callee does not refuse.
    pub fn sip_status(self) -> Option<u16> {
        self.steps().iter().find_map(|step| match step {
            Step::Refuse(status, _) => Some(*status),
            Step::Ring(_) | Step::Progress(_) | Step::Talk(_) | Step::Ignore => None,
        })
    }

    pub(super) fn steps(self) -> &'static [Step] {
        match self {
            Self::TalksBriefly => &[Step::Ring(200), Step::Talk(2_500)],
            Self::Talks => &[Step::Ring(200), Step::Talk(UNTIL_HUNG_UP_MS)],
            Self::RingsThenTalks => &[Step::Ring(1_000), Step::Talk(UNTIL_HUNG_UP_MS)],
            Self::AnswersAtOnce => &[Step::Talk(UNTIL_HUNG_UP_MS)],
            Self::EarlyMedia => &[Step::Progress(1_000), Step::Talk(UNTIL_HUNG_UP_MS)],
            Self::HangsUpEarly => &[Step::Ring(200), Step::Talk(300)],
            Self::Busy => &[Step::Refuse(486, "Busy Here")],
            Self::Rings => &[Step::Ring(FOR_EVER_MS), Step::Refuse(408, "Request Timeout")],
            Self::Declines => &[Step::Ring(300), Step::Refuse(603, "Decline")],
            Self::NotFound => &[Step::Refuse(404, "Not Found")],
            Self::Unavailable => &[Step::Refuse(480, "Temporarily Unavailable")],
            Self::Congested => &[Step::Refuse(503, "Service Unavailable")],
            Self::ServerError => &[Step::Refuse(500, "Server Internal Error")],
            Self::Silent => &[Step::Ignore],
            Self::Machine | Self::Fax | Self::Screener => &[Step::Ring(200), Step::Talk(15_000)],
            Self::Intercept => &[Step::Ring(200), Step::Talk(5_000)],
        }
    }

    /// The sounds that the callee plays from the answer on.
    pub(super) fn script(self) -> &'static [Sound] {
        match self {
            Self::Machine => &MACHINE,
            Self::Fax => &FAX,
            Self::Intercept => &INTERCEPT,
            Self::Screener => &SCREENER,
            _ => &PERSON,
        }
    }

    /// The sounds before the answer, with [`Step::Progress`].
    pub(super) fn early_script() -> &'static [Sound] {
        &RINGBACK
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{AREAS, Behaviour};

    #[test]
    fn the_table_covers_every_ending_once() {
        let mut next = 0;
        for (behaviour, first, last) in Behaviour::TABLE {
            assert_eq!(first, next, "{behaviour:?} starts where the one before ends");
            next = last + 1;
            for nth in [0, 1, 7, 799, 12_345] {
                assert_eq!(Behaviour::of(&behaviour.number(nth)), Some(behaviour));
            }
        }
        assert_eq!(next, 100);
    }

    #[test]
    fn numbers_are_fictional_and_distinct() {
        // `Talks` has ten endings in each area.
        let available = u32::try_from(AREAS.len()).unwrap() * 10;
        let numbers: BTreeSet<_> = (0..available).map(|nth| Behaviour::Talks.number(nth)).collect();
        assert_eq!(numbers.len(), AREAS.len() * 10);
        assert!(
            numbers
                .iter()
                .all(|number| number.len() == 12 && &number[5..10] == "55501")
        );
    }

    #[test]
    fn a_number_that_ends_in_no_digits_has_no_behaviour() {
        for number in ["", "7", "+1212555017x", "+1212555é"] {
            assert_eq!(Behaviour::of(number), None);
        }
    }
}
