//! The verdict of each rule about a call at a moment, and the next moment at which all rules would allow the call.
//!
//! For each rule about past attempts, the history is read once and gives one time: the rule blocks until then ([`Asked`]). A
//! later moment needs no second look at the history.

use super::file::Day;
use super::hours::{Hours, midnight};
use super::rule::{Kind, Mask, PauseAfter, Per, Rule};
use super::rulebook::Profile;
use super::{ConsentFact, Datum, Facts, PastAttempt, PlannedCall, Reason, RuleVerdict, Zone};
use crate::contact::ConsentKind;
use crate::outcome::Outcome;
use crate::time::Wall;
use std::time::Duration;

/// The search for an allowed moment ends this long after the call's time, in milliseconds: 400 days.
const SEARCH_MS: i64 = 400 * 86_400_000;

/// A call with its facts.
pub(super) struct Case<'a> {
    call: &'a PlannedCall<'a>,
    facts: &'a Facts<'a>,
    zones: [&'a [Zone]; 2],
    ring_ms: i64,
}

/// A rule that is asked about a call.
pub(super) struct Asked<'a> {
    profile: &'a Profile,
    rule: &'a Rule,
    past: Past,
    /// In effect from this time on, in the first zone, and before `to`, in the last zone.
    from: i64,
    to: i64,
}

/// The result of a rule's look at the history.
#[derive(Clone, Copy)]
struct Past {
    /// Attempts that the rule counts at the time of the call.
    counted: u32,
    /// The last attempt that begins a pause.
    since: Option<Wall>,
    /// The rule blocks before this time. `None`: for ever.
    blocked_until: Option<i64>,
}

const NOTHING: Past = Past {
    counted: 0,
    since: None,
    blocked_until: Some(i64::MIN),
};

impl<'a> Case<'a> {
    pub(super) fn new(call: &'a PlannedCall<'a>, facts: &'a Facts<'a>, zones: [&'a [Zone]; 2]) -> Self {
        let ring_ms = i64::try_from(call.ring_timeout.as_millis()).unwrap_or(i64::MAX / 4);
        Self {
            call,
            facts,
            zones,
            ring_ms: ring_ms.min(SEARCH_MS),
        }
    }

    /// The rule, if it is about calls of this purpose and mode.
    pub(super) fn ask(&self, profile: &'a Profile, rule: &'a Rule) -> Option<Asked<'a>> {
        let has = |mask: Mask, word: u8| mask.has(word);
        let asked = rule.asked()
            && has(rule.purposes, self.call.purpose as u8)
            && has(rule.modes, self.call.mode as u8);
        asked.then(|| Asked {
            profile,
            rule,
            past: self.past(rule),
            from: self.midnights(rule.effective_from).min().unwrap_or(i64::MIN),
            to: self.midnights(rule.effective_to).max().unwrap_or(i64::MAX),
        })
    }

    fn midnights(&self, day: Option<Day>) -> impl Iterator<Item = i64> {
        let zones = day.map(|day| self.zones_of(None).map(move |zone| midnight(zone, day.days())));
        zones.into_iter().flatten()
    }

    fn past(&self, rule: &Rule) -> Past {
        match &rule.kind {
            Kind::Attempts { max, span, per } => self.capped(*max, *span, *per),
            Kind::Pause { after, span, per } => self.paused(*after, *span, *per),
            Kind::Hours(_)
            | Kind::Consent { .. }
            | Kind::CallerId(_)
            | Kind::RingTime { .. }
            | Kind::Allowlist { .. }
            | Kind::Abandon(_)
            | Kind::Registry(_) => NOTHING,
        }
    }

    fn concerned(&self, per: Per) -> impl Iterator<Item = &PastAttempt<'a>> {
        let call = self.call;
        self.facts.history.iter().filter(move |attempt| match per {
            Per::Contact => true,
            Per::Number => attempt.number == Some(call.number),
            Per::Campaign => attempt.campaign == call.campaign,
            Per::Subject => attempt.subject == call.subject,
            Per::Debt => attempt.debt == call.debt,
        })
    }

    /// A cap of `max` attempts blocks while `max` of them are younger than the span: until the `max`th youngest is not.
    fn capped(&self, max: usize, span: Option<Duration>, per: Per) -> Past {
        let counts = self.concerned(per).filter(|attempt| counts(attempt.outcome));
        let mut counted = 0;
        let mut youngest = Youngest::new(max);
        for attempt in counts {
            let active = span.is_none_or(|span| attempt.at.plus(span) > self.call.at);
            counted += u32::from(active);
            youngest.add(attempt.at.0);
        }
        Past {
            counted,
            since: None,
            blocked_until: match (youngest.nth(), span) {
                (None, _) => Some(i64::MIN),
                (Some(at), Some(span)) => Some(Wall(at).plus(span).0),
                (Some(_), None) => None,
            },
        }
    }

    fn paused(&self, after: PauseAfter, span: Option<Duration>, per: Per) -> Past {
        let begins = self.concerned(per).filter(|attempt| match after {
            PauseAfter::Refusal => attempt.disposition == Some("refused"),
            PauseAfter::Conversation => attempt.outcome == Outcome::Answered,
            PauseAfter::Abandoned => attempt.outcome == Outcome::Abandoned,
        });
        let since = begins.map(|attempt| attempt.at).max();
        Past {
            counted: 0,
            since,
            blocked_until: match (since, span) {
                (None, _) => Some(i64::MIN),
                (Some(since), Some(span)) => Some(since.plus(span).0),
                (Some(_), None) => None,
            },
        }
    }

    /// The rule's verdict at this time. `None`: it is not in effect then.
    pub(super) fn reason(&self, asked: &Asked<'a>, at: i64) -> Option<Reason<'a>> {
        if !self.in_effect(asked, at) {
            return None;
        }
        let (verdict, datum) = self.say(asked, at);
        Some(Reason {
            profile: &asked.profile.name,
            rule: &asked.rule.id,
            citation: &asked.rule.citation,
            verdict,
            datum,
        })
    }

    fn say(&self, asked: &Asked<'a>, at: i64) -> (RuleVerdict, Datum<'a>) {
        let Past {
            counted,
            since,
            blocked_until,
        } = asked.past;
        let history = match blocked_until {
            None => RuleVerdict::Deny,
            Some(until) if at < until => RuleVerdict::Defer,
            Some(_) => RuleVerdict::Allow,
        };
        let denies = |denies: bool| {
            if denies {
                RuleVerdict::Deny
            } else {
                RuleVerdict::Allow
            }
        };
        match &asked.rule.kind {
            Kind::Hours(hours) => self.within(asked, hours, at),
            Kind::Attempts { max, span, .. } => {
                let max = u32::try_from(*max).unwrap_or(u32::MAX);
                (
                    history,
                    Datum::Attempts {
                        counted,
                        max,
                        span: *span,
                    },
                )
            }
            Kind::Pause { span, .. } => (history, Datum::Pause { since, span: *span }),
            Kind::Consent { kinds, proof, needs } => {
                let found = self
                    .consents(kinds, *proof)
                    .find(|consent| self.valid(consent, at));
                let granted_at = found.map(|consent| consent.granted_at);
                (denies(found.is_none()), Datum::Consent { needs, granted_at })
            }
            Kind::CallerId(rule) => {
                let datum = Datum::CallerId { needs: &rule.needs };
                (denies(!rule.allows(self.call.caller_id.map(|id| id.0))), datum)
            }
            Kind::RingTime { ring_ms_min } => {
                let (ring_ms, ring_ms_min) = (u64::try_from(self.ring_ms).unwrap_or(0), *ring_ms_min);
                (
                    denies(ring_ms < ring_ms_min),
                    Datum::RingTime { ring_ms, ring_ms_min },
                )
            }
            Kind::Allowlist { tags, needs } => {
                let tagged = tags
                    .iter()
                    .any(|tag| self.facts.contact.tags.contains(&tag.as_str()));
                (denies(!tagged), Datum::Allowlist { needs })
            }
            // `Rule::asked` is false for these.
            Kind::Abandon(_) | Kind::Registry(_) => (RuleVerdict::Allow, Datum::Text("")),
        }
    }

    fn within(&self, asked: &Asked<'a>, hours: &'a Hours, at: i64) -> (RuleVerdict, Datum<'a>) {
        let closed = self.closed(asked, hours, at).next();
        let zone = closed.or_else(|| self.zones_of(hours.zone.as_ref()).next());
        let datum = zone.map(|zone| Datum::Hours {
            zone,
            local_ms: at.saturating_add(zone.stretch(at).offset_ms),
            open: closed.is_none(),
        });
        let verdict = match closed {
            Some(_) => RuleVerdict::Defer,
            None => RuleVerdict::Allow,
        };
        (verdict, datum.unwrap_or(Datum::Text("no zone is known")))
    }

    fn zones_of(&self, own: Option<&'a Zone>) -> impl Iterator<Item = Zone> + Clone + use<'a> {
        let [first, second] = match own {
            Some(zone) => [std::slice::from_ref(zone), &[]],
            None => self.zones,
        };
        first.iter().chain(second).copied()
    }

    fn consents(&self, kinds: &[ConsentKind], proof: bool) -> impl Iterator<Item = &'a ConsentFact> {
        let purpose = self.call.purpose;
        self.facts.contact.consents.iter().filter(move |consent| {
            consent.kind.is_some_and(|kind| kinds.contains(&kind))
                && consent.scope == Some(purpose)
                && (consent.proven || !proof)
        })
    }

    fn valid(&self, consent: &ConsentFact, at: i64) -> bool {
        let end = at.saturating_add(self.ring_ms);
        consent.granted_at.0 <= at && consent.expires_at.is_none_or(|expires| end <= expires.0)
    }

    /// True if the rule is in effect at this time. A rule of calling hours must hold for the whole ring time, so it is also in
    /// effect if it begins during the ring time.
    fn in_effect(&self, asked: &Asked, at: i64) -> bool {
        let begun = match asked.rule.kind {
            Kind::Hours(_) => at >= asked.from || at.saturating_add(self.ring_ms) > asked.from,
            Kind::Attempts { .. }
            | Kind::Pause { .. }
            | Kind::Consent { .. }
            | Kind::CallerId(_)
            | Kind::RingTime { .. }
            | Kind::Allowlist { .. }
            | Kind::Abandon(_)
            | Kind::Registry(_) => at >= asked.from,
        };
        begun && at < asked.to
    }

    /// The first zone in which the call, as far as the rule is in effect, does not fit the hours.
    fn closed(&self, asked: &Asked<'a>, hours: &'a Hours, at: i64) -> impl Iterator<Item = Zone> {
        let from = at.max(asked.from);
        let until = at.saturating_add(self.ring_ms).min(asked.to);
        self.zones_of(hours.zone.as_ref())
            .filter(move |zone| !hours.fits(*zone, from, until))
    }

    /// The first whole second after the call's time, and not before `from`, at which every rule allows. `None`: none within
    /// 400 days.
    pub(super) fn next_allowed(&self, rules: &[Asked<'a>], from: Wall) -> Option<i64> {
        let limit = self.call.at.0.saturating_add(SEARCH_MS);
        let mut at = match from > self.call.at {
            true => whole_second(from.0),
            false => self.call.at.0,
        };
        loop {
            let mut next = None;
            for asked in rules {
                let blocks = self.in_effect(asked, at) && self.say(asked, at).0 != RuleVerdict::Allow;
                if blocks {
                    // The rule allows no moment before that one, so an earlier moment cannot be the answer.
                    next = next.max(Some(self.next_of(asked, at, limit)?));
                }
            }
            let Some(next) = next else {
                return Some(at);
            };
            at = whole_second(next);
            if at > limit {
                return None;
            }
        }
    }

    /// For a rule that blocks at `after`: a later moment before which the rule allows none. `None`: the rule allows
    /// none, or none until `limit`.
    fn next_of(&self, asked: &Asked<'a>, after: i64, limit: i64) -> Option<i64> {
        let next = match &asked.rule.kind {
            Kind::Hours(hours) => {
                let from = after.max(asked.from);
                let opening = |zone| hours.next_opening(zone, from, self.ring_ms, limit);
                let mut openings = self.closed(asked, hours, after).map(opening);
                let next = openings.try_fold(from, |latest, next| next.map(|next| latest.max(next)));
                // The hours need hold only the part of the ring time before the rule's end.
                let short = asked
                    .to
                    .saturating_sub(self.ring_ms)
                    .max(after.saturating_add(1_000));
                let ends = (asked.to < i64::MAX).then_some(short);
                [next, ends].into_iter().flatten().min()
            }
            Kind::Attempts { .. } | Kind::Pause { .. } => asked.past.blocked_until,
            Kind::Consent { kinds, proof, .. } => {
                let later = self.consents(kinds, *proof).map(|consent| consent.granted_at.0);
                later.filter(|granted_at| *granted_at > after).min()
            }
            Kind::CallerId(_)
            | Kind::RingTime { .. }
            | Kind::Allowlist { .. }
            | Kind::Abandon(_)
            | Kind::Registry(_) => None,
        };
        // The rule may go out of effect before that.
        let ends = Some(asked.to).filter(|ends| *ends < i64::MAX);
        [next, ends].into_iter().flatten().min()
    }
}

/// True if caps count an attempt with this outcome: the callee's line was reached, or may have been.
fn counts(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Answered
        | Outcome::Machine
        | Outcome::Busy
        | Outcome::NoAnswer
        | Outcome::Rejected
        | Outcome::Invalid
        | Outcome::Fax
        | Outcome::Screened
        | Outcome::Abandoned
        | Outcome::Cancelled
        | Outcome::Unknown => true,
        Outcome::Congestion | Outcome::Failed | Outcome::Blocked => false,
    }
}

/// The youngest times of some, for one with a small number of them.
struct Youngest {
    max: usize,
    few: [i64; Youngest::FEW],
    len: usize,
    /// All of them, if more are asked for than are kept.
    many: Vec<i64>,
}

impl Youngest {
    const FEW: usize = 8;

    fn new(max: usize) -> Self {
        Self {
            max,
            few: [i64::MIN; Self::FEW],
            len: 0,
            many: Vec::new(),
        }
    }

    fn add(&mut self, at: i64) {
        self.len += 1;
        if self.max > Self::FEW {
            self.many.push(at);
            return;
        }
        let mut at = at;
        for kept in self.few.iter_mut().take(self.max) {
            if at > *kept {
                std::mem::swap(kept, &mut at);
            }
        }
    }

    /// The `max`th youngest, if there are so many.
    fn nth(mut self) -> Option<i64> {
        let index = self.max.checked_sub(1)?;
        if self.len < self.max {
            return None;
        }
        if self.max > Self::FEW {
            self.many.sort_unstable_by(|a, b| b.cmp(a));
            return self.many.get(index).copied();
        }
        self.few.get(index).copied()
    }
}

/// The first whole second that is not before this time.
fn whole_second(at: i64) -> i64 {
    let second = at.div_euclid(1_000) + i64::from(at.rem_euclid(1_000) > 0);
    second.saturating_mul(1_000)
}
