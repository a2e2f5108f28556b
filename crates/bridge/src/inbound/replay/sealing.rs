//! Replay states as the text that goes with a commit: bound to it, signed where we may, cut to the room
//! that the broker gives.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cybermesh_contracts::replay::{Binding, Budget};
use cybermesh_contracts::sign::Signer;
use cybermesh_transport::TopicPartition;

use crate::inbound::group::{Commit, State, TopicId};
use crate::telemetry::{Metrics, ReplayAlarm};

/// The key that signs replay states, as long as this process may: its own public key stands in its own
/// trust store with the right `replay_state`.
pub struct StateSigning {
    /// Asked at each commit.
    pub signer: Box<dyn Fn() -> Option<Arc<dyn Signer>> + Send + Sync>,
}

impl StateSigning {
    /// States are not signed.
    #[must_use]
    pub fn none() -> Self {
        Self {
            signer: Box::new(|| None),
        }
    }
}

impl fmt::Debug for StateSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSigning").finish_non_exhaustive()
    }
}

/// What a partition's state may take of a commit; `None` where it has to go without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room(Option<Budget>);

/// A commit with the text of its state; the text is empty where it goes without.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) commit: Commit,
    pub(crate) text: String,
}

/// What every state of this process is bound to, signed by, and cut to.
#[derive(Debug)]
pub(crate) struct Sealing {
    group: String,
    cluster_id: String,
    signing: StateSigning,
    metrics: Metrics,
    room: Mutex<Room>,
    /// The commit that stands at the group for each partition, as far as we know: offset and a hash of
    /// the text.
    standing: Mutex<HashMap<TopicPartition, Option<(i64, u64)>>>,
    hasher: RandomState,
}

impl Sealing {
    pub(crate) fn new(
        group: String,
        cluster_id: String,
        signing: StateSigning,
        metrics: Metrics,
    ) -> Self {
        let room = Room(Some(Budget::COMMIT));
        metrics.replay_state_room(Budget::COMMIT.characters());
        Self {
            group,
            cluster_id,
            signing,
            metrics,
            room: Mutex::new(room),
            standing: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// What a state of this partition is bound to at `offset`.
    pub(super) fn binding(&self, partition: i32, topic_id: TopicId, offset: i64) -> Binding<'_> {
        Binding {
            group: &self.group,
            cluster_id: &self.cluster_id,
            topic_id,
            partition,
            offset,
        }
    }

    /// As much of what waits as one request may carry, taken off its front.
    pub(crate) async fn request(&self, waiting: &mut VecDeque<Commit>) -> Vec<Sealed> {
        let mut request = Vec::new();
        let mut bytes = 0;
        while let Some(commit) = waiting.pop_front() {
            let text = self.text(&commit);
            bytes += text.len();
            if bytes > Budget::REQUEST_BYTES && !request.is_empty() {
                waiting.push_front(commit);
                break;
            }
            request.push(Sealed { commit, text });
            // A table of ten thousand signers takes a while to cut.
            tokio::task::yield_now().await;
        }
        request
    }

    /// The same commits, with states cut to the room there is now.
    pub(crate) async fn again(&self, request: Vec<Sealed>) -> Vec<Sealed> {
        let mut again = Vec::with_capacity(request.len());
        for Sealed { commit, .. } in request {
            let text = self.text(&commit);
            again.push(Sealed { commit, text });
            tokio::task::yield_now().await;
        }
        again
    }

    /// The same commits without states.
    pub(crate) fn without(&self, request: Vec<Sealed>) -> Vec<Sealed> {
        self.metrics.replay_state_alarm(ReplayAlarm::NoRoom);
        tracing::warn!("offsets are committed without replay states: with them they were refused");
        let bare = |Sealed { commit, .. }| Sealed {
            commit,
            text: String::new(),
        };
        request.into_iter().map(bare).collect()
    }

    /// The broker took no state of this size: from now on half of it is used. Gives what was used before.
    pub(crate) fn refused(&self) -> Room {
        let mut room = self.room();
        let before = *room;
        *room = Room(room.0.and_then(Budget::halved));
        let characters = room.0.map_or(0, Budget::characters);
        self.metrics.replay_state_alarm(ReplayAlarm::NoRoom);
        self.metrics.replay_state_room(characters);
        tracing::warn!(
            characters,
            "the broker refuses replay states of this size (offset.metadata.max.bytes); from now on they are cut to half of it"
        );
        before
    }

    /// It was not because of its size.
    pub(crate) fn restore(&self, before: Room) {
        *self.room() = before;
        self.metrics
            .replay_state_room(before.0.map_or(0, Budget::characters));
    }

    /// These were acknowledged.
    pub(crate) fn stand(&self, request: &[Sealed]) {
        let mut standing = self.standing();
        for Sealed { commit, text } in request {
            let stands = (commit.offset, self.hasher.hash_one(text));
            standing.insert(commit.partition.clone(), Some(stands));
        }
    }

    /// This is what the group has committed for a partition that was assigned. Answers whether that is what
    /// this process knew to stand there when it had the partition last.
    pub(super) fn assigned(
        &self,
        partition: &TopicPartition,
        committed: Option<&(i64, String)>,
    ) -> bool {
        let stands = committed.map(|(offset, text)| (*offset, self.hasher.hash_one(text)));
        let before = self.standing().insert(partition.clone(), stands);
        before == Some(stands)
    }

    /// The state as text within `budget`; nothing where there is no room, or it cannot be signed.
    pub(super) fn seal(
        &self,
        partition: i32,
        offset: i64,
        state: &State,
        budget: Budget,
    ) -> Option<String> {
        let binding = self.binding(partition, state.topic_id, offset);
        let signer = (self.signing.signer)();
        match state.snapshot.seal(&binding, budget, signer.as_deref()) {
            Ok(text) => text,
            Err(error) => {
                self.metrics.replay_state_alarm(ReplayAlarm::CannotSign);
                tracing::warn!(%error, "a replay state could not be signed");
                None
            }
        }
    }

    fn text(&self, commit: &Commit) -> String {
        let room = *self.room();
        let sealed = commit
            .state
            .as_ref()
            .zip(room.0)
            .and_then(|(state, budget)| {
                self.seal(commit.partition.partition, commit.offset, state, budget)
            });
        sealed.unwrap_or_default()
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, HashMap<TopicPartition, Option<(i64, u64)>>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
