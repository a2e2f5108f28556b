//! Consumers that come, go and die: nothing is lost, and nothing is committed that was not handled.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cybermesh_contracts::kind::Kind;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::history::{self, Breach, Event, Log, Scribe};
use cybermesh_tests::process::{Conduct, Recorder};
use cybermesh_tests::stage::Role;
use cybermesh_transport::Admin;
use futures_util::FutureExt;

cybermesh_tests::scenarios! {
    both: [
        consumers_killed_in_their_work_lose_nothing_and_commit_nothing_unhandled,
        a_second_consumer_that_joins_and_leaves_loses_nothing,
        a_consumer_that_commits_before_it_handles_is_found_out,
    ],
}

/// Groups that their coordinator divides (KIP-848) are new in Kafka 4.0.
mod since_kafka_4 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [
            consumers_killed_in_a_group_that_the_broker_divides_lose_nothing_and_commit_nothing_unhandled,
            a_second_consumer_that_joins_and_leaves_a_group_that_the_broker_divides_loses_nothing,
        ],
    }
}

const PARTITIONS: i32 = 3;

/// A topic with messages, a group, and the history of what is done with them.
struct Play {
    stage: Stage,
    history: PathBuf,
    log: Log,
    /// What the consumers are told of who divides their group.
    protocol: &'static str,
}

fn is_handled(event: &Event) -> bool {
    matches!(event, Event::Handled { .. })
}

fn is_handling(event: &Event) -> bool {
    matches!(event, Event::Handling { .. })
}

impl Play {
    async fn new(stage: Stage, protocol: &'static str) -> Self {
        stage.make_topics(PARTITIONS).await;
        let history = stage.dir().join("history");
        Self {
            stage,
            history,
            log: Log::new(),
            protocol,
        }
    }

    /// Sends so many anomalies and notes where they went.
    async fn send(&mut self, count: usize) {
        let node = self.stage.sender(Role::Node).await;
        let sending = (0..count).map(|_| node.publisher().send(draft(Kind::Anomaly)));
        for receipt in futures_util::future::join_all(sending).await {
            match receipt.unwrap() {
                cybermesh_bridge::outbound::Receipt::Logged {
                    partition,
                    offset: Some(offset),
                    ..
                } => {
                    assert!(self.log.insert((partition, offset)));
                }
                other => panic!("{other:?}"),
            }
        }
        self.stage.stop(node).await;
    }

    fn consumer(&self, name: &str, conduct: Conduct) -> Recorder {
        let mut settings = self.stage.environment(Role::Backend);
        // The shortest that brokers take: one that is killed is missed after this long.
        settings.insert("KAFKA_SESSION_TIMEOUT_MS".to_owned(), "6000".to_owned());
        settings.insert("KAFKA_HEARTBEAT_INTERVAL_MS".to_owned(), "500".to_owned());
        settings.insert("KAFKA_GROUP_PROTOCOL".to_owned(), self.protocol.to_owned());
        Recorder::start(
            env!("CARGO_BIN_EXE_recorder"),
            name,
            &self.history,
            &settings,
            conduct,
        )
    }

    /// Notes what the group has committed by now. What was handled before is in the history already.
    async fn note_commits(&self) -> Vec<(i32, i64)> {
        let group = self.stage.own("backend");
        let committed = self
            .stage
            .committed(&group, &self.stage.topic(Kind::Anomaly), PARTITIONS)
            .await;
        let mut scribe = Scribe::open(&self.history).unwrap();
        for &(partition, offset) in &committed {
            scribe
                .write(&Event::Committed { partition, offset })
                .unwrap();
        }
        committed
    }

    /// Whether each record of the log is handled, by whomever.
    fn unhandled(&self) -> Log {
        let events = history::read(&self.history).unwrap();
        let handled: Log = events
            .iter()
            .filter_map(|event| match event {
                Event::Handled {
                    partition, offset, ..
                } => Some((*partition, *offset)),
                _ => None,
            })
            .collect();
        self.log.difference(&handled).copied().collect()
    }

    fn breaches(&self) -> BTreeSet<Breach> {
        history::judge(&history::read(&self.history).unwrap(), &self.log)
    }

    /// Lets `consumer` handle what is left, and stops it.
    async fn finish(&self, mut consumer: Recorder) {
        while !self.unhandled().is_empty() {
            consumer.wait_for(1, is_handled).await;
        }
        consumer.end().await;
        let committed = self.note_commits().await;
        let total: i64 = committed.iter().map(|(_, offset)| offset).sum();
        assert_eq!(
            usize::try_from(total).unwrap(),
            self.log.len(),
            "what was handled is committed: {committed:?}"
        );
    }
}

async fn consumers_killed_in_their_work_lose_nothing_and_commit_nothing_unhandled(stage: Stage) {
    consumers_are_killed(Play::new(stage, "classic").await).await;
}

async fn consumers_killed_in_a_group_that_the_broker_divides_lose_nothing_and_commit_nothing_unhandled(
    stage: Stage,
) {
    consumers_are_killed(Play::new(stage, "consumer").await).await;
}

async fn consumers_are_killed(mut play: Play) {
    for (round, name) in ["first", "second"].into_iter().enumerate() {
        play.send(150).await;
        let mut consumer = play.consumer(name, Conduct::Proper);
        // Not at the same place twice.
        consumer.wait_for(40 + 25 * round, is_handled).await;
        consumer.wait_for(1, is_handling).await;
        consumer.kill().await;
        play.note_commits().await;
    }
    play.send(50).await;
    let last = play.consumer("last", Conduct::Proper);
    play.finish(last).await;
    assert_eq!(play.breaches(), BTreeSet::new());
}

async fn a_second_consumer_that_joins_and_leaves_loses_nothing(stage: Stage) {
    a_second_joins_and_leaves(Play::new(stage, "classic").await, "classic").await;
}

async fn a_second_consumer_that_joins_and_leaves_a_group_that_the_broker_divides_loses_nothing(
    stage: Stage,
) {
    a_second_joins_and_leaves(Play::new(stage, "auto").await, "consumer").await;
}

async fn a_second_joins_and_leaves(mut play: Play, group_type: &str) {
    play.send(60).await;
    let mut staying = play.consumer("staying", Conduct::Proper);
    staying.wait_for(20, is_handled).await;
    let mut coming = play.consumer("coming", Conduct::Proper);
    coming
        .wait_for(1, |event| matches!(event, Event::Started { .. }))
        .await;
    // Messages go on arriving until the one that came has its share, which it gets in the rebalance.
    let joined = async {
        coming.wait_for(10, is_handled).await;
        coming
    };
    tokio::pin!(joined);
    let coming = loop {
        // Sent to the end: what was sent and not noted would be taken for invented.
        play.send(30).await;
        if let Some(coming) = joined.as_mut().now_or_never() {
            break coming;
        }
    };
    let admin = Admin::new(play.stage.client().await);
    let groups = admin.list_groups().await.unwrap();
    let ours = groups
        .iter()
        .find(|one| one.group == play.stage.own("backend"));
    let told = ours.and_then(|ours| ours.group_type.as_deref());
    // Brokers before 3.8, which have no other, know of no types.
    let told = told.unwrap_or("classic").to_lowercase();
    assert_eq!(told, group_type);
    play.note_commits().await;
    coming.end().await;
    play.note_commits().await;
    play.send(60).await;
    play.finish(staying).await;
    assert_eq!(play.breaches(), BTreeSet::new());
}

async fn a_consumer_that_commits_before_it_handles_is_found_out(stage: Stage) {
    let mut play = Play::new(stage, "classic").await;
    play.send(30).await;
    let mut wrong = play.consumer("wrong", Conduct::CommitFirst);
    wrong.wait_for(1, is_handling).await;
    wrong.kill().await;
    let committed = play.note_commits().await;
    assert_eq!(committed.len(), 1, "{committed:?}");
    let (partition, offset) = committed[0];
    let breaches = play.breaches();
    assert!(
        breaches.contains(&Breach::CommittedUnhandled {
            partition,
            offset: 0,
            committed: offset
        }),
        "{breaches:?}"
    );

    // And whoever comes next never sees the record.
    let mut next = play.consumer("next", Conduct::Proper);
    next.wait_for(play.log.len() - 1, is_handled).await;
    next.end().await;
    assert!(play.breaches().contains(&Breach::Lost {
        partition,
        offset: 0
    }));
}
