//! The client of a cluster.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Generation;
use super::freshness::{Freshness, Step, Wish};
use super::metadata::{Leader, TopicMetadata, View};
use super::pool::Pool;
use super::wanted::WantedTopics;
use crate::broker::{Broker, Purpose};
use crate::config::{Address, ClientConfig, Security};
use crate::error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::wire::{FindCoordinatorRequest, MetadataRequest, Request};

/// A client of one cluster: what producers, consumers and administration are made from.
///
/// Cheap to clone; clones share connections and the view of the cluster. Connections close when the last
/// clone, and all that was made from it, is gone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ClientConfig>,
    pool: Pool,
    view: RwLock<Arc<View>>,
    freshness: Mutex<Freshness>,
    topics: Mutex<WantedTopics>,
    /// Held by the one who reads metadata.
    reading: tokio::sync::Mutex<()>,
    /// How many reads have failed, and how the last one did.
    failed: Mutex<(u64, Option<TransportError>)>,
}

/// How long one broker is waited for before the next is asked as well.
const TURN: Duration = Duration::from_secs(1);

impl Client {
    /// Connects to the first bootstrap address that answers, and learns which cluster it is.
    ///
    /// Takes at most a quarter more than the connect timeout, and a second for each address before the last.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What was wrong with the last address that failed; where certificates or settings are at fault with
    /// any of them, that.
    pub async fn connect(config: ClientConfig) -> Result<Self, TransportError> {
        let client = Self::unconnected(config);
        client.reach().await?;
        Ok(client)
    }

    /// A client that has asked nobody yet: for processes that have something to do while the cluster is away. It
    /// connects when it is first asked something.
    pub fn unconnected(config: ClientConfig) -> Self {
        if matches!(config.security.current(), Security::Plaintext) {
            tracing::warn!(
                "tls is switched off: connections to brokers are neither private nor authenticated"
            );
        }
        let config = Arc::new(config);
        Self(Arc::new(Inner {
            pool: Pool::new(Arc::clone(&config)),
            view: RwLock::default(),
            freshness: Mutex::new(Freshness::new(config.metadata_max_age)),
            topics: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            config,
        }))
    }

    /// Connects, where that was not done yet.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn reach(&self) -> Result<(), TransportError> {
        self.view_for(Wish::Current { known: true })
            .await
            .map_err(|error| error.during(Operation::Connect))?;
        Ok(())
    }

    /// The cluster's id; `None` if it has none.
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.view().cluster_id.clone()
    }

    /// The addresses of the cluster's brokers, as they advertise themselves.
    pub fn brokers(&self) -> Vec<Address> {
        self.view().brokers.values().cloned().collect()
    }

    /// Where the broker is that leads a partition, by the view read last; nobody is asked. `None` while that
    /// is not known: the topic was not asked for yet, or the partition has no leader.
    pub fn leader_address(&self, topic: &str, partition: i32) -> Option<Address> {
        let view = self.view();
        let topic = view.topics.get(topic)?.as_ref().ok()?;
        let leader = topic.leader(partition).ok()?;
        view.brokers.get(&leader.broker_id).cloned()
    }

    /// How many partitions a topic has by the view read last; nobody is asked.
    pub fn known_partition_count(&self, topic: &str) -> Option<i32> {
        let view = self.view();
        let topic = view.topics.get(topic)?.as_ref().ok()?;
        Some(topic.partition_count())
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// As [`Client::topic`].
    pub async fn partition_count(&self, topic: &str) -> Result<i32, TransportError> {
        Ok(self.topic(topic).await?.partition_count())
    }

    /// What is known of a topic, from a view no older than the configuration's metadata age, or from an
    /// older one while no broker answers.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopicOrPartition`] if the cluster has no such topic, or it is so new that not all
    /// brokers know it; it is never made by asking. [`ErrorCode::TopicAuthorizationFailed`] if this client
    /// may not know of it.
    pub async fn topic(&self, topic: &str) -> Result<Arc<TopicMetadata>, TransportError> {
        self.want(topic);
        let known = matches!(self.view().topics.get(topic), Some(Ok(_)));
        let view = self.view_for(Wish::Current { known }).await?;
        self.look_up(view, topic).await
    }

    /// As [`Client::topic`], from a view later than any so far: after a topic was made or changed.
    ///
    /// # Errors
    /// As [`Client::topic`].
    pub async fn refresh_topic(&self, topic: &str) -> Result<Arc<TopicMetadata>, TransportError> {
        self.want(topic);
        let view = self.view_for(Wish::LaterThan(self.generation())).await?;
        self.look_up(view, topic).await
    }

    /// Asks for the view of the cluster anew, whatever is known: whether any broker answers.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn ask_anew(&self) -> Result<(), TransportError> {
        self.refresh(self.generation()).await
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.0.config
    }

    /// The deadline of a request that starts now.
    pub(crate) fn request_deadline(&self) -> Instant {
        Instant::now() + self.0.config.request_timeout
    }

    /// Which view of the cluster answers are from now: to be taken before acting on an answer, and handed to
    /// [`Client::refresh`] when the answer misled.
    pub(crate) fn generation(&self) -> Generation {
        self.view().generation
    }

    /// Has a view later than `misled_by` read, unless there is one already.
    pub(crate) async fn refresh(&self, misled_by: Generation) -> Result<(), TransportError> {
        self.view_for(Wish::LaterThan(misled_by)).await.map(drop)
    }

    /// Who leads a partition.
    pub(crate) async fn leader(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Leader, TransportError> {
        self.topic(topic).await?.leader(partition)
    }

    /// A broker of the cluster by its id.
    pub(crate) fn broker(&self, id: i32, purpose: Purpose) -> Result<Broker, TransportError> {
        match self.view().brokers.get(&id) {
            Some(address) => Ok(self.0.pool.broker(address, purpose)),
            None => Err(TransportError::new(
                Operation::Metadata,
                Target::default(),
                ErrorKind::UnknownBroker { id },
            )),
        }
    }

    /// Where a replica of a partition is that is said to be worth reading from, by the view at hand; `None` where it is
    /// offline or not known.
    pub(crate) fn replica_address(
        &self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Option<Address> {
        let view = self.view();
        let topic = view.topics.get(topic)?.as_ref().ok()?;
        let index = usize::try_from(partition).ok()?;
        let partition = topic.partitions().get(index)?;
        let is_online = !partition.offline.contains(&broker_id);
        let address = view.brokers.get(&broker_id).filter(|_| is_online);
        address.cloned()
    }

    /// Every broker of the cluster that is known.
    pub(crate) fn every_broker(&self, purpose: Purpose) -> Vec<Broker> {
        let view = self.view();
        let addresses = view.brokers.values();
        addresses
            .map(|address| self.0.pool.broker(address, purpose))
            .collect()
    }

    /// The broker that leads a partition, with the leader's epoch.
    pub(crate) async fn leader_broker(
        &self,
        topic: &str,
        partition: i32,
        purpose: Purpose,
    ) -> Result<(Leader, Broker), TransportError> {
        let leader = self.leader(topic, partition).await?;
        Ok((leader, self.broker(leader.broker_id, purpose)?))
    }

    /// Asks any broker for what any broker can answer and that does no harm when it is asked of two.
    ///
    /// One after the other, the next as soon as one has failed or kept silent for a while: a broker that
    /// accepts and says nothing must not use up the time of those behind it. A broker that hung up is asked once
    /// more: it had closed an idle connection just then.
    pub(crate) async fn ask_any<R: Request + Clone>(
        &self,
        request: R,
    ) -> Result<R::Response, TransportError> {
        // Room for the connection to say itself how far it came.
        let patience = self.0.config.connect_timeout.mul_f64(1.25);
        let mut candidates = self.candidates().into_iter().peekable();
        let mut asked = FuturesUnordered::new();
        let mut asked_again = Vec::new();
        let mut worst: Option<TransportError> = None;
        let ask = |address: Address| {
            let broker = self.0.pool.broker(&address, Purpose::Control);
            let answer = broker.submit(request.clone(), Instant::now() + patience);
            async move { (address, answer.await) }
        };
        loop {
            if let Some(address) = candidates.next() {
                asked.push(ask(address));
            }
            let next_turn = tokio::time::sleep(TURN);
            tokio::select! {
                biased;
                answer = asked.next() => match answer {
                    Some((_, Ok(response))) => return Ok(response),
                    Some((address, Err(error)))
                        if matches!(error.kind(), ErrorKind::ConnectionLost { .. })
                            && !asked_again.contains(&address) =>
                    {
                        asked_again.push(address.clone());
                        asked.push(ask(address));
                    }
                    Some((_, Err(error))) => {
                        tracing::debug!(%error, "asking the next broker");
                        // What a person has to mend is told rather than what may pass.
                        let mendable = |error: &TransportError| error.class() == Class::Fatal;
                        if !worst.as_ref().is_some_and(mendable) || mendable(&error) {
                            worst = Some(error);
                        }
                    }
                    None => return Err(worst.unwrap_or_else(|| no_broker(R::API.operation()))),
                },
                () = next_turn, if candidates.peek().is_some() => {}
            }
        }
    }

    /// The controller, or any broker of clusters that hide it: brokers pass on what is for the controller.
    pub(crate) fn controller(&self) -> Option<Broker> {
        let view = self.view();
        let address = view
            .controller_id
            .and_then(|id| view.brokers.get(&id))
            .or_else(|| view.brokers.values().next())?;
        Some(self.0.pool.broker(address, Purpose::Control))
    }

    /// The broker that coordinates a group: its id, for [`Client::broker`] with the purposes
    /// `Coordinator` and `Join`. Asked anew at each call.
    pub(crate) async fn find_coordinator(&self, group_id: &str) -> Result<i32, TransportError> {
        let target = || Target::default().group(group_id);
        let response = self
            .ask_any(FindCoordinatorRequest {
                group_id: group_id.to_owned(),
            })
            .await
            .map_err(|error| error.about(target()))?;
        if let Some(code) = ErrorCode::from_code(response.error_code) {
            let kind = ErrorKind::told_by_broker(code, response.error_message);
            return Err(TransportError::new(
                Operation::FindCoordinator,
                target(),
                kind,
            ));
        }
        // The broker may have joined the cluster after our view of it.
        if !self.view().brokers.contains_key(&response.node_id) {
            self.refresh(self.generation()).await?;
        }
        Ok(response.node_id)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The topic in `view`, or in the next one: a read that was under way when the topic was first asked for
    /// says nothing about it.
    async fn look_up(
        &self,
        mut view: Arc<View>,
        topic: &str,
    ) -> Result<Arc<TopicMetadata>, TransportError> {
        if !view.topics.contains_key(topic) {
            view = self.view_for(Wish::LaterThan(view.generation)).await?;
        }
        lookup(&view, topic)
    }

    fn want(&self, topic: &str) {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.want(topic);
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, (u64, Option<TransportError>)> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn freshness(&self) -> std::sync::MutexGuard<'_, Freshness> {
        self.0
            .freshness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A view that fulfils the wish; one reads, the others wait for it.
    async fn view_for(&self, wish: Wish) -> Result<Arc<View>, TransportError> {
        if self.freshness().step(Instant::now(), wish) == Step::Use {
            return Ok(self.view());
        }
        // In a task of its own: whoever asks may stop polling at any time, and must not sit on the lock meanwhile.
        let client = self.clone();
        match crate::host::spawn(async move { client.read_for(wish).await }).await {
            Ok(read) => read,
            Err(_ended) => Err(no_broker(Operation::Metadata)),
        }
    }

    /// Reads, or waits for whoever does.
    async fn read_for(&self, wish: Wish) -> Result<Arc<View>, TransportError> {
        // Whoever waited here while another read takes the other's view.
        let before = self.generation();
        let failures_before = self.failed().0;
        let only_aged =
            matches!(wish, Wish::Current { known: true }) && self.freshness().has_view();
        let _reading = if only_aged {
            // An aged view is better than a queue of those who find out one by one that nobody answers.
            match self.0.reading.try_lock() {
                Ok(reading) => reading,
                Err(_) => return Ok(self.view()),
            }
        } else {
            self.0.reading.lock().await
        };
        let wish = match wish {
            Wish::Current { .. } => Wish::LaterThan(before),
            later => later,
        };
        loop {
            let step = self.freshness().step(Instant::now(), wish);
            match step {
                Step::Use => return Ok(self.view()),
                // Nor does each of them find out for itself that nobody answers, one after the other.
                _ if !only_aged && self.failed().0 > failures_before => {
                    let error = self.failed().1.clone();
                    return Err(error.unwrap_or_else(|| no_broker(Operation::Metadata)));
                }
                Step::ReadAt(at) => tokio::time::sleep_until(at).await,
                Step::Read => {
                    return match self.read().await {
                        Err(error)
                            if only_aged
                                && error.class() != Class::Fatal
                                && self.freshness().put_off(Instant::now()) =>
                        {
                            tracing::warn!(%error, "the view of the cluster is past its age; going on with it");
                            Ok(self.view())
                        }
                        read => read,
                    };
                }
            }
        }
    }

    async fn read(&self) -> Result<Arc<View>, TransportError> {
        self.freshness().begun(Instant::now());
        let wanted = {
            let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.names()
        };
        let request = MetadataRequest {
            topics: Some(wanted.iter().cloned().collect()),
        };
        let response = self.ask_any(request).await.inspect_err(|error| {
            let mut failed = self.failed();
            *failed = (failed.0 + 1, Some(error.clone()));
        })?;
        let view = Arc::new(self.view().after(response, &wanted));
        self.freshness().read(Instant::now(), view.generation);
        *self.0.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&view);
        let bootstrap = &self.0.config.bootstrap;
        self.0.pool.retain(|address| {
            bootstrap.contains(address) || view.brokers.values().any(|known| known == address)
        });
        Ok(view)
    }

    /// Brokers of the cluster first, then the addresses it was found by.
    pub(super) fn candidates(&self) -> Vec<Address> {
        let view = self.view();
        let mut candidates: Vec<_> = view.brokers.values().cloned().collect();
        candidates.sort_by(|a, b| (a.host(), a.port()).cmp(&(b.host(), b.port())));
        for address in &self.0.config.bootstrap {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }

    /// Waits until every partition of a topic has a leader that this client knows of.
    pub(crate) async fn await_topic(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Arc<TopicMetadata>, TransportError> {
        self.await_partitions(topic, 1, deadline).await
    }

    /// Waits until a topic has at least `count` partitions, each with a leader that this client knows of.
    pub(crate) async fn await_partitions(
        &self,
        topic: &str,
        count: i32,
        deadline: Instant,
    ) -> Result<Arc<TopicMetadata>, TransportError> {
        loop {
            let found = match self.refresh_topic(topic).await {
                Ok(found) if found.is_led() && found.partition_count() >= count => {
                    return Ok(found);
                }
                Ok(found) => found
                    .partitions()
                    .iter()
                    .find_map(|partition| found.leader(partition.partition).err()),
                Err(error) if error.class() == Class::Retriable => Some(error),
                Err(error) => return Err(error),
            };
            // Reads are kept apart by `Freshness`; this only ends the waiting.
            if Instant::now() + Duration::from_millis(1) >= deadline {
                return Err(found.unwrap_or_else(|| no_broker(Operation::Metadata)));
            }
        }
    }
}

fn lookup(view: &View, topic: &str) -> Result<Arc<TopicMetadata>, TransportError> {
    match view.topics.get(topic) {
        Some(Ok(found)) => Ok(Arc::clone(found)),
        Some(Err(error)) => Err(error.about(topic)),
        None => Err(TransportError::new(
            Operation::Metadata,
            Target::default().topic(topic),
            ErrorKind::Malformed {
                reason: "the broker said nothing about the topic".into(),
            },
        )),
    }
}

pub(super) fn no_broker(operation: Operation) -> TransportError {
    TransportError::new(
        operation,
        Target::default(),
        ErrorKind::Unreachable {
            reason: "no broker is known".into(),
        },
    )
}
