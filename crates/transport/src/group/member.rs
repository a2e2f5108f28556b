//! A member by either protocol, as its task sees it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    consumer_membership::{self, ConsumerMembership},
    membership::{self, MayCommit, Membership, Times},
};
use crate::{
    consumer::{ConsumerConfig, GroupProtocol},
    error::TransportError,
    record::TopicPartition,
};

#[derive(Debug)]
pub(super) enum Member {
    Classic(Membership),
    Consumer(ConsumerMembership),
}

/// Something to be done, by protocol.
#[derive(Debug)]
pub(super) enum Action {
    Classic(membership::Action),
    Consumer(consumer_membership::Action),
}

/// A commit that was refused and is to be made again: until when it waits.
#[derive(Debug)]
pub(super) struct Refused {
    generation: i32,
    /// So many answers of the coordinator have told by then whether there is a later epoch.
    answers: u64,
    error: TransportError,
}

/// What becomes of a commit that waits.
#[derive(Debug)]
pub(super) enum Wait {
    On,
    Over,
    /// It was refused for something else than what was waited for.
    InVain(TransportError),
}

impl Member {
    pub(super) fn new(config: &ConsumerConfig, member_id: String, now: Instant) -> Self {
        let may_fall_back = match config.protocol {
            GroupProtocol::Classic => return Self::classic(config, now),
            GroupProtocol::Consumer => false,
            GroupProtocol::Auto => true,
        };
        let group = Arc::clone(&config.group);
        Self::Consumer(ConsumerMembership::new(
            group,
            times(config),
            member_id,
            may_fall_back,
            now,
        ))
    }

    pub(super) fn classic(config: &ConsumerConfig, now: Instant) -> Self {
        let is_cooperative = config.assignors.iter().all(|one| one.is_cooperative());
        let group = Arc::clone(&config.group);
        Self::Classic(Membership::new(group, times(config), is_cooperative, now))
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<Action> {
        match self {
            Self::Classic(member) => member.poll(now).map(Action::Classic),
            Self::Consumer(member) => member.poll(now).map(Action::Consumer),
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        match self {
            Self::Classic(member) => member.next_wakeup(),
            Self::Consumer(member) => member.next_wakeup(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Classic(member) => member.has_ended(),
            Self::Consumer(member) => member.has_ended(),
        }
    }

    /// The classic generation this member is in with an assignment, which it may have divided as the leader.
    pub(super) fn classic_generation(&self) -> Option<i32> {
        match self {
            Self::Classic(member) => member.generation(),
            Self::Consumer(_) => None,
        }
    }

    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        match self {
            Self::Classic(member) => member.holds(partition),
            Self::Consumer(member) => member.holds(partition),
        }
    }

    pub(super) fn released(&mut self, now: Instant, partitions: &[TopicPartition]) {
        match self {
            Self::Classic(member) => member.released(now, partitions),
            Self::Consumer(member) => member.released(now, partitions),
        }
    }

    pub(super) fn may_commit(&self) -> MayCommit<'_> {
        match self {
            Self::Classic(member) => member.may_commit(),
            Self::Consumer(member) => member.may_commit(),
        }
    }

    /// A commit made in `generation`, or in that epoch, was refused; what it waits for if it is to be made again.
    pub(super) fn commit_refused(
        &mut self,
        now: Instant,
        generation: i32,
        error: &TransportError,
    ) -> Option<Refused> {
        let (again, answers) = match self {
            Self::Classic(member) => {
                member.commit_refused(now, generation, error);
                (member.commits_again(generation, error), 0)
            }
            Self::Consumer(member) => {
                member.commit_refused(now, generation, error);
                (member.commits_again(error), member.answers_to_come())
            }
        };
        again.then(|| Refused {
            generation,
            answers,
            error: error.clone(),
        })
    }

    pub(super) fn wait(&self, refused: &Refused) -> Wait {
        match self {
            Self::Classic(member) if member.generation().is_none() => Wait::On,
            Self::Classic(_) => Wait::Over,
            Self::Consumer(member) if member.epoch() != Some(refused.generation) => Wait::Over,
            Self::Consumer(member) if member.answers() < refused.answers => Wait::On,
            Self::Consumer(_) => Wait::InVain(refused.error.clone()),
        }
    }
}

fn times(config: &ConsumerConfig) -> Times {
    Times {
        session_timeout: config.session_timeout,
        heartbeat_interval: config.heartbeat_interval,
        rebalance_timeout: config.rebalance_timeout,
    }
}

/// An id for as long as the member lives, as Kafka's clients make it: random, in 22 characters (KIP-1082).
pub(crate) fn new_member_id() -> Result<String, getrandom::Error> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut id = [0; 16];
    crate::host::fill(&mut id)?;
    Ok(URL_SAFE_NO_PAD.encode(id))
}

/// What an interval told in milliseconds means; none where it is none.
pub(super) fn interval(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
