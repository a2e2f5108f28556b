//! A group that its coordinator divides (KIP-848): members, their epochs, and who is to have what.
//!
//! Members say by heartbeats what they own; the group has a target, which [`assignor`] makes anew whenever
//! members, subscriptions or topics change, and [`reconcile`] leads each member towards it: first it gives
//! up, then it gets. The rules are those of Kafka's `GroupMetadataManager` and `CurrentAssignmentBuilder`.

mod assignor;
mod member;
mod reconcile;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::rebalance::GroupState;
use crate::error_code::ErrorCode;
pub(crate) use assignor::Assignor;
pub(crate) use member::{Beat, Beaten, Member};

/// Members of a group (`group.consumer.max.size`, which Kafka leaves unbounded).
const MAX_MEMBERS: usize = 1000;
/// The epoch of a request that leaves, and of one by a static member that will come back.
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

/// A partition by its topic's id.
pub(crate) type Place = (Uuid, i32);

/// Topics by name, with their id and how many partitions they have.
pub(crate) type Topics = BTreeMap<String, (Uuid, i32)>;

/// What the broker and not the member decides (`group.consumer.session.timeout.ms` and its fellow).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ConsumerGroup {
    epoch: i32,
    members: BTreeMap<String, Member>,
    /// Group instance id to member id.
    instances: HashMap<String, String>,
    /// By member id.
    target: BTreeMap<String, BTreeSet<Place>>,
    /// What was divided last.
    topics: Topics,
}

impl ConsumerGroup {
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What a member is to have in the end.
    pub(crate) fn target(&self, member_id: &str) -> BTreeSet<Place> {
        self.target.get(member_id).cloned().unwrap_or_default()
    }

    pub(crate) fn state(&self) -> GroupState {
        let is_there = |(id, member): (&String, &Member)| {
            member.epoch == self.epoch && self.target.get(id) == Some(&member.assigned)
        };
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.members.iter().all(is_there) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The assignor that most members ask for; uniform where none does.
    pub(crate) fn assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            let members = self.members.values();
            members.filter(|one| one.assignor == Some(assignor)).count()
        };
        if votes(Assignor::Range) > votes(Assignor::Uniform) {
            Assignor::Range
        } else {
            Assignor::Uniform
        }
    }

    pub(crate) fn subscribes_to(&self, topic: &str) -> bool {
        let mut members = self.members.values();
        members.any(|member| member.names.contains(topic))
    }

    /// Joins, stays or leaves.
    pub(crate) fn beat(
        &mut self,
        now: Instant,
        times: Times,
        topics: &Topics,
        beat: Beat,
    ) -> Result<Beaten, ErrorCode> {
        match beat.epoch {
            LEAVES | LEAVES_FOR_A_WHILE => return self.leave(times, &beat),
            0 => self.enter(&beat)?,
            _ => self.admit(&beat)?,
        }
        let member = self.members.get_mut(&beat.member_id);
        let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let before = member.assigned.clone();
        let wants_anew = member.update(&beat);
        member.session_deadline = Some(now + times.session_timeout);
        if wants_anew || self.subscribed(topics) != self.topics {
            self.divide(topics);
        }
        self.reconcile(now, &beat.member_id, beat.owned.as_ref());
        let member = self.members.get(&beat.member_id);
        let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let tells = beat.is_full() || member.assigned != before;
        Ok(Beaten {
            member_id: beat.member_id,
            epoch: member.epoch,
            interval: times.heartbeat_interval,
            assignment: tells.then(|| member.assigned.clone()),
        })
    }

    /// A member of this id may be in an epoch already: then it does not know that it has joined.
    fn enter(&mut self, beat: &Beat) -> Result<(), ErrorCode> {
        let holder = beat.instance_id.as_ref();
        let holder = holder.and_then(|instance| self.instances.get(instance));
        if let Some(holder) = holder.cloned() {
            let before = self.members.get(&holder);
            if before.is_some_and(|before| before.epoch != LEAVES_FOR_A_WHILE) {
                return Err(ErrorCode::UNRELEASED_INSTANCE_ID);
            }
            self.replace(&holder, &beat.member_id);
            return Ok(());
        }
        if self.members.contains_key(&beat.member_id) {
            return self.check_epoch(beat);
        }
        if self.members.len() >= MAX_MEMBERS {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if let Some(instance) = &beat.instance_id {
            self.instances
                .insert(instance.clone(), beat.member_id.clone());
        }
        self.members
            .insert(beat.member_id.clone(), Member::default());
        Ok(())
    }

    /// A static member is back under another member id, and has what it had.
    fn replace(&mut self, old: &str, new: &str) {
        if let Some(mut member) = self.members.remove(old) {
            (member.epoch, member.previous_epoch) = (0, 0);
            if let Some(instance) = &member.instance_id {
                self.instances.insert(instance.clone(), new.to_owned());
            }
            self.members.insert(new.to_owned(), member);
        }
        if let Some(target) = self.target.remove(old) {
            self.target.insert(new.to_owned(), target);
        }
    }

    fn admit(&self, beat: &Beat) -> Result<(), ErrorCode> {
        self.check_instance(beat)?;
        self.check_epoch(beat)
    }

    fn check_instance(&self, beat: &Beat) -> Result<(), ErrorCode> {
        let Some(instance) = &beat.instance_id else {
            return Ok(());
        };
        match self.instances.get(instance) {
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(holder) if *holder != beat.member_id => Err(ErrorCode::FENCED_INSTANCE_ID),
            Some(_) => Ok(()),
        }
    }

    /// The epoch before the last is good for a member that may have missed the answer with the last.
    fn check_epoch(&self, beat: &Beat) -> Result<(), ErrorCode> {
        let member = self.members.get(&beat.member_id);
        let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let owned = beat.owned.as_ref();
        let has_no_more = || owned.is_some_and(|owned| owned.is_subset(&member.assigned));
        let missed_it = beat.epoch < member.epoch && beat.epoch == member.previous_epoch;
        if beat.epoch == member.epoch || missed_it && has_no_more() {
            Ok(())
        } else {
            Err(ErrorCode::FENCED_MEMBER_EPOCH)
        }
    }

    fn leave(&mut self, times: Times, beat: &Beat) -> Result<Beaten, ErrorCode> {
        self.check_instance(beat)?;
        let member = self.members.get_mut(&beat.member_id);
        let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if beat.epoch == LEAVES_FOR_A_WHILE {
            // Its session goes on: until it is over the place is kept.
            member.epoch = LEAVES_FOR_A_WHILE;
            member.leaving.clear();
            member.revoke_deadline = None;
        } else {
            self.remove(&beat.member_id);
        }
        Ok(Beaten {
            member_id: beat.member_id.clone(),
            epoch: beat.epoch,
            interval: times.heartbeat_interval,
            assignment: None,
        })
    }

    /// Takes a member out, and lets the others have what it had; whether it was there.
    pub(crate) fn remove(&mut self, member_id: &str) -> bool {
        let Some(member) = self.members.remove(member_id) else {
            return false;
        };
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        self.target.remove(member_id);
        let topics = std::mem::take(&mut self.topics);
        self.divide(&topics);
        true
    }

    /// Of all topics, those that members read.
    fn subscribed(&self, topics: &Topics) -> Topics {
        let read = topics.iter().filter(|(name, _)| self.subscribes_to(name));
        read.map(|(name, topic)| (name.clone(), *topic)).collect()
    }

    /// Makes the target of the next epoch.
    fn divide(&mut self, topics: &Topics) {
        self.topics = self.subscribed(topics);
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let names = self.members.iter();
        let names = names.map(|(id, member)| (id.as_str(), &member.names));
        self.target = self
            .assignor()
            .divide(&names.collect(), &self.topics, &self.target);
    }

    /// Whether this member is in this epoch.
    pub(crate) fn check_epoch_of(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member_id);
        match member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.epoch == epoch {
            true => Ok(()),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values();
        members
            .flat_map(|member| [member.session_deadline, member.revoke_deadline])
            .flatten()
            .min()
    }

    /// Takes for dead whoever has been silent, or has drained, for too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let dead = self.members.iter();
        let dead: Vec<String> = dead
            .filter(|(_, member)| is_due(member.session_deadline) || is_due(member.revoke_deadline))
            .map(|(id, _)| id.clone())
            .collect();
        for id in dead {
            self.remove(&id);
        }
    }
}
