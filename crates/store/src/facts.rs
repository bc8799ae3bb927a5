//! What the gate is told of a contact, read in bulk: one statement for a page of contacts, whatever their number. And its
//! decision as the store keeps it.

use super::bulk_statement::BulkStatement;
use super::db::{Arg, Row, Rows, args};
use super::error::DbError;
use paceline_core::contact::{Consent, CountryCode};
use paceline_core::gate::{
    CampaignPolicy, ConsentFact, ContactFacts, Decision, Facts, GateVerdict, Locality, PastAttempt, Places,
    PlannedCall, RuleReason, State, Zone,
};
use paceline_core::ids::{ContactId, TrunkId};
use paceline_core::number::{E164, NumberText};
use paceline_core::outcome::Outcome;
use paceline_core::outside::OutsideFact;
use paceline_core::suppression::ListRefusal;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// The columns of contact `c` for [`Callee::read`].
macro_rules! callee_columns {
    () => {
        "c.time_zone, c.country, c.state, c.consents, c.attributes"
    };
}
pub(crate) use callee_columns;

/// What is known of a contact.
#[derive(Default)]
pub(crate) struct Callee {
    residence: Residence,
    consents: Vec<ConsentFact>,
    /// Empty until [`add_tags`] has read them.
    tags: Vec<String>,
    pub(crate) debt: Option<String>,
}

/// Where the contact says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Residence {
    /// `Err`: the contact has a zone that this version does not know, so its time is not known.
    time_zone: Option<Result<Zone, ()>>,
    country: Option<CountryCode>,
    state: Option<String>,
}

impl Residence {
    /// Reads time zone, country and state from three columns.
    pub(crate) fn read(row: &Row, column: usize) -> Result<Self, DbError> {
        let time_zone = row.get::<Option<String>>(column)?;
        let country = row.get::<Option<String>>(column + 1)?;
        Ok(Self {
            time_zone: time_zone.map(|name| Zone::named(&name).map_err(drop)),
            country: country.and_then(|code| CountryCode::new(&code).ok()),
            state: row.get(column + 2)?,
        })
    }

    fn facts<'a>(&self, number: &E164) -> Facts<'a> {
        let known = paceline_places::of_number(number);
        let number = match self.time_zone {
            Some(Err(())) => Places { zones: &[], ..known },
            Some(Ok(_)) | None => known,
        };
        let country = self.country.or(number.country);
        let country = country.filter(|country| State::matter_in(*country));
        let state = country.zip(self.state.as_deref());
        let state = state.and_then(|(country, state)| State::of_country(country, state));
        Facts {
            number,
            address: match (state, self.country) {
                (Some(state), _) => paceline_places::of_state(state),
                (None, Some(country)) => paceline_places::of_country(country),
                (None, None) => None,
            },
            contact: ContactFacts {
                time_zone: self.time_zone.and_then(Result::ok),
                country: self.country,
                state,
                tags: &[],
                consents: &[],
            },
            history: &[],
            suppressed: &[],
            outside: None,
        }
    }

    /// The key of the contact's bucket: the localities of all its numbers. Empty if every number is denied at any time.
    pub(crate) fn bucket(&self, numbers: &[E164]) -> String {
        let localities = numbers.iter().map(|number| Locality::of(&self.facts(number)));
        let mut keys: Vec<String> = localities.flatten().map(|locality| locality.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.join("|")
    }
}

/// Reads the key of a bucket. Empty if each contact must be asked about.
pub(crate) fn localities(key: &str) -> Vec<Locality> {
    let all: Option<Vec<_>> = key.split('|').map(Locality::of_key).collect();
    all.unwrap_or_default()
}

/// The decision over a bucket in whose places it is no time to call, and its end: the first time at which one of its numbers may be
/// called. `None`: its contacts must be asked about.
pub(crate) fn closed<T>(
    policy: &CampaignPolicy,
    now: Wall,
    localities: &[Locality],
    read: impl Fn(&Decision) -> T,
) -> Option<(Wall, T)> {
    let call = policy.call(now, policy.config().settings.dialing.ring_timeout());
    let mut first: Option<(Wall, T)> = None;
    for locality in localities {
        let decision = policy.rules().closed(&call, locality)?;
        let GateVerdict::Defer { until_ms } = decision.verdict else {
            return None;
        };
        if first.as_ref().is_none_or(|(until, _)| until_ms < *until) {
            first = Some((until_ms, read(&decision)));
        }
    }
    first
}

impl Callee {
    /// Reads [`callee_columns`], starting at `column`.
    pub(crate) fn read(row: &Row, column: usize, policy: &CampaignPolicy) -> Result<Self, DbError> {
        let consents = row.get::<Option<String>>(column + 3)?;
        let consents: Vec<Consent> = match consents {
            Some(text) => serde_json::from_str(&text).map_err(|_| DbError::decode("consent"))?,
            None => Vec::new(),
        };
        let debt = match policy.debt_attribute() {
            Some(name) => {
                let attributes = serde_json::from_str(&row.get::<String>(column + 4)?);
                let mut attributes: BTreeMap<String, String> =
                    attributes.map_err(|_| DbError::decode("attribute"))?;
                attributes.remove(name)
            }
            None => None,
        };
        Ok(Self {
            residence: Residence::read(row, column)?,
            consents: consents.iter().map(ConsentFact::from).collect(),
            tags: Vec::new(),
            debt,
        })
    }
}

static TAGS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT t.contact_id, t.tag FROM v JOIN contact_tags t ON t.contact_id = v.id",
);

/// Reads the tags of contacts. Only a rule that allows some tags needs them.
pub(crate) async fn add_tags<'a>(
    mut from: Rows<'_>,
    callees: impl Iterator<Item = (ContactId, &'a mut Callee)>,
) -> Result<(), DbError> {
    let mut callees: BTreeMap<i64, Vec<&mut Callee>> =
        callees.fold(BTreeMap::new(), |mut all, (id, callee)| {
            all.entry(id.0).or_insert_with(Vec::new).push(callee);
            all
        });
    for row in from.bulk(&TAGS, &ids(callees.keys().copied())).await? {
        for callee in callees.get_mut(&row.get::<i64>(0)?).into_iter().flatten() {
            callee.tags.push(row.get(1)?);
        }
    }
    Ok(())
}

/// An attempt of the past, by any campaign.
pub(crate) struct Past {
    pub(crate) at: Wall,
    pub(crate) number: String,
    pub(crate) campaign: String,
    pub(crate) subject: Option<String>,
    pub(crate) debt: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) disposition: Option<String>,
}

/// The attempts of the past by contact.
pub(crate) type Histories = BTreeMap<ContactId, Vec<Past>>;

/// The newest 400 attempts to each contact, and all after which the callee wanted no more calls: those to the contact, and
/// those to the number under any other contact, because it is the same callee.
pub(crate) static HISTORY: BulkStatement = BulkStatement::new(
    2,
    "WITH v(contact_id, number) AS (VALUES {rows}), n AS ( \
       SELECT v.contact_id AS contact_id, a.id, a.created_at_ms, a.number, a.campaign_id, a.subject, a.debt, a.outcome, a.disposition \
         FROM v JOIN attempts a ON a.contact_id = v.contact_id \
       UNION SELECT v.contact_id, a.id, a.created_at_ms, a.number, a.campaign_id, a.subject, a.debt, a.outcome, a.disposition \
         FROM v JOIN attempts a ON a.number = v.number) \
     SELECT contact_id, created_at_ms, number, campaign_id, subject, debt, outcome, disposition FROM \
       (SELECT n.*, row_number() OVER (PARTITION BY contact_id ORDER BY id DESC) AS newest FROM n) m \
     WHERE newest <= 400 OR disposition IN ('dnc', 'refused')",
);

/// The past of each of these contacts, called by this number.
pub(crate) async fn histories<'a>(
    mut from: Rows<'_>,
    contacts: impl Iterator<Item = (ContactId, &'a E164)>,
) -> Result<Histories, DbError> {
    let mut keys = Vec::new();
    for (contact, number) in contacts {
        keys.extend_from_slice(args![contact.0, number.expose()]);
    }
    let mut histories = Histories::new();
    for row in from.bulk(&HISTORY, &keys).await? {
        let past = Past {
            at: Wall(row.get(1)?),
            number: row.get(2)?,
            campaign: row.get::<i64>(3)?.to_string(),
            subject: row.get(4)?,
            debt: row.get(5)?,
            // An attempt in progress may reach the callee.
            outcome: row.maybe_word(6)?.unwrap_or(Outcome::Unknown),
            disposition: row.get(7)?,
        };
        histories.entry(ContactId(row.get(0)?)).or_default().push(past);
    }
    Ok(histories)
}

/// A decision of the gate as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: GateVerdict,
    /// The rule that decided; `clear` if all rules allow.
    pub(crate) rule: String,
    /// The reasons as JSON.
    pub(crate) reasons: String,
    /// The rules of the reasons as JSON: each `profile/rule`.
    pub(crate) rules: String,
}

impl Judgement {
    pub(crate) fn of(decision: &Decision) -> Self {
        let reasons: Vec<_> = decision.reasons.iter().map(RuleReason::from).collect();
        let rules = decision
            .reasons
            .iter()
            .map(|reason| format!("{}/{}", reason.profile, reason.rule));
        let rules: Vec<_> = rules.collect();
        Self {
            verdict: decision.verdict,
            rule: decision
                .deciding()
                .map_or("clear", |reason| reason.rule)
                .to_owned(),
            // Texts and words can always be written as JSON.
            reasons: serde_json::to_string(&reasons).unwrap_or_default(),
            rules: serde_json::to_string(&rules).unwrap_or_default(),
        }
    }
}

/// A call that the gate is asked about, with all that it is told.
pub(crate) struct Case<'a> {
    pub(crate) policy: &'a CampaignPolicy,
    pub(crate) at: Wall,
    pub(crate) ring_timeout: Duration,
    pub(crate) number: &'a E164,
    pub(crate) callee: &'a Callee,
    pub(crate) history: &'a [Past],
    pub(crate) refused_by: Option<ListRefusal>,
    /// `None`: the campaign does not need the outside check.
    pub(crate) outside: Option<OutsideFact<'a>>,
}

impl Case<'_> {
    /// Lends the call, without its caller id, and the facts.
    pub(crate) fn lend<T>(&self, to: impl FnOnce(&PlannedCall, &Facts) -> T) -> T {
        let history: Vec<_> = self.history.iter().map(past_attempt).collect();
        let suppressed = self.refused_by.map(|by| [list_name(by)]);
        let tags: Vec<&str> = self.callee.tags.iter().map(String::as_str).collect();
        let mut facts = self.callee.residence.facts(self.number);
        facts.contact.tags = &tags;
        facts.contact.consents = &self.callee.consents;
        facts.history = &history;
        facts.suppressed = suppressed.as_ref().map_or(&[], |names| names.as_slice());
        facts.outside = self.outside;
        let call = PlannedCall {
            number: NumberText(self.number.expose()),
            debt: self.callee.debt.as_deref(),
            ..self.policy.call(self.at, self.ring_timeout)
        };
        to(&call, &facts)
    }

    /// The decision over a call by this trunk. `None`: the trunk is not chosen yet, and one that allows the call is enough.
    pub(crate) fn decide(&self, trunk: Option<TrunkId>) -> Judgement {
        self.lend(|call, facts| {
            let Some(trunk) = trunk else {
                return self.policy.decide(call, facts, Judgement::of);
            };
            let caller_id = self.policy.caller_id(trunk);
            let call = PlannedCall {
                caller_id: caller_id.map(|caller_id| NumberText(caller_id.as_str())),
                ..*call
            };
            Judgement::of(&self.policy.rules().decide(&call, facts))
        })
    }
}

fn past_attempt(past: &Past) -> PastAttempt<'_> {
    PastAttempt {
        at: past.at,
        number: Some(NumberText(&past.number)),
        campaign: Some(&past.campaign),
        subject: past.subject.as_deref(),
        debt: past.debt.as_deref(),
        outcome: past.outcome,
        disposition: past.disposition.as_deref(),
    }
}

/// The list as a reason names it.
fn list_name(by: ListRefusal) -> &'static str {
    match by {
        ListRefusal::Dnc => "do-not-call",
        ListRefusal::Suppressed => "a registry, or one of the team's own",
        ListRefusal::NotAllowlisted => "all numbers that are not on the allowlist",
    }
}

/// The contacts of a list with their residence and their numbers, in the order of their ids.
pub(crate) const RESIDENTS: &str = "SELECT c.id, c.time_zone, c.country, c.state, n.number FROM seen_contacts c \
    JOIN seen_numbers n ON n.contact_id = c.id WHERE c.list_id = $1 AND c.id > $2 AND c.id <= $3 ORDER BY c.id";

/// The key of each contact's bucket, from rows as [`RESIDENTS`] has them.
pub(crate) fn buckets(rows: &[Row]) -> Result<Vec<(i64, String)>, DbError> {
    let mut buckets = Vec::new();
    for rows in rows.chunk_by(|a, b| a.get::<i64>(0).ok() == b.get::<i64>(0).ok()) {
        let Some(row) = rows.first() else {
            continue;
        };
        let numbers = rows
            .iter()
            .map(|row| row.number(4))
            .collect::<Result<Vec<_>, _>>()?;
        buckets.push((row.get(0)?, Residence::read(row, 1)?.bucket(&numbers)));
    }
    Ok(buckets)
}

/// Numbers as bound values.
pub(crate) fn ids(ids: impl Iterator<Item = i64>) -> Vec<Arg<'static>> {
    ids.map(Arg::from).collect()
}
