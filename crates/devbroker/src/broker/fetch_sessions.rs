//! Fetch sessions (KIP-227): what each reader is being read for, so that it need only say what changes.
//!
//! Kept as Kafka's `FetchManager` and `FetchSession` do, as far as consumers see it. There is room for so many; one that
//! was not used for two minutes makes room for another, else a reader gets none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use uuid::Uuid;

use crate::error_code::ErrorCode;

/// Kafka's `max.incremental.fetch.session.cache.slots`.
pub(super) const DEFAULT_SLOTS: usize = 1000;
/// Kafka's `FetchSession.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`.
const EVICTION: Duration = Duration::from_secs(120);

/// No session, and a request that begins one or is of none.
const NONE: i32 = 0;
const BEGINS: i32 = 0;
const ENDS: i32 = -1;

/// A partition by the id of its topic, or by the name where the request goes by names.
type Key = (Uuid, String, i32);

/// All sessions of the cluster.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    kept: BTreeMap<(i32, i32), Session>,
    last_id: i32,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    last_used: Instant,
    /// In the order in which they are read.
    partitions: Vec<(Key, Cached)>,
}

#[derive(Debug, Clone)]
struct Cached {
    asked: FetchPartition,
    /// High watermark and log start as they were told last.
    told: Option<(i64, i64)>,
}

/// What a request is answered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything, outside any session.
    Sessionless,
    /// Everything, and a session begins.
    Begins,
    /// What has changed since the last answer in this session.
    Incremental(i32),
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchSession {
    /// The broker that keeps it.
    pub broker: i32,
    /// Its id.
    pub id: i32,
    /// The step the reader is to make next; the first after the full request is 1.
    pub epoch: i32,
    /// Whether topics go by their ids (KIP-516).
    pub by_id: bool,
    /// Topic id (nil by name), topic name (empty by id) and partition of all it holds.
    pub partitions: Vec<(Uuid, String, i32)>,
}

impl FetchSessions {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            kept: BTreeMap::new(),
            last_id: NONE,
        }
    }

    /// Takes a request in: what is to be read for it, and how it is answered.
    pub(crate) fn open(
        &mut self,
        broker: i32,
        request: &FetchRequest,
        by_id: bool,
        now: Instant,
    ) -> Result<(Vec<FetchTopic>, Kind), ErrorCode> {
        let at = (broker, request.session_id);
        match request.session_epoch {
            BEGINS | ENDS => {
                self.kept.remove(&at);
                let kind = match request.session_epoch {
                    BEGINS => Kind::Begins,
                    _ => Kind::Sessionless,
                };
                return Ok((request.topics.clone(), kind));
            }
            _ => {}
        }
        let session = self
            .kept
            .get_mut(&at)
            .ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        session.last_used = now;
        session.update(request);
        let topics = session.topics();
        if topics.is_empty() {
            self.kept.remove(&at);
            return Ok((topics, Kind::Sessionless));
        }
        Ok((topics, Kind::Incremental(request.session_id)))
    }

    /// What a request is about, the rest of its session included; it changes nothing.
    pub(crate) fn covered(&self, broker: i32, request: &FetchRequest) -> Vec<FetchTopic> {
        let session = self.kept.get(&(broker, request.session_id));
        match session {
            Some(session) if request.session_epoch > 0 => {
                let mut session = Session {
                    partitions: session.partitions.clone(),
                    ..*session
                };
                session.update(request);
                session.topics()
            }
            _ => request.topics.clone(),
        }
    }

    /// Begins a session for what was answered; its id, or none.
    pub(crate) fn begin(
        &mut self,
        broker: i32,
        asked: &[FetchTopic],
        answered: &[FetchableTopicResponse],
        by_id: bool,
        now: Instant,
    ) -> i32 {
        let of_broker = self.kept.iter().filter(|((at, _), _)| *at == broker);
        if of_broker.clone().count() >= self.slots {
            let idle = of_broker.min_by_key(|(_, session)| session.last_used);
            let idle = idle.filter(|(_, idle)| now.duration_since(idle.last_used) > EVICTION);
            let Some(at) = idle.map(|(at, _)| *at) else {
                return NONE;
            };
            self.kept.remove(&at);
        }
        self.last_id += 1;
        let mut session = Session {
            epoch: 1,
            by_id,
            last_used: now,
            partitions: Vec::new(),
        };
        for topic in asked {
            session.hold(topic);
        }
        for topic in answered {
            for data in &topic.partitions {
                let key = (
                    topic.topic_id,
                    topic.topic.to_string(),
                    data.partition_index,
                );
                session.is_news(&key, data);
            }
        }
        self.kept.insert((broker, self.last_id), session);
        self.last_id
    }

    /// Leaves out of an answer what has nothing new since the last one.
    pub(crate) fn only_news(
        &mut self,
        broker: i32,
        id: i32,
        mut topics: Vec<FetchableTopicResponse>,
    ) -> Vec<FetchableTopicResponse> {
        let Some(session) = self.kept.get_mut(&(broker, id)) else {
            return topics;
        };
        for topic in &mut topics {
            let (topic_id, name) = (topic.topic_id, topic.topic.to_string());
            topic.partitions.retain(|data| {
                let key = (topic_id, name.clone(), data.partition_index);
                let is_news = session.is_news(&key, data);
                if data
                    .records
                    .as_ref()
                    .is_some_and(|records| !records.is_empty())
                {
                    session.move_to_end(&key);
                }
                is_news
            });
        }
        topics.retain(|topic| !topic.partitions.is_empty());
        topics
    }

    /// Forgets all sessions that a broker keeps, as when it restarts.
    pub(crate) fn forget(&mut self, broker: i32) {
        self.kept.retain(|(at, _), _| *at != broker);
    }

    pub(crate) fn view(&self) -> Vec<FetchSession> {
        let kept = self.kept.iter();
        let view = kept.map(|((broker, id), session)| FetchSession {
            broker: *broker,
            id: *id,
            epoch: session.epoch,
            by_id: session.by_id,
            partitions: session
                .partitions
                .iter()
                .map(|(key, _)| key.clone())
                .collect(),
        });
        view.collect()
    }
}

impl Session {
    /// As `FetchSession.update`: what is sent first, and then what is forgotten.
    fn update(&mut self, request: &FetchRequest) {
        for topic in &request.topics {
            self.hold(topic);
        }
        for topic in &request.forgotten_topics_data {
            self.partitions.retain(|((id, name, partition), _)| {
                *id != topic.topic_id
                    || **name != **topic.topic
                    || !topic.partitions.contains(partition)
            });
        }
    }

    fn hold(&mut self, topic: &FetchTopic) {
        for asked in &topic.partitions {
            let key = (topic.topic_id, topic.topic.to_string(), asked.partition);
            let held = self.partitions.iter_mut().find(|(held, _)| *held == key);
            match held {
                Some((_, cached)) => cached.asked = asked.clone(),
                None => {
                    let cached = Cached {
                        asked: asked.clone(),
                        told: None,
                    };
                    self.partitions.push((key, cached));
                }
            }
        }
    }

    fn topics(&self) -> Vec<FetchTopic> {
        let topics = self.partitions.iter().map(|((id, name, _), cached)| {
            FetchTopic::default()
                .with_topic_id(*id)
                .with_topic(kafka_protocol::messages::TopicName(
                    kafka_protocol::protocol::StrBytes::from_string(name.clone()),
                ))
                .with_partitions(vec![cached.asked.clone()])
        });
        topics.collect()
    }

    /// What has given something is read last the next time, so that all come to be read first.
    fn move_to_end(&mut self, key: &Key) {
        if let Some(at) = self.partitions.iter().position(|(held, _)| held == key) {
            let held = self.partitions.remove(at);
            self.partitions.push(held);
        }
    }

    /// Whether a reader has to be told this; takes note of it as told.
    fn is_news(&mut self, key: &Key, data: &PartitionData) -> bool {
        let Some((_, cached)) = self.partitions.iter_mut().find(|(held, _)| held == key) else {
            return true;
        };
        let ends = Some((data.high_watermark, data.log_start_offset));
        let has_failed = data.error_code != 0;
        let is_news = cached.told != ends
            || has_failed
            || data
                .records
                .as_ref()
                .is_some_and(|records| !records.is_empty())
            || data.preferred_read_replica.0 >= 0
            || data.diverging_epoch.end_offset >= 0;
        cached.told = ends.filter(|_| !has_failed);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::fetch_request::ForgottenTopic;

    const BROKER: i32 = 1;

    fn topic(id: u8, partitions: &[(i32, i64)]) -> FetchTopic {
        let partitions = partitions.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
        });
        FetchTopic::default()
            .with_topic_id(Uuid::from_bytes([id; 16]))
            .with_partitions(partitions.collect())
    }

    fn request(id: i32, epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
        FetchRequest::default()
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_topics(topics)
    }

    fn answer(partition: i32, high_watermark: i64, error: i16) -> FetchableTopicResponse {
        let data = PartitionData::default()
            .with_partition_index(partition)
            .with_high_watermark(high_watermark)
            .with_error_code(error);
        FetchableTopicResponse::default()
            .with_topic_id(Uuid::from_bytes([1; 16]))
            .with_partitions(vec![data])
    }

    fn begun(slots: usize, now: Instant) -> (FetchSessions, i32) {
        let mut sessions = FetchSessions::new(slots);
        let topics = vec![topic(1, &[(0, 0), (1, 0)])];
        let full = request(0, 0, topics.clone());
        let (read, kind) = sessions.open(BROKER, &full, true, now).unwrap();
        assert_eq!((read, kind), (topics.clone(), Kind::Begins));
        let id = sessions.begin(BROKER, &topics, &[answer(0, 5, 0)], true, now);
        (sessions, id)
    }

    #[test]
    fn a_step_reads_all_that_is_held_and_answers_what_is_new() {
        let now = Instant::now();
        let (mut sessions, id) = begun(1, now);
        let step = request(id, 1, vec![topic(1, &[(0, 3)])]);
        let (read, kind) = sessions.open(BROKER, &step, true, now).unwrap();
        assert_eq!(
            read,
            [topic(1, &[(0, 3)]), topic(1, &[(1, 0)])],
            "in the order they came"
        );
        assert_eq!(kind, Kind::Incremental(id));
        let news = sessions.only_news(BROKER, id, vec![answer(0, 5, 0), answer(1, 0, 0)]);
        assert_eq!(news, [answer(1, 0, 0)]);
        let news = sessions.only_news(BROKER, id, vec![answer(0, 5, 6), answer(1, 0, 0)]);
        assert_eq!(news, [answer(0, 5, 6)]);
        // What had failed is told again once it does not.
        let news = sessions.only_news(BROKER, id, vec![answer(0, 5, 0), answer(1, 0, 0)]);
        assert_eq!(news, [answer(0, 5, 0)]);
    }

    #[test]
    fn what_has_given_something_is_read_last() {
        let now = Instant::now();
        let (mut sessions, id) = begun(1, now);
        let mut given = answer(0, 5, 0);
        given.partitions[0].records = Some(bytes::Bytes::from_static(b"batch"));
        sessions.only_news(BROKER, id, vec![given, answer(1, 5, 0)]);
        let step = request(id, 1, vec![]);
        let (read, _) = sessions.open(BROKER, &step, true, now).unwrap();
        assert_eq!(read, [topic(1, &[(1, 0)]), topic(1, &[(0, 0)])]);
    }

    #[test]
    fn what_is_forgotten_by_another_id_stays() {
        let now = Instant::now();
        let (mut sessions, id) = begun(1, now);
        let gone = |id: u8, partition: i32| {
            ForgottenTopic::default()
                .with_topic_id(Uuid::from_bytes([id; 16]))
                .with_partitions(vec![partition])
        };
        let step = request(id, 1, vec![]).with_forgotten_topics_data(vec![gone(1, 0), gone(2, 1)]);
        let (read, _) = sessions.open(BROKER, &step, true, now).unwrap();
        assert_eq!(read, [topic(1, &[(1, 0)])]);
        // With nothing left it is no session.
        let step = request(id, 2, vec![]).with_forgotten_topics_data(vec![gone(1, 1)]);
        let opened = sessions.open(BROKER, &step, true, now);
        assert_eq!(opened, Ok((vec![], Kind::Sessionless)));
        assert!(sessions.view().is_empty());
    }

    #[test]
    fn a_step_that_does_not_fit_is_refused_for_what_is_wrong_with_it() {
        let now = Instant::now();
        let (mut sessions, id) = begun(1, now);
        let mut refused = |broker, id, epoch, by_id| {
            let step = request(id, epoch, vec![]);
            sessions.open(broker, &step, by_id, now).unwrap_err()
        };
        for (step, code) in [
            ((2, id, 1, true), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            ((1, 99, 1, true), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            ((1, id, 2, true), ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            ((1, id, 1, false), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
        ] {
            let (broker, id, epoch, by_id) = step;
            assert_eq!(refused(broker, id, epoch, by_id), code);
        }
        sessions.forget(BROKER);
        assert!(sessions.view().is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_until_one_was_idle_for_two_minutes() {
        let now = Instant::now();
        let (mut sessions, first) = begun(1, now);
        let topics = [topic(1, &[(0, 0)])];
        assert_eq!(sessions.begin(BROKER, &topics, &[], true, now), NONE);
        // Another broker has room of its own.
        assert_ne!(sessions.begin(2, &topics, &[], true, now), NONE);
        let later = now + EVICTION + Duration::from_millis(1);
        let second = sessions.begin(BROKER, &topics, &[], true, later);
        assert!(second != NONE && second != first);
        let ends = request(second, ENDS, topics.to_vec());
        sessions.open(BROKER, &ends, true, later).unwrap();
        assert_eq!(sessions.view().len(), 1);
    }
}
