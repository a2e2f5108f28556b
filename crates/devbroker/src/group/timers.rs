//! What happens to a group by itself: sessions end, and phases of a rebalance.

use std::time::Instant;

use super::consumer::ConsumerGroup;
use super::member::Replies;
use super::rebalance::{Group, GroupState};

impl Group {
    /// When [`Group::handle_timeout`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(|m| m.session_deadline);
        let pending = self.pending.values().copied();
        let phases = self.join_deadline.into_iter().chain(self.sync_deadline);
        let consumer = self.consumer.as_ref();
        let consumer = consumer.and_then(ConsumerGroup::next_deadline);
        let classic = sessions.chain(pending).chain(phases);
        classic.chain(consumer).min()
    }

    /// Does all that is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Replies) {
        if let Some(consumer) = &mut self.consumer {
            consumer.handle_timeout(now);
        }
        self.expire_pending(now, out);
        self.expire_sessions(now, out);
        if self.state == GroupState::PreparingRebalance && is_due(self.join_deadline, now) {
            self.complete_join(now, out);
        }
        if is_due(self.sync_deadline, now) {
            self.expire_syncs(now, out);
        }
    }

    fn expire_pending(&mut self, now: Instant, out: &mut Replies) {
        let before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < before {
            self.complete_join_if_ready(now, out);
        }
    }

    fn expire_sessions(&mut self, now: Instant, out: &mut Replies) {
        let dead: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| is_due(member.session_deadline, now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in dead {
            self.remove(now, &id, out);
        }
    }

    /// Members that joined the generation and never asked for their assignment hold up nobody
    /// for longer than the rebalance timeout.
    fn expire_syncs(&mut self, now: Instant, out: &mut Replies) {
        self.sync_deadline = None;
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| !member.has_synced)
            .map(|(id, _)| id.clone())
            .collect();
        for id in silent {
            self.remove(now, &id, out);
        }
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
