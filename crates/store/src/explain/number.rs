//! What the gate would say of a number now, for each contact of a campaign that has it.

use crate::db::{Pools, Row, Rows, args};
use crate::error::{DbError, StoreError};
use crate::facts::{Callee, Case, Histories, add_tags, callee_columns, histories};
use crate::outside::{Checked, checked};
use crate::{Store, query};
use paceline_core::gate::{CampaignPolicy, GateVerdict, RuleReason};
use paceline_core::ids::{CampaignId, ContactId};
use paceline_core::number::E164;
use paceline_core::suppression::ListRefusal;
use paceline_core::time::Wall;

/// Contacts of one campaign that are looked at, the newest first. A list has a number once at most.
const CONTACTS_MAX: i64 = 20;

const DOING: &str = "ask the gate about a number";

const CAMPAIGNS: &str = "SELECT DISTINCT t.campaign_id FROM seen_numbers n JOIN tasks t ON t.list_id = n.list_id \
      JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = n.contact_id \
      JOIN campaigns c ON c.id = t.campaign_id \
    WHERE n.number = $1 AND c.state <> 'archived' ORDER BY t.campaign_id";

const CONTACTS: &str = concat!(
    "SELECT c.id, ",
    callee_columns!(),
    " FROM seen_numbers n JOIN seen_contacts c ON c.id = n.contact_id \
      WHERE n.number = $1 AND EXISTS (SELECT 1 FROM tasks t JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
        WHERE t.list_id = c.list_id AND t.campaign_id = $2) ORDER BY c.id DESC LIMIT $3"
);

/// What the gate would say of a call to a contact now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberJudgement {
    /// The contact. `None`: the campaign has no contact with the number, so the gate knows the number only.
    pub contact: Option<ContactId>,
    /// The verdict.
    pub verdict: GateVerdict,
    /// For `Allow` every rule that was asked, otherwise every rule that defers or denies.
    pub reasons: Vec<RuleReason>,
}

impl Store {
    /// The campaigns whose tasks have a contact with this number. Archived campaigns are left out.
    pub async fn campaigns_with_number(&self, number: &E164) -> Result<Vec<CampaignId>, StoreError> {
        let read = |row: &Row| Ok(CampaignId(row.get(0)?));
        self.read_all(DOING, CAMPAIGNS, args![number.expose()], read)
            .await
    }

    /// What the gate would say now of a call to this number, for each contact of the campaign that has it, the newest first, at
    /// most 20. If there is none: of a contact of which nothing is known.
    pub async fn judge_number(
        &self,
        policy: &CampaignPolicy,
        number: &E164,
        now: Wall,
    ) -> Result<Vec<NumberJudgement>, StoreError> {
        let config = policy.config();
        let listed = self.listed(number, now).await?;
        let refused_by = config.settings.suppression.refuses(&listed);
        let args = args![number.expose(), config.id.0, CONTACTS_MAX];
        let contacts = self.read_all(DOING, CONTACTS, args, |row| {
            Ok((ContactId(row.get(0)?), Callee::read(row, 1, policy)?))
        });
        let mut contacts = contacts.await?;
        let nobody = ContactId(-1);
        if contacts.is_empty() {
            contacts.push((nobody, Callee::default()));
        }
        let read = async {
            let pools: &Pools = &self.pools;
            if policy.rules().reads_tags() {
                add_tags(
                    Rows::Committed(pools),
                    contacts.iter_mut().map(|(id, callee)| (*id, callee)),
                )
                .await?;
            }
            let called = contacts.iter().map(|(id, _)| (*id, number));
            let histories = histories(Rows::Committed(pools), called).await?;
            let checked = match config.settings.suppression.outside_check {
                true => Some(checked(Rows::Committed(pools), &[number]).await?),
                false => None,
            };
            Ok::<_, DbError>((histories, checked))
        };
        let (histories, checked) = read.await.map_err(query(DOING))?;
        let asked = Asked {
            policy,
            number,
            now,
            refused_by,
            histories,
            checked,
        };
        let judged = contacts.iter().map(|(id, callee)| NumberJudgement {
            contact: Some(*id).filter(|id| *id != nobody),
            ..asked.judge(*id, callee)
        });
        Ok(judged.collect())
    }
}

struct Asked<'a> {
    policy: &'a CampaignPolicy,
    number: &'a E164,
    now: Wall,
    refused_by: Option<ListRefusal>,
    histories: Histories,
    checked: Option<Checked>,
}

impl Asked<'_> {
    fn judge(&self, contact: ContactId, callee: &Callee) -> NumberJudgement {
        let case = Case {
            policy: self.policy,
            at: self.now,
            ring_timeout: self.policy.config().settings.dialing.ring_timeout(),
            number: self.number,
            callee,
            history: self.histories.get(&contact).map_or(&[], Vec::as_slice),
            refused_by: self.refused_by,
            outside: self.checked.as_ref().map(|checked| checked.of(self.number)),
        };
        case.lend(|call, facts| {
            self.policy.decide(call, facts, |decision| NumberJudgement {
                contact: Some(contact),
                verdict: decision.verdict,
                reasons: decision.reasons.iter().map(RuleReason::from).collect(),
            })
        })
    }
}
