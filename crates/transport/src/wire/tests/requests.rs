//! Our requests, read by the other implementation in every version.

use bytes::Bytes;
use kafka_protocol::messages as peer;

use super::peer::{read_by_peer, versions};
use super::*;

#[test]
fn produce_carries_each_batch_as_it_is() {
    let request = ProduceRequest {
        timeout_ms: 30_000,
        topics: vec![(
            "t".into(),
            vec![ProducePartition {
                partition: 3,
                batch: Bytes::from_static(b"a batch"),
            }],
        )],
    };
    for version in versions::<ProduceRequest>() {
        let read: peer::ProduceRequest = read_by_peer(&request, version);
        assert_eq!((read.acks, read.timeout_ms), (-1, 30_000));
        assert_eq!(read.transactional_id, None);
        assert_eq!(read.topic_data[0].name.as_str(), "t");
        let partition = &read.topic_data[0].partition_data[0];
        assert_eq!(partition.index, 3);
        assert_eq!(partition.records.as_deref(), Some(&b"a batch"[..]));
    }
}

fn a_fetch(session_epoch: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: IsolationLevel::ReadCommitted,
        session_id: 77,
        session_epoch,
        topics: vec![FetchTopic {
            name: "t".into(),
            id: [7; 16],
            partitions: vec![FetchPartition {
                partition: 2,
                current_leader_epoch: 5,
                fetch_offset: 1 << 40,
                last_fetched_epoch: 4,
                max_bytes: 1 << 19,
            }],
        }],
        forgotten: vec![ForgottenTopic {
            name: "gone".into(),
            id: [8; 16],
            partitions: vec![0, 3],
        }],
        replaced: vec![ForgottenTopic {
            name: "t".into(),
            id: [6; 16],
            partitions: vec![2],
        }],
        rack_id: "r".into(),
    }
}

#[test]
fn fetch_names_topics_up_to_version_12_and_their_ids_after() {
    for version in versions::<FetchRequest>() {
        let session_epoch = if version >= 7 { 3 } else { 0 };
        let read: peer::FetchRequest = read_by_peer(&a_fetch(session_epoch), version);
        assert_eq!((read.max_wait_ms, read.min_bytes), (500, 1));
        assert_eq!((read.max_bytes, read.isolation_level), (1 << 20, 1));
        assert_eq!(
            (read.replica_id.0, read.replica_state.replica_id.0),
            (-1, -1)
        );
        let session = if version >= 7 { (77, 3) } else { (0, -1) };
        assert_eq!((read.session_id, read.session_epoch), session);
        let topic = &read.topics[0];
        let forgotten = read.forgotten_topics_data.first();
        if version >= 13 {
            assert_eq!(topic.topic_id.as_bytes(), &[7; 16]);
            assert_eq!(forgotten.unwrap().topic_id.as_bytes(), &[8; 16]);
        } else {
            assert_eq!(topic.topic.as_str(), "t");
            let forgotten = forgotten.map(|topic| topic.topic.to_string());
            assert_eq!(forgotten.as_deref(), (version >= 7).then_some("gone"));
        }
        if let Some(forgotten) = forgotten {
            assert_eq!(forgotten.partitions, [0, 3]);
        }
        // By name it would be forgotten that is asked for.
        let replaced = read.forgotten_topics_data.get(1);
        let replaced = replaced.map(|topic| topic.topic_id.into_bytes());
        assert_eq!(replaced, (version >= 13).then_some([6; 16]));
        let partition = &topic.partitions[0];
        assert_eq!(partition.partition, 2);
        assert_eq!(partition.fetch_offset, 1 << 40);
        assert_eq!(partition.partition_max_bytes, 1 << 19);
        assert_eq!(
            partition.current_leader_epoch,
            if version >= 9 { 5 } else { -1 }
        );
        assert_eq!(
            partition.last_fetched_epoch,
            if version >= 12 { 4 } else { -1 }
        );
        assert_eq!(read.rack_id.as_str(), if version >= 11 { "r" } else { "" });
    }
}

#[test]
fn a_fetch_by_names_is_the_same_in_the_versions_that_have_them() {
    for version in versions::<FetchByNameRequest>() {
        let bytes = |request: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::new(version >= FetchByNameRequest::FLEXIBLE_FROM);
            request(&mut writer);
            writer.into_bytes()
        };
        let by_name = FetchByNameRequest(a_fetch(0));
        assert_eq!(
            bytes(&|writer| by_name.encode(version, writer).unwrap()),
            bytes(&|writer| by_name.0.encode(version, writer).unwrap()),
        );
    }
    assert_eq!(FetchByNameRequest::VERSIONS, VersionRange::new(4, 12));
}

#[test]
fn a_step_of_a_session_is_not_written_for_brokers_that_know_none() {
    for (session_epoch, version, is_written) in [(1, 6, false), (1, 7, true), (0, 6, true)] {
        let mut writer = Writer::new(false);
        let written = a_fetch(session_epoch).encode(version, &mut writer);
        assert_eq!(written.is_ok(), is_written, "{session_epoch} {version}");
    }
}

#[test]
fn leaders_are_asked_for_the_end_of_the_epoch_that_was_read_last() {
    let request = OffsetForLeaderEpochRequest {
        topics: vec![(
            "t".into(),
            vec![EpochPartition {
                partition: 2,
                current_leader_epoch: 5,
                leader_epoch: 4,
            }],
        )],
    };
    for version in versions::<OffsetForLeaderEpochRequest>() {
        let read: peer::OffsetForLeaderEpochRequest = read_by_peer(&request, version);
        assert_eq!(read.replica_id.0, -1);
        assert_eq!(read.topics[0].topic.as_str(), "t");
        let partition = &read.topics[0].partitions[0];
        assert_eq!(
            (
                partition.partition,
                partition.current_leader_epoch,
                partition.leader_epoch
            ),
            (2, 5, 4)
        );
    }
}

#[test]
fn metadata_never_makes_a_topic_by_asking_for_it() {
    for topics in [None, Some(vec![]), Some(vec!["t".to_owned()])] {
        let request = MetadataRequest { topics };
        for version in versions::<MetadataRequest>() {
            let read: peer::MetadataRequest = read_by_peer(&request, version);
            assert!(!read.allow_auto_topic_creation);
            let names = read.topics.map(|topics| {
                let names = topics
                    .into_iter()
                    .map(|topic| topic.name.unwrap().to_string());
                names.collect::<Vec<_>>()
            });
            assert_eq!(names, request.topics);
        }
    }
}

#[test]
fn list_offsets_knows_the_first_and_the_last_and_the_first_of_a_time() {
    let partition = |partition, spec| ListOffsetsPartition {
        partition,
        current_leader_epoch: 4,
        spec,
    };
    let request = ListOffsetsRequest {
        isolation: IsolationLevel::ReadUncommitted,
        topics: vec![(
            "t".into(),
            vec![
                partition(0, OffsetSpec::Earliest),
                partition(1, OffsetSpec::Latest),
                partition(2, OffsetSpec::AtTime(1_700_000_000_000)),
            ],
        )],
    };
    for version in versions::<ListOffsetsRequest>() {
        let read: peer::ListOffsetsRequest = read_by_peer(&request, version);
        let asked: Vec<_> = read.topics[0]
            .partitions
            .iter()
            .map(|partition| (partition.partition_index, partition.timestamp))
            .collect();
        assert_eq!(asked, [(0, -2), (1, -1), (2, 1_700_000_000_000)]);
        assert_eq!(read.replica_id.0, -1);
    }
}

#[test]
fn an_idempotent_producer_asks_for_a_new_id_and_has_none_yet() {
    for version in versions::<InitProducerIdRequest>() {
        let read: peer::InitProducerIdRequest = read_by_peer(&InitProducerIdRequest, version);
        assert_eq!(read.transactional_id, None);
        assert_eq!((read.producer_id.0, read.producer_epoch), (-1, -1));
    }
}

#[test]
fn find_coordinator_asks_for_a_group() {
    let request = FindCoordinatorRequest {
        group_id: "g".into(),
    };
    for version in versions::<FindCoordinatorRequest>() {
        let read: peer::FindCoordinatorRequest = read_by_peer(&request, version);
        assert_eq!((read.key.as_str(), read.key_type), ("g", 0));
    }
}

#[test]
fn group_requests_name_the_member_and_its_generation() {
    for instance in [None, Some("i".to_owned())] {
        let join = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            member_id: "m".into(),
            group_instance_id: instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"sub"))],
            reason: Some("because".into()),
        };
        for version in versions::<JoinGroupRequest>().filter(|v| instance.is_none() || *v >= 5) {
            let read: peer::JoinGroupRequest = read_by_peer(&join, version);
            assert_eq!(
                (read.group_id.as_str(), read.member_id.as_str()),
                ("g", "m")
            );
            assert_eq!(read.group_instance_id.as_deref(), instance.as_deref());
            assert_eq!(
                (read.session_timeout_ms, read.rebalance_timeout_ms),
                (45_000, 60_000)
            );
            assert_eq!(read.protocol_type.as_str(), "consumer");
            assert_eq!(read.protocols[0].name.as_str(), "range");
            assert_eq!(&read.protocols[0].metadata[..], b"sub");
        }
        let sync = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: 9,
            member_id: "m".into(),
            group_instance_id: instance.clone(),
            protocol_type: "consumer".into(),
            protocol_name: "range".into(),
            assignments: vec![("m".into(), Bytes::from_static(b"mine"))],
        };
        for version in versions::<SyncGroupRequest>().filter(|v| instance.is_none() || *v >= 3) {
            let read: peer::SyncGroupRequest = read_by_peer(&sync, version);
            assert_eq!((read.generation_id, read.member_id.as_str()), (9, "m"));
            assert_eq!(read.group_instance_id.as_deref(), instance.as_deref());
            assert_eq!(&read.assignments[0].assignment[..], b"mine");
            let named = read.protocol_name.as_deref();
            assert_eq!(named, (version >= 5).then_some("range"));
        }
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: 9,
            member_id: "m".into(),
            group_instance_id: instance.clone(),
        };
        for version in versions::<HeartbeatRequest>().filter(|v| instance.is_none() || *v >= 3) {
            let read: peer::HeartbeatRequest = read_by_peer(&beat, version);
            assert_eq!((read.generation_id, read.member_id.as_str()), (9, "m"));
            assert_eq!(read.group_instance_id.as_deref(), instance.as_deref());
        }
    }
}

#[test]
fn static_membership_is_refused_rather_than_dropped_with_a_broker_that_has_none() {
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 9,
        member_id: "m".into(),
        group_instance_id: Some("i".into()),
    };
    assert!(beat.encode(2, &mut Writer::new(false)).is_err());
}

#[test]
fn leave_group_names_the_member_in_the_way_of_each_version() {
    let request = LeaveGroupRequest {
        group_id: "g".into(),
        member: LeavingMember {
            member_id: "m".into(),
            group_instance_id: None,
            reason: Some("done".into()),
        },
    };
    for version in versions::<LeaveGroupRequest>() {
        let read: peer::LeaveGroupRequest = read_by_peer(&request, version);
        let member = match read.members.first() {
            Some(member) => member.member_id.as_str(),
            None => read.member_id.as_str(),
        };
        assert_eq!(member, "m");
        assert_eq!(read.members.len(), usize::from(version >= 3));
    }
}

fn topic_t() -> TopicKey {
    TopicKey {
        name: "t".into(),
        id: [7; 16],
    }
}

fn a_commit() -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id: 9,
        member_id: "m".into(),
        group_instance_id: None,
        topics: vec![(
            topic_t(),
            vec![OffsetCommitPartition {
                partition: 1,
                offset: 77,
                leader_epoch: 3,
                metadata: Some("ring".into()),
            }],
        )],
    }
}

fn a_question_for_offsets() -> OffsetFetchRequest {
    OffsetFetchRequest {
        group_id: "g".into(),
        member: Some(("m".into(), 5)),
        topics: Some(vec![(topic_t(), vec![0, 2])]),
        require_stable: true,
    }
}

fn written<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let mut writer = Writer::new(version >= R::FLEXIBLE_FROM);
    request.encode(version, &mut writer).unwrap();
    writer.into_bytes().to_vec()
}

/// The other implementation ends at version 9 of these two requests; version 10 has the same fields but that one.
#[test]
fn offsets_are_committed_and_asked_for_by_topic_id_where_version_9_has_the_name() {
    fn with_id_for_name(mut by_name: Vec<u8>) -> Vec<u8> {
        let name = [2, b't'];
        let at: Vec<usize> = (0..by_name.len() - 1)
            .filter(|&at| by_name[at..].starts_with(&name))
            .collect();
        let [at] = at[..] else { panic!("{by_name:?}") };
        by_name.splice(at..at + 2, [7; 16]);
        by_name
    }
    let commit = a_commit();
    assert_eq!(written(&commit, 10), with_id_for_name(written(&commit, 9)));
    let fetch = a_question_for_offsets();
    assert_eq!(written(&fetch, 10), with_id_for_name(written(&fetch, 9)));
}

#[test]
fn offsets_by_names_are_the_same_in_the_versions_that_have_them() {
    for version in versions::<OffsetCommitByNameRequest>() {
        let by_name = OffsetCommitByNameRequest(a_commit());
        assert_eq!(written(&by_name, version), written(&by_name.0, version));
    }
    for version in versions::<OffsetFetchByNameRequest>() {
        let by_name = OffsetFetchByNameRequest(a_question_for_offsets());
        assert_eq!(written(&by_name, version), written(&by_name.0, version));
    }
    let range = VersionRange::new(2, 9);
    assert_eq!(OffsetCommitByNameRequest::VERSIONS, range);
    assert_eq!(OffsetFetchByNameRequest::VERSIONS, range);
}

#[test]
fn a_topic_without_an_id_is_not_written_where_it_would_go_by_that() {
    let (mut commit, mut fetch) = (a_commit(), a_question_for_offsets());
    commit.topics[0].0.id = [0; 16];
    fetch.topics.as_mut().unwrap()[0].0.id = [0; 16];
    for (version, is_written) in [(9, true), (10, false)] {
        let mut writer = Writer::new(true);
        let committed = commit.encode(version, &mut writer);
        assert_eq!(committed.is_ok(), is_written, "{version}");
        let asked = fetch.encode(version, &mut Writer::new(true));
        assert_eq!(asked.is_ok(), is_written, "{version}");
    }
}

#[test]
fn a_commit_carries_offset_epoch_and_metadata() {
    let request = a_commit();
    for version in versions::<OffsetCommitByNameRequest>() {
        let read: peer::OffsetCommitRequest = read_by_peer(&request, version);
        assert_eq!(read.generation_id_or_member_epoch, 9);
        assert_eq!(read.retention_time_ms, -1);
        let partition = &read.topics[0].partitions[0];
        assert_eq!(
            (partition.partition_index, partition.committed_offset),
            (1, 77)
        );
        assert_eq!(partition.committed_metadata.as_deref(), Some("ring"));
        assert_eq!(
            partition.committed_leader_epoch,
            if version >= 6 { 3 } else { -1 }
        );
    }
}

#[test]
fn committed_offsets_are_asked_for_by_partition_or_all_at_once() {
    for topics in [None, Some(vec![(topic_t(), vec![0, 2])])] {
        let request = OffsetFetchRequest {
            topics,
            ..a_question_for_offsets()
        };
        for version in versions::<OffsetFetchByNameRequest>() {
            let mut read: peer::OffsetFetchRequest = read_by_peer(&request, version);
            assert_eq!(read.require_stable, version >= 7);
            let asked = if version >= 8 {
                let [group] = &read.groups[..] else {
                    panic!("{read:?}");
                };
                assert_eq!(group.group_id.as_str(), "g");
                let member = (group.member_id.as_deref(), group.member_epoch);
                let told = (Some("m"), 5);
                assert_eq!(member, if version >= 9 { told } else { (None, -1) });
                group.topics.as_ref().map(|topics| {
                    let topics = topics.iter();
                    let topic = topics
                        .map(|topic| (topic.name.to_string(), topic.partition_indexes.clone()));
                    topic.collect::<Vec<_>>()
                })
            } else {
                assert_eq!(read.group_id.as_str(), "g");
                read.topics.take().map(|topics| {
                    let topics = topics.into_iter();
                    topics
                        .map(|topic| (topic.name.to_string(), topic.partition_indexes))
                        .collect::<Vec<_>>()
                })
            };
            let named = |topics: Vec<(TopicKey, _)>| {
                topics
                    .into_iter()
                    .map(|(topic, partitions)| (topic.name, partitions))
                    .collect()
            };
            assert_eq!(asked, request.topics.clone().map(named));
        }
    }
}

#[test]
fn topics_are_made_with_configs_and_deleted_by_name() {
    let create = CreateTopicsRequest {
        topics: vec![CreateTopic {
            name: "t".into(),
            partitions: 6,
            replication_factor: 3,
            configs: vec![("message.timestamp.type".into(), "LogAppendTime".into())],
        }],
        timeout_ms: 1000,
    };
    for version in versions::<CreateTopicsRequest>() {
        let read: peer::CreateTopicsRequest = read_by_peer(&create, version);
        let topic = &read.topics[0];
        assert_eq!((topic.num_partitions, topic.replication_factor), (6, 3));
        assert_eq!(topic.configs[0].value.as_deref(), Some("LogAppendTime"));
        assert_eq!((read.timeout_ms, read.validate_only), (1000, false));
    }
    let delete = DeleteTopicsRequest {
        topics: vec!["t".into()],
        timeout_ms: 1000,
    };
    for version in versions::<DeleteTopicsRequest>() {
        let read: peer::DeleteTopicsRequest = read_by_peer(&delete, version);
        assert_eq!(read.topic_names[0].as_str(), "t");
    }
}

#[test]
fn configs_are_asked_for_by_topic() {
    for names in [None, Some(vec!["message.timestamp.type".to_owned()])] {
        let request = DescribeConfigsRequest {
            resources: vec![ConfigResource {
                topic: "t".into(),
                names: names.clone(),
            }],
        };
        for version in versions::<DescribeConfigsRequest>() {
            let read: peer::DescribeConfigsRequest = read_by_peer(&request, version);
            assert_eq!(read.resources[0].resource_type, 2);
            assert_eq!(read.resources[0].resource_name.as_str(), "t");
            let keys = read.resources[0].configuration_keys.clone();
            let keys = keys.map(|keys| keys.iter().map(ToString::to_string).collect());
            assert_eq!(keys, names);
        }
    }
}

#[test]
fn a_topic_is_given_partitions_and_the_controller_chooses_their_brokers() {
    let request = CreatePartitionsRequest {
        topic: "t".into(),
        count: 12,
        timeout_ms: 1000,
    };
    for version in versions::<CreatePartitionsRequest>() {
        let read: peer::CreatePartitionsRequest = read_by_peer(&request, version);
        assert_eq!((read.timeout_ms, read.validate_only), (1000, false));
        let topic = &read.topics[0];
        assert_eq!((topic.name.as_str(), topic.count), ("t", 12));
        assert_eq!(topic.assignments, None);
    }
}

#[test]
fn configs_are_set_and_reset_one_by_one() {
    let request = IncrementalAlterConfigsRequest {
        topic: "t".into(),
        changes: vec![
            ("retention.ms".into(), ConfigChange::Set("1000".into())),
            ("cleanup.policy".into(), ConfigChange::Reset),
        ],
    };
    for version in versions::<IncrementalAlterConfigsRequest>() {
        let read: peer::IncrementalAlterConfigsRequest = read_by_peer(&request, version);
        assert!(!read.validate_only);
        let resource = &read.resources[0];
        assert_eq!(
            (resource.resource_type, resource.resource_name.as_str()),
            (2, "t")
        );
        let [set, reset] = &resource.configs[..] else {
            panic!("{resource:?}")
        };
        assert_eq!(
            (set.name.as_str(), set.config_operation),
            ("retention.ms", 0)
        );
        assert_eq!(set.value.as_deref(), Some("1000"));
        assert_eq!((reset.config_operation, reset.value.as_deref()), (1, None));
    }
}

#[test]
fn records_are_deleted_before_an_offset() {
    let request = DeleteRecordsRequest {
        topic: "t".into(),
        partition: 3,
        before_offset: 1 << 40,
        timeout_ms: 1000,
    };
    for version in versions::<DeleteRecordsRequest>() {
        let read: peer::DeleteRecordsRequest = read_by_peer(&request, version);
        let partition = &read.topics[0].partitions[0];
        assert_eq!(read.topics[0].name.as_str(), "t");
        assert_eq!((partition.partition_index, partition.offset), (3, 1 << 40));
        assert_eq!(read.timeout_ms, 1000);
    }
}

#[test]
fn sasl_names_a_mechanism_and_carries_its_messages_unseen() {
    let request = SaslHandshakeRequest {
        mechanism: "SCRAM-SHA-256",
    };
    for version in versions::<SaslHandshakeRequest>() {
        let read: peer::SaslHandshakeRequest = read_by_peer(&request, version);
        assert_eq!(read.mechanism.as_str(), "SCRAM-SHA-256");
    }
    let request = SaslAuthenticateRequest {
        message: b"\0user\0hunter2".to_vec().into(),
    };
    for version in versions::<SaslAuthenticateRequest>() {
        let read: peer::SaslAuthenticateRequest = read_by_peer(&request, version);
        assert_eq!(&*read.auth_bytes, b"\0user\0hunter2");
    }
    let shown = format!("{request:?}");
    assert!(shown.contains("13"), "{shown}");
    assert!(!shown.contains("104, 117"), "{shown}");
}

#[test]
fn groups_are_asked_for_by_name_or_all_of_them() {
    for version in versions::<ListGroupsRequest>() {
        let read: peer::ListGroupsRequest = read_by_peer(&ListGroupsRequest, version);
        assert!(read.states_filter.is_empty() && read.types_filter.is_empty());
    }
    let groups = vec!["g".to_owned(), "h".to_owned()];
    let request = DescribeGroupsRequest {
        groups: groups.clone(),
    };
    for version in versions::<DescribeGroupsRequest>() {
        let read: peer::DescribeGroupsRequest = read_by_peer(&request, version);
        let names: Vec<_> = read.groups.iter().map(|group| group.as_str()).collect();
        assert_eq!(names, ["g", "h"]);
        assert!(!read.include_authorized_operations);
    }
    let request = DeleteGroupsRequest { groups };
    for version in versions::<DeleteGroupsRequest>() {
        let read: peer::DeleteGroupsRequest = read_by_peer(&request, version);
        let names = read.groups_names.iter().map(|group| group.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["g", "h"]);
    }
}

#[test]
fn a_heartbeat_to_a_coordinator_that_divides_says_all_or_only_what_has_changed() {
    let all = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        member_epoch: 0,
        instance_id: Some("i".into()),
        rack_id: Some("r".into()),
        rebalance_timeout_ms: Some(60_000),
        topic_names: Some(vec!["t".into()]),
        topic_pattern: None,
        server_assignor: Some("uniform".into()),
        owned: Some(vec![([7; 16], vec![0, 2])]),
    };
    for version in versions::<ConsumerGroupHeartbeatRequest>() {
        let read: peer::ConsumerGroupHeartbeatRequest = read_by_peer(&all, version);
        assert_eq!(
            (read.group_id.as_str(), read.member_id.as_str()),
            ("g", "m")
        );
        assert_eq!((read.member_epoch, read.rebalance_timeout_ms), (0, 60_000));
        assert_eq!(read.instance_id.as_deref(), Some("i"));
        assert_eq!(read.rack_id.as_deref(), Some("r"));
        let names = read.subscribed_topic_names.unwrap();
        assert_eq!(
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            ["t"]
        );
        assert_eq!(read.server_assignor.as_deref(), Some("uniform"));
        let owned = read.topic_partitions.unwrap();
        assert_eq!(owned[0].topic_id.as_bytes(), &[7; 16]);
        assert_eq!(owned[0].partitions, [0, 2]);
    }
    let changes = ConsumerGroupHeartbeatRequest {
        member_epoch: 5,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: None,
        topic_names: None,
        server_assignor: None,
        owned: None,
        ..all.clone()
    };
    for version in versions::<ConsumerGroupHeartbeatRequest>() {
        let read: peer::ConsumerGroupHeartbeatRequest = read_by_peer(&changes, version);
        assert_eq!((read.member_epoch, read.rebalance_timeout_ms), (5, -1));
        assert_eq!(read.subscribed_topic_names, None);
        assert_eq!(read.topic_partitions, None);
        assert_eq!((read.instance_id, read.server_assignor), (None, None));
    }
    let by_pattern = ConsumerGroupHeartbeatRequest {
        topic_pattern: Some("ai\\..*".into()),
        ..all
    };
    let read: peer::ConsumerGroupHeartbeatRequest = read_by_peer(&by_pattern, 1);
    assert_eq!(read.subscribed_topic_regex.as_deref(), Some("ai\\..*"));
    // It must not be dropped in silence.
    assert!(by_pattern.encode(0, &mut Writer::new(true)).is_err());
}

#[test]
fn such_groups_are_described_by_name_and_topics_are_named_by_id() {
    let request = ConsumerGroupDescribeRequest {
        groups: vec!["g".into()],
    };
    for version in versions::<ConsumerGroupDescribeRequest>() {
        let read: peer::ConsumerGroupDescribeRequest = read_by_peer(&request, version);
        assert_eq!(read.group_ids[0].as_str(), "g");
        assert!(!read.include_authorized_operations);
    }
    let request = TopicNamesRequest {
        ids: vec![[7; 16], [8; 16]],
    };
    for version in versions::<TopicNamesRequest>() {
        let read: peer::MetadataRequest = read_by_peer(&request, version);
        let topics = read.topics.unwrap();
        let ids = topics.iter().map(|topic| *topic.topic_id.as_bytes());
        assert_eq!(ids.collect::<Vec<_>>(), request.ids);
        assert!(topics.iter().all(|topic| topic.name.is_none()));
        assert!(!read.allow_auto_topic_creation);
    }
}
