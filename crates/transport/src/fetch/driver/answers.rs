//! What brokers answered, taken in: whom it concerns, whether it may pass, whom to ask next.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Asked, Driver, Whom};
use crate::{
    cluster::Generation,
    config::Address,
    consumer::Event,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    fetch::{
        session::Taken,
        state::{Chunk, CutOff, Incarnation},
    },
    record::TopicPartition,
    wire::{EpochEnd, FetchResponse, FetchedPartition, TopicId},
};

impl Driver {
    pub(super) fn validated(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
        leader_epoch: i32,
        end: Option<EpochEnd>,
    ) {
        let start = self.start;
        self.shared
            .change(|state| state.validated(partition, incarnation, leader_epoch, end, start));
    }

    pub(super) fn fetched(
        &mut self,
        now: Instant,
        address: &Address,
        asked: Vec<Asked>,
        answer: Result<FetchResponse, TransportError>,
    ) {
        let session = self.sessions.entry(address.clone()).or_default();
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                session.failed();
                return self.all_failed(now, &asked, error);
            }
        };
        let code = ErrorCode::from_code(response.error_code);
        let session_id = response.session_id;
        let (mut answers, strangers) = by_partition(response, &asked);
        let taken = match session.answered(code, session_id, answers.keys(), strangers) {
            Ok(taken) => taken,
            Err(refused) => {
                let error =
                    TransportError::code(Operation::Fetch, Target::broker(address), refused.code);
                if refused.was_full || !is_about_sessions(refused.code) {
                    return self.all_failed(now, &asked, error);
                }
                // The broker has forgotten the session, or another is at its end of it: a full request mends it.
                tracing::debug!(%error, "beginning a new fetch session");
                return self.shared.change(|state| {
                    for one in &asked {
                        state.unanswered(&one.partition, one.incarnation);
                    }
                });
            }
        };
        let frame_bytes: usize = answers
            .values()
            .map(|(_, answer)| answer.records.len())
            .sum();
        for one in asked {
            match (answers.remove(&one.partition), taken) {
                (Some(answer), _) => self.answered(now, one, answer, frame_bytes),
                (None, Taken::Step) => self
                    .shared
                    .change(|state| state.unchanged(&one.partition, one.incarnation)),
                (None, Taken::Full) => self
                    .shared
                    .change(|state| state.failed(now, &one.partition, one.incarnation)),
            }
        }
    }

    /// None of these was answered.
    fn all_failed(&mut self, now: Instant, asked: &[Asked], error: TransportError) {
        let shared = Arc::clone(&self.shared);
        let until = now + self.client.config().metadata_max_age;
        shared.change(|state| {
            for one in asked {
                match one.whom {
                    Whom::Leader => self.routes.misled(&one.partition, one.by),
                    // Who leads is not in question.
                    Whom::Follower => state.shun_follower(&one.partition, until),
                }
                state.failed(now, &one.partition, one.incarnation);
            }
            state.tell(Event::Failed(error));
        });
    }

    fn answered(
        &mut self,
        now: Instant,
        one: Asked,
        (topic_id, answer): (TopicId, FetchedPartition),
        frame_bytes: usize,
    ) {
        let Asked {
            partition,
            incarnation,
            by,
            whom,
            leader_epoch,
            ..
        } = one;
        if let Some(code) = ErrorCode::from_code(answer.error_code) {
            return self.refused(now, &partition, incarnation, by, whom, code);
        }
        match (answer.diverging, whom) {
            (None, _) => {}
            (Some(end), Whom::Leader) => {
                return self.validated(&partition, incarnation, leader_epoch, Some(end));
            }
            (Some(_), Whom::Follower) => {
                return self.shared.change(|state| {
                    state.leave_follower(&partition);
                    state.failed(now, &partition, incarnation);
                });
            }
        }
        let preferred = answer.preferred_read_replica;
        let chunk = Chunk {
            records: apart(answer.records, frame_bytes),
            aborted: answer
                .aborted
                .iter()
                .map(|one| (one.producer_id, one.first_offset))
                .collect(),
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start_offset: answer.log_start_offset,
            topic_id: Some(topic_id).filter(|id| *id != TopicId::default()),
            leader_epoch,
        };
        let until = now + self.client.config().metadata_max_age;
        self.shared.change(|state| {
            let fetched = state.fetched(now, &partition, incarnation, chunk);
            if let Err(CutOff { offset }) = fetched {
                let reason = format!("bytes but no whole batch at offset {offset}");
                let kind = ErrorKind::Malformed {
                    reason: reason.into(),
                };
                let target = target_of(&partition);
                let error = TransportError::new(Operation::Fetch, target, kind);
                state.tell(Event::Failed(error));
            }
            if preferred >= 0 && whom == Whom::Leader {
                state.prefer(&partition, incarnation, preferred, until);
            }
        });
    }

    fn refused(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        whom: Whom,
        code: ErrorCode,
    ) {
        let error = TransportError::code(Operation::Fetch, target_of(partition), code);
        if code == ErrorCode::OffsetOutOfRange && whom == Whom::Follower {
            // It is behind, or has less of the past than the leader, who says what is so.
            return self.shared.change(|state| {
                state.leave_follower(partition);
                state.failed(now, partition, incarnation);
            });
        }
        if code == ErrorCode::OffsetOutOfRange {
            let (halted, reset_to) = (Event::Failed(error), self.start.position());
            return self
                .shared
                .change(|state| state.out_of_range(now, partition, incarnation, reset_to, halted));
        }
        let until = now + self.client.config().metadata_max_age;
        self.shared.change(|state| {
            if matches!(
                code,
                ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId
            ) {
                state.disowned(partition, incarnation);
            }
            if whom == Whom::Follower {
                state.shun_follower(partition, until);
            }
        });
        self.failed(now, partition, incarnation, by, error);
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        error: TransportError,
    ) {
        let halts = error.class() == Class::Fatal;
        // The leader being elsewhere is everyday life and found out at once; it is not news.
        let moved = matches!(
            error.error_code(),
            Some(
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::OffsetNotAvailable
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::InconsistentTopicId
            )
        );
        self.routes.misled(partition, by);
        self.shared.change(|state| {
            if halts {
                state.halted(now, partition, incarnation, Event::Failed(error));
            } else {
                state.failed(now, partition, incarnation);
                if !moved {
                    state.tell(Event::Failed(error));
                }
            }
        });
    }
}

fn is_about_sessions(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError
    )
}

/// Answers by the names that were asked for, with the topic id each goes by, all zero for none.
type Answers = HashMap<TopicPartition, (TopicId, FetchedPartition)>;

/// The answers, and whether there are others that were not asked for.
fn by_partition(response: FetchResponse, asked: &[Asked]) -> (Answers, bool) {
    let no_id = TopicId::default();
    // A set, as a broker may name any number of topics.
    let by_name: HashMap<&str, &Asked> = asked
        .iter()
        .map(|one| (&*one.partition.topic, one))
        .collect();
    let ids = asked.iter().filter_map(|one| Some((one.topic_id?, one)));
    let by_id: HashMap<TopicId, &Asked> = ids.collect();
    let mut answers = HashMap::new();
    let mut strangers = false;
    for topic in response.topics {
        let known = match topic.id == no_id {
            true => by_name.get(&*topic.name),
            false => by_id.get(&topic.id),
        };
        let Some(known) = known else {
            strangers = true;
            continue;
        };
        for answer in topic.partitions {
            let name = Arc::clone(&known.partition.topic);
            let name = TopicPartition::new(name, answer.partition);
            answers.insert(name, (topic.id, answer));
        }
    }
    (answers, strangers)
}

/// Records lie in the frame they came in, and keep all of it in memory. A small part of a large one gets memory of
/// its own, so that what is held is never more than a few times what is counted.
fn apart(records: Bytes, frame_bytes: usize) -> Bytes {
    if records.len() < frame_bytes / 4 {
        Bytes::copy_from_slice(&records)
    } else {
        records
    }
}

fn target_of(partition: &TopicPartition) -> Target {
    Target::default().partition(Arc::clone(&partition.topic), partition.partition)
}
