//! Beside Kafka's own programs, in one log and in one group.

use std::collections::BTreeSet;

use bytes::Bytes;
use cybermesh_tests::Stage;
use cybermesh_tests::java::{self, GroupMember, NULL};
use cybermesh_tests::log::LoggedRecord;
use cybermesh_transport::{Assignor, Compression, Producer, ProducerConfig};

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
        kafkas_tool_describes_our_group_with_our_offsets:
            "what is tried is how we get on with Kafka's own programs and broker together",
    ],
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
    let theirs = share(&stage, Assignor::Range, "range").await;
    assert!(
        theirs == BTreeSet::from([0, 1]) || theirs == BTreeSet::from([2, 3]),
        "not a range: {theirs:?}"
    );
}

async fn a_group_by_round_robin_of_ours_and_kafkas_consumer_loses_nothing_and_doubles_nothing(
    stage: Stage,
) {
    let theirs = share(&stage, Assignor::RoundRobin, "roundrobin").await;
    assert!(
        theirs == BTreeSet::from([0, 2]) || theirs == BTreeSet::from([1, 3]),
        "not dealt in turn: {theirs:?}"
    );
}

/// Kafka's consumer joins our member's group and leaves it again, while records come. Gives back the
/// partitions it was given.
async fn share(stage: &Stage, assignor: Assignor, named: &str) -> BTreeSet<i32> {
    let topic = stage.own("shared");
    stage.make_topic(&topic, 4).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 4, 0..10).await;
    let mut ours = Member::join_by(stage, &topic, vec![assignor]).await;
    play(&mut [&mut ours], |members| members[0].got.len() == 40).await;

    let group = stage.own("group");
    let mut theirs = GroupMember::join(stage, &group, &topic, assignor);
    play(&mut [&mut ours], |members| members[0].held.len() == 2).await;
    assert_eq!(
        java::group_state(stage, &group).await,
        [named, "Stable", "2"]
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
