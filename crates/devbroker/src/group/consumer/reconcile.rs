//! How a member gets from what it has to what it is to have.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{ConsumerGroup, Place};

impl ConsumerGroup {
    /// Takes from a member what is not to be its, and when it says that it has let go of that, gives it what
    /// others have let go of.
    pub(super) fn reconcile(
        &mut self,
        now: Instant,
        member_id: &str,
        owned: Option<&BTreeSet<Place>>,
    ) {
        let target = self.target(member_id);
        let of_others = self.of_others(member_id);
        let epoch = self.epoch;
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        let has_let_go =
            |leaving: &BTreeSet<Place>| owned.is_some_and(|owned| owned.is_disjoint(leaving));
        if !member.leaving.is_empty() {
            if !has_let_go(&member.leaving) {
                return;
            }
            member.leaving.clear();
            member.revoke_deadline = None;
        }
        let leaving: BTreeSet<Place> = member.assigned.difference(&target).copied().collect();
        member.assigned.retain(|place| target.contains(place));
        if !leaving.is_empty() && !has_let_go(&leaving) {
            member.leaving = leaving;
            member.revoke_deadline = Some(now + member.rebalance_timeout);
            return;
        }
        member.assigned.extend(target.difference(&of_others));
        if member.epoch != epoch {
            (member.previous_epoch, member.epoch) = (member.epoch, epoch);
        }
    }

    /// What others have, or have not said to have given up.
    fn of_others(&self, member_id: &str) -> BTreeSet<Place> {
        let others = self.members.iter().filter(|(id, _)| *id != member_id);
        others
            .flat_map(|(_, member)| member.assigned.iter().chain(&member.leaving))
            .copied()
            .collect()
    }
}
