//! Members of a group: sharing, committing, leaving, dying, and starting all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cybermesh_tests::Stage;
use cybermesh_transport::{
    Admin, AssignedPartition, Assignor, Class, Client, Consumer, ConsumerConfig, Event,
    FetchConfig, OffsetToCommit, Position, Producer, ProducerConfig, Reader, StartPolicy,
    TopicPartition,
};
use futures_util::future::select_all;
use tokio::time::Instant;

use crate::support::{send_numbers, text, until, within};

cybermesh_tests::scenarios! {
    both: [
        two_members_share_and_the_one_that_stays_takes_all_when_the_other_leaves,
        what_is_committed_comes_back_with_its_metadata,
        partitions_of_a_member_that_died_are_taken_over_where_it_committed,
        members_that_join_while_others_are_draining_all_get_their_share,
        a_commit_of_a_member_that_was_thrown_out_is_refused_and_said_to_be_lost,
        members_that_prefer_round_robin_are_dealt_the_partitions_of_all_topics_one_by_one,
        lag_falls_as_records_are_read_and_rises_as_they_are_written,
        new_partitions_of_a_topic_are_found_and_shared_without_anybody_joining_or_leaving,
        a_member_that_does_not_know_of_new_partitions_yet_reads_those_its_leader_gives_it,
        cooperative_members_that_come_and_go_take_nothing_from_each_other_but_what_is_due,
        a_static_member_that_restarts_keeps_its_partitions_and_nobody_else_notices,
    ],
}

/// A record by where it is.
type Place = (i32, i64);

/// A member that reads whatever it is given, and commits it when it has to give it up.
pub(crate) struct Member {
    pub(crate) consumer: Consumer,
    /// What it holds, by where it is to be read next.
    pub(crate) held: BTreeMap<i32, i64>,
    /// Where each of its last assignment began.
    pub(crate) assigned: Vec<AssignedPartition>,
    /// All that it had to give up, in order.
    pub(crate) revoked: Vec<i32>,
    /// All that it was given, in order.
    pub(crate) got: Vec<(Place, String)>,
    topic: String,
}

impl Member {
    pub(crate) async fn join(stage: &Stage, topic: &str) -> Self {
        Self::join_by(stage, topic, &[Assignor::Range], None).await
    }

    pub(crate) async fn join_by(
        stage: &Stage,
        topic: &str,
        assignors: &[Assignor],
        instance: Option<&str>,
    ) -> Self {
        let config = ConsumerConfig {
            // The shortest that brokers take.
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(300),
            assignors: assignors.to_vec(),
            instance_id: instance.map(Into::into),
            ..ConsumerConfig::new(stage.own("group"), [topic])
        };
        Self::join_as(stage, topic, config).await
    }

    pub(crate) async fn join_as(stage: &Stage, topic: &str, config: ConsumerConfig) -> Self {
        Self::join_through(stage.client().await, topic, config).await
    }

    async fn join_through(client: Client, topic: &str, config: ConsumerConfig) -> Self {
        let consumer = Consumer::join(client, config).await.unwrap();
        Self {
            consumer,
            held: BTreeMap::new(),
            assigned: Vec::new(),
            revoked: Vec::new(),
            got: Vec::new(),
            topic: topic.to_owned(),
        }
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), number)
    }

    pub(crate) async fn commit(&self) {
        let offsets = self.held.iter().map(|(partition, offset)| OffsetToCommit {
            partition: self.partition(*partition),
            offset: *offset,
            leader_epoch: None,
            metadata: format!("done {offset}"),
        });
        within(self.consumer.commit(offsets.collect()))
            .await
            .unwrap();
    }

    /// Does what has to be done about an event.
    pub(crate) async fn take(&mut self, event: Event) {
        match event {
            Event::Assigned { partitions, .. } => {
                self.held.extend(partitions.iter().map(|one| {
                    let committed = one.committed.as_ref().map_or(0, |one| one.offset);
                    (one.partition.partition, committed)
                }));
                for one in &partitions {
                    self.consumer
                        .begin(&one.partition, one.start.expect("by policy"));
                }
                self.assigned = partitions;
            }
            Event::Revoked { partitions } => {
                self.commit().await;
                for one in &partitions {
                    self.held.remove(&one.partition);
                    self.revoked.push(one.partition);
                }
                self.consumer.release(partitions);
            }
            Event::Lost { .. } => self.held.clear(),
            Event::Records(batch) => {
                let partition = batch.partition.partition;
                for record in &batch.records {
                    let place = (partition, record.offset);
                    self.got.push((place, text(record.value.as_ref())));
                }
                self.held.insert(partition, batch.next_offset);
            }
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn leave(mut self) -> Vec<(Place, String)> {
        self.commit().await;
        let deadline = Instant::now() + Duration::from_secs(30);
        within(self.consumer.leave(deadline)).await.unwrap();
        while let Some(event) = within(self.consumer.next()).await {
            assert!(!matches!(event, Event::Records(_)), "{event:?}");
        }
        std::mem::take(&mut self.got)
    }
}

/// Has all of them at work until it is so.
pub(crate) async fn play(members: &mut [&mut Member], is_so: impl Fn(&[&mut Member]) -> bool) {
    while !is_so(members) {
        let nexts = members.iter().map(|one| Box::pin(one.consumer.next()));
        // Those that are dropped lose nothing.
        let (event, at, _) = within(select_all(nexts)).await;
        members[at].take(event.expect("a member")).await;
    }
}

pub(crate) fn held(members: &[&mut Member]) -> Vec<usize> {
    members.iter().map(|one| one.held.len()).collect()
}

fn places(got: &[(Place, String)]) -> BTreeSet<Place> {
    got.iter().map(|(place, _)| *place).collect()
}

pub(crate) fn all_places(partitions: i32, count: i64) -> BTreeSet<Place> {
    (0..partitions)
        .flat_map(|partition| (0..count).map(move |offset| (partition, offset)))
        .collect()
}

/// The places without any twice.
pub(crate) fn places_once(got: &[(Place, String)]) -> BTreeSet<Place> {
    let once = places(got);
    assert_eq!(once.len(), got.len(), "something came twice");
    once
}

pub(crate) async fn topic(stage: &Stage, partitions: i32) -> (String, Producer) {
    let topic = stage.own("grouping");
    stage.make_topic(&topic, partitions).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    (topic, producer)
}

async fn two_members_share_and_the_one_that_stays_takes_all_when_the_other_leaves(stage: Stage) {
    let (topic, producer) = topic(&stage, 4).await;
    send_numbers(&producer, &topic, 4, 0..10).await;
    let mut first = Member::join(&stage, &topic).await;
    play(&mut [&mut first], |members| members[0].got.len() >= 20).await;
    let mut second = Member::join(&stage, &topic).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [2, 2]
    })
    .await;
    assert!(
        first
            .held
            .keys()
            .all(|mine| !second.held.contains_key(mine))
    );
    send_numbers(&producer, &topic, 4, 10..20).await;
    play(&mut [&mut first, &mut second], |members| {
        members[0].got.len() + members[1].got.len() == 80
    })
    .await;
    let mut got = second.leave().await;
    send_numbers(&producer, &topic, 4, 20..30).await;
    play(&mut [&mut first], |members| {
        members[0].got.len() + got.len() == 120
    })
    .await;
    assert_eq!(first.held.len(), 4);
    got.extend(first.leave().await);
    assert_eq!(places_once(&got), all_places(4, 30));
    assert!(
        got.iter()
            .all(|((_, offset), value)| *value == offset.to_string())
    );
}

async fn what_is_committed_comes_back_with_its_metadata(stage: Stage) {
    let (topic, producer) = topic(&stage, 2).await;
    send_numbers(&producer, &topic, 1, 0..5).await;
    let mut first = Member::join(&stage, &topic).await;
    play(&mut [&mut first], |members| members[0].got.len() == 5).await;
    first.leave().await;
    let mut committed = stage.committed(&stage.own("group"), &topic, 2).await;
    committed.sort_unstable();
    assert_eq!(committed, [(0, 5), (1, 0)]);
    let mut second = Member::join(&stage, &topic).await;
    play(&mut [&mut second], |members| members[0].held.len() == 2).await;
    let assigned: Vec<_> = second
        .assigned
        .iter()
        .map(|one| {
            let committed = one.committed.as_ref().expect("committed");
            (one.start, committed.metadata.as_str())
        })
        .collect();
    assert_eq!(
        assigned,
        [
            (Some(Position::Offset(5)), "done 5"),
            (Some(Position::Offset(0)), "done 0")
        ]
    );
}

async fn partitions_of_a_member_that_died_are_taken_over_where_it_committed(stage: Stage) {
    let (topic, producer) = topic(&stage, 2).await;
    let mut first = Member::join(&stage, &topic).await;
    let mut second = Member::join(&stage, &topic).await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [1, 1]
    })
    .await;
    send_numbers(&producer, &topic, 2, 0..5).await;
    play(&mut [&mut first, &mut second], |members| {
        members[0].got.len() + members[1].got.len() == 10
    })
    .await;
    first.commit().await;
    // It reads on, and dies before it commits that.
    send_numbers(&producer, &topic, 2, 5..8).await;
    play(&mut [&mut first, &mut second], |members| {
        members[0].got.len() + members[1].got.len() == 16
    })
    .await;
    let dead = *first.held.keys().next().expect("one partition");
    drop(first);
    play(&mut [&mut second], |members| members[0].held.len() == 2).await;
    let taken = second
        .assigned
        .iter()
        .find(|one| one.partition.partition == dead)
        .expect("the dead member's");
    assert_eq!(taken.start, Some(Position::Offset(5)));
    // What was not committed comes again, and nothing before it.
    play(&mut [&mut second], |members| members[0].got.len() == 11).await;
    let of_dead: Vec<_> = second
        .got
        .iter()
        .filter(|((partition, _), _)| *partition == dead)
        .map(|((_, offset), _)| *offset)
        .collect();
    assert_eq!(of_dead, [5, 6, 7]);
}

async fn members_that_join_while_others_are_draining_all_get_their_share(stage: Stage) {
    let (topic, _) = topic(&stage, 6).await;
    let mut first = Member::join(&stage, &topic).await;
    play(&mut [&mut first], |members| members[0].held.len() == 6).await;
    let mut second = Member::join(&stage, &topic).await;
    let revoked = loop {
        match within(first.consumer.next()).await.expect("a member") {
            Event::Revoked { partitions } => break partitions,
            Event::Records(_) | Event::Failed(_) => {}
            other => panic!("{other:?}"),
        }
    };
    // The group waits for the first; a third comes, and the first still commits as one of the old generation.
    let mut third = Member::join(&stage, &topic).await;
    first.commit().await;
    first.held.clear();
    first.consumer.release(revoked);
    play(&mut [&mut first, &mut second, &mut third], |members| {
        held(members) == [2, 2, 2]
    })
    .await;
    let all: BTreeSet<i32> = [&first, &second, &third]
        .into_iter()
        .flat_map(|one| one.held.keys().copied())
        .collect();
    assert_eq!(all.len(), 6);
}

async fn a_commit_of_a_member_that_was_thrown_out_is_refused_and_said_to_be_lost(stage: Stage) {
    let (topic, _) = topic(&stage, 2).await;
    let config = ConsumerConfig {
        session_timeout: Duration::from_secs(6),
        // It drains for longer than the group waits.
        rebalance_timeout: Duration::from_secs(2),
        heartbeat_interval: Duration::from_millis(300),
        ..ConsumerConfig::new(stage.own("group"), [topic.as_str()])
    };
    let first = Consumer::join(stage.client().await, config).await.unwrap();
    let partitions = loop {
        match within(first.next()).await.expect("a member") {
            Event::Assigned { partitions, .. } => break partitions,
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    };
    let mut second = Member::join(&stage, &topic).await;
    let lost = async {
        loop {
            match within(first.next()).await.expect("a member") {
                Event::Lost { partitions, .. } => break partitions,
                Event::Revoked { .. } | Event::Failed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let mut seconds = [&mut second];
    let taken = play(&mut seconds, |members| !members[0].held.is_empty());
    let (lost, ()) = tokio::join!(lost, taken);
    assert_eq!(lost.len(), 2);
    let late = OffsetToCommit {
        partition: partitions[0].partition.clone(),
        offset: 0,
        leader_epoch: None,
        metadata: String::new(),
    };
    // It joins again by itself, and may even be given the same again: what it held before is over.
    let refused = within(first.commit(vec![late])).await.unwrap_err();
    assert_eq!(refused.class(), Class::Fenced, "{refused}");
}

/// Releases what is revoked, until as many partitions as expected are assigned; begins none of them.
async fn assigned(consumer: &Consumer, expected: usize) -> Vec<String> {
    loop {
        match within(consumer.next()).await.expect("a member") {
            Event::Assigned { partitions, .. } if partitions.len() == expected => {
                let names = partitions.iter().map(|one| one.partition.to_string());
                return names.collect();
            }
            Event::Revoked { partitions } => consumer.release(partitions),
            Event::Assigned { .. } => {}
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn members_that_prefer_round_robin_are_dealt_the_partitions_of_all_topics_one_by_one(
    stage: Stage,
) {
    let topics = ["a", "b"].map(|name| stage.own(name));
    for topic in &topics {
        stage.make_topic(topic, 3).await;
    }
    let config = |assignors: &[Assignor]| ConsumerConfig {
        heartbeat_interval: Duration::from_millis(300),
        assignors: assignors.to_vec(),
        ..ConsumerConfig::new(stage.own("group"), topics.each_ref().map(String::as_str))
    };
    let first = config(&[Assignor::RoundRobin]);
    let first = Consumer::join(stage.client().await, first).await.unwrap();
    assert_eq!(assigned(&first, 6).await.len(), 6);
    // It knows range too, and the group does not.
    let second = config(&[Assignor::Range, Assignor::RoundRobin]);
    let second = Consumer::join(stage.client().await, second).await.unwrap();
    let (mine, theirs) = tokio::join!(assigned(&first, 3), assigned(&second, 3));
    let [a, b] = &topics;
    let dealt = [
        [format!("{a}/0"), format!("{a}/2"), format!("{b}/1")],
        [format!("{a}/1"), format!("{b}/0"), format!("{b}/2")],
    ];
    let mut shares = [mine, theirs];
    shares.sort();
    assert_eq!(shares, dealt);
}

async fn lag_falls_as_records_are_read_and_rises_as_they_are_written(stage: Stage) {
    let (topic, producer) = topic(&stage, 1).await;
    send_numbers(&producer, &topic, 1, 0..10).await;
    let config = FetchConfig {
        max_records: 4,
        ..FetchConfig::default()
    };
    let reader = Reader::new(stage.client().await, config, StartPolicy::None);
    reader.begin(&TopicPartition::new(topic.as_str(), 0), Position::Offset(2));
    let lag = || reader.progress().remove(0).lag;
    until(async || lag() == Some(8)).await;
    let mut read = 0;
    while read < 8 {
        if let Event::Records(batch) = within(reader.next()).await.expect("not ended") {
            read += batch.records.len();
        }
        assert_eq!(lag(), Some(i64::try_from(8 - read).unwrap()));
    }
    send_numbers(&producer, &topic, 1, 10..13).await;
    until(async || lag() == Some(3)).await;
    let progress = reader.progress().remove(0);
    assert_eq!(
        (
            progress.position,
            progress.high_watermark,
            progress.last_stable_offset
        ),
        (Some(10), Some(13), Some(13))
    );
    assert_eq!(progress.held_back_since, None);
}

async fn new_partitions_of_a_topic_are_found_and_shared_without_anybody_joining_or_leaving(
    stage: Stage,
) {
    let (topic, _) = topic(&stage, 2).await;
    let member = async || {
        let settings = stage.client_config();
        let settings = settings.metadata_max_age(Duration::from_millis(500));
        let config = ConsumerConfig {
            heartbeat_interval: Duration::from_millis(300),
            ..ConsumerConfig::new(stage.own("group"), [topic.as_str()])
        };
        let client = Client::connect(settings).await.unwrap();
        Consumer::join(client, config).await.unwrap()
    };
    let first = member().await;
    assert_eq!(assigned(&first, 2).await.len(), 2);
    let second = member().await;
    tokio::join!(assigned(&first, 1), assigned(&second, 1));
    let admin = Admin::new(stage.client().await);
    admin.create_partitions(&topic, 6).await.unwrap();
    let (mut all, theirs) = tokio::join!(assigned(&first, 3), assigned(&second, 3));
    all.extend(theirs);
    all.sort();
    let expected: Vec<_> = (0..6).map(|number| format!("{topic}/{number}")).collect();
    assert_eq!(all, expected);
}

async fn a_member_that_does_not_know_of_new_partitions_yet_reads_those_its_leader_gives_it(
    stage: Stage,
) {
    let (topic, producer) = topic(&stage, 1).await;
    let config = ConsumerConfig {
        heartbeat_interval: Duration::from_millis(300),
        ..ConsumerConfig::new(stage.own("group"), [topic.as_str()])
    };
    // The first leads, and looks at its topics often; the other does not.
    let settings = stage.client_config();
    let watchful = settings.metadata_max_age(Duration::from_millis(500));
    let watchful = Client::connect(watchful).await.unwrap();
    let mut leader = Member::join_through(watchful, &topic, config.clone()).await;
    play(&mut [&mut leader], |members| members[0].held.len() == 1).await;
    let mut member = Member::join_as(&stage, &topic, config).await;
    play(&mut [&mut leader, &mut member], |members| {
        !members[0].revoked.is_empty() && held(members).iter().sum::<usize>() == 1
    })
    .await;
    let admin = Admin::new(stage.client().await);
    admin.create_partitions(&topic, 8).await.unwrap();
    play(&mut [&mut leader, &mut member], |members| {
        held(members) == [4, 4]
    })
    .await;
    send_numbers(&producer, &topic, 8, 0..1).await;
    play(&mut [&mut leader, &mut member], |members| {
        members.iter().all(|one| one.got.len() == 4)
    })
    .await;
}

async fn cooperative_members_that_come_and_go_take_nothing_from_each_other_but_what_is_due(
    stage: Stage,
) {
    let (topic, producer) = topic(&stage, 6).await;
    send_numbers(&producer, &topic, 6, 0..5).await;
    let join = async || Member::join_by(&stage, &topic, &[Assignor::CooperativeSticky], None).await;
    let mut first = join().await;
    play(&mut [&mut first], |members| members[0].got.len() == 30).await;
    let mut second = join().await;
    play(&mut [&mut first, &mut second], |members| {
        held(members) == [3, 3]
    })
    .await;
    assert_eq!(first.revoked.len(), 3, "half, and only once");
    send_numbers(&producer, &topic, 6, 5..10).await;
    let mut third = join().await;
    play(&mut [&mut first, &mut second, &mut third], |members| {
        held(members) == [2, 2, 2] && members.iter().map(|one| one.got.len()).sum::<usize>() == 60
    })
    .await;
    assert_eq!((first.revoked.len(), second.revoked.len()), (4, 1));
    // What one leaves behind is shared by those that stay, and they keep what they have.
    let mut got = third.leave().await;
    send_numbers(&producer, &topic, 6, 10..15).await;
    play(&mut [&mut first, &mut second], |members| {
        let read: usize = members.iter().map(|one| one.got.len()).sum();
        held(members) == [3, 3] && read + got.len() == 90
    })
    .await;
    assert_eq!((first.revoked.len(), second.revoked.len()), (4, 1));
    got.extend(first.leave().await);
    got.extend(second.leave().await);
    assert_eq!(places_once(&got), all_places(6, 15));
}

/// A static member, what it holds and in which generation it last heard of the group.
struct Named {
    consumer: Consumer,
    held: BTreeSet<i32>,
    generation: i32,
    revocations: usize,
}

impl Named {
    async fn join(stage: &Stage, topic: &str, assignor: Assignor, name: &str) -> Self {
        let config = ConsumerConfig {
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(300),
            assignors: vec![assignor],
            instance_id: Some(name.into()),
            ..ConsumerConfig::new(stage.own(assignor.name()), [topic])
        };
        Self {
            consumer: Consumer::join(stage.client().await, config).await.unwrap(),
            held: BTreeSet::new(),
            generation: 0,
            revocations: 0,
        }
    }

    /// Until it is so; the partition of records, if that is what happened last.
    async fn until(&mut self, is_so: impl Fn(&Self, Option<i32>) -> bool) {
        let mut read = None;
        while !is_so(self, read) {
            match within(self.consumer.next()).await.expect("a member") {
                Event::Assigned {
                    generation,
                    partitions,
                } => {
                    self.generation = generation;
                    for one in partitions {
                        self.held.insert(one.partition.partition);
                        self.consumer
                            .begin(&one.partition, one.start.expect("by policy"));
                    }
                }
                Event::Revoked { partitions } => {
                    self.revocations += 1;
                    self.held
                        .retain(|number| partitions.iter().all(|one| one.partition != *number));
                    self.consumer.release(partitions);
                }
                Event::Records(batch) => read = Some(batch.partition.partition),
                Event::Failed(error) if error.class() == Class::Retriable => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn a_static_member_that_restarts_keeps_its_partitions_and_nobody_else_notices(stage: Stage) {
    let (topic, producer) = topic(&stage, 4).await;
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let mut first = Named::join(&stage, &topic, assignor, "one").await;
        first.until(|first, _| first.held.len() == 4).await;
        let mut second = Named::join(&stage, &topic, assignor, "two").await;
        let both = tokio::join!(
            first.until(|first, _| first.held.len() == 2),
            second.until(|second, _| second.held.len() == 2),
        );
        let ((), ()) = both;
        // The last that the first hears of it.
        let generation = second.generation;
        first.until(|first, _| first.generation == generation).await;
        let before = (first.revocations, first.held.clone());
        // It stops as static members do, without leaving, and comes back as another process.
        let deadline = Instant::now() + Duration::from_secs(30);
        within(second.consumer.leave(deadline)).await.unwrap();
        let held = second.held;
        drop(second.consumer);
        let mut again = Named::join(&stage, &topic, assignor, "two").await;
        again.until(|again, _| again.held.len() == 2).await;
        assert_eq!((again.generation, &again.held), (generation, &held));
        send_numbers(&producer, &topic, 4, 0..1).await;
        for member in [&mut first, &mut again] {
            member.until(|_, read| read.is_some()).await;
        }
        assert_eq!((first.revocations, first.held), before);
        assert_eq!(first.generation, generation, "no rebalance");
    }
}
