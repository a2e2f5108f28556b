//! What a test does to the single brokers of a cluster, and to what they lead.

use std::net::SocketAddr;

use super::dev_broker::{DevBroker, Port, StartError};
use super::{FetchSession, Node};

/// Who answers for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PartitionLeader {
    /// The broker's id; `None` while all its replicas are down.
    pub broker: Option<i32>,
    /// Raised each time another broker leads (KIP-320).
    pub epoch: i32,
}

impl DevBroker {
    /// `host:port` of every broker as clients are told, with commas between: their list of
    /// bootstrap servers.
    pub fn bootstrap(&self) -> String {
        self.shared.read(|state| {
            let nodes = state.nodes.all().iter().map(Node::bootstrap);
            nodes.collect::<Vec<_>>().join(",")
        })
    }

    /// The address the first broker listens on.
    pub fn address(&self) -> SocketAddr {
        // There is at least one.
        self.ports[0].address
    }

    /// The address one broker listens on.
    pub fn address_of(&self, broker: i32) -> Option<SocketAddr> {
        self.port(broker).map(|port| port.address)
    }

    /// The ids of all brokers, ascending, those that are down included.
    pub fn broker_ids(&self) -> Vec<i32> {
        self.ports.iter().map(|port| port.broker).collect()
    }

    /// Who leads a partition, where it exists.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<PartitionLeader> {
        self.shared.read(|state| {
            let log = state.topics.get(topic)?.partition(partition)?;
            Some(PartitionLeader {
                broker: log.leadership().leader(),
                epoch: log.leadership().epoch(),
            })
        })
    }

    /// Makes a broker the leader of a partition; the old one refuses from now on. Returns the new
    /// leader epoch, or nothing where there is no such partition, or no such broker that is up.
    pub fn move_leader(&self, topic: &str, partition: i32, to: i32) -> Option<i32> {
        self.shared
            .update(|state| state.move_leader(topic, partition, to))
    }

    /// Makes a broker the leader of a partition though it has nothing of the log from `end_offset` on, as an unclean
    /// election does: what is there is lost, whole batches at a time. Returns the new leader epoch, or nothing where there
    /// is no such partition, or no such broker that is up.
    pub fn elect_unclean(
        &self,
        topic: &str,
        partition: i32,
        to: i32,
        end_offset: i64,
    ) -> Option<i32> {
        self.shared
            .update(|state| state.elect_unclean(topic, partition, to, end_offset))
    }

    /// Lets a follower have nothing of a partition from `end_offset` on, or again all of it: replicas do not lag
    /// otherwise. Whether there is such a partition.
    pub fn hold_back_replica(
        &self,
        topic: &str,
        partition: i32,
        broker: i32,
        end_offset: Option<i64>,
    ) -> bool {
        self.shared.update(|state| {
            let topic = state.topics.get_mut(topic);
            match topic.and_then(|topic| topic.partition_mut(partition)) {
                Some((_, log)) => log.hold_back(broker, end_offset),
                None => return false,
            }
            true
        })
    }

    /// Has metadata call the replicas of a broker offline, though it is up and leaders send readers to it: as while what
    /// brokers know of each other is late.
    pub fn call_replicas_offline(&self, broker: i32) {
        self.shared.update(|state| state.nodes.call_down(broker));
    }

    /// The fetch sessions that all brokers keep (KIP-227).
    pub fn fetch_sessions(&self) -> Vec<FetchSession> {
        self.shared.read(|state| state.fetch_sessions.view())
    }

    /// Forgets the fetch sessions of a broker, as if it had restarted or needed the room.
    pub fn forget_fetch_sessions(&self, broker: i32) {
        self.shared
            .update(|state| state.fetch_sessions.forget(broker));
    }

    /// The broker that coordinates a group; nothing while all are down.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.shared
            .read(|state| state.nodes.coordinator(group).map(|node| node.id))
    }

    /// Makes a broker the coordinator of a group; the old one refuses from now on, JoinGroup and
    /// SyncGroup that wait there included. Whether there is such a broker.
    pub fn move_coordinator(&self, group: &str, to: i32) -> bool {
        if self.port(to).is_none() {
            return false;
        }
        self.shared
            .update(|state| state.move_coordinator(group, to));
        true
    }

    /// Whether a broker is up.
    pub fn is_up(&self, broker: i32) -> bool {
        self.shared.read(|state| state.nodes.is_up(broker))
    }

    /// Closes one broker's port and connections. The others take over the partitions it leads
    /// and the groups it coordinates, at once; partitions without another replica have no leader.
    pub async fn stop_broker(&self, broker: i32) {
        if let Some(port) = self.port(broker) {
            self.shared.update(|state| state.set_up(broker, false));
            self.close(port).await;
        }
    }

    /// Brings one broker back, at the same address. It leads again what nobody else leads.
    ///
    /// # Errors
    /// Where another process has taken its port meanwhile.
    pub async fn start_broker(&self, broker: i32) -> Result<(), StartError> {
        if let Some(port) = self.port(broker) {
            self.open(port).await?;
            self.shared.update(|state| state.set_up(broker, true));
        }
        Ok(())
    }

    /// Takes a member for dead, as if its session had run out. Whether it was there.
    pub fn expire_member(&self, group: &str, member_id: &str) -> bool {
        let now = self.shared.now().instant;
        self.shared
            .update(|state| state.expire_member(now, group, member_id))
    }

    /// Deletes a topic, as DeleteTopics would. Whether it existed.
    pub fn delete_topic(&self, topic: &str) -> bool {
        self.shared
            .update(|state| state.delete_topic(topic).is_some())
    }

    /// Deletes a topic and makes it again, empty and with another id. Whether it existed.
    pub fn renew_topic(&self, topic: &str) -> bool {
        self.shared.update(|state| state.renew_topic(topic))
    }

    fn port(&self, broker: i32) -> Option<&Port> {
        self.ports.iter().find(|port| port.broker == broker)
    }
}
