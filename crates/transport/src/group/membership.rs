//! When to join, sync, give a sign of life and give partitions up: one member's view of its group.
//!
//! Rebalances are eager or cooperative. In an eager one everything is revoked, the caller drains and commits, releases,
//! and only then does this member join again, under the id it has. In a cooperative one (KIP-429) it joins again at once,
//! says what it holds and goes on with that; what it is not given any more it then gives up in the same way, and joins
//! once more, so that others get it. Which of them it is, each member decides by itself, as Java's do: cooperative where
//! all assignors it offers are.
//!
//! Partitions count as held only while nothing interrupts that: an unknown member, a generation that was missed or a
//! session without a sign of life loses them all at once. A generation was not missed where this member has asked to be
//! in it: what it said it holds was heeded by whoever divided, so a rebalance that starts over takes nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    assignor::{Assignor, Member},
    holding::Holding,
};
use crate::{
    consumer::AssignedPartition,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
};

/// Shortest and longest wait before something that failed is tried again.
const RETRY_FROM: Duration = Duration::from_millis(100);
const RETRY_UP_TO: Duration = Duration::from_secs(5);

/// The times a membership goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) session_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
    pub(super) rebalance_timeout: Duration,
}

/// Something to be done; its outcome is to be reported back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Send JoinGroup, saying that this is held in this generation, then report to [`Membership::joined`].
    Join {
        member_id: String,
        owned: Vec<TopicPartition>,
        generation: i32,
    },
    /// Send SyncGroup, with an assignment of these members if there are any, then report to [`Membership::synced`].
    Sync {
        member_id: String,
        generation: i32,
        assignor: Assignor,
        led: Option<Vec<Member>>,
    },
    /// Send Heartbeat, then report to [`Membership::heartbeat`].
    Heartbeat { member_id: String, generation: i32 },
    /// Read what was committed, then report to [`Membership::offsets`].
    FetchOffsets {
        generation: i32,
        partitions: Vec<TopicPartition>,
    },
    /// Tell the caller.
    Tell(News),
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    Assigned {
        generation: i32,
        partitions: Vec<AssignedPartition>,
    },
    Revoked(Vec<TopicPartition>),
    Lost {
        partitions: Vec<TopicPartition>,
        reason: TransportError,
    },
    /// Retriable ones are being retried; after any other the membership has ended.
    Failed(TransportError),
}

/// The coordinator's answer to JoinGroup.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Joined {
    /// Join again with this id (KIP-394).
    MemberIdRequired(String),
    /// In the group, which divides by this assignor; with the members if this one leads it.
    In {
        member_id: String,
        generation: i32,
        assignor: Assignor,
        led: Option<Vec<Member>>,
    },
}

/// Whether offsets can be committed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MayCommit<'a> {
    /// Under this member id and generation.
    As(&'a str, i32),
    /// As soon as the group has divided.
    Later,
    /// Nothing is held.
    No,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Joins at this time; not in the group unless it keeps what it holds.
    Out {
        join_at: Instant,
    },
    Joining,
    ToSync {
        assignor: Assignor,
        led: Option<Vec<Member>>,
    },
    Syncing,
    /// In the group, with an assignment.
    In,
    Ended,
}

/// The state of one member.
#[derive(Debug)]
pub(super) struct Membership {
    group: std::sync::Arc<str>,
    times: Times,
    /// Whether it keeps what it holds through a rebalance.
    is_cooperative: bool,
    member_id: String,
    generation: i32,
    phase: Phase,
    holding: Holding,
    /// What it said it holds when it last joined.
    claimed: Vec<TopicPartition>,
    /// Until when the group waits for this member to give up what it has to and to join again: after that others get
    /// what it holds.
    join_by: Option<Instant>,
    /// Partitions whose offsets are being read, and since which generation they are held.
    reading_offsets: Option<(i32, Vec<TopicPartition>)>,
    /// When offsets may be read (again).
    offsets_at: Instant,
    /// When the coordinator last answered as to a member.
    alive_at: Instant,
    heartbeat_at: Instant,
    heartbeat_sent: bool,
    failures: u32,
    news: std::collections::VecDeque<News>,
}

impl Membership {
    pub(super) fn new(
        group: std::sync::Arc<str>,
        times: Times,
        is_cooperative: bool,
        now: Instant,
    ) -> Self {
        Self {
            group,
            times,
            is_cooperative,
            member_id: String::new(),
            generation: -1,
            phase: Phase::Out { join_at: now },
            holding: Holding::default(),
            claimed: Vec::new(),
            join_by: None,
            reading_offsets: None,
            offsets_at: now,
            alive_at: now,
            heartbeat_at: now,
            heartbeat_sent: false,
            failures: 0,
            news: std::collections::VecDeque::new(),
        }
    }

    /// The generation this member is in with an assignment; `None` outside the group and while it divides anew.
    pub(super) fn generation(&self) -> Option<i32> {
        (self.phase == Phase::In).then_some(self.generation)
    }

    pub(super) fn may_commit(&self) -> MayCommit<'_> {
        match self.phase {
            _ if !self.is_member() => MayCommit::No,
            // The coordinator takes no offsets while it waits for the assignment.
            Phase::ToSync { .. } | Phase::Syncing => MayCommit::Later,
            _ => MayCommit::As(&self.member_id, self.generation),
        }
    }

    /// Whether a commit made under `generation` and refused with this error is to be made again in the next generation.
    /// Partitions that are still held then were held without a break.
    pub(super) fn commits_again(&self, generation: i32, error: &TransportError) -> bool {
        let moved_on = generation != self.generation || self.phase != Phase::In;
        let refused = [ErrorCode::RebalanceInProgress, ErrorCode::IllegalGeneration];
        self.is_cooperative
            && self.is_member()
            && moved_on
            && error
                .error_code()
                .is_some_and(|code| refused.contains(&code))
    }

    /// Whether a partition is held: assigned, and neither released nor lost.
    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.holding.has(partition)
    }

    /// The id the coordinator knows this member by, which it may even while joining.
    pub(super) fn member_id(&self) -> Option<&str> {
        (!self.member_id.is_empty()).then_some(self.member_id.as_str())
    }

    /// Whether a JoinGroup is on its way whose answer will tell the id: by then the coordinator may count this member.
    pub(super) fn awaits_member_id(&self) -> bool {
        self.phase == Phase::Joining && self.member_id.is_empty()
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
        if self.is_member() && !self.heartbeat_sent && self.heartbeat_at <= now {
            self.heartbeat_sent = true;
            return Some(Action::Heartbeat {
                member_id: self.member_id.clone(),
                generation: self.generation,
            });
        }
        match &mut self.phase {
            Phase::Out { join_at } if *join_at <= now => {
                self.phase = Phase::Joining;
                self.claimed = self.holding.kept();
                let generation = if self.claimed.is_empty() {
                    -1
                } else {
                    self.generation
                };
                Some(Action::Join {
                    member_id: self.member_id.clone(),
                    owned: self.claimed.clone(),
                    generation,
                })
            }
            Phase::ToSync { assignor, led } => {
                let (assignor, led) = (*assignor, led.take());
                self.phase = Phase::Syncing;
                Some(Action::Sync {
                    member_id: self.member_id.clone(),
                    generation: self.generation,
                    assignor,
                    led,
                })
            }
            Phase::Ended => None,
            _ => self.read_offsets(now),
        }
    }

    fn read_offsets(&mut self, now: Instant) -> Option<Action> {
        if !self.wants_offsets() || self.offsets_at > now {
            return None;
        }
        let (generation, partitions) = (self.generation, self.holding.to_start());
        self.reading_offsets = Some((generation, partitions.clone()));
        Some(Action::FetchOffsets {
            generation,
            partitions,
        })
    }

    fn wants_offsets(&self) -> bool {
        self.reading_offsets.is_none() && !self.holding.to_start().is_empty()
    }

    /// When [`poll`](Self::poll) will have something to do by itself.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let join = match &self.phase {
            Phase::Ended => return None,
            Phase::Out { join_at } => Some(*join_at),
            _ => None,
        };
        let offsets = self.wants_offsets().then_some(self.offsets_at);
        let member = self.is_member().then(|| {
            let expiry = self.alive_at + self.times.session_timeout;
            if self.heartbeat_sent {
                expiry
            } else {
                expiry.min(self.heartbeat_at)
            }
        });
        let all = [join, offsets, self.last_call(), member];
        all.into_iter().flatten().min()
    }

    /// [`join_by`](Self::join_by), unless this member has asked to join: it counts as one that has.
    fn last_call(&self) -> Option<Instant> {
        let has_asked = !matches!(self.phase, Phase::In | Phase::Out { .. });
        self.join_by.filter(|_| self.is_member() && !has_asked)
    }

    pub(super) fn joined(&mut self, now: Instant, answer: Result<Joined, TransportError>) {
        if self.phase != Phase::Joining {
            return;
        }
        match answer {
            Ok(Joined::MemberIdRequired(member_id)) => {
                self.lose_all(&unknown_member(&self.group));
                // A coordinator that hands out ids for ever, or none, must not keep us busy.
                let again = !self.member_id.is_empty() || member_id.is_empty();
                self.member_id = member_id;
                self.phase = Phase::Out {
                    join_at: if again { now + self.back_off() } else { now },
                };
            }
            Ok(Joined::In {
                member_id,
                generation,
                assignor,
                led,
            }) => {
                if member_id != self.member_id {
                    self.lose_all(&unknown_member(&self.group));
                }
                self.member_id = member_id;
                self.generation = generation;
                self.join_by = None;
                self.heard_from(now);
                self.phase = Phase::ToSync { assignor, led };
            }
            Err(error) => self.not_in(now, error),
        }
    }

    pub(super) fn synced(
        &mut self,
        now: Instant,
        answer: Result<Vec<TopicPartition>, TransportError>,
    ) {
        if self.phase != Phase::Syncing {
            return;
        }
        match answer {
            Ok(assigned) => {
                self.failures = 0;
                self.heard_from(now);
                self.phase = Phase::In;
                self.assigned(now, assigned);
            }
            Err(error) => self.not_in(now, error),
        }
    }

    /// Tells what came and what goes. What goes has to be given up before this member joins again to let others have it.
    fn assigned(&mut self, now: Instant, assigned: Vec<TopicPartition>) {
        let claimed = std::mem::take(&mut self.claimed);
        let lets_go = claimed.iter().any(|claimed| !assigned.contains(claimed));
        let revoked = self.holding.assign(assigned);
        if let Some((_, partitions)) = &mut self.reading_offsets {
            // Whoever gets these meanwhile may commit more.
            let to_start = self.holding.to_start();
            partitions.retain(|partition| to_start.contains(partition));
        }
        self.offsets_at = now;
        if !revoked.is_empty() {
            self.join_by = Some(now + self.times.rebalance_timeout);
            self.news.push_back(News::Revoked(revoked));
        } else if lets_go {
            self.phase = Phase::Out { join_at: now };
        }
        if self.holding.to_start().is_empty() {
            self.news.push_back(News::Assigned {
                generation: self.generation,
                partitions: Vec::new(),
            });
        }
    }

    pub(super) fn offsets(
        &mut self,
        now: Instant,
        generation: i32,
        answer: Result<Vec<AssignedPartition>, TransportError>,
    ) {
        let asked = self
            .reading_offsets
            .take_if(|(since, _)| *since == generation);
        let Some((_, asked)) = asked else {
            return;
        };
        match answer {
            Ok(mut partitions) => {
                partitions.retain(|one| {
                    asked.contains(&one.partition) && self.holding.start(&one.partition)
                });
                if !partitions.is_empty() {
                    self.news.push_back(News::Assigned {
                        generation,
                        partitions,
                    });
                }
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

    /// The answer to a heartbeat, or the refusal of a commit, made under `generation`.
    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        generation: i32,
        answer: Result<(), TransportError>,
    ) {
        if generation != self.generation || !self.is_member() {
            return;
        }
        self.heartbeat_sent = false;
        self.heartbeat_at = now + self.times.heartbeat_interval;
        match answer {
            Ok(()) => self.alive_at = now,
            Err(error) if error.error_code() == Some(ErrorCode::RebalanceInProgress) => {
                // It began after the last answer; what was given up before was told to be by an earlier time.
                let join_by = self.alive_at + self.times.rebalance_timeout;
                self.join_by = self.join_by.map(|by| by.min(join_by)).or(Some(join_by));
                self.alive_at = now;
                self.rebalance(now);
            }
            // The group has gone on to the generation that this member has asked to be in; the answer is on its way.
            Err(error)
                if error.error_code() == Some(ErrorCode::IllegalGeneration)
                    && matches!(self.phase, Phase::Out { .. } | Phase::Joining) => {}
            Err(error) if is_lost_by(&error) => self.lose(now, error),
            Err(error) if error.class() == Class::Fatal => {
                self.lose_all(&error);
                self.end(error);
            }
            // The coordinator is away or has moved; the session timeout decides.
            Err(_) => {
                self.heartbeat_at = now + self.times.heartbeat_interval.min(Duration::from_secs(1))
            }
        }
    }

    /// A commit made under `generation` was refused.
    pub(super) fn commit_refused(&mut self, now: Instant, generation: i32, error: &TransportError) {
        let about_membership =
            is_lost_by(error) || error.error_code() == Some(ErrorCode::RebalanceInProgress);
        if about_membership {
            let heartbeat = (self.heartbeat_sent, self.heartbeat_at);
            self.heartbeat(now, generation, Err(error.clone()));
            if self.is_member() {
                (self.heartbeat_sent, self.heartbeat_at) = heartbeat;
            }
        }
    }

    /// The caller has drained these.
    pub(super) fn released(&mut self, now: Instant, partitions: &[TopicPartition]) {
        let gave_up = self.holding.gives_up();
        self.holding.release(partitions);
        if gave_up && !self.holding.gives_up() {
            self.phase = Phase::Out { join_at: now };
        }
    }

    /// The group has to divide its partitions anew. What is being given up is first.
    pub(super) fn rebalance(&mut self, now: Instant) {
        if self.phase != Phase::In || self.holding.gives_up() {
            return;
        }
        let revoked = if self.is_cooperative {
            Vec::new()
        } else {
            self.reading_offsets = None;
            self.holding.give_up_all()
        };
        if revoked.is_empty() {
            self.phase = Phase::Out { join_at: now };
        } else {
            self.join_by
                .get_or_insert(now + self.times.rebalance_timeout);
            self.news.push_back(News::Revoked(revoked));
        }
    }

    /// Whether the coordinator counts this member in its generation. While it joins again it does as long as it holds
    /// anything: an eager member never holds anything then.
    fn is_member(&self) -> bool {
        match self.phase {
            Phase::In => true,
            Phase::Ended => false,
            _ => !self.holding.is_empty(),
        }
    }

    fn heard_from(&mut self, now: Instant) {
        self.heartbeat_sent = false;
        self.heartbeat_at = now + self.times.heartbeat_interval;
        self.alive_at = now;
    }

    fn watch_the_clock(&mut self, now: Instant) {
        if !self.is_member() {
            return;
        }
        let timed_out = |after| {
            let kind = ErrorKind::TimedOut { after, sent: true };
            TransportError::new(
                Operation::Heartbeat,
                Target::default().group(self.group.clone()),
                kind,
            )
        };
        if now >= self.alive_at + self.times.session_timeout {
            self.lose(now, timed_out(self.times.session_timeout));
        } else if self.last_call().is_some_and(|by| by <= now) {
            self.lose(now, timed_out(self.times.rebalance_timeout));
        }
    }

    /// Joining or syncing failed.
    fn not_in(&mut self, now: Instant, error: TransportError) {
        let code = error.error_code();
        if error.class() == Class::Fatal || is_lost_by(&error) {
            self.lose_all(&error);
        }
        match code {
            Some(ErrorCode::UnknownMemberId) => self.member_id.clear(),
            Some(ErrorCode::RebalanceInProgress) => {
                let join_by = self.alive_at + self.times.rebalance_timeout;
                self.join_by.get_or_insert(join_by);
            }
            Some(ErrorCode::IllegalGeneration) => {}
            _ if matches!(error.class(), Class::Fatal | Class::Fenced) => return self.end(error),
            _ => self.news.push_back(News::Failed(error)),
        }
        self.phase = Phase::Out {
            join_at: now + self.back_off(),
        };
    }

    /// Loses everything, and joins again. An answer that is on its way is waited for.
    fn lose(&mut self, now: Instant, reason: TransportError) {
        self.lose_all(&reason);
        if reason.error_code() == Some(ErrorCode::UnknownMemberId) {
            self.member_id.clear();
        }
        if matches!(self.phase, Phase::In | Phase::ToSync { .. }) {
            self.phase = Phase::Out { join_at: now };
        }
        if reason.error_code() == Some(ErrorCode::FencedInstanceId) {
            self.end(reason);
        }
    }

    fn lose_all(&mut self, reason: &TransportError) {
        let partitions = self.holding.lose();
        self.reading_offsets = None;
        self.join_by = None;
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

    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = 2_u32.saturating_pow(self.failures.min(16) - 1);
        RETRY_FROM.saturating_mul(doubled).min(RETRY_UP_TO)
    }
}

/// Whether the coordinator says that someone else is in our place.
fn is_lost_by(error: &TransportError) -> bool {
    error.class() == Class::Fenced
}

/// The coordinator gave out a new id: the one that everything was held under is gone.
fn unknown_member(group: &std::sync::Arc<str>) -> TransportError {
    TransportError::code(
        Operation::JoinGroup,
        Target::default().group(group.clone()),
        ErrorCode::UnknownMemberId,
    )
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
