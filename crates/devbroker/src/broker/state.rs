//! All a broker knows.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::connection::ConnectionInfo;
use crate::api::Api;
use crate::fault::{Faults, Plan, Target};
use crate::group::{Coordinator, Replies, Reply, Ticket};
use crate::log::{Topic, TopicSettings};

/// Who the broker says it is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) broker_id: i32,
    pub(crate) cluster_id: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) identity: Identity,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) coordinator: Coordinator,
    pub(crate) faults: Faults,
    pub(crate) connections: BTreeMap<u64, ConnectionInfo>,
    next_producer_id: i64,
    next_ticket: u64,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    requests: HashMap<Api, u64>,
}

impl State {
    pub(crate) fn new(identity: Identity, coordinator: Coordinator) -> Self {
        Self {
            identity,
            topics: BTreeMap::new(),
            coordinator,
            faults: Faults::default(),
            connections: BTreeMap::new(),
            next_producer_id: 1000,
            next_ticket: 0,
            waiting: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: usize, settings: TopicSettings) {
        self.topics
            .insert(name.to_owned(), Topic::new(partitions, settings));
    }

    /// Gives a topic more partitions; whether it has as many as that then.
    pub(crate) fn grow_topic(&mut self, name: &str, partitions: usize) -> bool {
        match self.topics.get_mut(name) {
            Some(topic) => {
                topic.grow(partitions);
                topic.partitions.len() == partitions
            }
            None => false,
        }
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<(&String, &Topic)> {
        self.topics.iter().find(|(_, topic)| topic.id == id)
    }

    /// The name of a topic given by name, or by id where the name is empty.
    pub(crate) fn topic_name(&self, name: &str, id: Uuid) -> Option<String> {
        if id.is_nil() {
            return Some(name.to_owned());
        }
        self.topic_by_id(id).map(|(name, _)| name.clone())
    }

    pub(crate) fn new_producer_id(&mut self) -> i64 {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        id
    }

    /// Counts a request and tells which faults hit it.
    pub(crate) fn admit(&mut self, api: Api, client_id: Option<&str>, targets: &[Target]) -> Plan {
        *self.requests.entry(api).or_default() += 1;
        self.faults.plan(api, client_id, targets)
    }

    pub(crate) fn requests(&self, api: Api) -> u64 {
        self.requests.get(&api).copied().unwrap_or(0)
    }

    /// A ticket for a request that may wait, and where its answer will arrive.
    pub(crate) fn ticket(&mut self) -> (Ticket, oneshot::Receiver<Reply>) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(ticket, sender);
        (ticket, receiver)
    }

    /// Hands answers to those who wait for them; who is gone misses it, as with Kafka.
    pub(crate) fn deliver(&mut self, replies: Replies) {
        for (ticket, reply) in replies {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                let _ = waiting.send(reply);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut replies = Replies::new();
        self.coordinator.handle_timeout(now, &mut replies);
        self.deliver(replies);
    }
}
