//! All that there is in a run: brokers, network, clocks, files, and who sends and handles.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_devbroker::{DevBroker, TopicSpec};
use tempfile::TempDir;

use crate::clock::{BEGIN_MS, Clocks};
use crate::dice::Dice;
use crate::net::{FIRST_PORT, Network};
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::run::RunError;

pub(crate) const TOPIC: &str = "ai.anomalies.v1";
pub(crate) const DEAD_LETTERS: &str = "ai.dlq";
pub(crate) const GROUP: &str = "backend";
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const BROKERS: u16 = 3;
pub(crate) const LANES: u64 = 5;

pub(crate) struct World {
    seed: u64,
    pub(crate) plan: Plan,
    pub(crate) recorder: Recorder,
    pub(crate) broker: Arc<DevBroker>,
    pub(crate) network: Network,
    pub(crate) clocks: Clocks,
    pub(crate) files: TempDir,
    /// Chance of what happens to processes.
    pub(crate) chance: Dice,
    pub(crate) bug: Option<Arc<str>>,
    lives: AtomicU64,
    troubled: AtomicBool,
    /// Messages that each node has still to send.
    to_send: Mutex<BTreeMap<String, u64>>,
}

impl World {
    pub(crate) async fn new(
        seed: u64,
        bug: Option<Arc<str>>,
        keeps_lines: bool,
    ) -> Result<Arc<Self>, RunError> {
        let files = tempfile::tempdir()?;
        let recorder = Recorder::new(keeps_lines, files.path());
        let plan = Plan::of(&Dice::of(seed, "plan"));
        let begin_ms = i64::try_from(BEGIN_MS).unwrap_or(i64::MAX);
        let broker = DevBroker::builder()
            .brokers(BROKERS)
            .without_ports()
            .bind(SocketAddr::from(([127, 0, 0, 1], FIRST_PORT)))
            .seed(seed)
            .virtual_time_from(begin_ms)
            .topic_with(TopicSpec::new(
                TOPIC,
                usize::try_from(PARTITIONS).unwrap_or(1),
            ))
            .topic_with(TopicSpec::new(DEAD_LETTERS, 1))
            .start()
            .await
            .map_err(|error| RunError::Setup(error.to_string()))?;
        let broker = Arc::new(broker);
        let network = Network::new(&broker, Dice::of(seed, "network"), recorder.clone());
        let world = Self {
            seed,
            recorder,
            broker,
            network,
            clocks: Clocks::new(),
            files,
            chance: Dice::of(seed, "chance"),
            bug,
            lives: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            to_send: Mutex::default(),
            plan,
        };
        world.recorder.note(format_args!("{:?}", world.plan));
        {
            let mut to_send = world.to_send.lock().unwrap_or_else(PoisonError::into_inner);
            for node in NODES {
                to_send.insert(node.to_owned(), world.plan.messages);
            }
        }
        world.write_trust(None)?;
        Ok(Arc::new(world))
    }

    /// Chance that is nobody else's.
    pub(crate) fn dice(&self, what: &str) -> Dice {
        Dice::of(self.seed, what)
    }

    pub(crate) fn next_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn bootstrap(&self) -> String {
        let ports = (FIRST_PORT..).take(usize::from(BROKERS));
        let brokers: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        brokers.join(",")
    }

    /// Whether faults are still to come.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_troubled(&self, troubled: bool) {
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// Whether a node has another message to send; it is counted as sent then.
    pub(crate) fn one_more(&self, node: &str) -> bool {
        let mut to_send = self.to_send.lock().unwrap_or_else(PoisonError::into_inner);
        match to_send.get_mut(node) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Gives every node more to send.
    pub(crate) fn send_more(&self, messages: u64) {
        let mut to_send = self.to_send.lock().unwrap_or_else(PoisonError::into_inner);
        to_send.values_mut().for_each(|left| *left += messages);
    }

    /// Whether every node has begun to send all it has.
    pub(crate) fn all_begun(&self) -> bool {
        let to_send = self.to_send.lock().unwrap_or_else(PoisonError::into_inner);
        to_send.values().all(|left| *left == 0)
    }

    pub(crate) fn signer_of(&self, name: &str) -> Arc<dyn Signer> {
        let mut seed = [0; 32];
        self.dice(&format!("{name} key")).fill(&mut seed);
        Arc::new(Ed25519Signer::from_seed(&seed))
    }

    pub(crate) fn trust_file(&self) -> PathBuf {
        self.files.path().join("trust.toml")
    }

    /// Writes whom backends believe, perhaps without one of the nodes.
    pub(crate) fn write_trust(&self, revoked: Option<&str>) -> io::Result<()> {
        let mut text = "version = 1\n".to_owned();
        for node in NODES {
            let key = self.signer_of(node).public_key();
            text.push_str(&format!(
                "[[key]]\nid = \"{node}\"\npublic_key = \"{key}\"\nmay_sign = [\"anomaly\"]\nrevoked = {}\n",
                revoked == Some(node)
            ));
        }
        let fresh = self.files.path().join("trust.new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, self.trust_file())
    }
}

pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];
pub(crate) const BACKENDS: [&str; 3] = ["backend-1", "backend-2", "backend-3"];
