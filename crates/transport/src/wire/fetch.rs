//! Fetch: record batches as they lie in the log.

use bytes::Bytes;

use super::{Api, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer};

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
    /// In the order in which the broker fills the response.
    pub(crate) topics: Vec<FetchTopic>,
    /// The empty string for none.
    pub(crate) rack_id: String,
}

#[derive(Debug, Clone)]
pub(crate) struct FetchTopic {
    pub(crate) name: String,
    /// What the topic goes by from version 13 on.
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<FetchPartition>,
}

#[derive(Debug, Clone)]
pub(crate) struct FetchPartition {
    pub(crate) partition: i32,
    /// The leader epoch this client knows, -1 for none: lets the broker tell us that one of us is behind.
    pub(crate) current_leader_epoch: i32,
    pub(crate) fetch_offset: i64,
    pub(crate) max_bytes: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchResponse {
    pub(crate) error_code: i16,
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

impl Request for FetchRequest {
    type Response = FetchResponse;

    const API: Api = Api::Fetch;
    // Names up to 12, topic ids from 13 on; the codec below knows 13, the caller does not yet.
    const VERSIONS: VersionRange = VersionRange::new(4, 12);
    const FLEXIBLE_FROM: i16 = 12;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        let not_a_replica = -1;
        writer.i32(not_a_replica);
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation.code());
        if version >= 7 {
            // A full fetch outside any session (KIP-227).
            let (session_id, session_epoch) = (0, -1);
            writer.i32(session_id);
            writer.i32(session_epoch);
        }
        writer.array(&self.topics, |writer, topic| {
            if version >= 13 {
                writer.uuid(&topic.id);
            } else {
                writer.string(&topic.name)?;
            }
            writer.array(&topic.partitions, |writer, partition| {
                partition.encode(version, writer);
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        if version >= 7 {
            let forgotten: &[()] = &[];
            writer.array(forgotten, |_, ()| Ok(()))?;
        }
        if version >= 11 {
            writer.string(&self.rack_id)?;
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<FetchResponse, Malformed> {
        reader.throttle_time()?;
        let mut error_code = 0;
        if version >= 7 {
            error_code = reader.i16()?;
            let _session_id = reader.i32()?;
        }
        let topics = reader.array(|reader| {
            let (name, id) = if version >= 13 {
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
        Ok(FetchResponse { error_code, topics })
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
            let last_fetched_epoch = -1;
            writer.i32(last_fetched_epoch);
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
            const CURRENT_LEADER: u32 = 1;
            if tag == CURRENT_LEADER {
                partition.current_leader = Some((field.i32()?, field.i32()?));
            }
            Ok(())
        })?;
        Ok(partition)
    }
}
