//! The brokers of the cluster, and what falls to which.

use std::collections::{BTreeMap, BTreeSet};

/// Partitions of the offsets topic, whose leaders coordinate groups
/// (`offsets.topic.num.partitions`).
const OFFSETS_PARTITIONS: u32 = 50;

/// One broker.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_up: bool,
    /// Kafka's `broker.rack`.
    pub(crate) rack: Option<String>,
}

impl Node {
    /// `host:port`, as in a list of bootstrap servers.
    pub(crate) fn bootstrap(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// All brokers, by ascending id; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    all: Vec<Node>,
    /// Groups whose coordinator a test has chosen.
    coordinators: BTreeMap<String, i32>,
    /// Brokers that metadata call down though they are up.
    called_down: BTreeSet<i32>,
}

impl Nodes {
    pub(crate) fn new(all: Vec<Node>) -> Self {
        Self {
            all,
            coordinators: BTreeMap::new(),
            called_down: BTreeSet::new(),
        }
    }

    pub(crate) fn all(&self) -> &[Node] {
        &self.all
    }

    pub(crate) fn up(&self) -> impl Iterator<Item = &Node> {
        self.all.iter().filter(|node| node.is_up)
    }

    pub(crate) fn find(&self, id: i32) -> Option<&Node> {
        self.all.iter().find(|node| node.id == id)
    }

    pub(crate) fn is_up(&self, id: i32) -> bool {
        self.find(id).is_some_and(|node| node.is_up)
    }

    /// Whether a broker's replicas are in order as metadata have it.
    pub(crate) fn is_called_up(&self, id: i32) -> bool {
        self.is_up(id) && !self.called_down.contains(&id)
    }

    pub(super) fn call_down(&mut self, id: i32) {
        self.called_down.insert(id);
    }

    /// Which of these replicas a reader at `rack` is to be sent to, if not to the leader: as Kafka's
    /// `RackAwareReplicaSelector`, where brokers have racks.
    pub(crate) fn nearest(
        &self,
        rack: &str,
        leader: i32,
        replicas: impl Iterator<Item = i32>,
    ) -> Option<i32> {
        let is_near = |id: i32| {
            let node = self.find(id).filter(|node| node.is_up);
            node.is_some_and(|node| node.rack.as_deref() == Some(rack))
        };
        if is_near(leader) {
            return None;
        }
        replicas.into_iter().find(|id| is_near(*id))
    }

    pub(super) fn set_up(&mut self, id: i32, is_up: bool) {
        if let Some(node) = self.all.iter_mut().find(|node| node.id == id) {
            node.is_up = is_up;
        }
    }

    /// The controller: the first that is up; -1 where none is.
    pub(crate) fn controller(&self) -> i32 {
        self.up().next().map_or(-1, |node| node.id)
    }

    /// Which brokers hold a partition, the preferred leader first: leaders take turns.
    pub(crate) fn replicas(&self, partition: usize, count: usize) -> Vec<i32> {
        let turn = self.all.iter().cycle().skip(partition % self.all.len());
        turn.take(count.clamp(1, self.all.len()))
            .map(|node| node.id)
            .collect()
    }

    /// The broker that coordinates a group: the one that leads its partition of the offsets
    /// topic, or the next that is up.
    pub(crate) fn coordinator(&self, group: &str) -> Option<&Node> {
        let chosen = self.coordinators.get(group);
        let chosen = chosen.and_then(|id| self.find(*id));
        if let Some(node) = chosen.filter(|node| node.is_up) {
            return Some(node);
        }
        let partition = (java_hash(group) & 0x7fff_ffff) % OFFSETS_PARTITIONS;
        let turn = usize::try_from(partition).unwrap_or(0) % self.all.len();
        let turns = self.all.iter().cycle().skip(turn).take(self.all.len());
        turns.into_iter().find(|node| node.is_up)
    }

    pub(super) fn choose_coordinator(&mut self, group: &str, id: i32) {
        self.coordinators.insert(group.to_owned(), id);
    }
}

/// `String.hashCode` of Java: over UTF-16, base 31, modulo 2³².
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Nodes {
        let node = |id: i32| Node {
            id,
            host: "localhost".to_owned(),
            port: 9092,
            is_up: true,
            rack: None,
        };
        Nodes::new([1, 2, 3].map(node).to_vec())
    }

    #[test]
    fn leaders_take_turns_over_the_brokers() {
        let nodes = three();
        let leaders: Vec<i32> = (0..4).map(|p| nodes.replicas(p, 2)[0]).collect();
        assert_eq!(leaders, [1, 2, 3, 1]);
        assert_eq!(nodes.replicas(2, 2), [3, 1]);
        assert_eq!(nodes.replicas(0, 9).len(), 3);
    }

    #[test]
    fn a_reader_is_sent_to_a_replica_of_its_rack_unless_the_leader_is_there() {
        let mut nodes = three();
        for (node, rack) in nodes.all.iter_mut().zip(["a", "b", "b"]) {
            node.rack = Some(rack.to_owned());
        }
        let nearest =
            |nodes: &Nodes, rack, leader| nodes.nearest(rack, leader, [1, 2, 3].into_iter());
        assert_eq!(nearest(&nodes, "b", 1), Some(2));
        assert_eq!(nearest(&nodes, "b", 3), None);
        assert_eq!(nearest(&nodes, "c", 1), None);
        nodes.set_up(2, false);
        assert_eq!(nearest(&nodes, "b", 1), Some(3));
    }

    #[test]
    fn a_group_is_hashed_as_java_does() {
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), 0x8000_0000);
    }

    #[test]
    fn groups_are_spread_and_go_on_to_a_broker_that_is_up() {
        let mut nodes = three();
        let id = |nodes: &Nodes, group: &str| nodes.coordinator(group).unwrap().id;
        let of: Vec<i32> = ["a", "b", "c"].map(|group| id(&nodes, group)).to_vec();
        assert!([1, 2, 3].iter().all(|id| of.contains(id)), "{of:?}");
        let first = id(&nodes, "a");
        nodes.set_up(first, false);
        assert_ne!(id(&nodes, "a"), first);
        nodes.choose_coordinator("a", 3);
        nodes.set_up(first, true);
        assert_eq!(id(&nodes, "a"), 3);
    }
}
