//! When to give a sign of life and what to say in it: one member's view of a group whose coordinator divides (KIP-848).
//!
//! There is one request, the heartbeat. With epoch 0 it joins; its answers say in which epoch the member is and, when
//! that has changed, what it is to have. What it is not to have any more is given up first: the caller drains, commits
//! and releases. Then the next heartbeat says what is left, and only then does the coordinator give those partitions to
//! others and new ones to this member. There is no moment at which the whole group stops.
//!
//! Partitions count as held only while nothing interrupts that: an unknown member, a fenced epoch, a session without an
//! answer or a drain that takes longer than the rebalance timeout loses them all at once, and the member joins again.
//! Where the coordinator may count it still, in an epoch it does not know, it leaves before that: a join by a member
//! that is counted is refused.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    membership::{MayCommit, News, Times},
    pulse::{Beat, Pulse, SHORTEST_INTERVAL, Sent},
    share::Share,
};
use crate::{
    consumer::AssignedPartition,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    wire::{PartitionsById, TopicId},
};

/// Shortest and longest wait before something that failed is tried again.
const RETRY_FROM: Duration = Duration::from_millis(100);
const RETRY_UP_TO: Duration = Duration::from_secs(5);

/// The coordinator's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) epoch: i32,
    pub(super) interval: Duration,
    /// What the member is to have, where that has changed.
    pub(super) assignment: Option<PartitionsById>,
}

/// Something to be done; its outcome is to be reported back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Send this heartbeat, then report to [`ConsumerMembership::answered`].
    Beat(Beat),
    /// Leave, then report to [`ConsumerMembership::withdrawn`].
    Withdraw,
    /// Find out what these topics are called, then report to [`ConsumerMembership::named`].
    Name(Vec<TopicId>),
    /// Read what was committed, then report to [`ConsumerMembership::offsets`].
    FetchOffsets {
        epoch: i32,
        partitions: Vec<TopicPartition>,
    },
    /// Tell the caller.
    Tell(News),
    /// Be a member by the classic protocol instead: the coordinator does not have this one, or not for this group.
    FallBack(TransportError),
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Not in the group; joins at this time.
    Out {
        join_at: Instant,
    },
    /// Not in the group, which may not know it; leaves at this time.
    Doubted {
        leave_at: Instant,
    },
    Withdrawing,
    Joining,
    In,
    FallsBack(TransportError),
    Ended,
}

/// The state of one member.
#[derive(Debug)]
pub(super) struct ConsumerMembership {
    group: Arc<str>,
    times: Times,
    member_id: String,
    may_fall_back: bool,
    /// 0 outside the group.
    epoch: i32,
    phase: Phase,
    share: Share,
    is_naming: bool,
    /// When names may be asked for (again).
    names_at: Instant,
    naming_failures: u32,
    /// Until when the coordinator waits for this member to give up what it has to, and to say so.
    give_up_by: Option<Instant>,
    /// Partitions whose offsets are being read, and in which epoch that was asked for.
    reading_offsets: Option<(i32, Vec<TopicPartition>)>,
    /// When offsets may be read (again).
    offsets_at: Instant,
    pulse: Pulse,
    has_asked: bool,
    failures: u32,
    news: VecDeque<News>,
}

impl ConsumerMembership {
    pub(super) fn new(
        group: Arc<str>,
        times: Times,
        member_id: String,
        may_fall_back: bool,
        now: Instant,
    ) -> Self {
        Self {
            group,
            times,
            member_id,
            may_fall_back,
            epoch: 0,
            phase: Phase::Out { join_at: now },
            share: Share::default(),
            is_naming: false,
            names_at: now,
            naming_failures: 0,
            give_up_by: None,
            reading_offsets: None,
            offsets_at: now,
            pulse: Pulse::new(now, times.heartbeat_interval),
            has_asked: false,
            failures: 0,
            news: VecDeque::new(),
        }
    }

    /// The epoch this member is in; `None` outside the group.
    pub(super) fn epoch(&self) -> Option<i32> {
        (self.phase == Phase::In).then_some(self.epoch)
    }

    pub(super) fn may_commit(&self) -> MayCommit<'_> {
        match self.phase {
            Phase::In => MayCommit::As(&self.member_id, self.epoch),
            _ => MayCommit::No,
        }
    }

    /// Whether a commit that was refused with this error is to be made again when the epoch is known in which it will
    /// be taken. Partitions that are still held then were held without a break.
    pub(super) fn commits_again(&self, error: &TransportError) -> bool {
        self.phase == Phase::In && error.error_code() == Some(ErrorCode::StaleMemberEpoch)
    }

    /// How many heartbeats were answered as to a member.
    pub(super) fn answers(&self) -> u64 {
        self.pulse.answers()
    }

    /// How many will have been when one is that was sent after now.
    pub(super) fn answers_to_come(&self) -> u64 {
        self.pulse.answers_to_come()
    }

    /// Whether a partition is held: assigned, and neither released nor lost.
    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.share.holding().has(partition)
    }

    /// The id the coordinator may know this member by.
    pub(super) fn member_id(&self) -> Option<&str> {
        self.has_asked.then_some(self.member_id.as_str())
    }

    /// The id this member joins by.
    pub(super) fn own_id(&self) -> &str {
        &self.member_id
    }

    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended && self.news.is_empty()
    }

    /// The next thing to do at `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Action> {
        self.watch_the_clock(now);
        if let Some(news) = self.news.pop_front() {
            return Some(Action::Tell(news));
        }
        match &self.phase {
            Phase::Out { join_at } if *join_at <= now => {
                self.phase = Phase::Joining;
                self.has_asked = true;
                Some(Action::Beat(self.pulse.join(now)))
            }
            Phase::Doubted { leave_at } if *leave_at <= now => {
                self.phase = Phase::Withdrawing;
                Some(Action::Withdraw)
            }
            Phase::FallsBack(error) => {
                let error = error.clone();
                self.phase = Phase::Ended;
                Some(Action::FallBack(error))
            }
            Phase::In if self.pulse.is_due(now) => {
                let owned = self.share.owned();
                Some(Action::Beat(self.pulse.beat(now, self.epoch, owned)))
            }
            Phase::In => self.name(now).or_else(|| self.read_offsets(now)),
            _ => None,
        }
    }

    fn name(&mut self, now: Instant) -> Option<Action> {
        if !self.wants_names() || self.names_at > now {
            return None;
        }
        self.is_naming = true;
        Some(Action::Name(self.share.nameless().collect()))
    }

    fn wants_names(&self) -> bool {
        !self.is_naming && !self.share.is_named()
    }

    fn read_offsets(&mut self, now: Instant) -> Option<Action> {
        if !self.wants_offsets() || self.offsets_at > now {
            return None;
        }
        let (epoch, partitions) = (self.epoch, self.share.holding().to_start());
        self.reading_offsets = Some((epoch, partitions.clone()));
        Some(Action::FetchOffsets { epoch, partitions })
    }

    fn wants_offsets(&self) -> bool {
        self.reading_offsets.is_none() && !self.share.holding().to_start().is_empty()
    }

    /// When [`poll`](Self::poll) will have something to do by itself.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Out { join_at } => Some(*join_at),
            Phase::Doubted { leave_at } => Some(*leave_at),
            Phase::In => {
                let beat = self.pulse.next_at();
                let names = self.wants_names().then_some(self.names_at);
                let offsets = self.wants_offsets().then_some(self.offsets_at);
                let expiry = Some(self.pulse.alive_at() + self.times.session_timeout);
                let all = [beat, names, offsets, expiry, self.give_up_by];
                all.into_iter().flatten().min()
            }
            _ => None,
        }
    }

    /// The answer to the heartbeat of this number.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        number: u64,
        answer: Result<Answer, TransportError>,
    ) {
        let Some(sent) = self.pulse.take(number) else {
            return;
        };
        let answer = answer.and_then(|answer| match answer.epoch {
            1.. => Ok(answer),
            _ => Err(self.no_epoch()),
        });
        match answer {
            Ok(answer) => self.accepted(now, sent, answer),
            Err(error) if self.phase == Phase::Joining => self.not_in(now, error),
            Err(error) => self.refused(now, error),
        }
    }

    fn accepted(&mut self, now: Instant, sent: Sent, answer: Answer) {
        let is_new = self.phase == Phase::Joining || answer.epoch != self.epoch;
        self.phase = Phase::In;
        self.epoch = answer.epoch;
        self.failures = 0;
        let longest = (self.times.session_timeout / 3).max(SHORTEST_INTERVAL);
        let since = self.pulse.heard(now, sent, answer.interval.min(longest));
        if !self.share.holding().gives_up() && self.pulse.has_told(&self.share.owned()) {
            self.give_up_by = None;
        }
        let has_changed = answer.assignment.is_some();
        if let Some(assignment) = answer.assignment {
            self.share.aim_at(assignment);
            self.naming_failures = 0;
            self.names_at = now;
            self.offsets_at = now;
        }
        self.reconcile(now, since);
        let gave_nothing = self.share.holding().to_start().is_empty() && self.share.is_named();
        if (is_new || has_changed) && gave_nothing && !self.share.holding().gives_up() {
            self.tell_assigned(Vec::new());
        }
    }

    /// Gives up what is not to be held; once that is done, takes what is. The coordinator may have begun to wait for that
    /// at `since`.
    fn reconcile(&mut self, now: Instant, since: Instant) {
        let revoked = self.share.reconcile();
        if let Some((_, partitions)) = &mut self.reading_offsets {
            // Whoever gets these meanwhile may commit more.
            let to_start: BTreeSet<_> = self.share.holding().to_start().into_iter().collect();
            partitions.retain(|partition| to_start.contains(partition));
        }
        if !revoked.is_empty() {
            let by = since + self.times.rebalance_timeout;
            self.give_up_by.get_or_insert(by);
            self.news.push_back(News::Revoked(revoked));
        }
        if !self.pulse.has_told(&self.share.owned()) {
            self.pulse.at_once(now);
        }
    }

    /// Joining was refused, or its answer did not come.
    fn not_in(&mut self, now: Instant, error: TransportError) {
        if self.may_fall_back && is_not_served(&error) {
            self.phase = Phase::FallsBack(error);
            return;
        }
        let at = now + self.back_off();
        self.phase = match (error.error_code(), error.class()) {
            (Some(ErrorCode::UnknownMemberId), _) => Phase::Out { join_at: at },
            (Some(ErrorCode::FencedMemberEpoch), _) => Phase::Doubted { leave_at: at },
            (_, Class::Fatal | Class::Fenced) => return self.end(error),
            (Some(_), _) => {
                self.news.push_back(News::Failed(error));
                Phase::Out { join_at: at }
            }
            (None, _) => {
                self.news.push_back(News::Failed(error));
                Phase::Doubted { leave_at: at }
            }
        };
    }

    /// A heartbeat as a member was refused, or its answer did not come.
    fn refused(&mut self, now: Instant, error: TransportError) {
        if is_lost_by(&error) {
            self.lose(now, error);
        } else if error.class() == Class::Fatal {
            self.lose_all(&error);
            self.end(error);
        } else {
            // The coordinator is away or has moved; the session timeout decides.
            self.pulse.missed(now);
        }
    }

    /// The coordinator was told that this member leaves; `Err` where that may not have reached it.
    pub(super) fn withdrawn(&mut self, now: Instant, answer: Result<(), TransportError>) {
        if self.phase != Phase::Withdrawing {
            return;
        }
        match answer {
            Ok(()) => self.phase = Phase::Out { join_at: now },
            Err(error) if matches!(error.class(), Class::Fatal | Class::Fenced) => self.end(error),
            Err(error) => {
                self.news.push_back(News::Failed(error));
                self.phase = Phase::Doubted {
                    leave_at: now + self.back_off(),
                };
            }
        }
    }

    /// What topics are called; those that are not there, or must not be read, are left out.
    pub(super) fn named(
        &mut self,
        now: Instant,
        answer: Result<Vec<(TopicId, Arc<str>)>, TransportError>,
    ) {
        self.is_naming = false;
        if self.phase != Phase::In {
            return;
        }
        match answer {
            Ok(names) => {
                self.share.name(names);
            }
            Err(error) if error.class() == Class::Fatal => {
                self.lose_all(&error);
                return self.end(error);
            }
            Err(error) => self.news.push_back(News::Failed(error)),
        }
        if !self.share.is_named() {
            self.naming_failures = self.naming_failures.saturating_add(1);
            self.names_at = now + backed_off(self.naming_failures);
        }
        self.reconcile(now, now);
    }

    pub(super) fn offsets(
        &mut self,
        now: Instant,
        epoch: i32,
        answer: Result<Vec<AssignedPartition>, TransportError>,
    ) {
        let asked = self
            .reading_offsets
            .take_if(|(asked_in, _)| *asked_in == epoch);
        let Some((_, asked)) = asked else {
            return;
        };
        match answer {
            Ok(mut partitions) => {
                let asked: BTreeSet<_> = asked.into_iter().collect();
                partitions.retain(|one| {
                    asked.contains(&one.partition) && self.share.holding_mut().start(&one.partition)
                });
                if !partitions.is_empty() {
                    self.tell_assigned(partitions);
                }
            }
            // The answer with the new epoch is on its way, or was lost.
            Err(error) if error.error_code() == Some(ErrorCode::StaleMemberEpoch) => {
                self.pulse.hurry(now);
                self.offsets_at = now + self.back_off();
            }
            Err(error) if is_lost_by(&error) => self.lose(now, error),
            Err(error) if error.class() == Class::Fatal => {
                self.lose_all(&error);
                self.end(error);
            }
            Err(error) => {
                self.news.push_back(News::Failed(error));
                self.offsets_at = now + self.back_off();
            }
        }
    }

    /// A commit made in `epoch` was refused.
    pub(super) fn commit_refused(&mut self, now: Instant, epoch: i32, error: &TransportError) {
        if self.phase != Phase::In || epoch != self.epoch {
            return;
        }
        if is_lost_by(error) {
            self.lose(now, error.clone());
        } else if error.error_code() == Some(ErrorCode::StaleMemberEpoch) {
            self.pulse.hurry(now);
        }
    }

    /// The caller has drained these.
    pub(super) fn released(&mut self, now: Instant, partitions: &[TopicPartition]) {
        self.share.holding_mut().release(partitions);
        self.reconcile(now, now);
    }

    fn watch_the_clock(&mut self, now: Instant) {
        if self.phase != Phase::In {
            return;
        }
        let timed_out = |after| {
            let kind = ErrorKind::TimedOut { after, sent: true };
            let target = Target::default().group(Arc::clone(&self.group));
            TransportError::new(Operation::Heartbeat, target, kind)
        };
        if now >= self.pulse.alive_at() + self.times.session_timeout {
            let error = timed_out(self.times.session_timeout);
            self.lose(now, error);
        } else if self.give_up_by.is_some_and(|by| by <= now) {
            let error = timed_out(self.times.rebalance_timeout);
            self.lose(now, error);
        }
    }

    fn tell_assigned(&mut self, partitions: Vec<AssignedPartition>) {
        self.news.push_back(News::Assigned {
            generation: self.epoch,
            partitions,
        });
    }

    /// Loses everything, and joins again; leaves before that where the coordinator may count this member still.
    fn lose(&mut self, now: Instant, reason: TransportError) {
        self.lose_all(&reason);
        self.phase = match reason.error_code() {
            Some(ErrorCode::FencedInstanceId) => return self.end(reason),
            None | Some(ErrorCode::FencedMemberEpoch) => Phase::Doubted { leave_at: now },
            Some(_) => Phase::Out { join_at: now },
        };
    }

    fn lose_all(&mut self, reason: &TransportError) {
        let partitions = self.share.lose();
        self.epoch = 0;
        self.pulse.stop();
        self.reading_offsets = None;
        self.give_up_by = None;
        if !partitions.is_empty() {
            self.news.push_back(News::Lost {
                partitions,
                reason: reason.clone(),
            });
        }
    }

    fn end(&mut self, error: TransportError) {
        self.news.push_back(News::Failed(error));
        self.phase = Phase::Ended;
    }

    fn no_epoch(&self) -> TransportError {
        let target = Target::default().group(Arc::clone(&self.group));
        let reason = "a member was given no epoch".into();
        TransportError::new(
            Operation::Heartbeat,
            target,
            ErrorKind::Malformed { reason },
        )
    }

    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backed_off(self.failures)
    }
}

fn backed_off(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.clamp(1, 16) - 1);
    RETRY_FROM.saturating_mul(doubled).min(RETRY_UP_TO)
}

/// Whether the coordinator says that this member, or its group, is not there as it believes.
fn is_lost_by(error: &TransportError) -> bool {
    error.class() == Class::Fenced || is_not_served(error)
}

/// Whether the coordinator does not have this protocol, or not for this group.
fn is_not_served(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::UnsupportedVersion { .. })
        || matches!(
            error.error_code(),
            Some(ErrorCode::UnsupportedVersion | ErrorCode::GroupIdNotFound)
        )
}

#[cfg(test)]
#[path = "consumer_membership_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "consumer_group_tests.rs"]
mod group_tests;
