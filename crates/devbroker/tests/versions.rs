//! Every request type in every version offered: the request is read, and the answer is one that
//! the client half of the message library reads to its last byte.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use bytes::{BufMut as _, Bytes, BytesMut};
use cybermesh_devbroker::{Api, DevBroker, ErrorCode};
use kafka_protocol::messages as m;
use kafka_protocol::messages::{GroupId, TransactionalId};
use kafka_protocol::protocol::Decodable as _;
use support::{Client, NOT_IDEMPOTENT, batch, produce_request, str_bytes, topic_name};

async fn broker() -> DevBroker {
    DevBroker::builder()
        .topic("a", 2)
        .topic("b", 1)
        .start()
        .await
        .unwrap()
}

fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    api.min_version()..=api.max_version()
}

fn group() -> GroupId {
    GroupId(str_bytes("g"))
}

#[tokio::test]
async fn api_versions_tells_every_range_and_an_unknown_version_gets_version_0() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::ApiVersions) {
        let request = m::ApiVersionsRequest::default();
        let response = client.ask(version, &request).await;
        for offered in &response.api_keys {
            let api = Api::from_key(offered.api_key).unwrap();
            let range = offered.min_version..=offered.max_version;
            assert_eq!(range, versions(api));
        }
        assert_eq!(response.api_keys.len(), Api::all().count());
    }
    let mut frame = BytesMut::new();
    frame.put_i16(Api::ApiVersions.key());
    frame.put_i16(99);
    frame.put_i32(5);
    frame.put_slice(b"whatever this version holds");
    client.send_frame(&frame).await.unwrap();
    let mut answer = client.receive_frame().await.unwrap();
    assert_eq!(answer.split_to(4), 5_i32.to_be_bytes()[..]);
    let answer = m::ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
}

#[tokio::test]
async fn metadata_names_topics_leaders_and_what_does_not_exist() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::Metadata) {
        let topic = |name: &str| {
            m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)))
        };
        let request = m::MetadataRequest::default().with_topics(Some(vec![
            topic("a"),
            topic("nowhere"),
            topic("not/legal"),
        ]));
        let response = client.ask(version, &request).await;
        let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 3, 17], "version {version}");
        assert_eq!(response.topics[0].partitions.len(), 2);
        assert_eq!(response.topics[0].partitions[1].leader_id.0, 1);
        assert_eq!(response.brokers[0].port, i32::from(broker.address().port()));

        let all = if version == 0 { Some(Vec::new()) } else { None };
        let request = m::MetadataRequest::default().with_topics(all);
        assert_eq!(client.ask(version, &request).await.topics.len(), 2);
    }
    let by_id = m::metadata_request::MetadataRequestTopic::default()
        .with_name(None)
        .with_topic_id(uuid(9));
    let request = m::MetadataRequest::default().with_topics(Some(vec![by_id]));
    let response = client.ask(12, &request).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
}

fn uuid(byte: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([byte; 16])
}

#[tokio::test]
async fn produce_is_served_in_every_version() {
    let broker = broker().await;
    let id = broker.topic_id("a").unwrap();
    let mut client = Client::connect(&broker).await;
    for (expected, version) in (0..).zip(versions(Api::Produce)) {
        let mut good = produce_request("a", 0, batch(NOT_IDEMPOTENT, &["x"]));
        let mut bad = produce_request("nowhere", 0, batch(NOT_IDEMPOTENT, &["x"]));
        if version >= 13 {
            (good.topic_data[0].name, bad.topic_data[0].name) = Default::default();
            good.topic_data[0].topic_id = id;
            bad.topic_data[0].topic_id = uuid(9);
        }
        let answer = support::produced(&client.ask(version, &good).await);
        assert_eq!(answer, (0, expected), "version {version}");
        let code = support::produced(&client.ask(version, &bad).await).0;
        assert_eq!(code, if version >= 13 { 100 } else { 3 });
    }
}

#[tokio::test]
async fn a_producer_that_wants_no_answer_gets_none() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let silent = produce_request("a", 0, batch(NOT_IDEMPOTENT, &["x"])).with_acks(0);
    client.send(9, &silent).await.unwrap();
    // The next answer belongs to the next request.
    client.ask(3, &m::ApiVersionsRequest::default()).await;
    assert_eq!(broker.log("a").len(), 1);
}

#[tokio::test]
async fn fetch_is_served_in_every_version_with_all_its_fields() {
    let broker = broker().await;
    let id = broker.topic_id("a").unwrap();
    let mut client = Client::connect(&broker).await;
    let produce = produce_request("a", 1, batch(NOT_IDEMPOTENT, &["x"]));
    client.ask(9, &produce).await;
    for version in versions(Api::Fetch) {
        let mut partition = m::fetch_request::FetchPartition::default()
            .with_partition(1)
            .with_partition_max_bytes(1000);
        let mut topic = m::fetch_request::FetchTopic::default();
        let mut request = m::FetchRequest::default()
            .with_max_wait_ms(10)
            .with_min_bytes(1)
            .with_max_bytes(1000);
        if version >= 17 {
            partition.replica_directory_id = uuid(3);
        }
        if version >= 18 {
            partition.high_watermark = 7;
        }
        if version >= 13 {
            topic.topic_id = id;
        } else {
            topic.topic = topic_name("a");
        }
        if version >= 12 {
            request.cluster_id = Some(str_bytes("some cluster"));
        }
        if version >= 15 {
            request.replica_state.replica_epoch = 5;
        }
        if version >= 7 {
            let forgotten = m::fetch_request::ForgottenTopic::default().with_partitions(vec![4]);
            request.forgotten_topics_data = vec![forgotten];
        }
        request.topics = vec![topic.with_partitions(vec![partition])];
        let response = client.ask(version, &request).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark), (0, 1), "{version}");
        assert!(!data.records.as_ref().unwrap().is_empty());
    }
}

#[tokio::test]
async fn list_offsets_and_producer_ids_are_served_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::ListOffsets) {
        let place = |index| {
            m::list_offsets_request::ListOffsetsPartition::default()
                .with_partition_index(index)
                .with_timestamp(-1)
        };
        let topic = m::list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(vec![place(0), place(7)]);
        let request = m::ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.ask(version, &request).await;
        let partitions = &response.topics[0].partitions;
        let told: Vec<_> = partitions
            .iter()
            .map(|p| (p.error_code, p.offset))
            .collect();
        assert_eq!(told, [(0, 0), (3, -1)], "version {version}");
    }
    for version in versions(Api::InitProducerId) {
        let request = m::InitProducerIdRequest::default().with_transactional_id(None);
        let response = client.ask(version, &request).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        let named = TransactionalId(str_bytes("tx"));
        let request = m::InitProducerIdRequest::default().with_transactional_id(Some(named));
        let refused = client.ask(version, &request).await.error_code;
        assert_eq!(refused, ErrorCode::INVALID_REQUEST.0);
    }
}

#[tokio::test]
async fn topics_are_created_described_and_deleted_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let topic = |name: &str, partitions| {
        m::create_topics_request::CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let config = |name: &str, value: &str| {
        m::create_topics_request::CreatableTopicConfig::default()
            .with_name(str_bytes(name))
            .with_value(Some(str_bytes(value)))
    };
    let stamped = config("message.timestamp.type", "LogAppendTime");
    for version in versions(Api::CreateTopics) {
        let request = m::CreateTopicsRequest::default().with_topics(vec![
            topic(&format!("new-{version}"), 3).with_configs(vec![stamped.clone()]),
            topic("a", 1),
            topic("no/name", 1),
            topic("none", 0),
            topic("three", 1).with_replication_factor(3),
            topic("odd", 1).with_configs(vec![config("no.such.thing", "1")]),
        ]);
        let response = client.ask(version, &request).await;
        let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 36, 17, 37, 38, 40], "version {version}");
    }
    for version in versions(Api::DescribeConfigs) {
        let resource = |name: &str, keys| {
            m::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(str_bytes(name))
                .with_configuration_keys(keys)
        };
        let keys = Some(vec![str_bytes("message.timestamp.type")]);
        let request = m::DescribeConfigsRequest::default().with_resources(vec![
            resource("new-7", keys),
            resource("a", None),
            resource("nowhere", None),
        ]);
        let response = client.ask(version, &request).await;
        let told = &response.results[0].configs;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].value.as_deref(), Some("LogAppendTime"));
        assert!(response.results[1].configs.len() > 1);
        assert_eq!(response.results[2].error_code, 3);
    }
    for version in versions(Api::DeleteTopics) {
        let name = topic_name(&format!("new-{}", version.max(2)));
        let mut request = m::DeleteTopicsRequest::default();
        if version >= 6 {
            let state =
                |name| m::delete_topics_request::DeleteTopicState::default().with_name(name);
            request.topics = vec![state(Some(name)), state(None).with_topic_id(uuid(9))];
        } else {
            request.topic_names = vec![name, topic_name("nowhere")];
        }
        let response = client.ask(version, &request).await;
        let codes: Vec<i16> = response.responses.iter().map(|t| t.error_code).collect();
        let expected = match version {
            1 => [0, 3],
            2 => [3, 3],
            6 => [0, 100],
            _ => [0, 3],
        };
        assert_eq!(codes, expected, "version {version}");
    }
    assert_eq!(broker.topics(), ["a", "b", "new-7"]);
}

#[tokio::test]
async fn a_group_lives_its_whole_life_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::JoinGroup) {
        let group = GroupId(str_bytes(&format!("g{version}")));
        let at = |api: Api| version.clamp(api.min_version(), api.max_version());
        let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
            .with_name(str_bytes("range"))
            .with_metadata(Bytes::from_static(b"topics"));
        let join = m::JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(str_bytes("consumer"))
            .with_protocols(vec![protocol]);
        let mut joined = client.ask(version, &join).await;
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
            let member = joined.member_id.clone();
            joined = client.ask(version, &join.with_member_id(member)).await;
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members[0].metadata, "topics");
        let member = joined.member_id;

        let assignment = m::sync_group_request::SyncGroupRequestAssignment::default()
            .with_member_id(member.clone())
            .with_assignment(Bytes::from_static(b"all"));
        let sync = m::SyncGroupRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(1)
            .with_member_id(member.clone())
            .with_assignments(vec![assignment]);
        let synced = client.ask(at(Api::SyncGroup), &sync).await;
        assert_eq!(
            (synced.error_code, &synced.assignment[..]),
            (0, &b"all"[..])
        );

        let beat = m::HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(1)
            .with_member_id(member.clone());
        assert_eq!(client.ask(at(Api::Heartbeat), &beat).await.error_code, 0);

        let describe = m::DescribeGroupsRequest::default().with_groups(vec![group.clone()]);
        let described = client.ask(at(Api::DescribeGroups).min(5), &describe).await;
        assert_eq!(described.groups[0].group_state.as_str(), "Stable");
        assert_eq!(described.groups[0].members[0].member_assignment, "all");

        let mut leave = m::LeaveGroupRequest::default().with_group_id(group.clone());
        if at(Api::LeaveGroup) >= 3 {
            let identity =
                m::leave_group_request::MemberIdentity::default().with_member_id(member.clone());
            leave.members = vec![identity];
        } else {
            leave.member_id = member;
        }
        let left = client.ask(at(Api::LeaveGroup), &leave).await;
        assert_eq!(left.error_code, 0);
        assert!(left.members.iter().all(|member| member.error_code == 0));
    }
    for version in versions(Api::ListGroups) {
        let listed = client.ask(version, &m::ListGroupsRequest::default()).await;
        assert_eq!(listed.groups.len(), versions(Api::JoinGroup).count());
    }
    for version in versions(Api::DescribeGroups) {
        let request = m::DescribeGroupsRequest::default().with_groups(vec![group()]);
        let described = client.ask(version, &request).await;
        assert_eq!(described.groups[0].group_state.as_str(), "Dead");
    }
    for version in versions(Api::Heartbeat) {
        let beat = m::HeartbeatRequest::default().with_group_id(group());
        let code = client.ask(version, &beat).await.error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    }
    for version in versions(Api::LeaveGroup).take(3) {
        let leave = m::LeaveGroupRequest::default().with_group_id(group());
        let code = client.ask(version, &leave).await.error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    }
    for version in versions(Api::SyncGroup) {
        let sync = m::SyncGroupRequest::default().with_group_id(group());
        let code = client.ask(version, &sync).await.error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    }
    for version in versions(Api::FindCoordinator) {
        let mut request = m::FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![str_bytes("g")];
        } else {
            request.key = str_bytes("g");
        }
        let response = client.ask(version, &request).await;
        let (code, node) = match response.coordinators.first() {
            Some(found) => (found.error_code, found.node_id.0),
            None => (response.error_code, response.node_id.0),
        };
        assert_eq!((code, node), (0, 1), "version {version}");
    }
}

#[tokio::test]
async fn offsets_are_committed_and_read_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::OffsetCommit) {
        let place = |index: i32, metadata: &str| {
            m::offset_commit_request::OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(version.into())
                .with_committed_metadata(Some(str_bytes(metadata)))
        };
        let long = "é".repeat(4097);
        let topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(vec![place(7, ""), place(0, &long), place(1, &long[..8192])]);
        let request = m::OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let response = client.ask(version, &request).await;
        let partitions = &response.topics[0].partitions;
        let codes: Vec<i16> = partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [3, 12, 0], "version {version}");
    }
    let stored = broker.committed("g", "a", 1).unwrap();
    assert_eq!((stored.offset, stored.metadata.chars().count()), (9, 4096));
    for version in versions(Api::OffsetFetch) {
        let mut request = m::OffsetFetchRequest::default();
        let indexes = vec![0, 1];
        if version >= 8 {
            let topic = m::offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic_name("a"))
                .with_partition_indexes(indexes);
            let wanted = m::offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic]));
            request.groups = vec![wanted];
        } else {
            let topic = m::offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic_name("a"))
                .with_partition_indexes(indexes);
            request.group_id = group();
            request.topics = Some(vec![topic]);
        }
        let response = client.ask(version, &request).await;
        let offsets: Vec<i64> = match response.groups.first() {
            Some(group) => {
                let partitions = &group.topics[0].partitions;
                partitions.iter().map(|p| p.committed_offset).collect()
            }
            None => {
                let partitions = &response.topics[0].partitions;
                partitions.iter().map(|p| p.committed_offset).collect()
            }
        };
        assert_eq!(offsets, [-1, 9], "version {version}");
    }
}

fn joining(group: &str, member: &str) -> m::ConsumerGroupHeartbeatRequest {
    m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_member_id(str_bytes(member))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name("a")]))
        .with_topic_partitions(Some(vec![]))
}

#[tokio::test]
async fn a_group_that_the_broker_divides_lives_its_whole_life_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::ConsumerGroupHeartbeat) {
        let id = format!("divided-{version}");
        let joined = client.ask(version, &joining(&id, "one")).await;
        assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
        assert_eq!(joined.heartbeat_interval_ms, 5000);
        assert_eq!(joined.member_id.as_deref(), Some("one"));
        let given = joined.assignment.unwrap().topic_partitions;
        assert_eq!(Some(given[0].topic_id), broker.topic_id("a"));
        assert_eq!(given[0].partitions, [0, 1]);

        let describe = m::ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![GroupId(str_bytes(&id)), GroupId(str_bytes("none"))]);
        let described = client.ask(version, &describe).await;
        let [group, none] = &described.groups[..] else {
            panic!("{described:?}");
        };
        assert_eq!(none.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
        assert_eq!(
            (group.group_state.as_str(), group.group_epoch),
            ("Stable", 1)
        );
        assert_eq!(group.assignor_name.as_str(), "uniform");
        let assigned = &group.members[0].assignment.topic_partitions[0];
        assert_eq!(
            (assigned.topic_name.as_str(), &assigned.partitions[..]),
            ("a", &[0, 1][..])
        );
        let list = m::ListGroupsRequest::default().with_types_filter(vec![str_bytes("Consumer")]);
        let listed = client.ask(5, &list).await;
        let listed = listed
            .groups
            .iter()
            .find(|listed| listed.group_id.as_str() == id);
        assert_eq!(listed.unwrap().group_type.as_str(), "consumer");
        // To who knows the classic protocol alone it is not there, and cannot be joined.
        let classic =
            m::DescribeGroupsRequest::default().with_groups(vec![GroupId(str_bytes(&id))]);
        let classic = client.ask(5, &classic).await;
        assert_eq!(classic.groups[0].group_state.as_str(), "Dead");

        for (epoch, code) in [(1, 0), (2, 113), (0, 113)] {
            let place = m::offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_offset(7);
            let topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(topic_name("a"))
                .with_partitions(vec![place]);
            let commit = m::OffsetCommitRequest::default()
                .with_group_id(GroupId(str_bytes(&id)))
                .with_member_id(str_bytes("one"))
                .with_generation_id_or_member_epoch(epoch)
                .with_topics(vec![topic]);
            let committed = client.ask(9, &commit).await;
            assert_eq!(committed.topics[0].partitions[0].error_code, code);
            let wanted = m::offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(str_bytes(&id)))
                .with_member_id(Some(str_bytes("one")))
                .with_member_epoch(epoch)
                .with_topics(None);
            let fetch = m::OffsetFetchRequest::default().with_groups(vec![wanted]);
            let fetched = client.ask(9, &fetch).await;
            assert_eq!(fetched.groups[0].error_code, code);
        }

        broker.fault(cybermesh_devbroker::Fault::expire_member(Api::ConsumerGroupHeartbeat).once());
        let beat = joining(&id, "one").with_member_epoch(1);
        let expired = client.ask(version, &beat).await;
        assert_eq!(expired.error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
        let joined = client.ask(version, &joining(&id, "one")).await;
        assert_eq!((joined.error_code, joined.member_epoch), (0, 3));
        let leave = m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(str_bytes(&id)))
            .with_member_id(str_bytes("one"))
            .with_member_epoch(-1);
        let left = client.ask(version, &leave).await;
        assert_eq!((left.error_code, left.member_epoch), (0, -1));
        assert_eq!(broker.group(&id).unwrap().members, []);
        assert_eq!(broker.committed(&id, "a", 0).unwrap().offset, 7);
    }
}

#[tokio::test]
async fn what_a_group_that_the_broker_divides_cannot_have_is_refused_by_name() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let fine = || joining("divided", "one");
    let not_asked = [
        (fine().with_server_assignor(Some(str_bytes("sticky"))), 112),
        (
            fine().with_subscribed_topic_regex(Some(str_bytes("a.*"))),
            128,
        ),
        (fine().with_rebalance_timeout_ms(-1), 42),
        (fine().with_topic_partitions(None), 42),
        (fine().with_subscribed_topic_names(None), 42),
        (fine().with_member_epoch(-3), 42),
        (fine().with_member_id(str_bytes("")), 42),
        (fine().with_member_epoch(1), 69),
    ];
    for (request, code) in not_asked {
        let answer = client.ask(1, &request).await;
        assert_eq!(answer.error_code, code, "{request:?}");
        assert_eq!(answer.error_message.is_some(), code != 69);
    }
    assert!(
        broker
            .group("divided")
            .is_none_or(|group| group.members.is_empty())
    );
    // Nor does a group change hands that has members of the other protocol.
    assert_eq!(client.ask(1, &fine()).await.error_code, 0);
    let protocol =
        m::join_group_request::JoinGroupRequestProtocol::default().with_name(str_bytes("range"));
    let join = m::JoinGroupRequest::default()
        .with_group_id(GroupId(str_bytes("divided")))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(str_bytes("consumer"))
        .with_protocols(vec![protocol]);
    let refused = client.ask(3, &join).await;
    assert_eq!(refused.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0);
    let classic = join.with_group_id(GroupId(str_bytes("classic")));
    assert_eq!(client.ask(3, &classic).await.error_code, 0);
    let refused = client.ask(1, &joining("classic", "one")).await;
    assert_eq!(refused.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
}

#[tokio::test]
async fn a_broker_without_groups_that_it_divides_does_not_offer_them() {
    let builder = DevBroker::builder().without_consumer_groups();
    let broker = builder.start().await.unwrap();
    let mut client = Client::connect(&broker).await;
    let versions = client.ask(3, &m::ApiVersionsRequest::default()).await;
    let offered = versions.api_keys.iter().map(|api| api.api_key);
    let offered: Vec<i16> = offered.collect();
    assert!(offered.contains(&Api::Heartbeat.key()));
    assert!(!offered.contains(&Api::ConsumerGroupHeartbeat.key()));
    assert!(!offered.contains(&Api::ConsumerGroupDescribe.key()));
}
