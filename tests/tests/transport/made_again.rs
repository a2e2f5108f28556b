//! Topics that are deleted and made again while they are read, or between two times of it.

use cybermesh_tests::Stage;
use cybermesh_transport::{
    Admin, Client, Consumer, ConsumerConfig, ErrorCode, Event, OffsetToCommit, Producer,
    ProducerConfig, ResetCause, TopicPartition,
};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::support::{send_numbers, texts, until, within};

cybermesh_tests::scenarios! {
    both: [
        a_topic_made_again_under_a_running_member_is_read_and_committed_from_its_start,
        a_commit_that_was_made_before_the_new_topic_was_heard_of_does_not_come_through_after_it,
        a_group_that_was_away_while_its_topic_was_made_again_begins_at_its_start,
    ],
}

/// That offsets go by topic ids (version 10 of OffsetCommit and OffsetFetch) was tried out in Kafka 4.1 behind a setting,
/// and is in force since 4.3.
mod since_kafka_4_3 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [],
        kafka_only: [
            a_commit_for_a_topic_made_again_unnoticed_is_refused_and_the_new_one_is_read_from_its_start:
                "the built-in broker takes offsets by names only",
            a_commit_of_what_is_drained_is_refused_if_its_topic_was_made_again:
                "the built-in broker takes offsets by names only",
            a_member_that_joins_with_a_view_of_the_old_topic_begins_the_new_one_at_its_start:
                "the built-in broker takes offsets by names only",
        ],
    }
}

/// Deletes a topic of one partition and makes it again.
async fn make_again(stage: &Stage, client: &Client, topic: &str) {
    let before = client.refresh_topic(topic).await.unwrap().id();
    let admin = Admin::new(client.clone());
    admin.delete_topic(topic).await.unwrap();
    until(async || {
        !admin
            .list_topics()
            .await
            .unwrap()
            .contains(&topic.to_owned())
    })
    .await;
    stage.make_topic(topic, 1).await;
    let after = client.refresh_topic(topic).await.unwrap().id();
    assert!(before.is_some() && after.is_some() && before != after);
}

/// Writes so many numbers from 0 on.
async fn write(client: &Client, topic: &str, numbers: std::ops::Range<u32>) {
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    send_numbers(&producer, topic, 1, numbers).await;
}

struct Member {
    consumer: Consumer,
    partition: TopicPartition,
}

impl Member {
    async fn join(stage: &Stage, topic: &str) -> Self {
        Self::join_over(stage, stage.client().await, topic).await
    }

    async fn join_over(stage: &Stage, client: Client, topic: &str) -> Self {
        let config = ConsumerConfig::new(stage.own("readers"), [topic]);
        Self {
            consumer: Consumer::join(client, config).await.unwrap(),
            partition: TopicPartition::new(topic, 0),
        }
    }

    /// Values up to a reset, or so many; whatever is assigned is begun where the group left off.
    async fn read(&self, count: usize) -> (Vec<String>, Option<(i64, i64, ResetCause)>) {
        let mut came = Vec::new();
        while came.len() < count {
            match within(self.consumer.next()).await.expect("not ended") {
                Event::Assigned { partitions, .. } => {
                    for assigned in partitions {
                        let start = assigned.start.expect("a start");
                        self.consumer.begin(&assigned.partition, start);
                    }
                }
                Event::Records(batch) => came.extend(texts(&batch.records)),
                Event::Reset {
                    from, to, cause, ..
                } => return (came, Some((from, to, cause))),
                // While it is gone the topic is asked for in vain.
                Event::Failed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (came, None)
    }

    async fn commit(&self, offset: i64) -> Result<(), ErrorCode> {
        let offset = OffsetToCommit {
            partition: self.partition.clone(),
            offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let committed = within(self.consumer.commit(vec![offset])).await;
        committed.map_err(|error| error.error_code().expect("a code"))
    }

    async fn leave(self) {
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        self.consumer.leave(deadline).await.unwrap();
    }
}

async fn a_topic_made_again_under_a_running_member_is_read_and_committed_from_its_start(
    stage: Stage,
) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0, ["0", "1", "2"]);
    member.commit(3).await.unwrap();

    make_again(&stage, &client, &topic).await;
    // More than were read of the old one: its position is within range.
    write(&stage.client().await, &topic, 10..15).await;
    let (before, reset) = member.read(1).await;
    assert_eq!(before, Vec::<String>::new());
    assert_eq!(reset, Some((3, 0, ResetCause::TopicRecreated)));
    assert_eq!(member.read(5).await.0, ["10", "11", "12", "13", "14"]);
    until(async || member.commit(2).await.is_ok()).await;
    member.leave().await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0, ["12", "13", "14"]);
}

async fn a_commit_that_was_made_before_the_new_topic_was_heard_of_does_not_come_through_after_it(
    stage: Stage,
) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0, ["0", "1", "2"]);
    make_again(&stage, &client, &topic).await;
    write(&stage.client().await, &topic, 10..15).await;
    until(async || member.consumer.position(&member.partition) == Some(0)).await;
    // Made first, and on its way while the event is given out, unless the answer is there at once.
    let mut late = Box::pin(member.commit(3));
    let at_once = (&mut late).now_or_never();
    loop {
        match within(member.consumer.next()).await.expect("not ended") {
            Event::Failed(_) => {}
            Event::Reset { cause, .. } => break assert_eq!(cause, ResetCause::TopicRecreated),
            other => panic!("{other:?}"),
        }
    }
    let outcome = match at_once {
        Some(outcome) => {
            drop(late);
            outcome
        }
        None => late.await,
    };
    assert_eq!(outcome, Err(ErrorCode::UnknownTopicId));
    member.leave().await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(5).await.0, ["10", "11", "12", "13", "14"]);
}

async fn a_group_that_was_away_while_its_topic_was_made_again_begins_at_its_start(stage: Stage) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0.len(), 3);
    member.commit(2).await.unwrap();
    member.leave().await;

    make_again(&stage, &client, &topic).await;
    write(&stage.client().await, &topic, 10..15).await;
    // The coordinator forgets what was committed for a topic when that is deleted.
    let member = Member::join(&stage, &topic).await;
    assert_eq!(
        member.read(5).await,
        (
            ["10", "11", "12", "13", "14"].map(String::from).to_vec(),
            None
        )
    );
}

/// Five numbers that nobody has read.
fn all_of_the_new_one() -> Vec<String> {
    ["10", "11", "12", "13", "14"].map(String::from).to_vec()
}

async fn a_commit_for_a_topic_made_again_unnoticed_is_refused_and_the_new_one_is_read_from_its_start(
    stage: Stage,
) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0.len(), 3);
    // It fetches nothing, and so does not notice.
    member.consumer.pause(&member.partition);

    make_again(&stage, &client, &topic).await;
    write(&stage.client().await, &topic, 10..15).await;
    assert_eq!(member.commit(3).await, Err(ErrorCode::UnknownTopicId));
    assert!(
        member.consumer.progress()[0].position == Some(3),
        "held yet"
    );
    member.leave().await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(5).await, (all_of_the_new_one(), None));
    member.commit(4).await.unwrap();
    member.leave().await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(1).await.0, ["14"]);
}

async fn a_commit_of_what_is_drained_is_refused_if_its_topic_was_made_again(stage: Stage) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let member = Member::join(&stage, &topic).await;
    assert_eq!(member.read(3).await.0.len(), 3);
    member.commit(2).await.unwrap();
    let other = Member::join(&stage, &topic).await;
    let Event::Revoked { partitions } = within(member.consumer.next()).await.expect("not ended")
    else {
        panic!("nothing was revoked")
    };
    assert_eq!(partitions, std::slice::from_ref(&member.partition));

    make_again(&stage, &client, &topic).await;
    write(&stage.client().await, &topic, 10..15).await;
    assert_eq!(member.commit(3).await, Err(ErrorCode::UnknownTopicId));
    member.leave().await;
    assert_eq!(other.read(5).await, (all_of_the_new_one(), None));
}

async fn a_member_that_joins_with_a_view_of_the_old_topic_begins_the_new_one_at_its_start(
    stage: Stage,
) {
    let (client, topic) = (stage.client().await, stage.own("made-again"));
    stage.make_topic(&topic, 1).await;
    write(&client, &topic, 0..3).await;
    let late = stage.client().await;
    let old = late.topic(&topic).await.unwrap().id();

    make_again(&stage, &client, &topic).await;
    write(&stage.client().await, &topic, 10..15).await;
    assert_eq!(late.topic(&topic).await.unwrap().id(), old);
    let member = Member::join_over(&stage, late, &topic).await;
    assert_eq!(member.read(5).await, (all_of_the_new_one(), None));
}
