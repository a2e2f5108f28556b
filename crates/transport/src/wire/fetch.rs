//! Fetch: record batches as they lie in the log.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Api, EpochEnd, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer,
};

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// All of them, those of open and aborted transactions too.
    ReadUncommitted,
    /// Up to the last stable offset, without those of aborted transactions.
    #[default]
    ReadCommitted,
}

impl IsolationLevel {
    pub(super) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Asks a leader for records; waits at the broker until there are enough of them.
#[derive(Debug, Clone)]
pub(crate) struct FetchRequest {
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    /// For the whole response; the first batch comes even if it alone is larger (KIP-74).
    pub(crate) max_bytes: i32,
    pub(crate) isolation: IsolationLevel,
    /// The session this is part of (KIP-227), 0 for none; not before version 7.
    pub(crate) session_id: i32,
    /// Its next step: 0 begins a session and names all, 1 and above say what has changed, -1 is for no session.
    pub(crate) session_epoch: i32,
    /// In the order in which the broker fills the response.
    pub(crate) topics: Vec<FetchTopic>,
    /// What the session is to hold no longer.
    pub(crate) forgotten: Vec<ForgottenTopic>,
    /// What it is to hold no longer by this id, because it is named by another; of no meaning where names are sent.
    pub(crate) replaced: Vec<ForgottenTopic>,
    /// Where the reader is, for brokers that know of a replica nearby (KIP-392); the empty string for nowhere.
    pub(crate) rack_id: Arc<str>,
}

/// As [`FetchRequest`], for topics of which not all have an id: in the versions that go by names.
#[derive(Debug, Clone)]
pub(crate) struct FetchByNameRequest(pub(crate) FetchRequest);

#[derive(Debug, Clone)]
pub(crate) struct FetchTopic {
    pub(crate) name: String,
    /// What the topic goes by from version 13 on.
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<FetchPartition>,
}

#[derive(Debug, Clone)]
pub(crate) struct ForgottenTopic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchPartition {
    pub(crate) partition: i32,
    /// The leader epoch this client knows, -1 for none: lets the broker tell us that one of us is behind.
    pub(crate) current_leader_epoch: i32,
    pub(crate) fetch_offset: i64,
    /// The leader epoch of the record before, -1 for none: lets the broker tell us that it was cut off (KIP-320, KIP-595).
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchResponse {
    pub(crate) error_code: i16,
    /// The session the next step may belong to, 0 for none.
    pub(crate) session_id: i32,
    pub(crate) topics: Vec<FetchedTopic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedTopic {
    /// Empty from version 13 on.
    pub(crate) name: String,
    /// All zero before version 13.
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<FetchedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedPartition {
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) high_watermark: i64,
    /// -1 where the broker does not tell.
    pub(crate) last_stable_offset: i64,
    /// -1 before version 5.
    pub(crate) log_start_offset: i64,
    /// The largest epoch up to that of the last record fetched, and where it ends: what was fetched from there on is no
    /// longer in the log (KIP-595), from version 12 on.
    pub(crate) diverging: Option<EpochEnd>,
    /// The leader the broker knows of, where it is not itself: id and epoch (KIP-595), from version 12 on.
    pub(crate) current_leader: Option<(i32, i32)>,
    /// Transactions whose records the response holds and that were aborted; only with read-committed.
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// -1 for none (KIP-392).
    pub(crate) preferred_read_replica: i32,
    /// Batches as they lie in the log, shared with the frame; the last may be cut short.
    pub(crate) records: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
}

/// The last version that names topics; from the next on they go by their ids (KIP-516).
const LAST_BY_NAME: i16 = 12;

impl Request for FetchRequest {
    type Response = FetchResponse;

    const API: Api = Api::Fetch;
    // 14 to 17 bring nothing that a consumer writes: replica states, directories, and endpoints in answers.
    const VERSIONS: VersionRange = VersionRange::new(4, 17);
    const FLEXIBLE_FROM: i16 = 12;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        if version <= 14 {
            let not_a_replica = -1;
            writer.i32(not_a_replica);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation.code());
        if version >= 7 {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        } else if self.session_epoch > 0 {
            // What the session holds and is not named here would not be fetched.
            return Err(Unencodable(
                "a step of a fetch session was to go to a broker older than those (Kafka 1.1)",
            ));
        }
        writer.array(&self.topics, |writer, topic| {
            topic_key(version, writer, &topic.name, &topic.id)?;
            writer.array(&topic.partitions, |writer, partition| {
                partition.encode(version, writer);
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        if version >= 7 {
            let replaced = match version {
                ..=LAST_BY_NAME => &[],
                _ => self.replaced.as_slice(),
            };
            let forgotten: Vec<_> = self.forgotten.iter().chain(replaced).collect();
            writer.array(&forgotten, |writer, topic| {
                topic_key(version, writer, &topic.name, &topic.id)?;
                writer.array(&topic.partitions, |writer, partition| {
                    writer.i32(*partition);
                    Ok(())
                })?;
                writer.tags();
                Ok(())
            })?;
        }
        if version >= 11 {
            writer.string(&self.rack_id)?;
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<FetchResponse, Malformed> {
        reader.throttle_time()?;
        let (error_code, session_id) = if version >= 7 {
            (reader.i16()?, reader.i32()?)
        } else {
            (0, 0)
        };
        let topics = reader.array(|reader| {
            let (name, id) = if version > LAST_BY_NAME {
                (String::new(), reader.uuid()?)
            } else {
                (reader.string()?, [0; 16])
            };
            let partitions = reader.array(|reader| FetchedPartition::decode(version, reader))?;
            reader.skip_tags()?;
            Ok(FetchedTopic {
                name,
                id,
                partitions,
            })
        })?;
        reader.skip_tags()?;
        Ok(FetchResponse {
            error_code,
            session_id,
            topics,
        })
    }
}

impl Request for FetchByNameRequest {
    type Response = FetchResponse;

    const API: Api = Api::Fetch;
    const VERSIONS: VersionRange = VersionRange::new(FetchRequest::VERSIONS.min, LAST_BY_NAME);
    const FLEXIBLE_FROM: i16 = FetchRequest::FLEXIBLE_FROM;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        self.0.encode(version, writer)
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<FetchResponse, Malformed> {
        FetchRequest::decode(version, reader)
    }
}

fn topic_key(
    version: i16,
    writer: &mut Writer,
    name: &str,
    id: &TopicId,
) -> Result<(), Unencodable> {
    if version > LAST_BY_NAME {
        writer.uuid(id);
        Ok(())
    } else {
        writer.string(name)
    }
}

impl FetchPartition {
    fn encode(&self, version: i16, writer: &mut Writer) {
        writer.i32(self.partition);
        if version >= 9 {
            writer.i32(self.current_leader_epoch);
        }
        writer.i64(self.fetch_offset);
        if version >= 12 {
            writer.i32(self.last_fetched_epoch);
        }
        if version >= 5 {
            let log_start_offset_of_a_follower = -1;
            writer.i64(log_start_offset_of_a_follower);
        }
        writer.i32(self.max_bytes);
        writer.tags();
    }
}

impl FetchedPartition {
    fn decode(version: i16, reader: &mut Reader) -> Result<Self, Malformed> {
        let mut partition = Self {
            partition: reader.i32()?,
            error_code: reader.i16()?,
            high_watermark: reader.i64()?,
            last_stable_offset: reader.i64()?,
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            diverging: None,
            current_leader: None,
            aborted: Vec::new(),
            preferred_read_replica: -1,
            records: Bytes::new(),
        };
        partition.aborted = reader
            .nullable_array(|reader| {
                let aborted = AbortedTransaction {
                    producer_id: reader.i64()?,
                    first_offset: reader.i64()?,
                };
                reader.skip_tags()?;
                Ok(aborted)
            })?
            .unwrap_or_default();
        if version >= 11 {
            partition.preferred_read_replica = reader.i32()?;
        }
        partition.records = reader.nullable_bytes()?.unwrap_or_default();
        reader.tags(|tag, mut field| {
            const DIVERGING_EPOCH: u32 = 0;
            const CURRENT_LEADER: u32 = 1;
            match tag {
                DIVERGING_EPOCH => {
                    partition.diverging = Some(EpochEnd {
                        leader_epoch: field.i32()?,
                        end_offset: field.i64()?,
                    });
                }
                CURRENT_LEADER => partition.current_leader = Some((field.i32()?, field.i32()?)),
                _ => {}
            }
            Ok(())
        })?;
        Ok(partition)
    }
}
