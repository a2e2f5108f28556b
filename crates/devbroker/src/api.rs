//! The requests this broker answers, and in which versions.

use std::fmt;

/// A request type of Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// Appends record batches.
    Produce,
    /// Reads record batches.
    Fetch,
    /// Offsets by timestamp, earliest and latest.
    ListOffsets,
    /// Brokers, topics, partitions and their leaders.
    Metadata,
    /// Stores a group's offsets.
    OffsetCommit,
    /// Reads a group's offsets.
    OffsetFetch,
    /// Which broker coordinates a group.
    FindCoordinator,
    /// Enters a group's next generation.
    JoinGroup,
    /// Keeps a group membership alive.
    Heartbeat,
    /// Leaves a group.
    LeaveGroup,
    /// Hands out, or asks for, the assignment of a generation.
    SyncGroup,
    /// State and members of groups.
    DescribeGroups,
    /// All groups.
    ListGroups,
    /// Which SASL mechanism a client will authenticate by.
    SaslHandshake,
    /// Which requests in which versions.
    ApiVersions,
    /// Creates topics.
    CreateTopics,
    /// Deletes topics.
    DeleteTopics,
    /// Deletes records from the beginning of partitions.
    DeleteRecords,
    /// Gives out a producer id.
    InitProducerId,
    /// Where leader epochs end.
    OffsetForLeaderEpoch,
    /// Settings of topics and of the broker.
    DescribeConfigs,
    /// Replaces all settings.
    AlterConfigs,
    /// A message of the SASL mechanism.
    SaslAuthenticate,
    /// Adds partitions to topics.
    CreatePartitions,
    /// Deletes groups without members.
    DeleteGroups,
    /// Changes single settings.
    IncrementalAlterConfigs,
    /// Deletes what a group committed.
    OffsetDelete,
    /// The brokers and the cluster's id.
    DescribeCluster,
    /// Joins, stays in or leaves a group that its coordinator divides.
    ConsumerGroupHeartbeat,
    /// State and members of such groups.
    ConsumerGroupDescribe,
}

struct Row {
    api: Api,
    key: i16,
    /// Versions offered: what Kafka 4.1 offers, as far as the message library goes.
    min: i16,
    max: i16,
    /// First version with compact encodings and tagged fields (KIP-482).
    flexible: i16,
}

/// A request type that has no compact encoding yet.
const NEVER: i16 = i16::MAX;

const fn row(api: Api, key: i16, min: i16, max: i16, flexible: i16) -> Row {
    Row {
        api,
        key,
        min,
        max,
        flexible,
    }
}

/// In the order of [`Api`]'s variants, which [`Api::row`] relies on.
const ROWS: [Row; 30] = [
    row(Api::Produce, 0, 3, 13, 9),
    row(Api::Fetch, 1, 4, 18, 12),
    row(Api::ListOffsets, 2, 1, 10, 6),
    row(Api::Metadata, 3, 0, 13, 9),
    row(Api::OffsetCommit, 8, 2, 9, 8),
    row(Api::OffsetFetch, 9, 1, 9, 6),
    row(Api::FindCoordinator, 10, 0, 6, 3),
    row(Api::JoinGroup, 11, 2, 9, 6),
    row(Api::Heartbeat, 12, 0, 4, 4),
    row(Api::LeaveGroup, 13, 0, 5, 4),
    row(Api::SyncGroup, 14, 0, 5, 4),
    row(Api::DescribeGroups, 15, 0, 6, 5),
    row(Api::ListGroups, 16, 0, 5, 3),
    // Version 0, in which what follows has no frames, is not there.
    row(Api::SaslHandshake, 17, 1, 1, NEVER),
    row(Api::ApiVersions, 18, 0, 4, 3),
    row(Api::CreateTopics, 19, 2, 7, 5),
    row(Api::DeleteTopics, 20, 1, 6, 4),
    row(Api::DeleteRecords, 21, 0, 2, 2),
    row(Api::InitProducerId, 22, 0, 5, 2),
    row(Api::OffsetForLeaderEpoch, 23, 2, 4, 4),
    row(Api::DescribeConfigs, 32, 1, 4, 4),
    row(Api::AlterConfigs, 33, 0, 2, 2),
    row(Api::SaslAuthenticate, 36, 0, 2, 2),
    row(Api::CreatePartitions, 37, 0, 3, 2),
    row(Api::DeleteGroups, 42, 0, 2, 2),
    row(Api::IncrementalAlterConfigs, 44, 0, 1, 1),
    row(Api::OffsetDelete, 47, 0, 0, NEVER),
    row(Api::DescribeCluster, 60, 0, 2, 0),
    row(Api::ConsumerGroupHeartbeat, 68, 0, 1, 0),
    row(Api::ConsumerGroupDescribe, 69, 0, 1, 0),
];

impl Api {
    /// Every request type, by ascending key.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.api)
    }

    /// The request type with this key on the wire.
    pub fn from_key(key: i16) -> Option<Self> {
        ROWS.iter().find(|row| row.key == key).map(|row| row.api)
    }

    /// The key on the wire.
    pub fn key(self) -> i16 {
        self.row().key
    }

    /// The lowest version offered.
    pub fn min_version(self) -> i16 {
        self.row().min
    }

    /// The highest version offered.
    pub fn max_version(self) -> i16 {
        self.row().max
    }

    pub(crate) fn offers(self, version: i16) -> bool {
        (self.min_version()..=self.max_version()).contains(&version)
    }

    pub(crate) fn is_flexible(self, version: i16) -> bool {
        version >= self.row().flexible
    }

    /// Version of the request header that precedes the body.
    pub(crate) fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the response header; ApiVersions always answers with header 0 (KIP-511), so
    /// that a client which does not know the broker yet can read it.
    pub(crate) fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != Self::ApiVersions && self.is_flexible(version))
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn every_row_stands_at_its_variants_place() {
        for api in Api::all() {
            assert_eq!(api.row().api, api);
            assert_eq!(Api::from_key(api.key()), Some(api));
        }
    }

    #[test]
    fn header_versions_agree_with_the_message_library() {
        for api in Api::all() {
            let key = ApiKey::try_from(api.key()).unwrap();
            for version in api.min_version()..=api.max_version() {
                assert_eq!(
                    api.request_header_version(version),
                    key.request_header_version(version),
                    "{api} v{version}"
                );
                assert_eq!(
                    api.response_header_version(version),
                    key.response_header_version(version),
                    "{api} v{version}"
                );
            }
        }
    }
}
