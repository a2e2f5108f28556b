//! All a broker knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::connection::ConnectionInfo;
use super::fetch_sessions::FetchSessions;
use super::ids::Ids;
use super::nodes::Nodes;
use crate::api::Api;
use crate::fault::{Asked, Change, Event, Faults, Plan};
use crate::group::{Coordinator, Replies, Reply, Ticket};
use crate::log::{PartitionLog, Topic, TopicSettings};

/// Replicas a topic gets where there are as many brokers.
const DEFAULT_REPLICATION: usize = 3;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ids: Ids,
    pub(crate) cluster_id: String,
    pub(crate) nodes: Nodes,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) coordinator: Coordinator,
    pub(crate) fetch_sessions: FetchSessions,
    /// Whether clients are told the ids of topics (KIP-516).
    pub(crate) tells_topic_ids: bool,
    pub(crate) faults: Faults,
    pub(crate) connections: BTreeMap<u64, ConnectionInfo>,
    /// Requests that are not offered; nobody asks for them.
    pub(crate) hidden: Vec<Api>,
    next_producer_id: i64,
    next_ticket: u64,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    requests: HashMap<Api, u64>,
}

impl State {
    pub(crate) fn new(
        ids: Ids,
        cluster_id: String,
        nodes: Nodes,
        coordinator: Coordinator,
        fetch_sessions: FetchSessions,
    ) -> Self {
        Self {
            ids,
            cluster_id,
            nodes,
            topics: BTreeMap::new(),
            coordinator,
            fetch_sessions,
            tells_topic_ids: true,
            faults: Faults::default(),
            connections: BTreeMap::new(),
            hidden: Vec::new(),
            next_producer_id: 1000,
            next_ticket: 0,
            waiting: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    /// How many brokers hold a topic whose creator does not say.
    pub(crate) fn default_replication(&self) -> usize {
        self.nodes.all().len().min(DEFAULT_REPLICATION)
    }

    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: usize,
        replication: usize,
        settings: TopicSettings,
    ) {
        let mut topic = Topic::new(self.ids.next(), settings);
        topic.grow(partitions, |index| self.nodes.replicas(index, replication));
        for log in &mut topic.partitions {
            elect_if_needed(log, &self.nodes);
        }
        self.topics.insert(name.to_owned(), topic);
    }

    /// Deletes a topic, and what groups committed for it; its id, where it existed.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Option<Uuid> {
        let topic = self.topics.remove(name)?;
        self.coordinator.forget_topic(name);
        Some(topic.id)
    }

    /// Deletes a topic and makes it again, empty and with another id; whether it existed.
    pub(crate) fn renew_topic(&mut self, name: &str) -> bool {
        let Some(old) = self.topics.get(name) else {
            return false;
        };
        let (partitions, replication) = (old.partitions.len(), old.replication());
        let settings = old.settings.clone();
        self.delete_topic(name);
        self.create_topic(name, partitions, replication, settings);
        true
    }

    /// Makes a broker that is up the leader of a partition; the new leader epoch.
    pub(crate) fn move_leader(&mut self, topic: &str, partition: i32, to: i32) -> Option<i32> {
        if !self.nodes.is_up(to) {
            return None;
        }
        let (_, log) = self.topics.get_mut(topic)?.partition_mut(partition)?;
        log.elect(Some(to));
        Some(log.leadership().epoch())
    }

    /// Makes a broker the leader of a partition though it has nothing of the log from an offset on, as an unclean election
    /// does: what is there is lost. The new leader epoch.
    pub(crate) fn elect_unclean(
        &mut self,
        topic: &str,
        partition: i32,
        to: i32,
        end_offset: i64,
    ) -> Option<i32> {
        if !self.nodes.is_up(to) {
            return None;
        }
        let (_, log) = self.topics.get_mut(topic)?.partition_mut(partition)?;
        log.truncate(end_offset);
        log.elect(Some(to));
        Some(log.leadership().epoch())
    }

    /// Takes a broker out of the cluster or back into it. Partitions whose leader goes are led by
    /// another replica that is up, or by nobody; those nobody leads are led by the one that comes.
    pub(crate) fn set_up(&mut self, id: i32, is_up: bool) {
        self.nodes.set_up(id, is_up);
        self.fetch_sessions.forget(id);
        let topics = self.topics.values_mut();
        for log in topics.flat_map(|topic| &mut topic.partitions) {
            elect_if_needed(log, &self.nodes);
        }
    }

    /// Gives a topic more partitions; whether it has as many as that then.
    pub(crate) fn grow_topic(&mut self, name: &str, partitions: usize) -> bool {
        match self.topics.get_mut(name) {
            Some(topic) => {
                let replication = topic.replication();
                topic.grow(partitions, |index| self.nodes.replicas(index, replication));
                topic.partitions.len() == partitions
            }
            None => false,
        }
    }

    /// Makes a broker the coordinator of a group. Requests that wait at the old one are answered
    /// that it is none any more.
    pub(crate) fn move_coordinator(&mut self, group: &str, to: i32) {
        self.nodes.choose_coordinator(group, to);
        let mut replies = Replies::new();
        self.coordinator.hand_over(group, &mut replies);
        self.deliver(replies);
    }

    /// Takes a member for dead; whether it was there.
    pub(crate) fn expire_member(&mut self, now: Instant, group: &str, member_id: &str) -> bool {
        let mut replies = Replies::new();
        let coordinator = &mut self.coordinator;
        let was_there = coordinator.expire(now, group, member_id, &mut replies);
        self.deliver(replies);
        was_there
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
    pub(crate) fn admit(&mut self, asked: &Asked<'_>) -> Plan {
        *self.requests.entry(asked.api).or_default() += 1;
        self.faults.plan(asked)
    }

    /// Lets happen what a fault says, in a group to the member given.
    pub(crate) fn happen(&mut self, now: Instant, change: &Change, member: Option<(&str, &str)>) {
        for target in &change.targets {
            match (change.event, target.partition) {
                (Event::MoveLeader { to }, Some(partition)) => {
                    self.move_leader(&target.topic, partition, to);
                }
                (Event::LoseTopic, _) => {
                    self.delete_topic(&target.topic);
                }
                _ => {}
            }
        }
        if change.event == Event::RenewTopic {
            let names: BTreeSet<&String> = change.targets.iter().map(|t| &t.topic).collect();
            for name in names {
                self.renew_topic(name);
            }
        }
        if let (Event::ExpireMember, Some((group, member))) = (change.event, member) {
            self.expire_member(now, group, member);
        }
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

fn elect_if_needed(log: &mut PartitionLog, nodes: &Nodes) {
    let leader = log.leadership().leader();
    if leader.is_some_and(|leader| nodes.is_up(leader)) {
        return;
    }
    let mut replicas = log.leadership().replicas().iter().copied();
    let next = replicas.find(|replica| nodes.is_up(*replica));
    if next != leader {
        log.elect(next);
    }
}
