//! Groups as administrators see them: listed, described, moved to other offsets, deleted.

use cybermesh_tests::Stage;
use cybermesh_transport::admin::GroupState;
use cybermesh_transport::{
    Admin, AssignedPartition, Class, Consumer, ConsumerConfig, ErrorCode, Event, FetchConfig,
    GroupProtocol, OffsetToCommit, TopicPartition, TransportError,
};
use tokio::time::Instant;

use crate::support::{until, within};

cybermesh_tests::scenarios! {
    both: [
        a_group_is_listed_described_moved_and_deleted,
    ],
}

/// Groups that their coordinator divides (KIP-848) are new in Kafka 4.0.
mod since_kafka_4 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [
            a_group_that_its_coordinator_divides_is_listed_described_moved_and_deleted,
        ],
    }
}

/// A member that has been assigned something, and what.
async fn joined(
    stage: &Stage,
    group: &str,
    topic: &str,
    protocol: GroupProtocol,
) -> (Consumer, Vec<AssignedPartition>) {
    let config = ConsumerConfig {
        protocol,
        fetch: FetchConfig {
            rack: Some("a-rack".into()),
            ..FetchConfig::default()
        },
        ..ConsumerConfig::new(group, [topic])
    };
    let consumer = Consumer::join(stage.client().await, config).await.unwrap();
    loop {
        match within(consumer.next()).await.expect("a member") {
            Event::Assigned { partitions, .. } => return (consumer, partitions),
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn left(consumer: Consumer) {
    let deadline = Instant::now() + std::time::Duration::from_secs(30);
    within(consumer.leave(deadline)).await.unwrap();
}

fn code<T: std::fmt::Debug>(refused: Result<T, TransportError>) -> Option<ErrorCode> {
    refused.unwrap_err().error_code()
}

async fn a_group_is_listed_described_moved_and_deleted(stage: Stage) {
    administer(stage, GroupProtocol::Classic).await;
}

async fn a_group_that_its_coordinator_divides_is_listed_described_moved_and_deleted(stage: Stage) {
    administer(stage, GroupProtocol::Consumer).await;
}

async fn administer(stage: Stage, protocol: GroupProtocol) {
    let is_divided = protocol == GroupProtocol::Consumer;
    let (topic, group) = (stage.own("grouped"), stage.own("administered"));
    stage.make_topic(&topic, 2).await;
    let admin = Admin::new(stage.client().await);
    let not_there = Some(ErrorCode::GroupIdNotFound);
    assert_eq!(code(admin.describe_group(&group).await), not_there);
    assert_eq!(code(admin.delete_group(&group).await), not_there);

    let (member, _) = joined(&stage, &group, &topic, protocol).await;
    until(async || {
        let listed = admin.list_groups().await.unwrap();
        let ours = listed.iter().find(|listed| listed.group == group);
        ours.is_some_and(|ours| {
            assert_eq!(ours.protocol_type, "consumer");
            let group_type = ours.group_type.as_deref().map(str::to_lowercase);
            // Brokers before 3.8 know of no types.
            match group_type.as_deref() {
                None => assert!(!is_divided),
                Some(told) => assert_eq!(told, if is_divided { "consumer" } else { "classic" }),
            }
            ours.state == Some(GroupState::Stable)
        })
    })
    .await;
    let described = admin.describe_group(&group).await.unwrap();
    assert_eq!(described.group, group);
    assert_eq!(described.state, GroupState::Stable);
    assert_eq!(described.protocol_type, "consumer");
    assert_eq!(
        described.assignor,
        if is_divided { "uniform" } else { "range" }
    );
    assert_eq!(described.epoch.is_some(), is_divided);
    let [only] = &*described.members else {
        panic!("{described:?}");
    };
    let both = [0, 1].map(|partition| TopicPartition::new(topic.as_str(), partition));
    assert_eq!(only.assigned.as_deref(), Some(&both[..]));
    assert_eq!(only.target.as_deref(), is_divided.then_some(&both[..]));
    assert_eq!(only.epoch, described.epoch);
    assert_eq!(only.rack.as_deref(), is_divided.then_some("a-rack"));
    assert!(only.client_id.starts_with("cybermesh"), "{only:?}");
    assert!(!only.member_id.is_empty() && !only.host.is_empty());

    let moved = |offset: i64| OffsetToCommit {
        partition: both[1].clone(),
        offset,
        leader_epoch: None,
        metadata: "by hand".to_owned(),
    };
    let altered = admin.alter_group_offsets(&group, vec![moved(3)]).await;
    assert_eq!(code(altered), Some(ErrorCode::UnknownMemberId));
    let deleted = admin.delete_group(&group).await;
    assert_eq!(code(deleted), Some(ErrorCode::NonEmptyGroup));

    left(member).await;
    let altered = admin.alter_group_offsets(&group, vec![moved(3)]).await;
    altered.unwrap();
    let described = admin.describe_group(&group).await.unwrap();
    assert_eq!(described.state, GroupState::Empty);
    assert_eq!(described.members, []);
    let (member, assigned) = joined(&stage, &group, &topic, protocol).await;
    let offsets = assigned.iter().map(|one| {
        let offset = one.committed.as_ref().map(|committed| committed.offset);
        (one.partition.partition, offset)
    });
    let offsets: std::collections::BTreeMap<_, _> = offsets.collect();
    assert_eq!(offsets, [(0, None), (1, Some(3))].into());

    left(member).await;
    admin.delete_group(&group).await.unwrap();
    assert_eq!(code(admin.describe_group(&group).await), not_there);
    let listed = admin.list_groups().await.unwrap();
    assert!(listed.iter().all(|listed| listed.group != group));
    let committed = admin.committed(&group, both.to_vec()).await.unwrap();
    assert!(committed.iter().all(|(_, committed)| committed.is_none()));
}
