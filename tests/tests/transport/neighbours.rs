//! Beside Kafka's own programs, in one log and in one group.

use std::collections::BTreeSet;

use bytes::Bytes;
use cybermesh_tests::Stage;
use cybermesh_tests::java::{self, GroupMember, NULL};
use cybermesh_tests::log::LoggedRecord;
use cybermesh_transport::{Assignor, Compression, GroupProtocol, Producer, ProducerConfig};

use crate::coordinated;
use crate::grouping::{Member, all_places, places_once, play};
use crate::support::{
    assert_same_logged, headers, peculiar, read, send, send_numbers, text, within,
};

cybermesh_tests::scenarios! {
    both: [],
    kafka_only: [
        kafkas_console_consumer_reads_what_we_wrote_in_every_codec:
            "what is tried is how we get on with Kafka's own programs and broker together",
        we_read_what_kafkas_console_producer_wrote_in_every_codec:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_group_of_ours_and_kafkas_consumer_loses_nothing_and_doubles_nothing:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_group_by_round_robin_of_ours_and_kafkas_consumer_loses_nothing_and_doubles_nothing:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_cooperative_group_of_ours_and_kafkas_consumer_loses_and_doubles_nothing_where_ours_leads:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_cooperative_group_of_ours_and_kafkas_consumer_loses_and_doubles_nothing_where_kafkas_leads:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_group_goes_from_range_to_cooperative_sticky_member_by_member_beside_kafkas_consumer:
            "what is tried is how we get on with Kafka's own programs and broker together",
        kafkas_tool_describes_our_group_with_our_offsets:
            "what is tried is how we get on with Kafka's own programs and broker together",
    ],
}

/// Groups that their coordinator divides (KIP-848) are new in Kafka 4.0.
mod since_kafka_4 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [],
        kafka_only: [
            a_group_that_its_coordinator_divides_of_ours_and_kafkas_consumer_loses_and_doubles_nothing:
                "what is tried is how we get on with Kafka's own programs and broker together",
            a_group_of_kafkas_classic_consumer_is_taken_over_by_ours_and_given_back:
                "what is tried is how we get on with Kafka's own programs and broker together",
            a_classic_group_of_ours_is_taken_over_by_kafkas_consumer_and_given_back:
                "what is tried is how we get on with Kafka's own programs and broker together",
        ],
    }
}

async fn kafkas_console_consumer_reads_what_we_wrote_in_every_codec(stage: Stage) {
    let topic = stage.own("ours");
    stage.make_topic(&topic, 1).await;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ];
    for compression in codecs {
        let config = ProducerConfig {
            compression,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(stage.client().await, config);
        let mut deliveries = Vec::new();
        for record in peculiar() {
            deliveries.push(send(&producer, &topic, 0, record).await);
        }
        for delivery in deliveries {
            within(delivery).await.expect("a record in the log");
        }
    }
    let sent = codecs.map(|_| peculiar()).concat();
    let logged = stage.log(&topic).await;
    assert_eq!(logged.len(), sent.len());
    for (logged, sent) in logged.iter().zip(&sent) {
        assert_same_logged(logged, sent);
    }
}

async fn we_read_what_kafkas_console_producer_wrote_in_every_codec(stage: Stage) {
    let topic = stage.own("theirs");
    stage.make_topic(&topic, 1).await;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let lines = [
            format!("z:1,a:{NULL},z:2,z:1\tkey\t{codec}"),
            format!("alone:\t{NULL}\t{}", codec.repeat(10_000)),
            format!("x:y\tgone\t{NULL}"),
        ];
        java::produce(&stage, &topic, codec, &lines).await;
    }
    let came = read(&stage, &topic, 1, 3 * codecs.len()).await;
    for (codec, came) in codecs.into_iter().zip(came[&0].chunks(3)) {
        let header =
            |name: &str, value: Option<&'static str>| (name.to_owned(), value.map(Bytes::from));
        let [first, second, third] = came else {
            panic!("{codec}: {came:?}");
        };
        assert_eq!(
            headers(&first.headers),
            [
                header("z", Some("1")),
                header("a", None),
                header("z", Some("2")),
                header("z", Some("1"))
            ]
        );
        assert_eq!(text(first.key.as_ref()), "key");
        assert_eq!(text(first.value.as_ref()), codec);
        assert_eq!(headers(&second.headers), [header("alone", Some(""))]);
        assert_eq!(second.key, None);
        assert_eq!(text(second.value.as_ref()), codec.repeat(10_000));
        assert_eq!(text(third.key.as_ref()), "gone");
        assert_eq!(third.value, None);
    }
}

async fn a_group_of_ours_and_kafkas_consumer_loses_nothing_and_doubles_nothing(stage: Stage) {
    let theirs = share(&stage, Assignor::Range, "RangeAssignor").await;
    assert!(
        theirs == BTreeSet::from([0, 1]) || theirs == BTreeSet::from([2, 3]),
        "not a range: {theirs:?}"
    );
}

async fn a_group_by_round_robin_of_ours_and_kafkas_consumer_loses_nothing_and_doubles_nothing(
    stage: Stage,
) {
    let theirs = share(&stage, Assignor::RoundRobin, "RoundRobinAssignor").await;
    assert!(
        theirs == BTreeSet::from([0, 2]) || theirs == BTreeSet::from([1, 3]),
        "not dealt in turn: {theirs:?}"
    );
}

/// Kafka's consumer joins our member's group and leaves it again, while records come. Gives back the
/// partitions it was given.
async fn share(stage: &Stage, assignor: Assignor, class: &str) -> BTreeSet<i32> {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 4).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 4, 0..10).await;
    let mut ours = Member::join_by(stage, &topic, &[assignor], None).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 40).await;

    let group = stage.own("group");
    let mut theirs = GroupMember::join_by(stage, &group, &topic, class);
    play(&mut [&mut ours], |members| members[0].held.len() == 2).await;
    assert_eq!(
        java::group_state(stage, &group).await,
        [assignor.name(), "Stable", "2"]
    );
    send_numbers(&producer, &topic, 4, 10..20).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 60).await;
    let mut got = Vec::new();
    while got.len() < 20 {
        got.push(place(&within(theirs.next()).await));
    }

    got.extend(theirs.leave().await.iter().map(place));
    play(&mut [&mut ours], |members| members[0].held.len() == 4).await;
    send_numbers(&producer, &topic, 4, 20..30).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 100).await;
    let their_partitions: BTreeSet<i32> =
        got.iter().map(|((partition, _), _)| *partition).collect();
    got.extend(ours.leave().await);
    assert_eq!(places_once(&got), all_places(4, 30));
    their_partitions
}

fn place(record: &LoggedRecord) -> ((i32, i64), String) {
    (
        (record.partition, record.offset),
        text(record.value.as_ref()),
    )
}

const STICKY: [Assignor; 1] = [Assignor::CooperativeSticky];
const KAFKAS_STICKY: &str = "CooperativeStickyAssignor";

/// Reads on until it has had so many records.
async fn read_on(theirs: &mut GroupMember, got: &mut Vec<((i32, i64), String)>, until: usize) {
    while got.len() < until {
        got.push(place(&within(theirs.next()).await));
    }
}

async fn a_cooperative_group_of_ours_and_kafkas_consumer_loses_and_doubles_nothing_where_ours_leads(
    stage: Stage,
) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 6).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 6, 0..10).await;
    let mut ours = Member::join_by(&stage, &topic, &STICKY, None).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 60).await;

    // Theirs takes half, and what ours keeps it never has to give up.
    let group = stage.own("group");
    let mut theirs = GroupMember::join_by(&stage, &group, &topic, KAFKAS_STICKY);
    play(&mut [&mut ours], |members| members[0].held.len() == 3).await;
    assert_eq!(ours.revoked.len(), 3);
    send_numbers(&producer, &topic, 6, 10..20).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 90).await;
    let mut got = Vec::new();
    read_on(&mut theirs, &mut got, 30).await;

    // A third of ours takes one from each, and leaves again.
    let mut third = Member::join_by(&stage, &topic, &STICKY, None).await;
    play(&mut [&mut ours, &mut third], |members| {
        (members[0].held.len(), members[1].held.len()) == (2, 2)
    })
    .await;
    assert_eq!(ours.revoked.len(), 4);
    send_numbers(&producer, &topic, 6, 20..30).await;
    play(&mut [&mut ours, &mut third], |members| {
        members[0].got.len() == 110 && members[1].got.len() == 20
    })
    .await;
    read_on(&mut theirs, &mut got, 50).await;
    let third = third.leave().await;
    play(&mut [&mut ours], |members| members[0].held.len() == 3).await;
    send_numbers(&producer, &topic, 6, 30..40).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 140).await;
    read_on(&mut theirs, &mut got, 80).await;

    // Theirs leaves: ours gets the rest besides what it has.
    got.extend(theirs.leave().await.iter().map(place));
    play(&mut [&mut ours], |members| members[0].held.len() == 6).await;
    send_numbers(&producer, &topic, 6, 40..50).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 200).await;
    assert_eq!(ours.revoked.len(), 4);
    got.extend(third);
    got.extend(ours.leave().await);
    assert_eq!(places_once(&got), all_places(6, 50));
}

async fn a_cooperative_group_of_ours_and_kafkas_consumer_loses_and_doubles_nothing_where_kafkas_leads(
    stage: Stage,
) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 6).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 6, 0..10).await;
    let group = stage.own("group");
    let mut theirs = GroupMember::join_by(&stage, &group, &topic, KAFKAS_STICKY);
    let mut got = Vec::new();
    read_on(&mut theirs, &mut got, 60).await;

    let mut ours = Member::join_by(&stage, &topic, &STICKY, None).await;
    play(&mut [&mut ours], |members| members[0].held.len() == 3).await;
    send_numbers(&producer, &topic, 6, 10..20).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 30).await;
    read_on(&mut theirs, &mut got, 90).await;

    let mut third = Member::join_by(&stage, &topic, &STICKY, None).await;
    play(&mut [&mut ours, &mut third], |members| {
        (members[0].held.len(), members[1].held.len()) == (2, 2)
    })
    .await;
    assert_eq!(ours.revoked.len(), 1);
    send_numbers(&producer, &topic, 6, 20..30).await;
    play(&mut [&mut ours, &mut third], |members| {
        members[0].got.len() == 50 && members[1].got.len() == 20
    })
    .await;
    read_on(&mut theirs, &mut got, 110).await;

    // The leader leaves: what it had is shared by ours, of whom one leads now, and nobody gives anything up.
    got.extend(theirs.leave().await.iter().map(place));
    play(&mut [&mut ours, &mut third], |members| {
        (members[0].held.len(), members[1].held.len()) == (3, 3)
    })
    .await;
    send_numbers(&producer, &topic, 6, 30..40).await;
    play(&mut [&mut ours, &mut third], |members| {
        members[0].got.len() == 80 && members[1].got.len() == 50
    })
    .await;
    assert_eq!((ours.revoked.len(), third.revoked.len()), (1, 0));
    got.extend(ours.leave().await);
    got.extend(third.leave().await);
    assert_eq!(places_once(&got), all_places(6, 40));
}

async fn a_group_goes_from_range_to_cooperative_sticky_member_by_member_beside_kafkas_consumer(
    stage: Stage,
) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 4).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    let both = [Assignor::CooperativeSticky, Assignor::Range];
    let group = stage.own("group");
    let strategy = async || java::group_state(&stage, &group).await[0].clone();
    let mut old = Member::join(&stage, &topic).await;
    play(&mut [&mut old], |members| members[0].held.len() == 4).await;
    // Theirs knows both; the group goes by the only one that all know.
    let theirs = "CooperativeStickyAssignor,RangeAssignor";
    let mut theirs = GroupMember::join_by(&stage, &group, &topic, theirs);
    play(&mut [&mut old], |members| members[0].held.len() == 2).await;
    assert_eq!(strategy().await, "range");
    send_numbers(&producer, &topic, 4, 0..10).await;
    play(&mut [&mut old], |members| members[0].got.len() == 20).await;
    let mut got = Vec::new();
    read_on(&mut theirs, &mut got, 20).await;
    // Ours goes, and comes back with both: whoever knows both gives everything up in a rebalance still.
    let old = old.leave().await;
    let mut new = Member::join_by(&stage, &topic, &both, None).await;
    play(&mut [&mut new], |members| members[0].held.len() == 2).await;
    assert_eq!(strategy().await, "cooperative-sticky");
    // And at last one that knows the new one alone.
    let mut last = Member::join_by(&stage, &topic, &STICKY, None).await;
    play(&mut [&mut new, &mut last], |members| {
        members[0].held.len() + members[1].held.len() >= 2
            && members.iter().all(|one| !one.held.is_empty())
            && !members[0].revoked.is_empty()
    })
    .await;
    assert_eq!(new.revoked.len(), 2, "all that it had");
    send_numbers(&producer, &topic, 4, 10..20).await;
    got.extend(theirs.leave().await.iter().map(place));
    let (theirs, before) = (got.len(), old.len());
    play(&mut [&mut new, &mut last], |members| {
        let read: usize = members.iter().map(|one| one.got.len()).sum();
        read + theirs + before == 80
    })
    .await;
    got.extend(old);
    got.extend(new.leave().await);
    got.extend(last.leave().await);
    assert_eq!(places_once(&got), all_places(4, 20));
}

async fn kafkas_tool_describes_our_group_with_our_offsets(stage: Stage) {
    let topic = stage.own("described");
    stage.make_topic(&topic, 3).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 3, 0..7).await;
    let group = stage.own("group");
    let mut ours = Member::join(&stage, &topic).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 21).await;
    ours.commit().await;
    assert_eq!(
        java::group_state(&stage, &group).await,
        ["range", "Stable", "1"]
    );
    let mut committed = stage.committed(&group, &topic, 3).await;
    committed.sort_unstable();
    assert_eq!(committed, [(0, 7), (1, 7), (2, 7)]);
    ours.leave().await;
    assert_eq!(java::group_state(&stage, &group).await[1..], ["Empty", "0"]);
}

async fn a_group_that_its_coordinator_divides_of_ours_and_kafkas_consumer_loses_and_doubles_nothing(
    stage: Stage,
) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 6).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 6, 0..10).await;
    let group = stage.own("group");
    let join = async || {
        let config = coordinated::config(&stage, &topic, GroupProtocol::Consumer);
        Member::join_as(&stage, &topic, config).await
    };
    let mut ours = join().await;
    play(&mut [&mut ours], |members| members[0].got.len() == 60).await;

    // Theirs takes half, and what ours keeps it never has to give up.
    let mut theirs = GroupMember::join_divided(&stage, &group, &topic);
    play(&mut [&mut ours], |members| members[0].held.len() == 3).await;
    assert_eq!(ours.revoked.len(), 3);
    send_numbers(&producer, &topic, 6, 10..20).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 90).await;
    let mut got = Vec::new();
    read_on(&mut theirs, &mut got, 30).await;
    assert_eq!(
        java::group_state(&stage, &group).await,
        ["uniform", "Stable", "2"]
    );

    // A third of ours takes one from each, and leaves again.
    let mut third = join().await;
    play(&mut [&mut ours, &mut third], |members| {
        (members[0].held.len(), members[1].held.len()) == (2, 2)
    })
    .await;
    assert_eq!(ours.revoked.len(), 4);
    send_numbers(&producer, &topic, 6, 20..30).await;
    play(&mut [&mut ours, &mut third], |members| {
        members[0].got.len() == 110 && members[1].got.len() == 20
    })
    .await;
    read_on(&mut theirs, &mut got, 50).await;
    got.extend(third.leave().await);
    play(&mut [&mut ours], |members| members[0].held.len() == 3).await;

    // Theirs leaves: ours gets the rest besides what it has.
    got.extend(theirs.leave().await.iter().map(place));
    play(&mut [&mut ours], |members| members[0].held.len() == 6).await;
    send_numbers(&producer, &topic, 6, 30..40).await;
    play(&mut [&mut ours], |members| {
        members[0].got.len() + got.len() == 240
    })
    .await;
    assert_eq!(ours.revoked.len(), 4);
    got.extend(ours.leave().await);
    assert_eq!(places_once(&got), all_places(6, 40));
}

async fn a_group_of_kafkas_classic_consumer_is_taken_over_by_ours_and_given_back(stage: Stage) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 4).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 4, 0..10).await;
    let group = stage.own("group");
    let mut theirs = GroupMember::join_by(&stage, &group, &topic, "RangeAssignor");
    let mut got = Vec::new();
    read_on(&mut theirs, &mut got, 40).await;
    let config = coordinated::config(&stage, &topic, GroupProtocol::Auto);
    let mut ours = Member::join_as(&stage, &topic, config).await;
    play(&mut [&mut ours], |members| members[0].held.len() == 2).await;
    let [_, state, members] = java::group_state(&stage, &group).await;
    assert_eq!([state, members], ["Stable", "2"]);
    send_numbers(&producer, &topic, 4, 10..20).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 20).await;
    read_on(&mut theirs, &mut got, 60).await;
    got.extend(ours.leave().await);
    send_numbers(&producer, &topic, 4, 20..30).await;
    read_on(&mut theirs, &mut got, 120).await;
    got.extend(theirs.leave().await.iter().map(place));
    assert_eq!(places_once(&got), all_places(4, 30));
}

async fn a_classic_group_of_ours_is_taken_over_by_kafkas_consumer_and_given_back(stage: Stage) {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 4).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 4, 0..10).await;
    let group = stage.own("group");
    // Each group reads what was sent before it came, and ten more of each partition.
    let groups = [(Assignor::Range, 10), (Assignor::CooperativeSticky, 20)];
    for (assignor, before) in groups {
        let group = format!("{group}-{assignor}");
        let config = cybermesh_transport::ConsumerConfig {
            group: group.as_str().into(),
            assignors: vec![assignor],
            ..coordinated::config(&stage, &topic, GroupProtocol::Classic)
        };
        let mut ours = Member::join_as(&stage, &topic, config).await;
        play(&mut [&mut ours], |members| {
            members[0].got.len() == 4 * before
        })
        .await;
        let mut theirs = GroupMember::join_divided(&stage, &group, &topic);
        play(&mut [&mut ours], |members| members[0].held.len() == 2).await;
        send_numbers(&producer, &topic, 4, 0..10).await;
        play(&mut [&mut ours], |members| {
            members[0].got.len() == 4 * before + 20
        })
        .await;
        let mut got = Vec::new();
        read_on(&mut theirs, &mut got, 20).await;
        got.extend(theirs.leave().await.iter().map(place));
        play(&mut [&mut ours], |members| members[0].held.len() == 4).await;
        got.extend(ours.leave().await);
        let all = i64::try_from(before + 10).expect("few");
        assert_eq!(places_once(&got), all_places(4, all));
    }
}
