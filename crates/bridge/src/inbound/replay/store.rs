//! Where a partition's order comes from when it is assigned, and goes to when it is given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::replay::{
    Handled, Origin, PartitionReplay, ReadBack, RingLimits, Snapshot, StateKeys, StateRefused,
};
use cybermesh_contracts::trust::TrustStore;
use cybermesh_contracts::verify::Verified;
use cybermesh_transport::{Position, TopicPartition, host};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::copies;
use super::log::{Extent, Log, Wanted};
use super::order::RingOrder;
use super::sealing::Sealing;
use crate::clock::{WallClock, is_plausible};
use crate::inbound::group::{Assignment, TopicId};
use crate::inbound::judge::{JudgeOrder, Kept, Opening, OrderStore};
use crate::state::StateDir;
use crate::telemetry::{Metrics, ReplayAlarm, ReplayStart};

/// Partitions that are read back at a time.
const AT_ONCE: usize = 4;

/// What every partition's order is made with.
pub(crate) struct Source {
    pub(crate) limits: RingLimits,
    pub(crate) max_age: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) trust: watch::Receiver<Arc<TrustStore>>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) state: Option<Arc<StateDir>>,
}

/// The order of messages for every partition that is, or was, assigned to this process.
///
/// A partition that comes back finds here what it left, as long as the group's commit is the one that it left
/// it with: else somebody else had it meanwhile, or its offset was set, and what the commit says holds.
pub(crate) struct Orders {
    source: Arc<Source>,
    log: Arc<dyn Log>,
    at_once: Arc<Semaphore>,
    copies: Option<mpsc::Sender<Kept>>,
    given_up: HashMap<TopicPartition, Box<dyn JudgeOrder<Verified<Message>>>>,
}

impl Orders {
    pub(super) fn new(
        source: Source,
        log: Arc<dyn Log>,
        copies: Option<mpsc::Sender<Kept>>,
    ) -> Self {
        Self {
            source: Arc::new(source),
            log,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            copies,
            given_up: HashMap::new(),
        }
    }

    /// What this process knows of a partition that comes back, where it may be gone on from.
    fn left(
        &mut self,
        assignment: &Assignment,
        is_as_left: bool,
    ) -> Option<Box<dyn JudgeOrder<Verified<Message>>>> {
        let mut left = self.given_up.remove(&assignment.partition)?;
        let is_another_topic = left
            .topic_id()
            .zip(assignment.topic_id)
            .is_some_and(|(before, now)| before != now);
        match (is_as_left, is_another_topic) {
            (true, false) => {
                let committed = assignment.committed.as_ref();
                left.comes_back(committed.map_or(0, |(offset, _)| *offset));
                Some(left)
            }
            // Nobody has committed anything of the new topic: it is read from its start.
            (_, true) if assignment.committed.is_none() => {
                left.log_begins_again(assignment.topic_id);
                Some(left)
            }
            _ => None,
        }
    }
}

impl OrderStore<Verified<Message>> for Orders {
    fn open(&mut self, kind: Kind, assignment: &Assignment) -> Opening<Verified<Message>> {
        let (source, partition) = (&self.source, &assignment.partition);
        let committed = assignment.committed.as_ref();
        let is_as_left = source.sealing.assigned(partition, committed);
        if let Some(order) = self.left(assignment, is_as_left) {
            self.source.metrics.replay_started(ReplayStart::Memory);
            return Opening::Known(order);
        }
        let reads_from_the_start = match assignment.start {
            Some(Position::Earliest) | None => committed.is_none(),
            Some(_) => false,
        };
        if reads_from_the_start && assignment.topic_id.is_some() {
            return Opening::Known(self.source.at_start(assignment, assignment.topic_id));
        }
        let (source, log) = (Arc::clone(&self.source), Arc::clone(&self.log));
        let (at_once, assignment) = (Arc::clone(&self.at_once), assignment.clone());
        Opening::ToBeRead(Box::pin(async move {
            let topic_id = match assignment.topic_id {
                Some(id) => id,
                None => log.topic_id(&assignment.partition).await?,
            };
            if reads_from_the_start {
                return Ok(source.at_start(&assignment, Some(topic_id)));
            }
            source
                .restore(log.as_ref(), kind, &assignment, topic_id, &at_once)
                .await
        }))
    }

    fn close(&mut self, partition: TopicPartition, order: Box<dyn JudgeOrder<Verified<Message>>>) {
        self.given_up.insert(partition, order);
    }

    fn keeps_copies(&self) -> bool {
        self.copies.is_some()
    }

    fn keep(&mut self, copy: Kept) -> bool {
        let copies = self.copies.as_ref();
        copies.is_some_and(|copies| copies.try_send(copy).is_ok())
    }
}

/// A state that a partition goes on from.
struct Found {
    snapshot: Option<Snapshot>,
    handled: Handled,
    from: ReplayStart,
}

impl Source {
    /// Nothing was accepted below the log's first offset.
    fn at_start(
        &self,
        assignment: &Assignment,
        topic_id: Option<TopicId>,
    ) -> Box<dyn JudgeOrder<Verified<Message>>> {
        self.metrics.replay_started(ReplayStart::LogStart);
        let start = assignment
            .committed
            .as_ref()
            .map_or(0, |(offset, _)| *offset);
        let replay = PartitionReplay::at_start_of_log(self.limits, start);
        let partition = assignment.partition.clone();
        Box::new(self.order(partition, topic_id, replay, Handled::default()))
    }

    fn order(
        &self,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        replay: PartitionReplay,
        handled: Handled,
    ) -> RingOrder {
        RingOrder {
            partition,
            topic_id,
            replay,
            handled,
            max_age: self.max_age,
            metrics: self.metrics.clone(),
        }
    }

    async fn restore(
        self: Arc<Self>,
        log: &dyn Log,
        kind: Kind,
        assignment: &Assignment,
        topic_id: TopicId,
        at_once: &Semaphore,
    ) -> Result<Box<dyn JudgeOrder<Verified<Message>>>, String> {
        let begun = Instant::now();
        let wall_ms = self.clock.unix_ms();
        if !is_plausible(wall_ms) {
            return Err("the clock cannot be right".to_owned());
        }
        let now_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        let partition = &assignment.partition;
        let extent = log.extent(partition).await?;
        // Only now: those whose brokers do not answer would keep the others from their places.
        let _place = at_once.acquire().await;
        let (offset, text) = match &assignment.committed {
            Some((offset, text)) => (*offset, text.as_str()),
            // Reading begins at the end.
            None => (extent.end, ""),
        };
        let found = self
            .find(assignment, topic_id, (offset, text), extent, now_ms)
            .await;
        let (replay, is_cut) = match found.snapshot {
            // What was deleted before the log's first offset may have been accepted by whoever committed there.
            None if offset.max(extent.start) == 0
                || (assignment.committed.is_none() && offset <= extent.start) =>
            {
                (PartitionReplay::at_start_of_log(self.limits, offset), false)
            }
            snapshot => {
                let mut ring = match snapshot {
                    Some(snapshot) => ReadBack::restored(self.limits, offset, snapshot),
                    None => ReadBack::without_state(self.limits, offset),
                };
                let wanted = Wanted {
                    kind,
                    partition,
                    extent,
                    to: offset,
                    now_ms,
                };
                let read = log.read_back(wanted, &mut ring).await?;
                let now_ms = u64::try_from(read.now_ms).unwrap_or(wall_ms);
                let (replay, origin) = ring.finish(read.log_start, now_ms);
                (replay, origin == Origin::RestoredInPart)
            }
        };
        if is_cut {
            self.metrics.replay_state_alarm(ReplayAlarm::RingCut);
            tracing::warn!(%partition, offset, log_start = extent.start,
                "the log starts after the first message that the replay state asks for; what is missing there is taken for settled");
        }
        self.metrics.replay_started(found.from);
        self.metrics.replay_read_back(begun.elapsed());
        tracing::info!(%partition, offset, from = found.from.as_str(), messages = replay.ring_len(),
            handled = found.handled.len(), took = ?begun.elapsed(), "what was accepted before is known");
        let topic_id = Some(topic_id);
        let partition = partition.clone();
        Ok(Box::new(self.order(
            partition,
            topic_id,
            replay,
            found.handled,
        )))
    }

    /// The state of the commit, or the folder's copy of it, which is whole.
    async fn find(
        self: &Arc<Self>,
        assignment: &Assignment,
        topic_id: TopicId,
        (offset, text): (i64, &str),
        extent: Extent,
        now_ms: i64,
    ) -> Found {
        let partition = &assignment.partition;
        let keys = StateKeys::named_in(&self.trust.borrow(), now_ms);
        let binding = self.sealing.binding(partition.partition, topic_id, offset);
        let opened = Snapshot::open(text, &binding, &keys);
        let copy = match &assignment.committed {
            Some(_) => self.copy(partition, topic_id, offset, keys).await,
            None => None,
        };
        // No state is none to be missed where the log has nothing before the offset. One that is there and is refused is
        // somebody's doing wherever it stands.
        if let Err(why) = &opened
            && assignment.committed.is_some()
            && (*why != StateRefused::Missing || (copy.is_none() && offset > extent.start))
        {
            self.metrics.replay_state_alarm((*why).into());
            tracing::warn!(%partition, offset, reason = %why, copy = copy.is_some(),
                "the commit's replay state is not used");
        }
        match (opened, copy) {
            // Made for one commit they agree on where its ring begins. A commit that says otherwise says that nothing is
            // settled: an operator's, who wants messages handled again.
            (Ok(snapshot), Some(copy)) if copy.snapshot.ring_first() != snapshot.ring_first() => {
                Found {
                    snapshot: Some(snapshot),
                    handled: Handled::default(),
                    from: ReplayStart::Commit,
                }
            }
            (_, Some(copy)) => Found {
                snapshot: Some(copy.snapshot),
                handled: copy.handled,
                from: ReplayStart::Copy,
            },
            (Ok(snapshot), None) => Found {
                snapshot: Some(snapshot),
                handled: Handled::default(),
                from: ReplayStart::Commit,
            },
            (Err(_), None) => Found {
                snapshot: None,
                handled: Handled::default(),
                from: ReplayStart::ReadBack,
            },
        }
    }

    async fn copy(
        self: &Arc<Self>,
        partition: &TopicPartition,
        topic_id: TopicId,
        offset: i64,
        keys: StateKeys,
    ) -> Option<copies::Copy> {
        let state = Arc::clone(self.state.as_ref()?);
        let (source, partition) = (Arc::clone(self), partition.clone());
        let reading = host::spawn_blocking(move || {
            let binding = source
                .sealing
                .binding(partition.partition, topic_id, offset);
            copies::read(&state, &partition, &binding, &keys)
        });
        reading.await.ok().flatten()
    }
}
