//! The broker in a test's hands.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::builder::Builder;
use super::connection::ConnectionInfo;
use super::listener;
use super::shared::Shared;
use super::tls::ServerTls;
use crate::api::Api;
use crate::fault::{Fault, FaultHandle};
use crate::group::{CommittedOffset, GroupView};
use crate::log::{TopicLog, TransactionEnd};
use crate::sasl::ServerSasl;

/// Why a broker did not start, or did not listen again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A topic Kafka would not create.
    #[error("topic {name:?}: {reason}")]
    Topic {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A running broker, or a cluster of several. Dropping it closes the port and every connection; [`stop`](Self::stop) also
/// waits until that is done.
pub struct DevBroker {
    pub(super) shared: Arc<Shared>,
    pub(super) ports: Vec<Port>,
    tls: watch::Sender<Option<ServerTls>>,
}

/// Where one broker listens.
pub(super) struct Port {
    pub(super) broker: i32,
    pub(super) address: SocketAddr,
    /// Whether there is anything to listen on, while the broker is up.
    listens: bool,
    /// The task that accepts; none while the broker is down.
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    until: CancellationToken,
    task: JoinHandle<()>,
}

impl Port {
    fn listening(&self) -> MutexGuard<'_, Option<Listening>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevBroker {
    /// Begins a broker: plaintext, a free port of 127.0.0.1, no topics, until told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn run(
        shared: Arc<Shared>,
        listeners: Vec<(i32, SocketAddr, Option<TcpListener>)>,
        tls: Option<ServerTls>,
    ) -> Self {
        shared.tasks.spawn(shared.clone().run_timers());
        let mut broker = Self {
            shared,
            ports: Vec::new(),
            tls: watch::Sender::new(tls),
        };
        for (id, address, listener) in listeners {
            let port = Port {
                broker: id,
                address,
                listens: listener.is_some(),
                listening: Mutex::new(None),
            };
            if let Some(listener) = listener {
                broker.accept(&port, listener);
            }
            broker.ports.push(port);
        }
        broker
    }

    fn accept(&self, port: &Port, listener: TcpListener) {
        let until = self.shared.stop.child_token();
        let accepting = listener::run(
            self.shared.clone(),
            port.broker,
            listener,
            self.tls.subscribe(),
            until.clone(),
        );
        let task = self.shared.tasks.spawn(accepting);
        *port.listening() = Some(Listening { until, task });
    }

    /// Serves a connection that came in at a broker by another way than its port, in plaintext, until
    /// it ends or is cut off. Nothing is served where the broker is down; the stream is dropped then.
    pub fn serve<S>(&self, broker: i32, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if self.shared.read(|state| state.nodes.is_up(broker)) {
            listener::serve(&self.shared, broker, stream, peer);
        }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> String {
        self.shared.read(|state| state.cluster_id.clone())
    }

    /// The id of a topic, where it exists.
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.shared
            .read(|state| state.topics.get(topic).map(|topic| topic.id))
    }

    /// The names of all topics.
    pub fn topics(&self) -> Vec<String> {
        self.shared
            .read(|state| state.topics.keys().cloned().collect())
    }

    /// The records of a topic by partition and offset; none where the topic does not exist.
    pub fn log(&self, topic: &str) -> TopicLog {
        self.shared.read(|state| {
            let mut view = TopicLog::default();
            if let Some(topic) = state.topics.get(topic) {
                for (partition, log) in (0..).zip(&topic.partitions) {
                    view.extend(partition, log);
                }
            }
            view
        })
    }

    /// The records of one partition by offset; none where it does not exist.
    pub fn partition_log(&self, topic: &str, partition: i32) -> TopicLog {
        self.shared.read(|state| {
            let mut view = TopicLog::default();
            let log = state
                .topics
                .get(topic)
                .and_then(|topic| topic.partition(partition));
            if let Some(log) = log {
                view.extend(partition, log);
            }
            view
        })
    }

    /// A group as it stands, where it exists.
    pub fn group(&self, group: &str) -> Option<GroupView> {
        self.shared
            .read(|state| state.coordinator.group(group).map(|group| group.view()))
    }

    /// Takes no metadata of a committed offset that has more characters than that
    /// (`offset.metadata.max.bytes`, 4096 by default): the commit is answered with 12.
    pub fn limit_offset_metadata(&self, chars: usize) {
        self.shared
            .update(|state| state.coordinator.limit_metadata(chars));
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<CommittedOffset> {
        self.shared.read(|state| {
            let group = state.coordinator.group(group)?;
            group.offsets().get(topic, partition).cloned()
        })
    }

    /// The connections of now.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared
            .read(|state| state.connections.values().cloned().collect())
    }

    /// How many requests of this type have arrived.
    pub fn requests(&self, api: Api) -> u64 {
        self.shared.read(|state| state.requests(api))
    }

    /// Waits until the condition holds. It is asked at once and after each change; without a
    /// time limit of its own, so wrap it in a timeout.
    ///
    /// ```
    /// # use cybermesh_devbroker::{Api, DevBroker};
    /// # async fn example(broker: &DevBroker) {
    /// broker.wait_until(|broker| broker.log("ai.anomalies.v1").len() >= 3).await;
    /// # }
    /// ```
    pub async fn wait_until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes();
        while !holds(self) {
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    /// Injects a fault; it works from the next request on.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        self.shared.update(|state| state.faults.inject(fault))
    }

    /// As [`fault`](Self::fault), for a broker that is just being made.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        self.fault(fault);
        self
    }

    /// Ends all faults and lets go what they hold.
    pub fn clear_faults(&self) {
        self.shared.update(|state| state.faults.clear());
    }

    /// Accepts connections and requests, and answers none, until [`thaw`](Self::thaw). What
    /// arrives meanwhile is served then.
    pub fn freeze(&self) {
        self.shared.set_frozen(true);
    }

    /// Ends [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.shared.set_frozen(false);
    }

    /// Speaks TLS like this in connections accepted from now on: another certificate, other client authorities.
    /// Those of now go on as they are; [`disconnect_clients`](Self::disconnect_clients) ends them.
    pub fn speak_tls(&self, tls: ServerTls) {
        self.tls.send_replace(Some(tls));
    }

    /// Closes every connection of now, and waits until they are gone: nothing that a fault kept
    /// from them is done or answered any more, though the fault let go of it. New ones are accepted.
    pub async fn disconnect_clients(&self) {
        let peers = |broker: &Self| -> BTreeSet<SocketAddr> {
            broker.connections().iter().map(|open| open.peer).collect()
        };
        let of_now = peers(self);
        for port in &self.ports {
            self.shared.cut_connections(port.broker);
        }
        self.wait_until(|broker| peers(broker).is_disjoint(&of_now))
            .await;
    }

    /// Closes every port and every connection and keeps all state: the cluster is down, and who
    /// leads what stays as it is. [`come_up`](Self::come_up) brings it back at the same addresses.
    pub async fn go_down(&self) {
        for port in &self.ports {
            self.close(port).await;
        }
    }

    /// Listens again after [`go_down`](Self::go_down); nothing to do otherwise.
    ///
    /// # Errors
    /// Where another process has taken a port meanwhile.
    pub async fn come_up(&self) -> Result<(), StartError> {
        for port in &self.ports {
            self.open(port).await?;
        }
        Ok(())
    }

    pub(super) async fn close(&self, port: &Port) {
        let listening = port.listening().take();
        if let Some(listening) = listening {
            listening.until.cancel();
            if listening.task.await.is_err() {
                debug!("the accepting task had already ended");
            }
        }
        self.shared.cut_connections(port.broker);
        let none_is_left = |broker: &Self| {
            let open = broker.connections();
            open.iter().all(|open| open.broker != port.broker)
        };
        self.wait_until(none_is_left).await;
    }

    pub(super) async fn open(&self, port: &Port) -> Result<(), StartError> {
        if !port.listens || port.listening().is_some() {
            return Ok(());
        }
        let address = port.address;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Bind { address, source })?;
        self.accept(port, listener);
        Ok(())
    }

    /// Moves the broker's wall clock, which stamps `LogAppendTime`, to so many milliseconds ahead
    /// of the system's (behind it where negative).
    pub fn shift_clock(&self, ahead_ms: i64) {
        self.shared.shift_clock(ahead_ms);
    }

    /// Gives a topic more partitions, as CreatePartitions would. Whether it has so many then: a
    /// topic that does not exist or has more already stays as it is.
    pub fn grow_topic(&self, topic: &str, partitions: usize) -> bool {
        self.shared
            .update(|state| state.grow_topic(topic, partitions))
    }

    /// Deletes the records of a partition before this offset, as retention would. Nothing
    /// happens where the partition does not exist.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.update(|state| {
            let topic = state.topics.get_mut(topic);
            if let Some((_, log)) = topic.and_then(|topic| topic.partition_mut(partition)) {
                log.delete_before(offset);
            }
        });
    }

    /// Writes the marker that ends a producer's transaction in a partition, as a transaction
    /// coordinator would: after it the batches of that producer that
    /// [`append_unchecked`](Self::append_unchecked) put there are committed or aborted. Returns
    /// its offset, or nothing where the partition does not exist.
    pub fn end_transaction(
        &self,
        topic: &str,
        partition: i32,
        producer_id: i64,
        epoch: i16,
        end: TransactionEnd,
    ) -> Option<i64> {
        let now = self.shared.now().unix_ms;
        self.shared.update(|state| {
            let (_, log) = state.topics.get_mut(topic)?.partition_mut(partition)?;
            Some(log.end_transaction(producer_id, epoch, end, now))
        })
    }

    /// Puts bytes into a partition as if they were a batch, unchecked: what a faulty or hostile
    /// broker would hand out. Only base offset and leader epoch are written into them, if there
    /// is room. A batch that is transactional opens its producer's transaction. Returns the base
    /// offset, or nothing where the partition does not exist.
    pub fn append_unchecked(
        &self,
        topic: &str,
        partition: i32,
        batch: &Bytes,
        last_offset_delta: u16,
    ) -> Option<i64> {
        self.shared.update(|state| {
            let (_, log) = state.topics.get_mut(topic)?.partition_mut(partition)?;
            Some(log.append_unchecked(batch, last_offset_delta))
        })
    }

    /// Asks clients that connect from now on for this; who is in already stays in.
    pub fn set_sasl(&self, sasl: ServerSasl) {
        self.shared.set_sasl(Some(sasl));
    }

    /// Closes the port and every connection, and waits until all is ended.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for DevBroker {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl fmt::Debug for DevBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevBroker")
            .field("bootstrap", &self.bootstrap())
            .finish_non_exhaustive()
    }
}
