//! Members of a group: joining, sharing, giving up, committing, being thrown out.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault};
use cybermesh_transport::{
    Address, AssignedPartition, Assignor, Class, Client, ClientConfig, Consumer, ConsumerConfig,
    ErrorCode, ErrorKind, Event, OffsetToCommit, Position, Producer, ProducerConfig, Security,
    StartPolicy, TopicPartition,
};
use support::*;
use tokio::time::Instant;

fn config() -> ConsumerConfig {
    ConsumerConfig {
        heartbeat_interval: Duration::from_millis(50),
        ..ConsumerConfig::new("g", ["t"])
    }
}

async fn member(broker: &DevBroker) -> Consumer {
    within(Consumer::join(client(broker).await, config()))
        .await
        .unwrap()
}

/// Releases what is revoked, until something is assigned; begins none of it.
async fn assigned(consumer: &Consumer) -> Vec<AssignedPartition> {
    loop {
        match within(consumer.next())
            .await
            .expect("the consumer has ended")
        {
            Event::Assigned { partitions, .. } => return partitions,
            Event::Revoked { partitions } => consumer.release(partitions),
            _ => {}
        }
    }
}

fn numbers(assigned: &[AssignedPartition]) -> BTreeSet<i32> {
    assigned.iter().map(|one| one.partition.partition).collect()
}

fn to_commit(partition: TopicPartition, offset: i64) -> Vec<OffsetToCommit> {
    vec![OffsetToCommit {
        partition,
        offset,
        leader_epoch: Some(0),
        metadata: format!("done {offset}"),
    }]
}

async fn leave(consumer: &Consumer) {
    within(consumer.leave(Instant::now() + PATIENCE))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_member_gets_everything_and_what_it_commits_comes_back() {
    let broker = broker("t", 2).await;
    let consumer = member(&broker).await;
    let got = assigned(&consumer).await;
    assert_eq!(numbers(&got), [0, 1].into());
    assert!(
        got.iter()
            .all(|one| one.committed.is_none() && one.start == Some(Position::Earliest))
    );
    within(consumer.commit(to_commit(partition("t", 1), 7)))
        .await
        .unwrap();
    leave(&consumer).await;
    assert!(within(consumer.next()).await.is_none());

    let again = assigned(&member(&broker).await).await;
    let committed = again[1].committed.as_ref().unwrap();
    assert_eq!(
        (
            committed.offset,
            committed.metadata.as_str(),
            committed.leader_epoch
        ),
        (7, "done 7", Some(0))
    );
    assert_eq!(
        (again[1].start, again[0].start),
        (Some(Position::Offset(7)), Some(Position::Earliest))
    );
}

#[tokio::test]
async fn a_second_member_takes_half_once_the_first_has_released_and_gives_it_back_when_it_leaves() {
    let broker = broker("t", 4).await;
    let first = member(&broker).await;
    assert_eq!(numbers(&assigned(&first).await), [0, 1, 2, 3].into());
    let second = member(&broker).await;
    let revoked = loop {
        if let Some(Event::Revoked { partitions }) = within(first.next()).await {
            break partitions;
        }
    };
    assert_eq!(revoked.len(), 4);
    // Draining: the group waits for us, and commits are still taken.
    within(first.commit(to_commit(partition("t", 3), 5)))
        .await
        .unwrap();
    first.release(revoked);
    let (mine, theirs) = tokio::join!(assigned(&first), assigned(&second));
    let both: BTreeSet<i32> = numbers(&mine).union(&numbers(&theirs)).copied().collect();
    assert_eq!((mine.len(), theirs.len(), both.len()), (2, 2, 4));
    let handed_over = mine
        .iter()
        .chain(&theirs)
        .find(|one| one.partition.partition == 3)
        .unwrap();
    assert_eq!(handed_over.start, Some(Position::Offset(5)));
    // A commit that waited while the group changed must not move what is another member's now.
    let others = theirs[0].partition.clone();
    let error = within(first.commit(to_commit(others.clone(), 9)))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::IllegalGeneration));
    let moved = broker
        .committed("g", "t", others.partition)
        .is_some_and(|committed| committed.offset == 9);
    assert!(!moved);
    leave(&second).await;
    assert_eq!(numbers(&assigned(&first).await), [0, 1, 2, 3].into());
}

#[tokio::test]
async fn nothing_of_a_revoked_partition_is_delivered_any_more() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    for number in 0..100 {
        drop(send(&producer, "t", 0, &number.to_string()).await);
    }
    within(producer.flush()).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    consumer.begin(&partition("t", 0), Position::Earliest);
    within(broker.wait_until(|broker| broker.requests(Api::Fetch) > 1)).await;
    broker.fault(Fault::error(Api::Heartbeat, Answer::REBALANCE_IN_PROGRESS).once());
    let mut revoked = false;
    let mut after = 0;
    loop {
        match within(consumer.next()).await.unwrap() {
            Event::Records(batch) if revoked => after += batch.records.len(),
            Event::Revoked { partitions } => {
                revoked = true;
                consumer.begin(&partition("t", 0), Position::Earliest);
                consumer.release(partitions);
            }
            Event::Assigned { .. } if revoked => break,
            _ => {}
        }
    }
    assert_eq!(after, 0);
}

#[tokio::test]
async fn a_member_thrown_out_loses_everything_and_comes_back_under_a_new_id() {
    for code in [Answer::UNKNOWN_MEMBER_ID, Answer::ILLEGAL_GENERATION] {
        // The coordinator still counts the member it disowns; the group waits for that one's session to end.
        let session_timeout = Duration::from_millis(500);
        let broker = DevBroker::builder()
            .topic("t", 1)
            .min_session_timeout(session_timeout)
            .start()
            .await
            .unwrap();
        let config = ConsumerConfig {
            session_timeout,
            ..config()
        };
        let consumer = within(Consumer::join(client(&broker).await, config))
            .await
            .unwrap();
        assigned(&consumer).await;
        broker.fault(Fault::error(Api::Heartbeat, code).once());
        match within(consumer.next()).await {
            Some(Event::Lost { partitions, reason }) => {
                assert_eq!(partitions, [partition("t", 0)]);
                assert_eq!(reason.class(), Class::Fenced);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(numbers(&assigned(&consumer).await), [0].into());
    }
}

#[tokio::test]
async fn a_fenced_commit_is_told_to_the_committer_and_as_a_loss() {
    let broker = broker("t", 1).await;
    let quiet = ConsumerConfig {
        heartbeat_interval: Duration::from_secs(3600),
        ..config()
    };
    let consumer = within(Consumer::join(client(&broker).await, quiet))
        .await
        .unwrap();
    assigned(&consumer).await;
    broker.fault(Fault::error(Api::OffsetCommit, Answer::ILLEGAL_GENERATION).once());
    let error = within(consumer.commit(to_commit(partition("t", 0), 1)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.class(), error.error_code()),
        (Class::Fenced, Some(ErrorCode::IllegalGeneration))
    );
    assert_eq!(error.target().group_id(), Some("g"));
    assert!(matches!(
        within(consumer.next()).await,
        Some(Event::Lost { .. })
    ));
}

#[tokio::test]
async fn a_coordinator_that_moves_or_hangs_up_is_found_again_without_losing_anything() {
    let broker = broker("t", 1).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    let moved = broker.fault(Fault::error(Api::Heartbeat, Answer::NOT_COORDINATOR).once());
    let lost = broker.fault(Fault::drop_before_apply(Api::Heartbeat).skip(1).once());
    within(moved.wait_for_hits(1)).await;
    within(lost.wait_for_hits(1)).await;
    let beats = broker.requests(Api::Heartbeat);
    within(broker.wait_until(|broker| broker.requests(Api::Heartbeat) > beats + 1)).await;
    within(consumer.commit(to_commit(partition("t", 0), 1)))
        .await
        .unwrap();
    assert_eq!(broker.requests(Api::JoinGroup), 2, "an id and one join");
}

#[tokio::test]
async fn errors_while_joining_are_told_and_tried_again() {
    let broker = broker("t", 1).await;
    broker.fault(Fault::error(Api::JoinGroup, Answer::COORDINATOR_LOAD_IN_PROGRESS).once());
    broker.fault(Fault::error(Api::SyncGroup, Answer::REBALANCE_IN_PROGRESS).once());
    broker.fault(Fault::error(Api::OffsetFetch, Answer::COORDINATOR_LOAD_IN_PROGRESS).once());
    let consumer = member(&broker).await;
    match within(consumer.next()).await {
        Some(Event::Failed(error)) => assert_eq!(error.class(), Class::Retriable),
        other => panic!("{other:?}"),
    }
    assert_eq!(numbers(&assigned(&consumer).await), [0].into());
}

#[tokio::test]
async fn a_group_that_may_not_be_used_ends_the_consumer_with_the_reason() {
    let broker = broker("t", 1).await;
    broker.fault(Fault::error(
        Api::JoinGroup,
        Answer::GROUP_AUTHORIZATION_FAILED,
    ));
    let consumer = member(&broker).await;
    match within(consumer.next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(error.class(), Class::Fatal);
            assert_eq!(error.target().group_id(), Some("g"));
        }
        other => panic!("{other:?}"),
    }
    assert!(within(consumer.next()).await.is_none());
    assert!(
        within(consumer.commit(to_commit(partition("t", 0), 1)))
            .await
            .is_err()
    );
    leave(&consumer).await;
}

#[tokio::test]
async fn an_unknown_topic_is_told_before_joining() {
    let broker = broker("other", 1).await;
    let error = within(Consumer::join(client(&broker).await, config()))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn leaving_is_tried_again_where_the_coordinator_moved_or_the_connection_broke() {
    for fault in [
        Fault::error(Api::LeaveGroup, Answer::NOT_COORDINATOR),
        Fault::error(Api::LeaveGroup, Answer::COORDINATOR_LOAD_IN_PROGRESS),
        Fault::drop_before_apply(Api::LeaveGroup),
        Fault::drop_after_apply(Api::LeaveGroup),
    ] {
        let broker = broker("t", 1).await;
        let consumer = member(&broker).await;
        assigned(&consumer).await;
        let hit = broker.fault(fault.once());
        leave(&consumer).await;
        within(hit.wait_for_hits(1)).await;
        let left = broker
            .group("g")
            .is_none_or(|group| group.members.is_empty());
        assert!(left, "{:?}", broker.group("g"));
    }
}

#[tokio::test]
async fn a_coordinator_that_never_takes_the_leave_is_given_up_at_the_deadline() {
    let broker = broker("t", 1).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    broker.fault(Fault::error(Api::LeaveGroup, Answer::NOT_COORDINATOR));
    let deadline = Instant::now() + Duration::from_millis(400);
    let error = within(consumer.leave(deadline)).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn a_member_that_ended_in_the_group_can_still_leave_it() {
    let broker = broker("t", 1).await;
    broker.fault(Fault::error(
        Api::OffsetFetch,
        Answer::GROUP_AUTHORIZATION_FAILED,
    ));
    let consumer = member(&broker).await;
    assert!(matches!(
        within(consumer.next()).await,
        Some(Event::Failed(_))
    ));
    assert!(within(consumer.next()).await.is_none());
    leave(&consumer).await;
    assert_eq!(broker.requests(Api::LeaveGroup), 1);
}

#[tokio::test]
async fn nothing_is_committed_of_what_is_not_held() {
    let broker = broker("t", 2).await;
    let first = member(&broker).await;
    let all = assigned(&first).await;
    let second = member(&broker).await;
    loop {
        if let Some(Event::Revoked { partitions }) = within(first.next()).await {
            break first.release(partitions);
        }
    }
    // Nothing of it is held between two generations.
    let error = within(first.commit(to_commit(all[0].partition.clone(), 1))).await;
    assert_eq!(error.unwrap_err().class(), Class::Fenced);
    let (mine, theirs) = tokio::join!(assigned(&first), assigned(&second));
    within(second.commit(to_commit(theirs[0].partition.clone(), 9)))
        .await
        .unwrap();
    let stray = [
        to_commit(mine[0].partition.clone(), 1),
        to_commit(theirs[0].partition.clone(), 1),
    ];
    let error = within(first.commit(stray.concat())).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::IllegalGeneration));
    assert_eq!(
        error.target().partition_index(),
        Some(theirs[0].partition.partition)
    );
    let committed = |one: &AssignedPartition| broker.committed("g", "t", one.partition.partition);
    assert_eq!(committed(&theirs[0]).map(|one| one.offset), Some(9));
    assert!(committed(&mine[0]).is_none(), "all or nothing");
}

#[tokio::test]
async fn a_commit_made_before_a_loss_is_heard_is_refused_though_the_partition_came_back() {
    let session_timeout = Duration::from_millis(500);
    let broker = DevBroker::builder()
        .topic("t", 1)
        .min_session_timeout(session_timeout)
        .start()
        .await
        .unwrap();
    let config = ConsumerConfig {
        session_timeout,
        ..config()
    };
    let consumer = within(Consumer::join(client(&broker).await, config))
        .await
        .unwrap();
    assigned(&consumer).await;
    let fetched = broker.requests(Api::OffsetFetch);
    broker.fault(Fault::error(Api::Heartbeat, Answer::UNKNOWN_MEMBER_ID).once());
    // It is a member again, and nobody has listened since.
    within(broker.wait_until(|broker| broker.requests(Api::OffsetFetch) > fetched)).await;
    let beats = broker.requests(Api::Heartbeat);
    within(broker.wait_until(|broker| broker.requests(Api::Heartbeat) > beats + 1)).await;
    let error = within(consumer.commit(to_commit(partition("t", 0), 1)))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::IllegalGeneration));
    assert!(matches!(
        within(consumer.next()).await,
        Some(Event::Lost { .. })
    ));
    assigned(&consumer).await;
    within(consumer.commit(to_commit(partition("t", 0), 1)))
        .await
        .unwrap();
}

async fn joined(broker: &DevBroker, config: ConsumerConfig) -> Consumer {
    within(Consumer::join(client(broker).await, config))
        .await
        .unwrap()
}

/// What two members are given, in words: first the share with the first partition.
async fn shares(first: &Consumer, second: &Consumer) -> [String; 2] {
    let words = |assigned: Vec<AssignedPartition>| {
        let names = assigned.iter().map(|one| one.partition.to_string());
        names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (mine, theirs) = tokio::join!(assigned(first), assigned(second));
    let mut shares = [words(mine), words(theirs)];
    shares.sort();
    shares
}

async fn two_topics() -> DevBroker {
    let builder = DevBroker::builder().topic("a", 3).topic("b", 3);
    builder.start().await.unwrap()
}

fn dealing(assignors: &[Assignor]) -> ConsumerConfig {
    ConsumerConfig {
        topics: vec!["a".into(), "b".into()],
        assignors: assignors.to_vec(),
        ..config()
    }
}

#[tokio::test]
async fn a_group_divides_by_the_assignor_that_all_of_its_members_know() {
    use Assignor::{Range, RoundRobin};
    for (first, second, expected) in [
        (
            &[RoundRobin][..],
            &[Range, RoundRobin][..],
            ["a/0 a/2 b/1", "a/1 b/0 b/2"],
        ),
        (
            &[Range, RoundRobin],
            &[Range],
            ["a/0 a/1 b/0 b/1", "a/2 b/2"],
        ),
    ] {
        let broker = two_topics().await;
        let first = joined(&broker, dealing(first)).await;
        assert_eq!(assigned(&first).await.len(), 6);
        let second = joined(&broker, dealing(second)).await;
        assert_eq!(shares(&first, &second).await, expected);
    }
}

#[tokio::test]
async fn a_member_that_shares_no_assignor_with_the_group_is_told_so() {
    let broker = two_topics().await;
    let first = joined(&broker, dealing(&[Assignor::Range])).await;
    assigned(&first).await;
    let second = joined(&broker, dealing(&[Assignor::RoundRobin])).await;
    match within(second.next()).await {
        Some(Event::Failed(error)) => assert_eq!(
            (error.error_code(), error.class()),
            (Some(ErrorCode::InconsistentGroupProtocol), Class::Fatal)
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_consumer_without_an_assignor_does_not_join() {
    let broker = broker("t", 1).await;
    let config = ConsumerConfig {
        assignors: Vec::new(),
        ..config()
    };
    let error = within(Consumer::join(client(&broker).await, config))
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Settings { .. }));
    assert_eq!(broker.requests(Api::JoinGroup), 0);
}

#[tokio::test]
async fn without_a_committed_offset_the_policy_none_is_told_of_each_partition_and_nothing_is_read()
{
    let broker = broker("t", 2).await;
    let seed = member(&broker).await;
    assigned(&seed).await;
    within(seed.commit(to_commit(partition("t", 1), 0)))
        .await
        .unwrap();
    leave(&seed).await;
    let config = ConsumerConfig {
        start: StartPolicy::None,
        ..config()
    };
    let consumer = joined(&broker, config).await;
    let starts: Vec<_> = assigned(&consumer)
        .await
        .iter()
        .map(|one| one.start)
        .collect();
    assert_eq!(starts, [None, Some(Position::Offset(0))]);
    match within(consumer.next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(
                (error.kind(), error.class()),
                (&ErrorKind::NoOffset, Class::Fatal)
            );
            assert_eq!(error.target().partition_index(), Some(0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(broker.requests(Api::Fetch), 0);
}

#[tokio::test]
async fn a_member_that_leaves_before_its_first_join_is_answered_does_not_stay_behind() {
    let broker = broker("t", 1).await;
    let held = broker.fault(Fault::hold_after_apply(Api::JoinGroup).once());
    let consumer = member(&broker).await;
    within(held.wait_for_hits(1)).await;
    let leaving = leave(&consumer);
    let answering = async {
        tokio::task::yield_now().await;
        held.release();
    };
    tokio::join!(leaving, answering);
    assert_eq!(broker.requests(Api::LeaveGroup), 1);
    assert_eq!(broker.requests(Api::JoinGroup), 1);
}

#[tokio::test]
async fn new_partitions_of_a_topic_are_found_and_divided_without_anybody_joining_or_leaving() {
    let broker = broker("t", 1).await;
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let settings = ClientConfig::new(bootstrap, Security::Plaintext);
    let settings = settings.metadata_max_age(Duration::from_millis(100));
    let client = Client::connect(settings).await.unwrap();
    let consumer = within(Consumer::join(client, config())).await.unwrap();
    assert_eq!(numbers(&assigned(&consumer).await), [0].into());
    assert!(broker.grow_topic("t", 3));
    match within(consumer.next()).await {
        Some(Event::Revoked { partitions }) => consumer.release(partitions),
        other => panic!("{other:?}"),
    }
    assert_eq!(numbers(&assigned(&consumer).await), [0, 1, 2].into());
    // Nothing has changed since, however often that is looked at.
    let (looked, joined) = (
        broker.requests(Api::Metadata),
        broker.requests(Api::JoinGroup),
    );
    within(broker.wait_until(|broker| broker.requests(Api::Metadata) >= looked + 3)).await;
    assert_eq!(broker.requests(Api::JoinGroup), joined);
}
