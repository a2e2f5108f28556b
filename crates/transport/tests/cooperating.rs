//! Members that keep what stays with them while their group divides anew (KIP-429), and static ones that come back.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault};
use cybermesh_transport::{
    Assignor, Class, Consumer, ConsumerConfig, Event, OffsetToCommit, Producer, ProducerConfig,
    TopicPartition,
};
use support::*;
use tokio::time::Instant;

fn config() -> ConsumerConfig {
    ConsumerConfig {
        heartbeat_interval: Duration::from_millis(50),
        assignors: vec![Assignor::CooperativeSticky],
        ..ConsumerConfig::new("g", ["t"])
    }
}

async fn joined(broker: &DevBroker, config: ConsumerConfig) -> Consumer {
    within(Consumer::join(client(broker).await, config))
        .await
        .unwrap()
}

async fn member(broker: &DevBroker) -> Consumer {
    joined(broker, config()).await
}

/// What the group says next about partitions: what it gives, or what it wants back.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

async fn told(consumer: &Consumer) -> Told {
    let numbers = |all: &mut dyn Iterator<Item = TopicPartition>| {
        all.map(|one| one.partition).collect::<Vec<_>>()
    };
    loop {
        match within(consumer.next()).await.expect("it has ended") {
            Event::Assigned { partitions, .. } => {
                for one in &partitions {
                    consumer.begin(&one.partition, one.start.expect("by policy"));
                }
                let mut partitions = partitions.into_iter().map(|one| one.partition);
                return Told::Assigned(numbers(&mut partitions));
            }
            Event::Revoked { partitions } => {
                return Told::Revoked(numbers(&mut partitions.into_iter()));
            }
            Event::Records(_) => {}
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next that gives anything.
async fn given(consumer: &Consumer) -> Vec<i32> {
    loop {
        match told(consumer).await {
            Told::Assigned(numbers) if numbers.is_empty() => {}
            Told::Assigned(numbers) => return numbers,
            revoked @ Told::Revoked(_) => panic!("{revoked:?}"),
        }
    }
}

fn partitions(numbers: &[i32]) -> Vec<TopicPartition> {
    numbers
        .iter()
        .map(|number| partition("t", *number))
        .collect()
}

fn to_commit(number: i32, offset: i64) -> Vec<OffsetToCommit> {
    vec![OffsetToCommit {
        partition: partition("t", number),
        offset,
        leader_epoch: None,
        metadata: String::new(),
    }]
}

fn committed(broker: &DevBroker, number: i32) -> Option<i64> {
    broker.committed("g", "t", number).map(|one| one.offset)
}

/// A member with all of four partitions, and another that has just begun to join.
async fn one_and_another(broker: &DevBroker) -> (Consumer, Consumer) {
    let first = member(broker).await;
    assert_eq!(given(&first).await, [0, 1, 2, 3]);
    let second = member(broker).await;
    (first, second)
}

#[tokio::test]
async fn what_a_member_keeps_is_read_and_committed_while_the_rest_goes_to_another() {
    let broker = broker("t", 4).await;
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    let (first, second) = one_and_another(&broker).await;
    assert_eq!(told(&first).await, Told::Revoked(vec![2, 3]));
    assert_eq!(told(&first).await, Told::Assigned(vec![]));
    for number in 0..4 {
        let value = format!("in {number}");
        within(send(&producer, "t", number, &value).await)
            .await
            .unwrap();
    }
    // The first drains what it gives up for as long as it needs, and goes on with what it keeps.
    let mut kept = values(async || first.next().await, 2).await;
    kept.sort();
    assert_eq!(kept, ["in 0", "in 1"]);
    within(first.commit([to_commit(0, 1), to_commit(3, 5)].concat()))
        .await
        .unwrap();
    assert_eq!(told(&second).await, Told::Assigned(vec![]));
    first.release(partitions(&[2, 3]));
    assert_eq!(given(&second).await, [2, 3]);
    assert_eq!(
        (committed(&broker, 0), committed(&broker, 3)),
        (Some(1), Some(5))
    );
    let error = within(first.commit(to_commit(3, 9))).await.unwrap_err();
    assert_eq!(error.class(), Class::Fenced);
    assert_eq!(committed(&broker, 3), Some(5));
    assert_eq!(
        told(&first).await,
        Told::Assigned(vec![]),
        "nothing was revoked"
    );
}

#[tokio::test]
async fn what_a_member_leaves_behind_is_given_to_the_other_besides_what_it_has() {
    let broker = broker("t", 4).await;
    let (first, second) = one_and_another(&broker).await;
    assert_eq!(told(&first).await, Told::Revoked(vec![2, 3]));
    first.release(partitions(&[2, 3]));
    assert_eq!(given(&second).await, [2, 3]);
    let left = first.leave(Instant::now() + PATIENCE);
    within(left).await.unwrap();
    assert_eq!(given(&second).await, [0, 1]);
}

#[tokio::test]
async fn a_commit_made_while_the_group_divides_waits_and_is_made_in_the_next_generation() {
    let broker = broker("t", 4).await;
    let first = member(&broker).await;
    assert_eq!(given(&first).await.len(), 4);
    let held = broker.fault(Fault::hold(Api::SyncGroup));
    let second = member(&broker).await;
    within(held.wait_for_hits(2)).await;
    let commit = within(first.commit(to_commit(0, 7)));
    let dividing = async {
        tokio::task::yield_now().await;
        held.release();
    };
    let (outcome, ()) = tokio::join!(commit, dividing);
    outcome.unwrap();
    assert_eq!(committed(&broker, 0), Some(7));
    assert_eq!(broker.requests(Api::OffsetCommit), 1, "refused by nobody");
    drop(second);
}

#[tokio::test]
async fn commits_refused_because_the_generation_went_on_are_made_again_in_their_order() {
    for code in [Answer::ILLEGAL_GENERATION, Answer::REBALANCE_IN_PROGRESS] {
        let broker = broker("t", 4).await;
        let first = member(&broker).await;
        assert_eq!(given(&first).await.len(), 4);
        let held = broker.fault(Fault::hold_after_apply(Api::JoinGroup).skip(2).once());
        let second = member(&broker).await;
        // An id for the second, its join, and then the first's.
        within(held.wait_for_hits(1)).await;
        let refused = broker.fault(Fault::error(Api::OffsetCommit, code).once());
        let older = within(first.commit(to_commit(0, 7)));
        let newer = within(first.commit(to_commit(0, 8)));
        let going_on = async {
            within(refused.wait_for_hits(1)).await;
            held.release();
        };
        let (older, newer, ()) = tokio::join!(older, newer, going_on);
        older.unwrap();
        newer.unwrap();
        assert_eq!(committed(&broker, 0), Some(8), "the newer is not overtaken");
        assert_eq!(broker.requests(Api::OffsetCommit), 3);
        assert_eq!(
            told(&first).await,
            Told::Revoked(vec![2, 3]),
            "nothing was lost"
        );
        drop(second);
    }
}

#[tokio::test]
async fn a_commit_of_what_was_lost_while_it_waited_is_refused() {
    let broker = broker("t", 4).await;
    let first = member(&broker).await;
    assert_eq!(given(&first).await.len(), 4);
    let held = broker.fault(Fault::hold(Api::SyncGroup));
    let second = member(&broker).await;
    within(held.wait_for_hits(2)).await;
    broker.fault(Fault::error(Api::Heartbeat, Answer::UNKNOWN_MEMBER_ID).times(2));
    let error = within(first.commit(to_commit(0, 7))).await.unwrap_err();
    assert_eq!(error.class(), Class::Fenced, "{error}");
    assert_eq!(broker.requests(Api::OffsetCommit), 0);
    held.release();
    drop(second);
}

#[tokio::test]
async fn a_member_that_leaves_while_the_group_divides_commits_first() {
    let broker = broker("t", 4).await;
    let first = member(&broker).await;
    assert_eq!(given(&first).await.len(), 4);
    let held = broker.fault(Fault::hold(Api::SyncGroup));
    let second = member(&broker).await;
    within(held.wait_for_hits(2)).await;
    let commit = within(first.commit(to_commit(0, 7)));
    let leave = within(first.leave(Instant::now() + PATIENCE));
    let dividing = async {
        tokio::task::yield_now().await;
        held.release();
    };
    let (committed_it, left, ()) = tokio::join!(commit, leave, dividing);
    committed_it.unwrap();
    left.unwrap();
    assert_eq!(committed(&broker, 0), Some(7));
    assert_eq!(broker.requests(Api::LeaveGroup), 1);
    drop(second);
}

#[tokio::test]
async fn a_member_that_leaves_with_a_commit_for_the_next_generation_joins_that_first() {
    let broker = broker("t", 1).await;
    let first = member(&broker).await;
    assert_eq!(given(&first).await, [0]);
    broker.fault(Fault::error(Api::OffsetCommit, Answer::REBALANCE_IN_PROGRESS).once());
    let commit = within(first.commit(to_commit(0, 7)));
    let leave = within(first.leave(Instant::now() + PATIENCE));
    let (committed_it, left) = tokio::join!(commit, leave);
    committed_it.unwrap();
    left.unwrap();
    assert_eq!(committed(&broker, 0), Some(7));
    assert_eq!(broker.requests(Api::LeaveGroup), 1);
}

#[tokio::test]
async fn a_member_that_offers_an_eager_assignor_too_gives_everything_up_and_shares_with_one_that_does_not()
 {
    let broker = broker("t", 4).await;
    let mixed = ConsumerConfig {
        assignors: vec![Assignor::CooperativeSticky, Assignor::Range],
        ..config()
    };
    let first = joined(&broker, mixed).await;
    assert_eq!(given(&first).await, [0, 1, 2, 3]);
    let second = member(&broker).await;
    assert_eq!(told(&first).await, Told::Revoked(vec![0, 1, 2, 3]));
    first.release(partitions(&[0, 1, 2, 3]));
    let (mut all, theirs) = tokio::join!(given(&first), given(&second));
    assert_eq!((all.len(), theirs.len()), (2, 2));
    all.extend(theirs);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..4).collect());
    assert_eq!(
        broker.group("g").unwrap().protocol.as_deref(),
        Some("cooperative-sticky")
    );
}

#[tokio::test]
async fn a_static_member_that_restarts_within_its_session_keeps_its_partitions_without_a_rebalance()
{
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let broker = broker("t", 4).await;
        let named = |name: &str| ConsumerConfig {
            instance_id: Some(name.into()),
            assignors: vec![assignor],
            ..config()
        };
        let first = joined(&broker, named("one")).await;
        assert_eq!(given(&first).await.len(), 4);
        let second = joined(&broker, named("two")).await;
        let Told::Revoked(revoked) = told(&first).await else {
            panic!("the second joins");
        };
        first.release(partitions(&revoked));
        let theirs = given(&second).await;
        assert_eq!(theirs.len(), 2);
        let stable = async |broker: &DevBroker| {
            let beats = broker.requests(Api::Heartbeat);
            within(broker.wait_until(|broker| broker.requests(Api::Heartbeat) > beats + 4)).await;
            broker.group("g").unwrap().generation
        };
        let generation = stable(&broker).await;
        within(second.leave(Instant::now() + PATIENCE))
            .await
            .unwrap();
        drop(second);
        let again = joined(&broker, named("two")).await;
        assert_eq!(given(&again).await, theirs);
        assert_eq!(stable(&broker).await, generation);
        within(again.commit(to_commit(theirs[0], 3))).await.unwrap();
    }
}
