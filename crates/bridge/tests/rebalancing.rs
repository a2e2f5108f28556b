//! What a cooperative rebalance means for handlers at work.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cybermesh_bridge::{
    Bridge,
    handler::{Context, Verdict},
};
use cybermesh_contracts::{kind::Kind, message::Commit, verify::Verified};
use stage::{Stage, commit, soon, trust};
use tokio::sync::{mpsc, watch};

const STOP: Duration = Duration::from_secs(10);
const GROUP: &str = "nodes";
const KEPT: [i32; 2] = [0, 1];
const MOVED: i32 = 2;

/// A message in a handler: who has it, of which partition, its height and attempt.
#[derive(Debug, Clone, Copy)]
struct Seen {
    node: &'static str,
    partition: i32,
    height: i64,
    attempt: u32,
}

/// A handler that was cancelled while it waited.
struct Waiting<'a> {
    cancelled: &'a AtomicUsize,
    is_done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.cancelled
            .fetch_add(usize::from(!self.is_done), Ordering::SeqCst);
    }
}

/// What the handlers of all nodes share: each waits until its partition is open.
struct Hall {
    stage: Stage,
    seen: mpsc::UnboundedSender<Seen>,
    open: watch::Sender<Vec<i32>>,
    cancelled: Arc<AtomicUsize>,
}

impl Hall {
    async fn node(&self, node: &'static str) -> Bridge {
        let settings = [
            ("role", "node"),
            ("node.id", node),
            ("KAFKA_CONSUMER_GROUP", GROUP),
            ("KAFKA_ASSIGNOR", "cooperative-sticky"),
            ("KAFKA_HEARTBEAT_INTERVAL_MS", "100"),
        ];
        let (seen, open) = (self.seen.clone(), self.open.subscribe());
        let cancelled = Arc::clone(&self.cancelled);
        Bridge::builder(self.stage.settings(&settings))
            .trust(trust())
            .handle(move |message: Verified<Commit>, context: Context| {
                let (seen, mut open) = (seen.clone(), open.clone());
                let cancelled = Arc::clone(&cancelled);
                async move {
                    let partition = context.partition();
                    let now = Seen {
                        node,
                        partition,
                        height: message.message().height(),
                        attempt: context.attempt(),
                    };
                    seen.send(now).unwrap();
                    let mut waiting = Waiting {
                        cancelled: &cancelled,
                        is_done: false,
                    };
                    open.wait_for(|open| open.contains(&partition))
                        .await
                        .unwrap();
                    waiting.is_done = true;
                    Ok(Verdict::Done)
                }
            })
            .ignore(Kind::Reputation)
            .ignore(Kind::PolicyUpdate)
            .ignore(Kind::EvidenceRequest)
            .start()
            .await
            .unwrap()
    }

    /// Until everything of a partition is committed.
    async fn committed(&self, partition: i32) {
        let topic = Kind::Commit.default_topic();
        let end = self.stage.broker.partition_log(topic, partition).values();
        let end = i64::try_from(end.len()).unwrap();
        let broker = &self.stage.broker;
        soon(broker.wait_until(|broker| {
            let committed = broker.committed(GROUP, topic, partition);
            committed.is_some_and(|committed| committed.offset == end)
        }))
        .await;
    }
}

#[tokio::test]
async fn handlers_of_what_a_node_keeps_run_on_while_another_node_joins_and_takes_the_rest() {
    let (seen, mut all) = mpsc::unbounded_channel();
    let hall = Hall {
        stage: Stage::set().await,
        seen,
        open: watch::Sender::new(Vec::new()),
        cancelled: Arc::default(),
    };
    let sender = hall
        .stage
        .settings(&[("role", "backend"), ("limits.commit", "off")]);
    let sender = Bridge::builder(sender)
        .sends(Kind::CONTROL)
        .receives([])
        .start()
        .await
        .unwrap();
    let first = hall.node("first").await;
    let mut heights = 0..;
    let mut handled: BTreeMap<i64, Seen> = BTreeMap::new();
    let mut send = async || {
        let height = heights.next().unwrap();
        soon(sender.publisher().send(commit(height))).await.unwrap();
    };
    let mut take = async |handled: &mut BTreeMap<i64, Seen>| {
        let seen: Seen = soon(all.recv()).await.unwrap();
        assert_eq!(seen.attempt, 1, "{seen:?}");
        assert!(
            handled.insert(seen.height, seen).is_none(),
            "twice: {seen:?}"
        );
        seen
    };
    // Something is at work in each partition.
    let busy = |handled: &BTreeMap<i64, Seen>, partition| {
        handled.values().any(|seen| seen.partition == partition)
    };
    while !(0..3).all(|partition| busy(&handled, partition)) {
        send().await;
        take(&mut handled).await;
    }
    let second = hall.node("second").await;
    // What moves is waited for; what stays is not, and is not even done yet.
    hall.open.send_replace(vec![MOVED]);
    hall.committed(MOVED).await;
    loop {
        send().await;
        let seen = take(&mut handled).await;
        match (seen.node, seen.partition) {
            ("second", MOVED) => break,
            ("first", _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(hall.cancelled.load(Ordering::SeqCst), 0);
    hall.open.send_replace(vec![0, 1, 2]);
    for partition in KEPT.into_iter().chain([MOVED]) {
        hall.committed(partition).await;
    }
    assert_eq!(hall.cancelled.load(Ordering::SeqCst), 0);
    for bridge in [first, second, sender] {
        let report = bridge.stop(STOP).await;
        assert!(report.is_clean(), "{report:?}");
    }
    assert!(all.try_recv().is_err(), "nothing came twice");
}
