//! Listening without a group: everything is judged as a receiver would, nothing is kept of it.

use std::collections::HashMap;

use cybermesh_bridge::Settings;
use cybermesh_bridge::settings::{Isolation, StartPosition};
use cybermesh_bridge::trust::Trust;
use cybermesh_contracts::replay::{Judgement, PartitionReplay, RingLimits};
use cybermesh_contracts::verify::{Bounds, RedriveFor, Verifier};
use cybermesh_contracts::{Disposition, Kind, RecordView};
use cybermesh_transport::{
    Client, Event, FetchConfig, FetchedRecord, IsolationLevel, Position, Reader, RecordBatch,
    StartPolicy, TopicPartition,
};

use super::{Place, Printer, connect};
use crate::failure::Failure;
use crate::signal::Signals;
use crate::stderr;

pub(super) async fn listen(
    settings: Settings,
    kinds: Vec<Kind>,
    printer: Printer,
) -> Result<(), Failure> {
    // Nothing is received by the bridge, but it reads the trust store, tells what is wrong with it, and rereads it.
    if settings.keys.trust.is_none() {
        return Err(Failure::usage(
            "CYBERMESH_TRUST: unset, and required to receive; give a trust store",
        ));
    }
    let signals = Signals::hear();
    let starting = connect(&settings, |builder| builder.receives([]));
    let Some(bridge) = signals.unless_ended(starting).await else {
        return Ok(());
    };
    let bridge = bridge?;
    let trust = bridge.trust().cloned();
    let trust = trust.ok_or_else(|| Failure::usage("CYBERMESH_TRUST: not read"))?;
    let listening = async {
        let mut judge = Judge::new(&settings, trust)?;
        let reader = begin(bridge.client(), &settings, &kinds).await?;
        read(&reader, &mut judge, &printer).await
    };
    let listening = signals.unless_ended(listening);
    let ended = signals.rereading(bridge.reloader(), listening).await;
    let ended = ended.unwrap_or(Ok(()));
    bridge.stop(settings.receive.stop_timeout).await;
    ended?;
    printer.result()
}

/// Reads every partition of the kinds' topics.
async fn begin(client: &Client, settings: &Settings, kinds: &[Kind]) -> Result<Reader, Failure> {
    let (policy, position) = match settings.receive.start {
        StartPosition::Latest => (StartPolicy::Latest, Position::Latest),
        _ => (StartPolicy::Earliest, Position::Earliest),
    };
    let config = FetchConfig {
        isolation: match settings.receive.isolation {
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
            Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
        },
        ..FetchConfig::default()
    };
    let reader = Reader::new(client.clone(), config, policy);
    for kind in kinds {
        let topic = settings.topics.of(*kind);
        let partitions = client
            .partition_count(topic)
            .await
            .map_err(Failure::cluster)?;
        for partition in 0..partitions {
            reader.begin(&TopicPartition::new(topic, partition), position);
        }
    }
    Ok(reader)
}

async fn read(reader: &Reader, judge: &mut Judge, printer: &Printer) -> Result<(), Failure> {
    while let Some(event) = reader.next().await {
        match event {
            Event::Records(batch) => {
                for record in &batch.records {
                    judge.record(&batch, record, printer).await;
                    if printer.is_done().await {
                        return Ok(());
                    }
                }
            }
            Event::Corrupt { partition, fault } => {
                stderr::say(&format!(
                    "{}[{}]: {fault}",
                    partition.topic, partition.partition
                ));
                reader.begin(&partition, Position::Offset(fault.resume_at));
            }
            Event::Failed(error) if error.class() == cybermesh_transport::Class::Fatal => {
                return Err(Failure::cluster(error));
            }
            Event::Failed(error) => stderr::say(&error.to_string()),
            _ => {}
        }
    }
    Ok(())
}

/// Judges records by contract and order.
struct Judge {
    verifier: Verifier,
    trust: Trust,
    bounds: Bounds,
    limits: RingLimits,
    orders: HashMap<TopicPartition, PartitionReplay>,
    kinds: HashMap<String, Kind>,
}

impl Judge {
    fn new(settings: &Settings, trust: Trust) -> Result<Self, Failure> {
        let ring = u16::try_from(settings.replay.ring).unwrap_or(u16::MAX);
        Ok(Self {
            verifier: settings.verifier(RedriveFor::NoGroup),
            trust,
            bounds: Bounds {
                now_ms: 0,
                max_age: settings.replay.max_age,
                future_tolerance: settings.replay.future_tolerance,
            },
            limits: RingLimits::new(ring).map_err(Failure::usage)?,
            orders: HashMap::new(),
            kinds: Kind::ALL
                .into_iter()
                .map(|kind| (settings.topics.of(kind).to_owned(), kind))
                .collect(),
        })
    }

    async fn record(&mut self, batch: &RecordBatch, record: &FetchedRecord, printer: &Printer) {
        let partition = &batch.partition;
        let Some(kind) = self.kinds.get(&*partition.topic).copied() else {
            return;
        };
        let place = Place {
            topic: &partition.topic,
            partition: partition.partition,
            offset: record.offset,
        };
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref()))
            .collect();
        let view = RecordView {
            partition: Some(partition.partition),
            offset: record.offset,
            key: record.key.as_deref(),
            headers: &headers,
            timestamp_ms: record.timestamp_ms,
            append_time_ms: record.append_time_ms(),
            ..RecordView::new(&partition.topic, record.value.as_deref())
        };
        self.bounds.now_ms = now_ms();
        let verdict = self
            .verifier
            .verify(&self.trust.current(), kind, &view, Some(&self.bounds));
        let limits = self.limits;
        let order = self
            .orders
            .entry(partition.clone())
            .or_insert_with(|| PartitionReplay::at_start_of_log(limits, record.offset));
        match verdict {
            Ok(message) => {
                let judgement =
                    order.judge(record.offset, record.payload_len(), message.replay_claims());
                if judgement.passes() {
                    let signer = message.signer().id.clone();
                    printer.print(message.message(), &signer, place).await;
                } else {
                    let disposition = match judgement {
                        Judgement::Replay => Disposition::Replay,
                        _ => Disposition::Duplicate,
                    };
                    reject(place, disposition, "judged by order");
                }
            }
            Err(rejection) => {
                order.pass_over(record.offset, record.payload_len());
                reject(place, rejection.disposition(), &rejection.to_string());
            }
        }
        order.committed(record.offset.saturating_add(1));
    }
}

fn reject(place: Place<'_>, disposition: Disposition, reason: &str) {
    stderr::say(&format!(
        "rejected {}[{}]@{}: {}: {reason}",
        place.topic,
        place.partition,
        place.offset,
        disposition.as_str()
    ));
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
