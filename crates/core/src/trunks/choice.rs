//! The choice among trunks that have room: a score whose order is the policy, and the reasons as values.

use super::capacity::NoRoom;
use super::health::Cause;
use super::quality::Rates;
use super::settings::Weights;
use crate::ids::TrunkId;
use crate::time::Mono;
use std::cmp::Ordering;
use std::fmt;

/// Score that a contact's tier is worth: a trunk of another tier must be this much better, for each tier between them.
const TIER: f64 = 0.15;
const TIERS_MAX: u32 = 2;
/// Score that the price is worth: the dearest trunk must be this much better than a free one.
const PRICE: f64 = 0.02;
/// Standard deviations by which a trunk is taken to be better than known, so that it is tried before it is written off.
const OPTIMISM: f64 = 0.35;

/// How a trunk was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has the best score.
    Best,
    /// It may be better than known, and is tried.
    Explore,
    /// It did not work, and this leg shows whether it does now.
    Probe,
    /// It, or its group, is used because the others are out or full.
    Standby,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Best => "best",
            Kind::Explore => "explore",
            Kind::Probe => "probe",
            Kind::Standby => "standby",
        }
    }
}

/// The answer to a request for a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The trunk, and how it was chosen. `None`: no trunk may take this leg now.
    pub trunk: Option<(TrunkId, Kind)>,
    /// When to ask again. `None` with no trunk: asking again is of no use before a trunk comes back.
    pub retry_at: Option<Mono>,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Why a trunk is not used for this leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Excluded {
    /// It has no room.
    NoRoom(NoRoom),
    /// Its link is down.
    Down,
    /// It is out.
    Out(Cause),
    /// Its legs fail or get no event, and it is not known yet whether it is out.
    InDoubt,
    /// This attempt has tried it.
    Tried,
    /// It is a standby, and the others work.
    Standby(Option<Cause>),
}

/// One reason of a choice.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The score of the chosen trunk, and of the best other one.
    Score {
        /// The trunk.
        trunk: TrunkId,
        /// Its score.
        score: f64,
        /// Its connect rate: relative to the best sibling, or raw.
        connect: f64,
        /// Its share of free channels.
        idle: f64,
        /// Its ASR: relative to the best sibling, or raw.
        asr: f64,
        /// The next best trunk and its score.
        next: Option<(TrunkId, f64)>,
    },
    /// Little is known of the chosen trunk here.
    TriedOut {
        /// The trunk.
        trunk: TrunkId,
        /// Relative standard deviation of its connect rate.
        unsure: f64,
    },
    /// The chosen trunk was out, in standby, or in doubt.
    Probed {
        /// The trunk.
        trunk: TrunkId,
        /// Why. `None`: it is in doubt.
        cause: Option<Cause>,
    },
    /// The group of the chosen trunk is compared with its siblings.
    GroupCompared {
        /// The trunk.
        trunk: TrunkId,
    },
    /// The sound of the chosen trunk is poor.
    Sound {
        /// The trunk.
        trunk: TrunkId,
        /// Mean opinion score.
        mos: f64,
        /// Share of lost packets.
        loss: f64,
        /// Mean post-dial delay in seconds.
        delay_secs: f64,
    },
    /// A trunk was not used.
    NotUsed {
        /// The trunk.
        trunk: TrunkId,
        /// Why not.
        why: Excluded,
    },
    /// No trunk may call this region and carrier.
    NoTrunk,
    /// Legs of other campaigns, or older ones of this campaign, go first.
    Waits {
        /// Number of legs that go first, up to the room there is.
        before: u32,
    },
}

/// Which trunks go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Works.
    Works,
    /// Of a group that answers too little.
    PoorGroup,
    /// A standby because it fails too often.
    Standby,
    /// A standby because of false answers.
    FalseAnswers,
}

/// The greatest wins; field order is the policy. The trunk comes last, so that ties are decided by the order of the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) rank: Rank,
    pub(super) score: f64,
    pub(super) trunk: usize,
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .rank
            .cmp(&self.rank)
            .then(self.score.total_cmp(&other.score))
            .then(other.trunk.cmp(&self.trunk))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

/// A trunk that may take the leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) trunk: usize,
    pub(super) group: usize,
    pub(super) rank: Rank,
    /// Its group is a standby whose group is out or full.
    pub(super) is_standby: bool,
    pub(super) room: u32,
    pub(super) rates: Rates,
    pub(super) idle: f64,
    pub(super) price: f64,
    pub(super) tiers_away: u32,
    pub(super) penalty: f64,
}

/// The best rates of the siblings, or the callees' rates, that a trunk's are divided by or multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Siblings {
    pub(super) connect: f64,
    pub(super) asr: f64,
}

/// Parts of a score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// What is known.
    pub(super) score: f64,
    /// What it may be.
    pub(super) hoped: f64,
    pub(super) connect: f64,
    pub(super) asr: f64,
}

impl Weights {
    pub(super) fn parts(&self, candidate: &Candidate, siblings: Siblings) -> Parts {
        let Rates { connect, asr, unsure } = candidate.rates;
        let (connect, asr) = if self.relative {
            (connect / siblings.connect, asr / siblings.asr)
        } else {
            (connect * siblings.connect, asr * siblings.asr)
        };
        let tiers = f64::from(candidate.tiers_away.min(TIERS_MAX));
        let score = self.connect * connect + self.idle * candidate.idle + self.asr * asr
            - TIER * tiers
            - PRICE * candidate.price
            - candidate.penalty;
        let hope = if self.relative {
            self.connect * connect * OPTIMISM * unsure
        } else {
            0.0
        };
        Parts {
            score,
            hoped: score + hope,
            connect,
            asr,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Fails => "its legs fail",
            Cause::Silent => "its legs get no event",
            Cause::SameAnswer => "it gives every number the same answer at once",
            Cause::LinkRestored => "its link was down",
            Cause::FailureRate => "10 % or more of its legs fail",
            Cause::FalseAnswers => "its answers are false: they end at once",
        })
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excluded::NoRoom(NoRoom::Channels { used, of }) => {
                write!(f, "{used} of {of} channels are in use")
            }
            Excluded::NoRoom(NoRoom::CallsPerSecond) => f.write_str("its calls per second are used up"),
            Excluded::Down => f.write_str("its link is down"),
            Excluded::Out(cause) => write!(f, "it is out, because {cause}"),
            Excluded::InDoubt => f.write_str("its last legs failed or got no event"),
            Excluded::Tried => f.write_str("this attempt has tried it"),
            Excluded::Standby(Some(cause)) => write!(f, "it is a standby, because {cause}"),
            Excluded::Standby(None) => f.write_str("its group is a standby"),
        }
    }
}

impl Reason {
    /// The reason in words, with the names of the trunks.
    pub fn write<'n>(&self, out: &mut impl fmt::Write, name: impl Fn(TrunkId) -> &'n str) -> fmt::Result {
        match self {
            Reason::Score {
                trunk,
                score,
                connect,
                idle,
                asr,
                next,
            } => {
                write!(
                    out,
                    "{} scores {score:.3}: connect rate {connect:.2}, idle {idle:.2}, ASR {asr:.2}",
                    name(*trunk)
                )?;
                match next {
                    Some((next, score)) => write!(out, "; next is {} with {score:.3}", name(*next)),
                    None => Ok(()),
                }
            }
            Reason::TriedOut { trunk, unsure } => write!(
                out,
                "{} may be better than known here: its connect rate is known to {:.0} %",
                name(*trunk),
                unsure * 100.0
            ),
            Reason::Probed {
                trunk,
                cause: Some(cause),
            } => write!(out, "{} is probed, because {cause}", name(*trunk)),
            Reason::Probed { trunk, cause: None } => write!(
                out,
                "{} is in doubt, because its last legs failed or got no event",
                name(*trunk)
            ),
            Reason::GroupCompared { trunk } => {
                write!(out, "the group of {} is compared with its siblings", name(*trunk))
            }
            Reason::Sound {
                trunk,
                mos,
                loss,
                delay_secs,
            } => write!(
                out,
                "{} has MOS {mos:.1}, loss {:.1} %, post-dial delay {delay_secs:.1} s",
                name(*trunk),
                loss * 100.0
            ),
            Reason::NotUsed { trunk, why } => write!(out, "{}: {why}", name(*trunk)),
            Reason::NoTrunk => out.write_str("no trunk may call this region and carrier"),
            Reason::Waits { before } => write!(out, "{before} waiting legs go first"),
        }
    }
}
