//! When to join, sync, give a sign of life and give partitions up: one member's view of its group.
//!
//! Rebalances are eager: everything is revoked, the caller drains and commits, releases, and only then does this
//! member join again, under the id it has. Partitions count as held only while nothing interrupts that: an unknown
//! member, a generation that was missed or a session without a sign of life loses them all at once.

use std::time::Duration;

use tokio::time::Instant;

use super::assignor::{Assignor, Member};
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
    /// Send JoinGroup, then report to [`Membership::joined`].
    Join { member_id: String },
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

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Not in the group; joins at this time.
    Out {
        join_at: Instant,
    },
    Joining,
    ToSync {
        assignor: Assignor,
        led: Option<Vec<Member>>,
    },
    Syncing,
    /// In the group, what was committed is to be read at this time.
    ToFetchOffsets {
        partitions: Vec<TopicPartition>,
        at: Instant,
    },
    FetchingOffsets {
        partitions: Vec<TopicPartition>,
    },
    Stable,
    /// In the group, giving up what is held.
    Draining {
        until: Instant,
    },
    Ended,
}

/// The state of one member.
#[derive(Debug)]
pub(super) struct Membership {
    group: std::sync::Arc<str>,
    times: Times,
    member_id: String,
    generation: i32,
    phase: Phase,
    held: Vec<TopicPartition>,
    /// When the coordinator last answered as to a member.
    alive_at: Instant,
    heartbeat_at: Instant,
    heartbeat_sent: bool,
    failures: u32,
    news: std::collections::VecDeque<News>,
}

impl Membership {
    pub(super) fn new(group: std::sync::Arc<str>, times: Times, now: Instant) -> Self {
        Self {
            group,
            times,
            member_id: String::new(),
            generation: -1,
            phase: Phase::Out { join_at: now },
            held: Vec::new(),
            alive_at: now,
            heartbeat_at: now,
            heartbeat_sent: false,
            failures: 0,
            news: std::collections::VecDeque::new(),
        }
    }

    /// Member id and generation under which offsets are committed; `None` outside the group.
    pub(super) fn identity(&self) -> Option<(&str, i32)> {
        self.is_in()
            .then_some((self.member_id.as_str(), self.generation))
    }

    /// Whether a partition is held: assigned, and neither released nor lost.
    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.held.contains(partition)
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
        if self.is_in() && !self.heartbeat_sent && self.heartbeat_at <= now {
            self.heartbeat_sent = true;
            return Some(Action::Heartbeat {
                member_id: self.member_id.clone(),
                generation: self.generation,
            });
        }
        match &mut self.phase {
            Phase::Out { join_at } if *join_at <= now => {
                self.phase = Phase::Joining;
                Some(Action::Join {
                    member_id: self.member_id.clone(),
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
            Phase::ToFetchOffsets { partitions, at } if *at <= now => {
                let partitions = std::mem::take(partitions);
                self.phase = Phase::FetchingOffsets {
                    partitions: partitions.clone(),
                };
                Some(Action::FetchOffsets {
                    generation: self.generation,
                    partitions,
                })
            }
            _ => None,
        }
    }

    /// When [`poll`](Self::poll) will have something to do by itself.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Out { join_at: at }
            | Phase::ToFetchOffsets { at, .. }
            | Phase::Draining { until: at } => Some(*at),
            _ => None,
        };
        let member = self.is_in().then(|| {
            let expiry = self.alive_at + self.times.session_timeout;
            if self.heartbeat_sent {
                expiry
            } else {
                expiry.min(self.heartbeat_at)
            }
        });
        phase.into_iter().chain(member).min()
    }

    pub(super) fn joined(&mut self, now: Instant, answer: Result<Joined, TransportError>) {
        if self.phase != Phase::Joining {
            return;
        }
        match answer {
            Ok(Joined::MemberIdRequired(member_id)) => {
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
                self.member_id = member_id;
                self.generation = generation;
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
            Ok(partitions) => {
                self.failures = 0;
                self.heartbeat_sent = false;
                self.heartbeat_at = now + self.times.heartbeat_interval;
                self.alive_at = now;
                if partitions.is_empty() {
                    self.assigned(Vec::new());
                } else {
                    self.phase = Phase::ToFetchOffsets {
                        partitions,
                        at: now,
                    };
                }
            }
            Err(error) => self.not_in(now, error),
        }
    }

    pub(super) fn offsets(
        &mut self,
        now: Instant,
        generation: i32,
        answer: Result<Vec<AssignedPartition>, TransportError>,
    ) {
        if generation != self.generation {
            return;
        }
        let Phase::FetchingOffsets { partitions } = &mut self.phase else {
            return;
        };
        match answer {
            Ok(partitions) => self.assigned(partitions),
            Err(error) if is_lost_by(&error) => self.lose(now, error),
            Err(error) => {
                let partitions = std::mem::take(partitions);
                if error.class() == Class::Fatal {
                    self.end(error);
                } else {
                    self.news.push_back(News::Failed(error));
                    self.phase = Phase::ToFetchOffsets {
                        partitions,
                        at: now + self.back_off(),
                    };
                }
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
        if generation != self.generation || !self.is_in() {
            return;
        }
        self.heartbeat_sent = false;
        self.heartbeat_at = now + self.times.heartbeat_interval;
        match answer {
            Ok(()) => self.alive_at = now,
            Err(error) if error.error_code() == Some(ErrorCode::RebalanceInProgress) => {
                self.alive_at = now;
                self.rebalance(now);
            }
            Err(error) if is_lost_by(&error) => self.lose(now, error),
            Err(error) if error.class() == Class::Fatal => {
                self.lose(now, error.clone());
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
            if self.is_in() {
                (self.heartbeat_sent, self.heartbeat_at) = heartbeat;
            }
        }
    }

    /// The caller has drained these.
    pub(super) fn released(&mut self, now: Instant, partitions: &[TopicPartition]) {
        self.held.retain(|held| !partitions.contains(held));
        if self.held.is_empty() && matches!(self.phase, Phase::Draining { .. }) {
            self.phase = Phase::Out { join_at: now };
        }
    }

    /// The group has to divide its partitions anew.
    pub(super) fn rebalance(&mut self, now: Instant) {
        match self.phase {
            Phase::Stable if !self.held.is_empty() => {
                self.phase = Phase::Draining {
                    until: now + self.times.rebalance_timeout,
                };
                self.news.push_back(News::Revoked(self.held.clone()));
            }
            Phase::Stable | Phase::ToFetchOffsets { .. } | Phase::FetchingOffsets { .. } => {
                self.phase = Phase::Out { join_at: now };
            }
            _ => {}
        }
    }

    fn is_in(&self) -> bool {
        matches!(
            self.phase,
            Phase::ToFetchOffsets { .. }
                | Phase::FetchingOffsets { .. }
                | Phase::Stable
                | Phase::Draining { .. }
        )
    }

    fn assigned(&mut self, partitions: Vec<AssignedPartition>) {
        self.phase = Phase::Stable;
        self.held = partitions
            .iter()
            .map(|assigned| assigned.partition.clone())
            .collect();
        self.news.push_back(News::Assigned {
            generation: self.generation,
            partitions,
        });
    }

    fn watch_the_clock(&mut self, now: Instant) {
        if !self.is_in() {
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
        } else if matches!(self.phase, Phase::Draining { until } if until <= now) {
            self.lose(now, timed_out(self.times.rebalance_timeout));
        }
    }

    /// Joining or syncing failed; nothing is held.
    fn not_in(&mut self, now: Instant, error: TransportError) {
        match error.error_code() {
            Some(ErrorCode::UnknownMemberId) => {
                self.member_id.clear();
                self.phase = Phase::Out {
                    join_at: now + self.back_off(),
                };
            }
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {
                self.phase = Phase::Out {
                    join_at: now + self.back_off(),
                };
            }
            _ if matches!(error.class(), Class::Fatal | Class::Fenced) => self.end(error),
            _ => {
                self.news.push_back(News::Failed(error));
                self.phase = Phase::Out {
                    join_at: now + self.back_off(),
                };
            }
        }
    }

    fn lose(&mut self, now: Instant, reason: TransportError) {
        let code = reason.error_code();
        let partitions = std::mem::take(&mut self.held);
        if !partitions.is_empty() {
            self.news.push_back(News::Lost {
                partitions,
                reason: reason.clone(),
            });
        }
        if code == Some(ErrorCode::UnknownMemberId) {
            self.member_id.clear();
        }
        self.phase = Phase::Out { join_at: now };
        if code == Some(ErrorCode::FencedInstanceId) {
            self.end(reason);
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

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
