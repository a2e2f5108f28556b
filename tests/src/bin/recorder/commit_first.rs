//! What must not be done: the offset is committed, then the record is handled.

use cybermesh_tests::history::Event as Happened;
use cybermesh_tests::stage;
use cybermesh_transport::consumer::{Consumer, ConsumerConfig, OffsetToCommit, Position};
use cybermesh_transport::{Address, Client, ClientConfig, Event, Security};

use super::{Failure, Recorder};

/// Commits the first record it is given, begins to handle it, and never ends.
pub(crate) async fn run(recorder: Recorder) -> Result<(), Failure> {
    let consumer = join().await?;
    recorder.write(&Happened::Started {
        consumer: recorder.name.clone(),
    });
    while let Some(event) = consumer.next().await {
        match event {
            Event::Assigned { partitions, .. } => {
                for assigned in partitions {
                    consumer.begin(
                        &assigned.partition,
                        assigned.start.unwrap_or(Position::Earliest),
                    );
                }
            }
            Event::Records(batch) => {
                let Some(record) = batch.records.first() else {
                    continue;
                };
                let done = OffsetToCommit {
                    partition: batch.partition.clone(),
                    offset: record.offset + 1,
                    leader_epoch: None,
                    metadata: String::new(),
                };
                consumer.commit(vec![done]).await?;
                recorder.handling(batch.partition.partition, record.offset);
                std::future::pending::<()>().await;
            }
            _ => {}
        }
    }
    Err("the group ended".into())
}

async fn join() -> Result<Consumer, Failure> {
    let var = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let client = stage::tls(
        var("KAFKA_CA_CERT")?.as_ref(),
        Some(&cybermesh_tests::cluster::CertificateFiles {
            cert: var("KAFKA_CLIENT_CERT")?.into(),
            key: var("KAFKA_CLIENT_KEY")?.into(),
        }),
    );
    let addresses = Address::parse_list(&var("KAFKA_BROKERS")?)?;
    let client = Client::connect(ClientConfig::new(addresses, Security::Tls(client))).await?;
    let mut config =
        ConsumerConfig::new(var("KAFKA_CONSUMER_GROUP")?, [var("KAFKA_TOPIC_ANOMALY")?]);
    config.session_timeout =
        std::time::Duration::from_millis(var("KAFKA_SESSION_TIMEOUT_MS")?.parse()?);
    config.heartbeat_interval = config.session_timeout / 6;
    Ok(Consumer::join(client, config).await?)
}
