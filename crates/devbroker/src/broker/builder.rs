//! What a broker is made of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;

use super::dev_broker::{DevBroker, StartError};
use super::fetch_sessions::{DEFAULT_SLOTS, FetchSessions};
use super::ids::Ids;
use super::nodes::{Node, Nodes};
use super::shared::Shared;
use super::state::State;
use super::tls::ServerTls;
use crate::api::Api;
use crate::group::{ConsumerTimes, Coordinator, SessionBounds};
use crate::log::{TimestampType, TopicSettings, name_is_legal};
use crate::sasl::ServerSasl;

const DEFAULT_MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A topic to begin with.
#[derive(Clone, Debug)]
#[must_use]
pub struct TopicSpec {
    name: String,
    partitions: usize,
    replicas: Option<usize>,
    configs: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic with so many partitions and Kafka's default settings.
    pub fn new(name: &str, partitions: usize) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            replicas: None,
            configs: Vec::new(),
        }
    }

    /// Sets how many brokers hold each partition; three otherwise, or as many as there are.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = Some(count);
        self
    }

    /// Sets a setting by Kafka's name, as `message.timestamp.type`.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says whose time the records' timestamps are.
    pub fn timestamps(self, of: TimestampType) -> Self {
        self.config("message.timestamp.type", of.as_str())
    }
}

/// Builds a [`DevBroker`]; see there for an example.
///
/// Without more it speaks plaintext, listens on a free port of 127.0.0.1, and has no topics.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    topics: Vec<TopicSpec>,
    tls: Option<ServerTls>,
    sasl: Option<ServerSasl>,
    bind: SocketAddr,
    advertised_host: Option<String>,
    broker_id: i32,
    brokers: u16,
    racks: Vec<String>,
    fetch_sessions: usize,
    tells_topic_ids: bool,
    cluster_id: Option<String>,
    seed: Option<u64>,
    virtual_from_ms: Option<i64>,
    listens: bool,
    max_frame_bytes: usize,
    min_session_timeout: Duration,
    initial_rebalance_delay: Duration,
    consumer_times: Option<ConsumerTimes>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            tls: None,
            sasl: None,
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            advertised_host: None,
            broker_id: 1,
            brokers: 1,
            racks: Vec::new(),
            fetch_sessions: DEFAULT_SLOTS,
            tells_topic_ids: true,
            cluster_id: None,
            seed: None,
            virtual_from_ms: None,
            listens: true,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            min_session_timeout: SessionBounds::default().min,
            initial_rebalance_delay: Duration::ZERO,
            consumer_times: Some(ConsumerTimes::default()),
        }
    }
}

impl Builder {
    /// Adds a topic with Kafka's default settings.
    pub fn topic(self, name: &str, partitions: usize) -> Self {
        self.topic_with(TopicSpec::new(name, partitions))
    }

    /// Adds a topic.
    pub fn topic_with(mut self, topic: TopicSpec) -> Self {
        self.topics.push(topic);
        self
    }

    /// Speaks TLS, and nothing else.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Asks every client to authenticate by SASL, over TLS or plaintext as the rest.
    pub fn sasl(mut self, sasl: ServerSasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Listens here; port 0 (the default) takes a free one. Further brokers take the ports that
    /// follow.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = address;
        self
    }

    /// Sets the host name clients are told to connect to; the address listened on otherwise.
    pub fn advertised_host(mut self, host: &str) -> Self {
        self.advertised_host = Some(host.to_owned());
        self
    }

    /// Sets how many brokers the cluster has, one otherwise: each has a port and an id of its own
    /// (the ids ascend from [`broker_id`](Self::broker_id)), they share topics and groups. Leaders
    /// of partitions take turns over them, groups are spread by the hash of their names, and
    /// topics have up to three replicas.
    pub fn brokers(mut self, count: u16) -> Self {
        self.brokers = count.max(1);
        self
    }

    /// Says in which rack each broker is, in the order of their ids; nowhere otherwise. With it leaders send readers that
    /// name a rack to a replica there (KIP-392, Kafka's `RackAwareReplicaSelector`).
    pub fn racks<'a>(mut self, racks: impl IntoIterator<Item = &'a str>) -> Self {
        self.racks = racks.into_iter().map(ToOwned::to_owned).collect();
        self
    }

    /// Sets how many fetch sessions each broker keeps (KIP-227), 1000 otherwise; with 0 every fetch is a full one.
    pub fn fetch_sessions(mut self, count: usize) -> Self {
        self.fetch_sessions = count;
        self
    }

    /// Tells clients no ids of topics, as brokers before Kafka 2.8: they have to fetch by names.
    pub fn without_topic_ids(mut self) -> Self {
        self.tells_topic_ids = false;
        self
    }

    /// Sets the first broker's id, 1 otherwise.
    pub fn broker_id(mut self, id: i32) -> Self {
        self.broker_id = id;
        self
    }

    /// Draws every id from this seed (of topics, of members, of the cluster), so that a run can be repeated.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Has the wall clock show this many milliseconds since 1970 now and go on with tokio's clock,
    /// also where that is paused; the system's clock otherwise.
    pub fn virtual_time_from(mut self, unix_ms: i64) -> Self {
        self.virtual_from_ms = Some(unix_ms);
        self
    }

    /// Listens on no port: connections are brought by [`DevBroker::serve`]. Clients are told the
    /// addresses of [`bind`](Self::bind) all the same.
    pub fn without_ports(mut self) -> Self {
        self.listens = false;
        self
    }

    /// Sets the cluster's id, a random one otherwise.
    pub fn cluster_id(mut self, id: &str) -> Self {
        self.cluster_id = Some(id.to_owned());
        self
    }

    /// Sets the largest request accepted, 8 MiB otherwise.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets the shortest session timeout members of groups may ask for; 6 s otherwise, as with
    /// Kafka.
    pub fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.min_session_timeout = timeout;
        self
    }

    /// Sets how long the first rebalance of an empty group waits for more members; not at all
    /// otherwise (Kafka: 3 s).
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.initial_rebalance_delay = delay;
        self
    }

    /// Sets the session timeout and the interval of heartbeats of members of groups that the coordinator divides
    /// (KIP-848), which cannot ask for others; 45 s and 5 s otherwise, as with Kafka.
    pub fn consumer_groups(
        mut self,
        session_timeout: Duration,
        heartbeats_every: Duration,
    ) -> Self {
        self.consumer_times = Some(ConsumerTimes {
            session_timeout,
            heartbeat_interval: heartbeats_every,
        });
        self
    }

    /// Has no groups that the coordinator divides, as brokers before Kafka 4.0.
    pub fn without_consumer_groups(mut self) -> Self {
        self.consumer_times = None;
        self
    }

    /// Starts the broker on the current tokio runtime.
    ///
    /// # Errors
    /// Where a topic is not one Kafka would create, or the address cannot be listened on.
    pub async fn start(self) -> Result<DevBroker, StartError> {
        let mut listeners = Vec::new();
        let mut nodes = Vec::new();
        for (index, id) in (0..self.brokers).zip(self.broker_id..) {
            let mut at = self.bind;
            if at.port() != 0 {
                at.set_port(at.port().saturating_add(index));
            }
            let bind_failed = |source| StartError::Bind {
                address: at,
                source,
            };
            let listener = match self.listens {
                true => Some(TcpListener::bind(at).await.map_err(bind_failed)?),
                false => None,
            };
            let address = match &listener {
                Some(listener) => listener.local_addr().map_err(bind_failed)?,
                None => at,
            };
            let host = self.advertised_host.clone();
            nodes.push(Node {
                id,
                host: host.unwrap_or_else(|| address.ip().to_string()),
                port: address.port(),
                is_up: true,
                rack: self.racks.get(usize::from(index)).cloned(),
            });
            listeners.push((id, address, listener));
        }
        let ids = self.seed.map_or_else(Ids::default, Ids::seeded);
        let cluster_id = self.cluster_id.unwrap_or_else(|| cluster_id(&ids));
        let sessions = SessionBounds {
            min: self.min_session_timeout,
            ..SessionBounds::default()
        };
        let offers_consumer_groups = self.consumer_times.is_some();
        let coordinator = Coordinator::new(
            sessions,
            self.initial_rebalance_delay,
            self.consumer_times.unwrap_or_default(),
        );
        let mut state = State::new(
            ids,
            cluster_id,
            Nodes::new(nodes),
            coordinator,
            FetchSessions::new(self.fetch_sessions),
        );
        if !offers_consumer_groups {
            state.hidden = vec![Api::ConsumerGroupHeartbeat, Api::ConsumerGroupDescribe];
        }
        state.tells_topic_ids = self.tells_topic_ids;
        for topic in &self.topics {
            create(&mut state, topic)?;
        }
        let shared = Shared::new(state, self.max_frame_bytes, self.virtual_from_ms);
        shared.set_sasl(self.sasl);
        Ok(DevBroker::run(shared, listeners, self.tls))
    }
}

fn create(state: &mut State, topic: &TopicSpec) -> Result<(), StartError> {
    let refuse = |reason: String| StartError::Topic {
        name: topic.name.clone(),
        reason,
    };
    if !name_is_legal(&topic.name) {
        return Err(refuse("not a legal topic name".into()));
    }
    if topic.partitions == 0 || i32::try_from(topic.partitions).is_err() {
        return Err(refuse(format!("{} partitions", topic.partitions)));
    }
    let mut settings = TopicSettings::default();
    for (name, value) in &topic.configs {
        settings
            .set(name, value)
            .map_err(|(_, reason)| refuse(reason))?;
    }
    let replication = topic.replicas.unwrap_or(state.default_replication());
    state.create_topic(&topic.name, topic.partitions, replication, settings);
    Ok(())
}

/// 22 characters, as Kafka's have.
fn cluster_id(ids: &Ids) -> String {
    let mut id = ids.next().simple().to_string();
    id.truncate(22);
    id
}
