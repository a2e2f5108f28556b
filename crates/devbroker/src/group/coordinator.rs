//! All groups of the broker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::consumer::{Beat, Beaten, ConsumerGroup, Times, Topics};
use super::member::{JoinRequest, Joined, Replies, Reply, SyncRequest, Synced, Ticket};
use super::offsets::{CommitRequest, MAX_METADATA_CHARS};
use super::rebalance::{Group, GroupState};
use crate::error_code::ErrorCode;

/// The session timeouts members may ask for (`group.min.session.timeout.ms` and its fellow).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionBounds {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Default for SessionBounds {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(6),
            max: Duration::from_secs(1800),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Coordinator {
    groups: BTreeMap<String, Group>,
    sessions: SessionBounds,
    initial_delay: Duration,
    consumer_times: Times,
    max_metadata_chars: usize,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self::new(SessionBounds::default(), Duration::ZERO, Times::default())
    }
}

impl Coordinator {
    pub(crate) fn new(
        sessions: SessionBounds,
        initial_delay: Duration,
        consumer_times: Times,
    ) -> Self {
        Self {
            groups: BTreeMap::new(),
            sessions,
            initial_delay,
            consumer_times,
            max_metadata_chars: MAX_METADATA_CHARS,
        }
    }

    /// Takes no metadata of a commit that is longer.
    pub(crate) fn limit_metadata(&mut self, chars: usize) {
        self.max_metadata_chars = chars;
    }

    pub(crate) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.iter()
    }

    pub(crate) fn join(
        &mut self,
        now: Instant,
        ticket: Ticket,
        group_id: &str,
        request: &JoinRequest,
        out: &mut Replies,
    ) {
        let refuse = |error| Reply::Join(Joined::refused(error, &request.member_id));
        if group_id.is_empty() {
            out.push((ticket, refuse(ErrorCode::INVALID_GROUP_ID)));
            return;
        }
        if !(self.sessions.min..=self.sessions.max).contains(&request.session_timeout) {
            out.push((ticket, refuse(ErrorCode::INVALID_SESSION_TIMEOUT)));
            return;
        }
        if !self.groups.contains_key(group_id) && !request.member_id.is_empty() {
            out.push((ticket, refuse(ErrorCode::UNKNOWN_MEMBER_ID)));
            return;
        }
        self.group_mut(group_id).join(now, ticket, request, out);
    }

    pub(crate) fn sync(
        &mut self,
        now: Instant,
        ticket: Ticket,
        group_id: &str,
        request: SyncRequest,
        out: &mut Replies,
    ) {
        match self.groups.get_mut(group_id) {
            Some(group) => group.sync(now, ticket, request, out),
            None => {
                let refused = Synced::refused(ErrorCode::UNKNOWN_MEMBER_ID);
                out.push((ticket, Reply::Sync(refused)));
            }
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        match self.groups.get_mut(group_id) {
            Some(group) => group.heartbeat(now, member_id, instance_id, generation),
            None => ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }

    pub(crate) fn leave(
        &mut self,
        now: Instant,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        out: &mut Replies,
    ) -> ErrorCode {
        match self.groups.get_mut(group_id) {
            Some(group) => group.leave(now, member_id, instance_id, out),
            None => ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }

    /// A heartbeat to a group that is divided here. A group that has only offsets, or is not there, becomes one by the
    /// first that joins; one whose members divide it does not.
    pub(crate) fn beat(
        &mut self,
        now: Instant,
        group_id: &str,
        topics: &Topics,
        beat: Beat,
    ) -> Result<Beaten, ErrorCode> {
        let times = self.consumer_times;
        if !self.groups.contains_key(group_id) && beat.epoch != 0 {
            return Err(ErrorCode::GROUP_ID_NOT_FOUND);
        }
        let group = self.group_mut(group_id);
        let may_become_one = beat.epoch == 0 && group.state() == GroupState::Empty;
        if group.consumer.is_none() && may_become_one {
            group.consumer = Some(ConsumerGroup::default());
        }
        match &mut group.consumer {
            Some(consumer) => consumer.beat(now, times, topics, beat),
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        }
    }

    /// Commits offsets; a group nobody joined comes into being by it.
    pub(crate) fn commit(&mut self, now: Instant, request: CommitRequest) -> Vec<ErrorCode> {
        let count = request.partitions.len();
        if request.group_id.is_empty() {
            return vec![ErrorCode::INVALID_GROUP_ID; count];
        }
        if !self.groups.contains_key(&request.group_id) && request.generation >= 0 {
            return vec![ErrorCode::ILLEGAL_GENERATION; count];
        }
        let group = request.group_id.clone();
        let most = self.max_metadata_chars;
        self.group_mut(&group).commit(now, request, most)
    }

    /// Takes a member for dead; whether it was there.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        group_id: &str,
        member_id: &str,
        out: &mut Replies,
    ) -> bool {
        let group = self.groups.get_mut(group_id);
        group.is_some_and(|group| group.expire(now, member_id, out))
    }

    /// Answers requests that wait that the group is coordinated elsewhere now.
    pub(crate) fn hand_over(&mut self, group_id: &str, out: &mut Replies) {
        if let Some(group) = self.groups.get_mut(group_id) {
            group.hand_over(out);
        }
    }

    /// Deletes a group without members, and what it committed.
    pub(crate) fn delete(&mut self, group_id: &str) -> ErrorCode {
        match self.groups.get(group_id) {
            None => ErrorCode::GROUP_ID_NOT_FOUND,
            Some(group) if group.state() != GroupState::Empty => ErrorCode::NON_EMPTY_GROUP,
            Some(_) => {
                self.groups.remove(group_id);
                ErrorCode::NONE
            }
        }
    }

    /// Whether offsets of this group may be deleted (the rules of
    /// `ClassicGroup.validateOffsetDelete`).
    pub(crate) fn admit_offset_delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id);
        let group = group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let is_consumer = group.protocol_type().is_none_or(|kind| kind == "consumer");
        match group.state() {
            GroupState::Empty => Ok(()),
            _ if is_consumer => Ok(()),
            _ => Err(ErrorCode::NON_EMPTY_GROUP),
        }
    }

    /// Deletes what a group committed for a partition, unless a member reads the topic.
    pub(crate) fn delete_offset(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
    ) -> ErrorCode {
        let Some(group) = self.groups.get_mut(group_id) else {
            return ErrorCode::GROUP_ID_NOT_FOUND;
        };
        if group.subscribes_to(topic) {
            return ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC;
        }
        group.offsets_mut().forget(topic, partition);
        ErrorCode::NONE
    }

    /// Forgets what groups committed for a topic that was deleted.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        for group in self.groups.values_mut() {
            group.offsets_mut().forget_topic(topic);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.groups.values().filter_map(Group::next_deadline).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Replies) {
        for group in self.groups.values_mut() {
            group.handle_timeout(now, out);
        }
    }

    fn group_mut(&mut self, id: &str) -> &mut Group {
        self.groups
            .entry(id.to_owned())
            .or_insert_with(|| Group::new(self.initial_delay))
    }
}
