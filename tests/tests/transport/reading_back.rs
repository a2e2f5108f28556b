//! What is produced is read back as it was, in every codec and from every partition.

use cybermesh_tests::Stage;
use cybermesh_transport::{Compression, Producer, ProducerConfig, TimestampType};

use crate::support::{peculiar, read, send, send_numbers, texts, within};

cybermesh_tests::scenarios! {
    both: [
        records_in_every_codec_come_back_with_their_nulls_and_their_headers_in_order,
        each_of_many_partitions_gives_its_own_records_in_order,
    ],
}

async fn records_in_every_codec_come_back_with_their_nulls_and_their_headers_in_order(
    stage: Stage,
) {
    let topic = stage.own("codecs");
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
        for record in peculiar() {
            drop(send(&producer, &topic, 0, record).await);
        }
        within(producer.flush()).await;
    }
    let sent = codecs.map(|_| peculiar()).concat();
    let came = read(&stage, &topic, 1, sent.len()).await.remove(&0);
    let came = came.expect("the first partition");
    assert_eq!(came.len(), sent.len());
    for ((offset, came), sent) in (0..).zip(came).zip(sent) {
        assert_eq!(came.offset, offset);
        assert_eq!(
            (came.key, came.value, came.headers),
            (sent.key, sent.value, sent.headers)
        );
        assert_eq!(
            (came.timestamp_ms, came.timestamp_type),
            (1_700_000_000_000, TimestampType::CreateTime)
        );
    }
}

async fn each_of_many_partitions_gives_its_own_records_in_order(stage: Stage) {
    let topic = stage.own("many-partitions");
    stage.make_topic(&topic, 24).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 24, 0..20).await;
    let expected: Vec<_> = (0..20).map(|number: u32| number.to_string()).collect();
    for (partition, records) in read(&stage, &topic, 24, 20).await {
        assert_eq!(texts(&records), expected, "partition {partition}");
    }
}
