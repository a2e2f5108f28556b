//! The task that owns the group member: tells what happens, and carries commands out in their order.
//!
//! Both go on beside each other, so that a slow coordinator does not hold up records.

mod commits;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_transport::{
    AssignedPartition, Class, Client, Consumer, Event, FetchedRecord, IsolationLevel, Position,
    RecordBatch, ResetCause, TopicPartition, TransportError,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::group::{Assignment, Fetched, GroupCommand, GroupEvent, Life};
use super::held_back::HeldBack;
use super::origin::Origin;
use super::replay::Sealing;
use crate::telemetry::{Beat, Metrics};
use commits::Lives;

/// The longest wait for one commit: less than what is left of a rebalance after draining.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long leaving may take; the pipeline's own deadline may be shorter.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked for transactions that stay open.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where each assigned partition begins, between its assignment and the command to begin.
type Starts = Mutex<HashMap<TopicPartition, Position>>;

/// What the task works with.
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) consumer: Consumer,
    pub(super) sealing: Arc<Sealing>,
    pub(super) isolation: IsolationLevel,
    pub(super) held_back_for: Duration,
    pub(super) metrics: Metrics,
    pub(super) beat: Beat,
}

/// Runs until it left, or nobody commands any more.
pub(super) async fn run(
    member: Member,
    mut commands: mpsc::UnboundedReceiver<GroupCommand>,
    events: mpsc::Sender<GroupEvent>,
) {
    let Member {
        client,
        consumer,
        sealing,
        isolation,
        held_back_for,
        metrics,
        beat,
    } = member;
    let starts = Starts::default();
    let lives = Lives::default();
    let telling = async {
        tell(&client, &consumer, &events, &starts, &lives).await;
        // Leaving ends the events before it is answered; only who commands says that all is over.
        std::future::pending::<()>().await;
    };
    let running = async {
        tokio::select! {
            () = obey(&consumer, &sealing, &mut commands, &starts, &lives) => {}
            () = telling => {}
            () = watch(&consumer, held_back_for, &metrics), if isolation == IsolationLevel::ReadCommitted => {}
        }
    };
    beat.during(running).await;
}

/// Says aloud where an open transaction hides what comes after it.
async fn watch(consumer: &Consumer, held_back_for: Duration, metrics: &Metrics) {
    let mut held_back = HeldBack::new(held_back_for);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        let now = looks.tick().await;
        for held in held_back.look(&consumer.progress(), now) {
            let partition = &held.partition;
            metrics.held_back(&partition.topic);
            tracing::error!(%partition, last_stable_offset = held.last_stable_offset,
                high_watermark = held.high_watermark,
                "a transaction stays open; what comes after it cannot be read");
        }
    }
}

async fn obey(
    consumer: &Consumer,
    sealing: &Arc<Sealing>,
    commands: &mut mpsc::UnboundedReceiver<GroupCommand>,
    starts: &Starts,
    lives: &Lives,
) {
    while let Some(command) = commands.recv().await {
        match command {
            GroupCommand::Begin(partition) => {
                let start = starts
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&partition);
                if let Some(start) = start {
                    consumer.begin(&partition, start);
                }
            }
            GroupCommand::Pause(partition) => consumer.pause(&partition),
            GroupCommand::Resume(partition) => consumer.resume(&partition),
            GroupCommand::Commit(offsets, reply) => {
                let send = |offsets| consumer.commit(offsets);
                let result = commits::commit(lives, sealing, offsets, COMMIT_TIMEOUT, send).await;
                if reply.send(result).is_err() {
                    tracing::debug!("nobody waits for this commit any more");
                }
            }
            GroupCommand::Release(partitions) => consumer.release(partitions),
            GroupCommand::Leave(reply) => {
                match consumer.leave(Instant::now() + LEAVE_TIMEOUT).await {
                    Ok(()) => {
                        if reply.send(()).is_err() {
                            tracing::debug!("nobody waits for this group to be left any more");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the group was not left in order"),
                }
                return;
            }
        }
    }
}

async fn tell(
    client: &Client,
    consumer: &Consumer,
    events: &mpsc::Sender<GroupEvent>,
    starts: &Starts,
    lives: &Lives,
) {
    let mut last_fatal: Option<TransportError> = None;
    while let Some(event) = consumer.next().await {
        let told = match event {
            Event::Assigned { partitions, .. } => {
                let mut starts = starts.lock().unwrap_or_else(PoisonError::into_inner);
                starts.extend(partitions.iter().filter_map(start_of));
                let assignment = |assigned: AssignedPartition| {
                    let life = lives.begin(&assigned.partition);
                    assignment(assigned, life)
                };
                Some(GroupEvent::Assigned(
                    partitions.into_iter().map(assignment).collect(),
                ))
            }
            Event::Revoked { partitions } => Some(GroupEvent::Revoked(partitions)),
            Event::Lost { partitions, reason } => {
                tracing::warn!(%reason, "lost the partitions");
                Some(GroupEvent::Lost(partitions))
            }
            Event::Records(batch) => Some(GroupEvent::Fetched(fetched(batch))),
            Event::Reset {
                partition,
                from,
                to,
                cause,
            } => {
                let skipped = match cause {
                    ResetCause::TopicRecreated => 0,
                    _ => to.saturating_sub(from).max(0),
                };
                tracing::warn!(%partition, from, to, skipped, "{}", why_reset(cause));
                // From here on the consumer takes commits of it again, and the pipeline has yet to hear of it.
                let life = lives.begin(&partition);
                let topic = client.topic(&partition.topic).await;
                Some(GroupEvent::Reset {
                    partition,
                    to,
                    topic_id: topic.ok().and_then(|topic| topic.id()),
                    life,
                })
            }
            Event::Corrupt { partition, fault } => {
                tracing::error!(%partition, offset = fault.offset, resume_at = fault.resume_at,
                    reason = %fault.reason, "a stretch of the log cannot be read; it is passed over");
                consumer.seek(&partition, Position::Offset(fault.resume_at));
                let reason = fault.reason.to_string();
                let unreadable = unreadable(&partition, fault.offset, &reason);
                Some(GroupEvent::Fetched(Fetched {
                    records: vec![Arc::new(unreadable)],
                    end: fault.resume_at,
                    high_watermark: fault.resume_at,
                    partition,
                }))
            }
            Event::Failed(error) => {
                tracing::warn!(%error, "the consumer is in trouble");
                let target = error.target();
                match (error.class(), target.topic_name(), target.partition_index()) {
                    (Class::Fatal, Some(topic), Some(partition)) => Some(GroupEvent::Refused(
                        TopicPartition::new(topic, partition),
                        error.to_string(),
                    )),
                    (Class::Fatal, _, _) => {
                        last_fatal = Some(error);
                        None
                    }
                    _ => None,
                }
            }
            other => {
                tracing::debug!(event = ?other, "an event of no concern");
                None
            }
        };
        if let Some(told) = told
            && events.send(told).await.is_err()
        {
            return;
        }
    }
    let reason = last_fatal.map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
    if events.send(GroupEvent::Ended(reason)).await.is_err() {
        tracing::debug!("nobody waits for the end of the group any more");
    }
}

fn why_reset(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::OutOfRange => {
            "the offset was out of range; reading goes on where the start position says"
        }
        ResetCause::Truncated {
            diverged_at: Some(_),
        } => "the log was cut below the offset; reading goes on where it was cut",
        ResetCause::Truncated { diverged_at: None } => {
            "nothing of the time that was read is in the log; reading goes on where the start position says"
        }
        ResetCause::TopicRecreated => {
            "the topic was deleted and made again; reading goes on at its first record"
        }
        _ => "reading goes on from another offset",
    }
}

fn start_of(assigned: &AssignedPartition) -> Option<(TopicPartition, Position)> {
    if assigned.start.is_none() {
        tracing::error!(partition = %assigned.partition,
            "no offset is committed and none is to be assumed; the partition is not read");
    }
    Some((assigned.partition.clone(), assigned.start?))
}

fn assignment(assigned: AssignedPartition, life: Life) -> Assignment {
    Assignment {
        partition: assigned.partition,
        committed: assigned
            .committed
            .map(|committed| (committed.offset, committed.metadata)),
        start: assigned.start,
        topic_id: assigned.topic_id,
        life,
    }
}

fn fetched(batch: RecordBatch) -> Fetched {
    let records = batch
        .records
        .iter()
        .map(|record| Arc::new(origin(&batch.partition, record)))
        .collect();
    Fetched {
        records,
        end: batch.next_offset,
        high_watermark: batch.high_watermark,
        partition: batch.partition,
    }
}

/// Copies a record out of the response it came in.
pub(in crate::inbound) fn origin(partition: &TopicPartition, record: &FetchedRecord) -> Origin {
    let copy = |bytes: &Option<Bytes>| bytes.as_deref().map(Bytes::copy_from_slice);
    Origin {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        append_time_ms: record.append_time_ms(),
        key: copy(&record.key),
        value: copy(&record.value),
        headers: record
            .headers
            .iter()
            .map(|header| (header.name.clone(), copy(&header.value)))
            .collect(),
        unreadable: None,
    }
}

/// Stands for a stretch of the log that cannot be read, so that it is buried and done in its turn.
fn unreadable(partition: &TopicPartition, offset: i64, reason: &str) -> Origin {
    Origin {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset,
        timestamp_ms: 0,
        append_time_ms: None,
        key: None,
        value: None,
        headers: Vec::new(),
        unreadable: Some(reason.into()),
    }
}
