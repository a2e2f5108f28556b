//! Responses written by the other implementation, read by ours in every version.

use bytes::Bytes;
use kafka_protocol::messages::{self as peer, BrokerId, ProducerId};

use super::peer::{brokers, text, topic, versions, written_by_peer};
use super::*;
use crate::wire::api_versions::ApiVersionsResponse;
use crate::wire::configs::DescribedResource;
use crate::wire::consumer_groups::DescribedConsumer;
use crate::wire::coordinator::FindCoordinatorResponse;
use crate::wire::fetch::{AbortedTransaction, FetchedTopic};
use crate::wire::group::{JoinedMember, LeaveGroupResponse, SyncGroupResponse};
use crate::wire::groups::{DescribedMember, ListGroupsResponse, ListedGroup};
use crate::wire::leader_epochs::EpochEndOfPartition;
use crate::wire::list_offsets::ListedOffset;
use crate::wire::producer_id::InitProducerIdResponse;
use crate::wire::sasl::{SaslAuthenticateResponse, SaslHandshakeResponse};
use crate::wire::topics::{CreatedTopic, DeletedTopic};

#[test]
fn api_versions_names_the_apis_we_know_and_passes_over_the_others() {
    let api = |key: i16, min, max| {
        peer::api_versions_response::ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    };
    let response = peer::ApiVersionsResponse::default().with_api_keys(vec![
        api(0, 3, 11),
        api(999, 0, 1),
        api(1, 4, 17),
    ]);
    for version in versions::<ApiVersionsRequest>() {
        let expected = ApiVersionsResponse {
            error_code: 0,
            apis: vec![
                (Api::Produce, VersionRange::new(3, 11)),
                (Api::Fetch, VersionRange::new(4, 17)),
            ],
        };
        assert_eq!(
            written_by_peer::<ApiVersionsRequest>(&response, version),
            expected
        );
    }
}

#[test]
fn a_broker_too_old_for_our_version_of_api_versions_is_understood() {
    // Error 35 in the encoding of version 0, whatever version was asked for.
    let body = Bytes::from_static(&[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]);
    let response = ApiVersionsRequest::decode_body(3, body).unwrap().response;
    assert_eq!(response.error_code, 35);
}

#[test]
fn metadata_tells_brokers_topics_and_leaders() {
    for version in versions::<MetadataRequest>() {
        let id = if version >= 10 { [7; 16] } else { [0; 16] };
        let leader_epoch = if version >= 7 { 9 } else { -1 };
        let offline: &[i32] = if version >= 5 { &[2] } else { &[] };
        let response = peer::MetadataResponse::default()
            .with_brokers(vec![
                peer::metadata_response::MetadataResponseBroker::default()
                    .with_node_id(BrokerId(1))
                    .with_host(text("kafka-1"))
                    .with_port(9093)
                    .with_rack(Some(text("r"))),
            ])
            .with_cluster_id(Some(text("c")))
            .with_controller_id(BrokerId(1))
            .with_topics(vec![
                peer::metadata_response::MetadataResponseTopic::default()
                    .with_error_code(5)
                    .with_name(Some(topic("t")))
                    .with_topic_id(uuid(id))
                    .with_is_internal(true)
                    .with_partitions(vec![
                        peer::metadata_response::MetadataResponsePartition::default()
                            .with_error_code(9)
                            .with_partition_index(4)
                            .with_leader_id(BrokerId(1))
                            .with_leader_epoch(leader_epoch)
                            .with_replica_nodes(brokers(&[1, 2]))
                            .with_isr_nodes(brokers(&[1]))
                            .with_offline_replicas(brokers(offline)),
                    ]),
            ]);
        let expected = MetadataResponse {
            brokers: vec![MetadataBroker {
                id: 1,
                host: "kafka-1".into(),
                port: 9093,
                rack: Some("r".into()),
            }],
            cluster_id: Some("c".into()),
            controller_id: 1,
            topics: vec![MetadataTopic {
                error_code: 5,
                name: Some("t".into()),
                id,
                is_internal: true,
                partitions: vec![MetadataPartition {
                    error_code: 9,
                    partition: 4,
                    leader_id: 1,
                    leader_epoch,
                    replicas: vec![1, 2],
                    in_sync: vec![1],
                    offline: offline.to_vec(),
                }],
            }],
        };
        assert_eq!(
            written_by_peer::<MetadataRequest>(&response, version),
            expected
        );
    }
}

fn uuid(bytes: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_bytes(bytes)
}

#[test]
fn produce_tells_offsets_and_from_version_8_on_the_records_at_fault() {
    for version in versions::<ProduceRequest>() {
        let told = version >= 8;
        let mut partition = peer::produce_response::PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(87)
            .with_base_offset(100)
            .with_log_append_time_ms(1_700_000_000_000)
            .with_log_start_offset(7);
        if told {
            partition = partition
                .with_record_errors(vec![
                    peer::produce_response::BatchIndexAndErrorMessage::default()
                        .with_batch_index(2)
                        .with_batch_index_error_message(Some(text("no key"))),
                ])
                .with_error_message(Some(text("refused")));
        }
        let response = peer::ProduceResponse::default().with_responses(vec![
            peer::produce_response::TopicProduceResponse::default()
                .with_name(topic("t"))
                .with_partition_responses(vec![partition]),
        ]);
        let expected = ProducedPartition {
            partition: 3,
            error_code: 87,
            base_offset: 100,
            log_append_time_ms: 1_700_000_000_000,
            log_start_offset: if version >= 5 { 7 } else { -1 },
            record_errors: if told {
                vec![(2, Some("no key".into()))]
            } else {
                vec![]
            },
            error_message: told.then(|| "refused".into()),
        };
        let read = written_by_peer::<ProduceRequest>(&response, version);
        assert_eq!(read, vec![("t".to_owned(), vec![expected])]);
    }
}

#[test]
fn a_producer_id_comes_with_its_epoch() {
    let response = peer::InitProducerIdResponse::default()
        .with_producer_id(ProducerId(1 << 33))
        .with_producer_epoch(2);
    for version in versions::<InitProducerIdRequest>() {
        let expected = InitProducerIdResponse {
            error_code: 0,
            producer_id: 1 << 33,
            producer_epoch: 2,
        };
        assert_eq!(
            written_by_peer::<InitProducerIdRequest>(&response, version),
            expected
        );
    }
}

#[test]
fn fetched_records_and_aborted_transactions_are_told_by_name_or_by_id() {
    for version in versions::<FetchRequest>() {
        let mut partition = peer::fetch_response::PartitionData::default()
            .with_partition_index(2)
            .with_high_watermark(50)
            .with_last_stable_offset(40)
            .with_log_start_offset(10)
            .with_aborted_transactions(Some(vec![
                peer::fetch_response::AbortedTransaction::default()
                    .with_producer_id(ProducerId(5))
                    .with_first_offset(33),
            ]))
            .with_records(Some(Bytes::from_static(b"batches")));
        if version >= 11 {
            partition = partition.with_preferred_read_replica(BrokerId(3));
        }
        if version >= 12 {
            let diverging = peer::fetch_response::EpochEndOffset::default()
                .with_epoch(4)
                .with_end_offset(17);
            partition = partition.with_diverging_epoch(diverging);
            partition = partition.with_current_leader(
                peer::fetch_response::LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(2))
                    .with_leader_epoch(8),
            );
        }
        let mut fetched = peer::fetch_response::FetchableTopicResponse::default()
            .with_partitions(vec![partition]);
        fetched = if version >= 13 {
            fetched.with_topic_id(uuid([7; 16]))
        } else {
            fetched.with_topic(topic("t"))
        };
        let mut response = peer::FetchResponse::default().with_responses(vec![fetched]);
        if version >= 7 {
            response = response.with_session_id(77);
        }
        let expected = FetchedTopic {
            name: if version >= 13 {
                String::new()
            } else {
                "t".into()
            },
            id: if version >= 13 { [7; 16] } else { [0; 16] },
            partitions: vec![FetchedPartition {
                partition: 2,
                error_code: 0,
                high_watermark: 50,
                last_stable_offset: 40,
                log_start_offset: if version >= 5 { 10 } else { -1 },
                diverging: (version >= 12).then_some(EpochEnd {
                    leader_epoch: 4,
                    end_offset: 17,
                }),
                current_leader: (version >= 12).then_some((2, 8)),
                aborted: vec![AbortedTransaction {
                    producer_id: 5,
                    first_offset: 33,
                }],
                preferred_read_replica: if version >= 11 { 3 } else { -1 },
                records: Bytes::from_static(b"batches"),
            }],
        };
        let read = written_by_peer::<FetchRequest>(&response, version);
        assert_eq!(read.session_id, if version >= 7 { 77 } else { 0 });
        assert_eq!((read.error_code, read.topics), (0, vec![expected]));
    }
}

#[test]
fn ends_of_leader_epochs_are_told_by_partition() {
    for version in versions::<OffsetForLeaderEpochRequest>() {
        let partition = peer::offset_for_leader_epoch_response::EpochEndOffset::default()
            .with_partition(2)
            .with_error_code(3)
            .with_leader_epoch(4)
            .with_end_offset(17);
        let response = peer::OffsetForLeaderEpochResponse::default().with_topics(vec![
            peer::offset_for_leader_epoch_response::OffsetForLeaderTopicResult::default()
                .with_topic(topic("t"))
                .with_partitions(vec![partition]),
        ]);
        let expected = EpochEndOfPartition {
            partition: 2,
            error_code: 3,
            end: EpochEnd {
                leader_epoch: 4,
                end_offset: 17,
            },
        };
        assert_eq!(
            written_by_peer::<OffsetForLeaderEpochRequest>(&response, version),
            [("t".to_owned(), vec![expected])]
        );
    }
}

#[test]
fn fetched_records_are_a_part_of_the_frame_and_no_copy() {
    let partition = peer::fetch_response::PartitionData::default()
        .with_records(Some(Bytes::from_static(b"batches")));
    let response = peer::FetchResponse::default().with_responses(vec![
        peer::fetch_response::FetchableTopicResponse::default()
            .with_topic(topic("t"))
            .with_partitions(vec![partition]),
    ]);
    let mut frame = bytes::BytesMut::new();
    kafka_protocol::protocol::Encodable::encode(&response, &mut frame, 12).unwrap();
    let frame = frame.freeze();
    let read = FetchRequest::decode_body(12, frame.clone())
        .unwrap()
        .response;
    let records = &read.topics[0].partitions[0].records;
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn listed_offsets_come_with_the_leader_epoch_from_version_4_on() {
    for version in versions::<ListOffsetsRequest>() {
        let leader_epoch = if version >= 4 { 6 } else { -1 };
        let response = peer::ListOffsetsResponse::default().with_topics(vec![
            peer::list_offsets_response::ListOffsetsTopicResponse::default()
                .with_name(topic("t"))
                .with_partitions(vec![
                    peer::list_offsets_response::ListOffsetsPartitionResponse::default()
                        .with_partition_index(1)
                        .with_error_code(3)
                        .with_timestamp(12)
                        .with_offset(34)
                        .with_leader_epoch(leader_epoch),
                ]),
        ]);
        let expected = ListedOffset {
            partition: 1,
            error_code: 3,
            timestamp_ms: 12,
            offset: 34,
            leader_epoch,
        };
        let read = written_by_peer::<ListOffsetsRequest>(&response, version);
        assert_eq!(read, vec![("t".to_owned(), vec![expected])]);
    }
}

#[test]
fn a_coordinator_is_told_by_id_and_address() {
    let response = peer::FindCoordinatorResponse::default()
        .with_error_code(15)
        .with_error_message(Some(text("not yet")))
        .with_node_id(BrokerId(2))
        .with_host(text("kafka-2"))
        .with_port(9093);
    for version in versions::<FindCoordinatorRequest>() {
        let expected = FindCoordinatorResponse {
            error_code: 15,
            error_message: Some("not yet".into()),
            node_id: 2,
            host: "kafka-2".into(),
            port: 9093,
        };
        assert_eq!(
            written_by_peer::<FindCoordinatorRequest>(&response, version),
            expected
        );
    }
}

#[test]
fn a_join_tells_the_leader_of_all_members() {
    for version in versions::<JoinGroupRequest>() {
        let instance = (version >= 5).then_some("i");
        let mut response = peer::JoinGroupResponse::default()
            .with_generation_id(3)
            .with_protocol_name(Some(text("range")))
            .with_leader(text("m"))
            .with_member_id(text("m"))
            .with_members(vec![
                peer::join_group_response::JoinGroupResponseMember::default()
                    .with_member_id(text("m"))
                    .with_group_instance_id(instance.map(text))
                    .with_metadata(Bytes::from_static(b"sub")),
            ]);
        if version >= 7 {
            response = response.with_protocol_type(Some(text("consumer")));
        }
        if version >= 9 {
            response = response.with_skip_assignment(true);
        }
        let expected = JoinGroupResponse {
            error_code: 0,
            generation_id: 3,
            protocol_name: Some("range".into()),
            leader: "m".into(),
            skip_assignment: version >= 9,
            member_id: "m".into(),
            members: vec![JoinedMember {
                member_id: "m".into(),
                group_instance_id: instance.map(Into::into),
                metadata: Bytes::from_static(b"sub"),
            }],
        };
        assert_eq!(
            written_by_peer::<JoinGroupRequest>(&response, version),
            expected
        );
    }
}

#[test]
fn sync_heartbeat_and_leave_tell_what_the_coordinator_says() {
    let sync = peer::SyncGroupResponse::default()
        .with_error_code(27)
        .with_assignment(Bytes::from_static(b"mine"));
    for version in versions::<SyncGroupRequest>() {
        let expected = SyncGroupResponse {
            error_code: 27,
            assignment: Bytes::from_static(b"mine"),
        };
        assert_eq!(
            written_by_peer::<SyncGroupRequest>(&sync, version),
            expected
        );
    }
    let beat = peer::HeartbeatResponse::default().with_error_code(27);
    for version in versions::<HeartbeatRequest>() {
        assert_eq!(written_by_peer::<HeartbeatRequest>(&beat, version), 27);
    }
    for version in versions::<LeaveGroupRequest>() {
        let mut leave = peer::LeaveGroupResponse::default().with_error_code(16);
        let mut members = vec![];
        if version >= 3 {
            leave = leave.with_members(vec![
                peer::leave_group_response::MemberResponse::default()
                    .with_member_id(text("m"))
                    .with_error_code(25),
            ]);
            members = vec![("m".to_owned(), 25)];
        }
        let expected = LeaveGroupResponse {
            error_code: 16,
            members,
        };
        assert_eq!(
            written_by_peer::<LeaveGroupRequest>(&leave, version),
            expected
        );
    }
}

#[test]
fn commits_are_answered_by_partition() {
    let response = peer::OffsetCommitResponse::default().with_topics(vec![
        peer::offset_commit_response::OffsetCommitResponseTopic::default()
            .with_name(topic("t"))
            .with_topic_id(uuid([7; 16]))
            .with_partitions(vec![
                peer::offset_commit_response::OffsetCommitResponsePartition::default()
                    .with_partition_index(1)
                    .with_error_code(22),
            ]),
    ]);
    for version in versions::<OffsetCommitRequest>() {
        let read = written_by_peer::<OffsetCommitRequest>(&response, version);
        assert_eq!(read, vec![(key_in(version), vec![(1, 22)])]);
    }
}

/// What names the topic `t` in answers about offsets.
fn key_in(version: i16) -> TopicKey {
    let (name, id) = match version {
        ..=9 => ("t".to_owned(), [0; 16]),
        _ => (String::new(), [7; 16]),
    };
    TopicKey { name, id }
}

#[test]
fn an_answer_about_offsets_is_of_the_topic_with_the_id_or_else_with_the_name() {
    let key = |name: &str, id: u8| TopicKey {
        name: name.to_owned(),
        id: [id; 16],
    };
    let asked = key("t", 7);
    assert!(asked.is_answered_by(&key("", 7)));
    assert!(asked.is_answered_by(&key("t", 0)));
    assert!(!asked.is_answered_by(&key("u", 0)));
    // Another topic of the name.
    assert!(!asked.is_answered_by(&key("t", 8)));
}

#[test]
fn committed_offsets_come_with_their_metadata() {
    for version in versions::<OffsetFetchRequest>() {
        use peer::offset_fetch_response as fetched;
        let leader_epoch = if version >= 5 { 4 } else { -1 };
        let response = if version >= 8 {
            let partition = fetched::OffsetFetchResponsePartitions::default()
                .with_partition_index(1)
                .with_committed_offset(77)
                .with_committed_leader_epoch(leader_epoch)
                .with_metadata(Some(text("ring")))
                .with_error_code(88);
            let topic = fetched::OffsetFetchResponseTopics::default()
                .with_name(topic("t"))
                .with_topic_id(uuid([7; 16]))
                .with_partitions(vec![partition]);
            let group = fetched::OffsetFetchResponseGroup::default()
                .with_group_id(peer::GroupId(text("g")))
                .with_error_code(14)
                .with_topics(vec![topic]);
            peer::OffsetFetchResponse::default().with_groups(vec![group])
        } else {
            let partition = fetched::OffsetFetchResponsePartition::default()
                .with_partition_index(1)
                .with_committed_offset(77)
                .with_committed_leader_epoch(leader_epoch)
                .with_metadata(Some(text("ring")))
                .with_error_code(88);
            let topic = fetched::OffsetFetchResponseTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![partition]);
            peer::OffsetFetchResponse::default()
                .with_error_code(14)
                .with_topics(vec![topic])
        };
        let read = written_by_peer::<OffsetFetchRequest>(&response, version);
        assert_eq!(read.error_code, 14);
        let expected = FetchedOffset {
            partition: 1,
            offset: 77,
            leader_epoch,
            metadata: Some("ring".into()),
            error_code: 88,
        };
        assert_eq!(read.topics, vec![(key_in(version), vec![expected])]);
    }
}

#[test]
fn made_and_deleted_topics_are_answered_one_by_one() {
    for version in versions::<CreateTopicsRequest>() {
        let id = if version >= 7 { [7; 16] } else { [0; 16] };
        let mut made = peer::create_topics_response::CreatableTopicResult::default()
            .with_name(topic("t"))
            .with_topic_id(uuid(id))
            .with_error_code(36)
            .with_error_message(Some(text("there")));
        if version >= 5 {
            made = made.with_configs(Some(vec![
                peer::create_topics_response::CreatableTopicConfigs::default()
                    .with_name(text("n"))
                    .with_value(Some(text("v"))),
            ]));
        }
        let response = peer::CreateTopicsResponse::default().with_topics(vec![made]);
        let expected = CreatedTopic {
            name: "t".into(),
            id,
            error_code: 36,
            error_message: Some("there".into()),
        };
        let read = written_by_peer::<CreateTopicsRequest>(&response, version);
        assert_eq!(read, vec![expected]);
    }
    for version in versions::<DeleteTopicsRequest>() {
        let message = (version >= 5).then_some("gone");
        let response = peer::DeleteTopicsResponse::default().with_responses(vec![
            peer::delete_topics_response::DeletableTopicResult::default()
                .with_name(Some(topic("t")))
                .with_error_code(3)
                .with_error_message(message.map(text)),
        ]);
        let expected = DeletedTopic {
            name: "t".into(),
            error_code: 3,
            error_message: message.map(Into::into),
        };
        let read = written_by_peer::<DeleteTopicsRequest>(&response, version);
        assert_eq!(read, vec![expected]);
    }
}

#[test]
fn configs_are_told_by_name_with_secrets_left_out() {
    use peer::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    let response = peer::DescribeConfigsResponse::default().with_results(vec![
        DescribeConfigsResult::default()
            .with_error_message(None)
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![
                DescribeConfigsResourceResult::default()
                    .with_name(text("message.timestamp.type"))
                    .with_value(Some(text("CreateTime")))
                    .with_synonyms(vec![DescribeConfigsSynonym::default().with_name(text("s"))]),
                DescribeConfigsResourceResult::default()
                    .with_name(text("secret"))
                    .with_value(None),
            ]),
    ]);
    for version in versions::<DescribeConfigsRequest>() {
        let expected = DescribedResource {
            error_code: 0,
            error_message: None,
            topic: "t".into(),
            configs: vec![
                ("message.timestamp.type".into(), Some("CreateTime".into())),
                ("secret".into(), None),
            ],
        };
        let read = written_by_peer::<DescribeConfigsRequest>(&response, version);
        assert_eq!(read, vec![expected]);
    }
}

#[test]
fn a_topic_that_was_not_given_partitions_comes_with_the_reason() {
    use peer::create_partitions_response::CreatePartitionsTopicResult;

    let result = CreatePartitionsTopicResult::default()
        .with_name(topic("t"))
        .with_error_code(37)
        .with_error_message(Some(text("too few")));
    let response = peer::CreatePartitionsResponse::default().with_results(vec![result]);
    for version in versions::<CreatePartitionsRequest>() {
        let grown = written_by_peer::<CreatePartitionsRequest>(&response, version);
        assert_eq!((grown[0].name.as_str(), grown[0].error_code), ("t", 37));
        assert_eq!(grown[0].error_message.as_deref(), Some("too few"));
    }
}

#[test]
fn a_config_that_was_not_changed_comes_with_the_reason() {
    use peer::incremental_alter_configs_response::AlterConfigsResourceResponse;

    let resource = AlterConfigsResourceResponse::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_error_code(40)
        .with_error_message(Some(text("no number")));
    let response = peer::IncrementalAlterConfigsResponse::default().with_responses(vec![resource]);
    for version in versions::<IncrementalAlterConfigsRequest>() {
        let altered = written_by_peer::<IncrementalAlterConfigsRequest>(&response, version);
        assert_eq!(
            (altered[0].topic.as_str(), altered[0].error_code),
            ("t", 40)
        );
        assert_eq!(altered[0].error_message.as_deref(), Some("no number"));
    }
}

#[test]
fn deleted_records_come_with_the_first_offset_that_is_left() {
    use peer::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};

    let partition = DeleteRecordsPartitionResult::default()
        .with_partition_index(3)
        .with_low_watermark(1 << 40)
        .with_error_code(0);
    let result = DeleteRecordsTopicResult::default()
        .with_name(topic("t"))
        .with_partitions(vec![partition]);
    let response = peer::DeleteRecordsResponse::default().with_topics(vec![result]);
    for version in versions::<DeleteRecordsRequest>() {
        let deleted = written_by_peer::<DeleteRecordsRequest>(&response, version);
        assert_eq!((deleted[0].topic.as_str(), deleted[0].partition), ("t", 3));
        assert_eq!(
            (deleted[0].low_watermark, deleted[0].error_code),
            (1 << 40, 0)
        );
    }
}

#[test]
fn sasl_tells_what_is_offered_what_is_said_and_how_long_it_lasts() {
    let response = peer::SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec![text("PLAIN"), text("OAUTHBEARER")]);
    for version in versions::<SaslHandshakeRequest>() {
        let expected = SaslHandshakeResponse {
            error_code: 33,
            mechanisms: vec!["PLAIN".into(), "OAUTHBEARER".into()],
        };
        assert_eq!(
            written_by_peer::<SaslHandshakeRequest>(&response, version),
            expected
        );
    }
    for version in versions::<SaslAuthenticateRequest>() {
        let session_lifetime_ms = if version >= 1 { 1 << 40 } else { 0 };
        let response = peer::SaslAuthenticateResponse::default()
            .with_error_code(58)
            .with_error_message(Some(text("no")))
            .with_auth_bytes(Bytes::from_static(b"v=x"))
            .with_session_lifetime_ms(session_lifetime_ms);
        let expected = SaslAuthenticateResponse {
            error_code: 58,
            error_message: Some("no".into()),
            message: Bytes::from_static(b"v=x"),
            session_lifetime_ms,
        };
        assert_eq!(
            written_by_peer::<SaslAuthenticateRequest>(&response, version),
            expected
        );
    }
}

#[test]
fn groups_are_told_with_what_each_version_knows_of_them() {
    use peer::describe_groups_response as described;

    let id = || peer::GroupId(text("g"));
    for version in versions::<ListGroupsRequest>() {
        let (state, kind) = (version >= 4, version >= 5);
        let mut listed = peer::list_groups_response::ListedGroup::default()
            .with_group_id(id())
            .with_protocol_type(text("consumer"));
        if state {
            listed = listed.with_group_state(text("Stable"));
        }
        if kind {
            listed = listed.with_group_type(text("classic"));
        }
        let response = peer::ListGroupsResponse::default()
            .with_error_code(14)
            .with_groups(vec![listed]);
        let expected = ListGroupsResponse {
            error_code: 14,
            groups: vec![ListedGroup {
                group_id: "g".into(),
                protocol_type: "consumer".into(),
                state: state.then(|| "Stable".into()),
                group_type: kind.then(|| "classic".into()),
            }],
        };
        assert_eq!(
            written_by_peer::<ListGroupsRequest>(&response, version),
            expected
        );
    }
    let assignment = Bytes::from_static(b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07");
    for version in versions::<DescribeGroupsRequest>() {
        let instance_id = (version >= 4).then(|| "i".to_owned());
        let member = described::DescribedGroupMember::default()
            .with_member_id(text("m"))
            .with_group_instance_id(instance_id.as_deref().map(text))
            .with_client_id(text("c"))
            .with_client_host(text("/10.0.0.1"))
            .with_member_metadata(Bytes::from_static(b"what it wants"))
            .with_member_assignment(assignment.clone());
        let group = described::DescribedGroup::default()
            .with_error_code(0)
            .with_group_id(id())
            .with_group_state(text("Stable"))
            .with_protocol_type(text("consumer"))
            .with_protocol_data(text("range"))
            .with_members(vec![member]);
        let response = peer::DescribeGroupsResponse::default().with_groups(vec![group]);
        let expected = DescribedGroup {
            error_code: 0,
            group_id: "g".into(),
            state: "Stable".into(),
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members: vec![DescribedMember {
                member_id: "m".into(),
                instance_id,
                client_id: "c".into(),
                client_host: "/10.0.0.1".into(),
                assignment: assignment.clone(),
            }],
        };
        let read = written_by_peer::<DescribeGroupsRequest>(&response, version);
        assert_eq!(read, [expected]);
        let assigned = Some(vec![("t".to_owned(), vec![7])]);
        assert_eq!(read[0].members[0].assigned(), assigned);
    }
    for version in versions::<DeleteGroupsRequest>() {
        let result = peer::delete_groups_response::DeletableGroupResult::default()
            .with_group_id(id())
            .with_error_code(68);
        let response = peer::DeleteGroupsResponse::default().with_results(vec![result]);
        assert_eq!(
            written_by_peer::<DeleteGroupsRequest>(&response, version),
            [("g".to_owned(), 68)]
        );
    }
}

#[test]
fn an_assignment_that_is_none_of_consumers_is_told_as_such_and_takes_no_memory() {
    let member = |assignment: &'static [u8]| DescribedMember {
        member_id: String::new(),
        instance_id: None,
        client_id: String::new(),
        client_host: String::new(),
        assignment: Bytes::from_static(assignment),
    };
    assert_eq!(member(b"").assigned(), Some(Vec::new()));
    for none in [&b"\0"[..], b"connector", b"\0\0\x7f\xff\xff\xff\0\x01t"] {
        assert_eq!(member(none).assigned(), None);
    }
}

#[test]
fn of_no_group_or_of_two_where_one_was_asked_for_nothing_is_believed() {
    let group = peer::offset_fetch_response::OffsetFetchResponseGroup::default();
    for groups in [vec![], vec![group.clone(), group]] {
        let response = peer::OffsetFetchResponse::default().with_groups(groups);
        let mut bytes = bytes::BytesMut::new();
        kafka_protocol::protocol::Encodable::encode(&response, &mut bytes, 9).unwrap();
        let refused = OffsetFetchRequest::decode_body(9, bytes.freeze()).unwrap_err();
        assert!(refused.what.contains("not one group"));
    }
}

#[test]
fn a_coordinator_that_divides_tells_an_epoch_and_what_is_to_be_held() {
    use peer::consumer_group_heartbeat_response as told;
    let partitions = told::TopicPartitions::default()
        .with_topic_id(uuid([7; 16]))
        .with_partitions(vec![0, 2]);
    let given = told::Assignment::default().with_topic_partitions(vec![partitions]);
    let cases = [
        (None, None),
        (Some(told::Assignment::default()), Some(Vec::new())),
        (Some(given), Some(vec![([7; 16], vec![0, 2])])),
    ];
    for (written, expected) in cases {
        for version in versions::<ConsumerGroupHeartbeatRequest>() {
            let response = peer::ConsumerGroupHeartbeatResponse::default()
                .with_error_code(110)
                .with_error_message(Some(text("fenced")))
                .with_member_id(Some(text("m")))
                .with_member_epoch(5)
                .with_heartbeat_interval_ms(3000)
                .with_assignment(written.clone());
            assert_eq!(
                written_by_peer::<ConsumerGroupHeartbeatRequest>(&response, version),
                ConsumerGroupHeartbeatResponse {
                    error_code: 110,
                    error_message: Some("fenced".into()),
                    member_epoch: 5,
                    heartbeat_interval_ms: 3000,
                    assignment: expected.clone(),
                }
            );
        }
    }
}

#[test]
fn a_group_whose_coordinator_divides_is_described_with_what_each_has_and_is_to_have() {
    use peer::consumer_group_describe_response as described;
    let assignment = |numbers: &[i32]| {
        let partitions = described::TopicPartitions::default()
            .with_topic_id(uuid([7; 16]))
            .with_topic_name(topic("t"))
            .with_partitions(numbers.to_vec());
        described::Assignment::default().with_topic_partitions(vec![partitions])
    };
    for version in versions::<ConsumerGroupDescribeRequest>() {
        let member = described::Member::default()
            .with_member_id(text("m"))
            .with_instance_id(Some(text("i")))
            .with_rack_id(Some(text("r")))
            .with_member_epoch(4)
            .with_client_id(text("c"))
            .with_client_host(text("/10.0.0.1"))
            .with_subscribed_topic_names(vec![topic("t")])
            .with_subscribed_topic_regex(Some(text("t.*")))
            .with_assignment(assignment(&[0]))
            .with_target_assignment(assignment(&[0, 1]))
            .with_member_type(if version >= 1 { 1 } else { -1 });
        let group = described::DescribedGroup::default()
            .with_error_code(0)
            .with_group_id(peer::GroupId(text("g")))
            .with_group_state(text("Reconciling"))
            .with_group_epoch(5)
            .with_assignment_epoch(5)
            .with_assignor_name(text("uniform"))
            .with_members(vec![member]);
        let response = peer::ConsumerGroupDescribeResponse::default().with_groups(vec![group]);
        let expected = DescribedConsumerGroup {
            error_code: 0,
            error_message: None,
            group_id: "g".into(),
            state: "Reconciling".into(),
            epoch: 5,
            assignor: "uniform".into(),
            members: vec![DescribedConsumer {
                member_id: "m".into(),
                instance_id: Some("i".into()),
                rack_id: Some("r".into()),
                member_epoch: 4,
                client_id: "c".into(),
                client_host: "/10.0.0.1".into(),
                assigned: vec![("t".into(), vec![0])],
                target: vec![("t".into(), vec![0, 1])],
            }],
        };
        assert_eq!(
            written_by_peer::<ConsumerGroupDescribeRequest>(&response, version),
            [expected]
        );
    }
}
