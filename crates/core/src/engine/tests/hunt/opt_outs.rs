//! Opt-outs in the random test: after one, nothing is dialed to that number and nothing rings there.

use super::*;

#[derive(Default)]
pub(super) struct OptOuts {
    /// Every number that was opted out.
    all: BTreeSet<E164>,
    /// Those that were opted out since the store was asked for contacts. Its answer may still contain them.
    since_refill: BTreeSet<E164>,
}

impl OptOuts {
    /// The store answers a request for contacts. Returns the numbers that it knew as opted out when it was asked.
    pub(super) fn refill_over(&mut self) -> BTreeSet<E164> {
        let since = std::mem::take(&mut self.since_refill);
        self.all.difference(&since).cloned().collect()
    }
}

impl Hunt {
    /// Opts out the number of a contact that was leased, or that the store leases at this moment.
    pub(super) fn opt_out(&mut self, i: usize) {
        let coming = if self.refills > 0 { 4 } else { 0 };
        let known = self.rig.contacts + coming;
        if known == 0 {
            return;
        }
        let number = lead(1 + i64::try_from(i % usize::try_from(known).unwrap()).unwrap()).number;
        self.opt_outs.all.insert(number.clone());
        if self.refills > 0 {
            self.opt_outs.since_refill.insert(number.clone());
        }
        self.rig.tell(Input::OptedOut {
            numbers: vec![number],
        });
    }

    /// The process has started again: it reads the opted-out numbers from the store.
    pub(super) fn opt_out_again(&mut self) {
        self.opt_outs.since_refill.clear();
        self.rig.tell(Input::OptedOut {
            numbers: self.opt_outs.all.iter().cloned().collect(),
        });
    }

    pub(super) fn check_not_opted_out(&self, command: &Command) {
        let lead = match command {
            Command::Prepare(new) => Some(&new.lead),
            Command::Pbx {
                command: PbxCommand::CallContact { leg, .. },
                ..
            } => self
                .stored
                .values()
                .find(|new| new.leg == *leg)
                .map(|new| &new.lead),
            _ => None,
        };
        let dialed_after = lead.is_some_and(|lead| self.opt_outs.all.contains(&lead.number));
        assert!(!dialed_after, "called after its opt-out: {command:?}");
    }

    pub(super) fn check_opt_outs(&self) {
        let rings = |state: AttemptState| {
            matches!(
                state,
                AttemptState::Preparing { wanted: true, .. }
                    | AttemptState::Dialing { .. }
                    | AttemptState::Ringing { .. }
            )
        };
        for open in self.rig.engine.attempts.values() {
            let opted_out = self.opt_outs.all.contains(&open.lead.number);
            assert!(
                !(opted_out && rings(open.state)),
                "rings after its opt-out: {open:?}"
            );
        }
    }
}
