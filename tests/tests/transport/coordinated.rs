//! Members of a group whose coordinator divides (KIP-848): sharing, dying, being thrown out, coming back under a name,
//! beside members of the classic protocol, and falling back to it.

use std::collections::BTreeSet;
use std::time::Duration;

use cybermesh_tests::Stage;
use cybermesh_transport::{
    Admin, Assignor, Class, Consumer, ConsumerConfig, ErrorCode, Event, GroupProtocol,
    OffsetToCommit, Position, Producer, ProducerConfig, TopicPartition,
};

use crate::grouping::{Member, all_places, held, places_once, play, topic};
use crate::support::{send_numbers, within};

/// Groups that their coordinator divides (KIP-848) are new in Kafka 4.0.
mod since_kafka_4 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [
            members_that_come_and_go_take_nothing_from_each_other_but_what_is_due,
            partitions_of_a_member_that_died_are_taken_over_where_it_committed,
            a_member_that_drains_for_too_long_loses_everything_and_is_refused,
            what_is_being_drained_is_nobody_elses_until_it_is_released,
            a_static_member_that_restarts_keeps_its_partitions_and_nobody_else_notices,
            a_static_member_that_died_comes_back_when_its_session_is_over,
            new_partitions_of_a_topic_are_found_and_shared,
        ],
        kafka_only: [
            a_classic_group_is_taken_over_as_it_is_and_given_back:
                "the built-in broker has no members of both protocols in one group",
            topics_that_a_pattern_matches_are_read_those_made_later_too:
                "the built-in broker matches no patterns",
        ],
    }
}

/// Of the protocol of KIP-848, by the times that the brokers of these tests go by.
pub(crate) fn config(stage: &Stage, topic: &str, protocol: GroupProtocol) -> ConsumerConfig {
    ConsumerConfig {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(300),
        protocol,
        ..ConsumerConfig::new(stage.own("group"), [topic])
    }
}

async fn join(stage: &Stage, topic: &str) -> Member {
    Member::join_as(stage, topic, config(stage, topic, GroupProtocol::Consumer)).await
}

fn read(members: &[&mut Member]) -> usize {
    members.iter().map(|one| one.got.len()).sum()
}

async fn members_that_come_and_go_take_nothing_from_each_other_but_what_is_due(stage: Stage) {
    let (topic, producer) = topic(&stage, 6).await;
    send_numbers(&producer, &topic, 6, 0..5).await;
    let mut first = join(&stage, &topic).await;
    play(&mut [&mut first], |members| members[0].got.len() == 30).await;
    let mut second = join(&stage, &topic).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [3, 3]
    })
    .await;
    assert_eq!(first.revoked.len(), 3, "half, and only once");
    send_numbers(&producer, &topic, 6, 5..10).await;
    let mut third = join(&stage, &topic).await;
    play(&mut [&mut first, &mut second, &mut third], |members| {
        held(members) == [2, 2, 2] && read(members) == 60
    })
    .await;
    assert_eq!((first.revoked.len(), second.revoked.len()), (4, 1));
    // What one leaves behind is shared by those that stay, and they keep what they have.
    let mut got = third.leave().await;
    send_numbers(&producer, &topic, 6, 10..15).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [3, 3] && read(members) + got.len() == 90
    })
    .await;
    assert_eq!((first.revoked.len(), second.revoked.len()), (4, 1));
    got.extend(first.leave().await);
    got.extend(second.leave().await);
    assert_eq!(places_once(&got), all_places(6, 15));
    let mut committed = stage.committed(&stage.own("group"), &topic, 6).await;
    committed.sort_unstable();
    let all: Vec<_> = (0..6).map(|partition| (partition, 15)).collect();
    assert_eq!(committed, all);
}

async fn partitions_of_a_member_that_died_are_taken_over_where_it_committed(stage: Stage) {
    let (topic, producer) = topic(&stage, 2).await;
    let mut first = join(&stage, &topic).await;
    let mut second = join(&stage, &topic).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [1, 1]
    })
    .await;
    send_numbers(&producer, &topic, 2, 0..5).await;
    play(&mut [&mut first, &mut second], |members| {
        read(members) == 10
    })
    .await;
    first.commit().await;
    // It reads on, and dies before it commits that.
    send_numbers(&producer, &topic, 2, 5..8).await;
    play(&mut [&mut first, &mut second], |members| {
        read(members) == 16
    })
    .await;
    let dead = *first.held.keys().next().expect("one partition");
    drop(first);
    play(&mut [&mut second], |members| members[0].held.len() == 2).await;
    let taken = second
        .assigned
        .iter()
        .find(|one| one.partition.partition == dead);
    let taken = taken.expect("the dead member's");
    assert_eq!(taken.start, Some(Position::Offset(5)));
    // What was not committed comes again, and nothing before it.
    play(&mut [&mut second], |members| members[0].got.len() == 11).await;
    let of_dead = second.got.iter().map(|(place, _)| *place);
    let of_dead: Vec<i64> = of_dead
        .filter(|(partition, _)| *partition == dead)
        .map(|(_, offset)| offset)
        .collect();
    assert_eq!(of_dead, [5, 6, 7]);
}

/// Until it is given up or lost what it has, with what came of it.
async fn revoked(consumer: &Consumer) -> Vec<TopicPartition> {
    loop {
        match within(consumer.next()).await.expect("a member") {
            Event::Revoked { partitions } => return partitions,
            Event::Records(_) => {}
            Event::Assigned { partitions, .. } if partitions.is_empty() => {}
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_member_that_drains_for_too_long_loses_everything_and_is_refused(stage: Stage) {
    let (topic, _) = topic(&stage, 2).await;
    let config = ConsumerConfig {
        rebalance_timeout: Duration::from_secs(2),
        ..config(&stage, &topic, GroupProtocol::Consumer)
    };
    let mut first = Member::join_as(&stage, &topic, config).await;
    play(&mut [&mut first], |members| members[0].held.len() == 2).await;
    let mut second = join(&stage, &topic).await;
    let drained = revoked(&first.consumer).await;
    assert_eq!(drained.len(), 1);
    let lost = async {
        loop {
            match within(first.consumer.next()).await.expect("a member") {
                Event::Lost { partitions, .. } => break partitions,
                Event::Failed(error) if error.class() == Class::Retriable => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let mut seconds = [&mut second];
    let taken = play(&mut seconds, |members| !members[0].held.is_empty());
    let (lost, ()) = tokio::join!(lost, taken);
    assert_eq!(lost.len(), 2, "what it was to keep too");
    let late = |partition: &TopicPartition| OffsetToCommit {
        partition: partition.clone(),
        offset: 0,
        leader_epoch: None,
        metadata: String::new(),
    };
    let refused = within(first.consumer.commit(vec![late(&drained[0])])).await;
    assert_eq!(refused.unwrap_err().class(), Class::Fenced);
    // It joins again by itself, and gets its share.
    first.held.clear();
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [1, 1]
    })
    .await;
}

async fn what_is_being_drained_is_nobody_elses_until_it_is_released(stage: Stage) {
    let (topic, producer) = topic(&stage, 4).await;
    let mut first = join(&stage, &topic).await;
    play(&mut [&mut first], |members| members[0].held.len() == 4).await;
    let mut second = join(&stage, &topic).await;
    let drained = revoked(&first.consumer).await;
    assert_eq!(drained.len(), 2);
    // A third comes meanwhile. Neither gets what is not released, and the first goes on with what it keeps.
    let mut third = join(&stage, &topic).await;
    send_numbers(&producer, &topic, 4, 0..5).await;
    let kept: BTreeSet<i32> = first.held.keys().copied().collect();
    let kept: BTreeSet<i32> = kept
        .into_iter()
        .filter(|number| drained.iter().all(|one| one.partition != *number))
        .collect();
    play(&mut [&mut first], |members| members[0].got.len() == 10).await;
    assert_eq!(
        places_once(&first.got)
            .iter()
            .map(|(partition, _)| *partition)
            .collect::<BTreeSet<_>>(),
        kept
    );
    first.commit().await;
    assert_eq!((second.held.len(), third.held.len()), (0, 0));
    for one in &drained {
        first.held.remove(&one.partition);
    }
    first.consumer.release(drained);
    play(&mut [&mut first, &mut second, &mut third], |members| {
        let mut counts = held(members);
        counts.sort_unstable();
        counts == [1, 1, 2] && read(members) == 20
    })
    .await;
    let members = [first, second, third];
    let got: Vec<_> = members.iter().flat_map(|one| one.got.clone()).collect();
    assert_eq!(places_once(&got), all_places(4, 5));
}

async fn join_under(stage: &Stage, topic: &str, name: &str) -> Member {
    let config = ConsumerConfig {
        instance_id: Some(name.into()),
        ..config(stage, topic, GroupProtocol::Consumer)
    };
    Member::join_as(stage, topic, config).await
}

async fn a_static_member_that_restarts_keeps_its_partitions_and_nobody_else_notices(stage: Stage) {
    let (topic, producer) = topic(&stage, 4).await;
    let mut first = join_under(&stage, &topic, "one").await;
    let mut second = join_under(&stage, &topic, "two").await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [2, 2]
    })
    .await;
    let before = (first.revoked.clone(), first.held.clone());
    let held_by_second = second.held.clone();
    second.leave().await;
    let mut again = join_under(&stage, &topic, "two").await;
    play(&mut [&mut again], |members| members[0].held.len() == 2).await;
    assert_eq!(again.held, held_by_second);
    send_numbers(&producer, &topic, 4, 0..1).await;
    play(&mut [&mut first, &mut again], |members| {
        members[0].got.len() == 2 && members[1].got.len() == 2
    })
    .await;
    assert_eq!(first.revoked, before.0);
    assert!(first.held.keys().eq(before.1.keys()));
}

async fn a_static_member_that_died_comes_back_when_its_session_is_over(stage: Stage) {
    let (topic, _) = topic(&stage, 2).await;
    let mut first = join_under(&stage, &topic, "one").await;
    play(&mut [&mut first], |members| members[0].held.len() == 2).await;
    drop(first);
    let mut again = join_under(&stage, &topic, "one").await;
    let refused = loop {
        match within(again.consumer.next()).await.expect("a member") {
            Event::Failed(error) => break error,
            other => again.take(other).await,
        }
    };
    assert_eq!(refused.error_code(), Some(ErrorCode::UnreleasedInstanceId));
    assert_eq!(refused.class(), Class::Retriable);
    play(&mut [&mut again], |members| members[0].held.len() == 2).await;
}

async fn new_partitions_of_a_topic_are_found_and_shared(stage: Stage) {
    let (topic, _) = topic(&stage, 2).await;
    let mut first = join(&stage, &topic).await;
    let mut second = join(&stage, &topic).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [1, 1]
    })
    .await;
    let admin = Admin::new(stage.client().await);
    admin.create_partitions(&topic, 6).await.unwrap();
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [3, 3]
    })
    .await;
    assert_eq!((first.revoked.len(), second.revoked.len()), (1, 0));
}

async fn a_classic_group_is_taken_over_as_it_is_and_given_back(stage: Stage) {
    let (topic, producer) = topic(&stage, 4).await;
    send_numbers(&producer, &topic, 4, 0..10).await;
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let stage_group = stage.own(assignor.name());
        let of = |protocol| ConsumerConfig {
            group: stage_group.as_str().into(),
            assignors: vec![assignor],
            ..config(&stage, &topic, protocol)
        };
        let mut classic = Member::join_as(&stage, &topic, of(GroupProtocol::Classic)).await;
        play(&mut [&mut classic], |members| members[0].got.len() == 40).await;
        let mut new = Member::join_as(&stage, &topic, of(GroupProtocol::Auto)).await;
        play(&mut [&mut classic, &mut new], |members| {
            held(members) == [2, 2]
        })
        .await;
        let admin = Admin::new(stage.client().await);
        let listed = admin.list_groups().await.unwrap();
        let ours = listed.into_iter().find(|one| one.group == stage_group);
        let kind = ours.expect("our group").group_type;
        assert_eq!(
            kind.map(|kind| kind.to_lowercase()).as_deref(),
            Some("consumer")
        );
        // The last of the new protocol goes; the classic member has the group for itself again.
        let mut got = new.leave().await;
        play(&mut [&mut classic], |members| members[0].held.len() == 4).await;
        got.extend(classic.leave().await);
        assert_eq!(places_once(&got), all_places(4, 10));
    }
}

async fn topics_that_a_pattern_matches_are_read_those_made_later_too(stage: Stage) {
    let named = |name: &str| stage.own(&format!("pattern.{name}"));
    let (early, late, other) = (named("early"), named("late"), stage.own("other"));
    stage.make_topic(&early, 2).await;
    stage.make_topic(&other, 1).await;
    let client = stage.client().await;
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    send_numbers(&producer, &early, 2, 0..3).await;
    send_numbers(&producer, &other, 1, 0..3).await;
    // What makes names this test's own stands behind the last dot.
    let own = early.rsplit('.').next().expect("a name");
    let config = ConsumerConfig {
        topic_pattern: Some(format!("pattern\\..*\\.{own}").into()),
        topics: Vec::new(),
        ..config(&stage, &early, GroupProtocol::Consumer)
    };
    let consumer = Consumer::join(client, config).await.unwrap();
    let mut got = BTreeSet::new();
    let mut read = async |count: usize| {
        while got.len() < count {
            match within(consumer.next()).await.expect("a member") {
                Event::Assigned { partitions, .. } => {
                    for one in partitions {
                        consumer.begin(&one.partition, Position::Earliest);
                    }
                }
                Event::Records(batch) => {
                    let TopicPartition { topic, partition } = batch.partition;
                    let records = batch.records.iter();
                    got.extend(records.map(|one| (topic.to_string(), partition, one.offset)));
                }
                Event::Failed(error) if error.class() == Class::Retriable => {}
                other => panic!("{other:?}"),
            }
        }
        got.clone()
    };
    let of_early = read(6).await;
    assert!(of_early.iter().all(|(topic, ..)| *topic == early));
    stage.make_topic(&late, 1).await;
    send_numbers(&producer, &late, 1, 0..3).await;
    let all = read(9).await;
    assert!(
        all.iter()
            .all(|(topic, ..)| *topic == early || *topic == late)
    );
}
