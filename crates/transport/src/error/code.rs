//! The error codes a broker answers with: name, class and meaning of each.

use super::Class;

/// Declares the codes once; everything else about them is read off this table.
macro_rules! codes {
    ($($code:literal $variant:ident $name:literal $class:ident $meaning:literal;)*) => {
        /// An error code of the Kafka protocol, up to Kafka 4.1.
        ///
        /// Source: <https://kafka.apache.org/protocol#protocol_error_codes>.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $name, "` (", $code, "): ", $meaning, ".")] $variant,)*
            /// A code this version does not know; never 0, which means success.
            Other(i16),
        }

        impl ErrorCode {
            /// Every code that has a name, in ascending order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)*];

            /// What the broker's number stands for; `None` for 0, success.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    0 => None,
                    $($code => Some(Self::$variant),)*
                    other => Some(Self::Other(other)),
                }
            }

            /// The number on the wire.
            pub fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// The protocol's name for it, such as `NOT_LEADER_OR_FOLLOWER`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(_) => "UNKNOWN_ERROR_CODE",
                }
            }

            /// What it means, as half a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Other(_) => "the broker is newer than this client and has an error it does not know",
                }
            }

            /// What may be done about it when the request would have changed something.
            ///
            /// [`TransportError::class`](super::TransportError::class) also weighs the request: what only
            /// reads has no unknown outcome.
            pub fn class(self) -> Class {
                match self {
                    $(Self::$variant => Class::$class,)*
                    Self::Other(_) => Class::UnknownOutcome,
                }
            }
        }
    };
}

codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" UnknownOutcome "the broker failed in a way it has no name for";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" Fatal "the offset asked for is no longer, or not yet, in the partition's log";
    2 CorruptMessage "CORRUPT_MESSAGE" Retriable "the batch arrived damaged: its checksum or size does not fit";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" Retriable "the broker does not know this topic or partition";
    4 InvalidFetchSize "INVALID_FETCH_SIZE" Fatal "the size asked for is not valid";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" Retriable "the partition has no leader at the moment";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" Retriable "the broker no longer leads this partition";
    7 RequestTimedOut "REQUEST_TIMED_OUT" UnknownOutcome "the broker ran out of time; what was asked for may still have happened";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" Retriable "the broker is not available";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" Retriable "the replica is not available on this broker";
    10 MessageTooLarge "MESSAGE_TOO_LARGE" Fatal "the batch is larger than the broker or the topic accepts (message.max.bytes, max.message.bytes)";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" Fatal "the controller has moved to a later epoch";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" Fatal "the text stored with an offset is longer than the broker accepts (offset.metadata.max.bytes)";
    13 NetworkException "NETWORK_EXCEPTION" UnknownOutcome "the broker lost a connection before it had an answer";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" Retriable "the coordinator is still loading its state";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" Retriable "the coordinator is not available";
    16 NotCoordinator "NOT_COORDINATOR" Retriable "the broker is no longer the coordinator";
    17 InvalidTopic "INVALID_TOPIC_EXCEPTION" Fatal "the topic name is not valid, or the topic may not be written to";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" Fatal "the batch is larger than a segment of the topic";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" Retriable "fewer replicas are in sync than min.insync.replicas; nothing was written";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" UnknownOutcome "the batch was written, but to fewer replicas than min.insync.replicas";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" Fatal "the number of acknowledgements asked for is not valid";
    22 IllegalGeneration "ILLEGAL_GENERATION" Fenced "the group has moved on to another generation";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" Fatal "the group's other members share no assignor or protocol type with this one";
    24 InvalidGroupId "INVALID_GROUP_ID" Fatal "the group id is not valid";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" Fenced "the coordinator no longer counts this member to the group";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" Fatal "the session timeout is outside what the broker accepts (group.min.session.timeout.ms to group.max.session.timeout.ms)";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" Retriable "the group is rebalancing";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" Fatal "the offsets and their metadata are larger than the broker accepts";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" Fatal "this client may not do that with the topic";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" Fatal "this client may not use the group";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" Fatal "this client may not do that with the cluster";
    32 InvalidTimestamp "INVALID_TIMESTAMP" Fatal "a record's timestamp is outside what the topic accepts";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" Fatal "the broker does not offer this SASL mechanism";
    34 IllegalSaslState "ILLEGAL_SASL_STATE" Fatal "the request does not fit the state of authentication";
    35 UnsupportedVersion "UNSUPPORTED_VERSION" Fatal "the broker does not speak this version of the request";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" Fatal "a topic of this name exists already";
    37 InvalidPartitions "INVALID_PARTITIONS" Fatal "the number of partitions is not valid";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" Fatal "the replication factor is not valid, or larger than the number of brokers";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" Fatal "the assignment of replicas is not valid";
    40 InvalidConfig "INVALID_CONFIG" Fatal "a configuration is not valid";
    41 NotController "NOT_CONTROLLER" Retriable "the broker is not the controller";
    42 InvalidRequest "INVALID_REQUEST" Fatal "the broker could not make sense of the request";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" Fatal "the topic's message format does not support this";
    44 PolicyViolation "POLICY_VIOLATION" Fatal "a policy of the cluster forbids this";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" UnknownOutcome "the batch does not follow the last one the broker has from this producer";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" UnknownOutcome "the broker has a batch of this sequence already";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" Fenced "a later epoch of this producer has written to the partition";
    48 InvalidTxnState "INVALID_TXN_STATE" Fatal "the transaction is not in a state that allows this";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" Fatal "the producer id does not belong to the transactional id";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" Fatal "the transaction timeout is longer than the broker accepts";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" Retriable "another transaction of this producer is still ending";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" Fenced "a later transaction coordinator has taken over";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" Fatal "this client may not use the transactional id";
    54 SecurityDisabled "SECURITY_DISABLED" Fatal "the cluster has no authorizer";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" Retriable "the broker did not try, because something else in the request failed";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" UnknownOutcome "the broker could not read or write its disk";
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" Fatal "the broker has no such log directory";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" Fatal "the broker refused the SASL credentials";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" UnknownOutcome "the broker has forgotten this producer";
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" Fatal "the partition is being reassigned";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" Fatal "delegation tokens are not enabled";
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" Fatal "no such delegation token";
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" Fatal "the delegation token belongs to someone else";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" Fatal "delegation tokens cannot be asked for over this connection";
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" Fatal "this client may not use the delegation token";
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" Fatal "the delegation token has expired";
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" Fatal "the principal's type is not supported";
    68 NonEmptyGroup "NON_EMPTY_GROUP" Fatal "the group still has members";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" Fatal "the group does not exist";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" Retriable "the broker does not know the fetch session";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" Retriable "the fetch session is at another epoch";
    72 ListenerNotFound "LISTENER_NOT_FOUND" Retriable "the leader has no listener of the kind this client came by";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" Fatal "the cluster does not allow topics to be deleted";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" Retriable "the partition has a later leader than this client knows";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" Retriable "this client knows a later leader than the broker does";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" Fatal "the broker does not support this compression";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" Fatal "the broker has registered anew";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" Retriable "the leader does not know the high watermark yet";
    79 MemberIdRequired "MEMBER_ID_REQUIRED" Retriable "the coordinator has given out a member id; join again with it";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" Retriable "the preferred leader is not available";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" Fatal "the group has as many members as the broker allows (group.max.size)";
    82 FencedInstanceId "FENCED_INSTANCE_ID" Fenced "another member has taken over this static member's instance id";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" Retriable "no replica is eligible to lead";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" Retriable "the partition has its leader already";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" Fatal "no reassignment is in progress";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" Fatal "the group is subscribed to the topic";
    87 InvalidRecord "INVALID_RECORD" Fatal "a record of the batch was refused, and the batch with it";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" Retriable "an offset is still part of an open transaction";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" Retriable "the quota for this kind of request is used up";
    90 ProducerFenced "PRODUCER_FENCED" Fenced "another producer with the same transactional id has taken over";
    91 ResourceNotFound "RESOURCE_NOT_FOUND" Fatal "no such resource";
    92 DuplicateResource "DUPLICATE_RESOURCE" Fatal "the resource was named twice";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" Fatal "the credential is not acceptable";
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" Fatal "the voters do not agree with the quorum's";
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" Fatal "the update's version is not valid";
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" Fatal "the feature could not be updated";
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" Fatal "the forwarded principal could not be read";
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" Fatal "no such snapshot";
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" Fatal "the position is outside the snapshot";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" Retriable "the broker does not know a topic of this id";
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" Fatal "a broker of this id is registered already";
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" Fatal "no broker of this id is registered";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" Retriable "the topic's id is not the one its log has";
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" Fatal "the broker belongs to another cluster";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" Fatal "no such transactional id";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" Retriable "the fetch session mixes topic names and topic ids";
    107 IneligibleReplica "INELIGIBLE_REPLICA" Fatal "the replica may not join the in-sync set";
    108 NewLeaderElected "NEW_LEADER_ELECTED" Fatal "the partition has got a new leader";
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" Fatal "the offset has moved to tiered storage";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" Fenced "the group has moved on to another epoch of this member";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" Retriable "the instance id is still held by another member, until that one leaves or its session ends";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" Fatal "the coordinator does not have this assignor";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" Retriable "the member has been given a later epoch; ask again with it";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" Fatal "the request went to the wrong kind of endpoint";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" Fatal "this kind of endpoint is not supported";
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" Fatal "no controller of this id";
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" Fatal "the telemetry subscription is not known";
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" Fatal "the telemetry is larger than the broker accepts";
    119 InvalidRegistration "INVALID_REGISTRATION" Fatal "the registration is not valid";
    120 TransactionAbortable "TRANSACTION_ABORTABLE" Fatal "the transaction must be aborted";
    121 InvalidRecordState "INVALID_RECORD_STATE" Fatal "the record is not in a state that allows this";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" Retriable "the broker does not know the share session";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" Retriable "the share session is at another epoch";
    124 FencedStateEpoch "FENCED_STATE_EPOCH" Fatal "the share group's state has a later epoch";
    125 InvalidVoterKey "INVALID_VOTER_KEY" Fatal "the voter's key is not the one in the quorum";
    126 DuplicateVoter "DUPLICATE_VOTER" Fatal "the voter is in the quorum already";
    127 VoterNotFound "VOTER_NOT_FOUND" Fatal "no such voter in the quorum";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" Fatal "the regular expression is not valid";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" Retriable "the client's metadata is out of date; start again from the bootstrap addresses";
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" Fatal "the streams topology is not valid";
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" Fatal "the streams topology has an invalid epoch";
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" Fatal "the streams topology has a later epoch";
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" Retriable "the broker has as many share sessions as it allows";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.code(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_way_through_the_enum() {
        for code in i16::MIN..=i16::MAX {
            match ErrorCode::from_code(code) {
                None => assert_eq!(code, 0),
                Some(error) => assert_eq!(error.code(), code),
            }
        }
    }

    #[test]
    fn known_codes_ascend_and_have_a_name_of_their_own() {
        let mut names = std::collections::BTreeSet::new();
        for pair in ErrorCode::KNOWN.windows(2) {
            assert!(pair[0].code() < pair[1].code());
        }
        for error in ErrorCode::KNOWN {
            assert!(names.insert(error.name()));
            assert!(!error.meaning().ends_with('.'));
        }
    }

    #[test]
    fn a_deposed_producer_or_member_is_fenced_and_a_missing_leader_is_not() {
        assert_eq!(ErrorCode::InvalidProducerEpoch.class(), Class::Fenced);
        assert_eq!(ErrorCode::UnknownMemberId.class(), Class::Fenced);
        assert_eq!(ErrorCode::NotLeaderOrFollower.class(), Class::Retriable);
        assert_eq!(ErrorCode::Other(1000).class(), Class::UnknownOutcome);
    }
}
