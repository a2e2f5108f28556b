//! What administrators ask for, in every version offered: more partitions, other settings, fewer
//! records, fewer groups.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use cybermesh_devbroker::{Api, DevBroker, ErrorCode, Fault};
use kafka_protocol::messages as m;
use kafka_protocol::messages::{GroupId, TopicName};
use support::{Client, NOT_IDEMPOTENT, batch, produce_request, produced, str_bytes, topic_name};

async fn broker() -> DevBroker {
    DevBroker::builder().topic("t", 2).start().await.unwrap()
}

fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    api.min_version()..=api.max_version()
}

#[tokio::test]
async fn topics_grow_and_never_shrink_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let topic = |name: &str, count| {
        m::create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(None)
    };
    for (version, count) in versions(Api::CreatePartitions).zip(3_i32..) {
        let request = m::CreatePartitionsRequest::default().with_topics(vec![
            topic("t", count),
            topic("nowhere", 3),
            topic("twice", 3),
            topic("twice", 4),
        ]);
        let dry = request.clone().with_validate_only(true);
        let codes = |response: m::CreatePartitionsResponse| {
            let codes = response.results.iter().map(|result| result.error_code);
            codes.collect::<Vec<_>>()
        };
        assert_eq!(codes(client.ask(version, &dry).await), [0, 3, 42, 42]);
        assert_eq!(codes(client.ask(version, &request).await), [0, 3, 42, 42]);
        assert_eq!(codes(client.ask(version, &request).await), [37, 3, 42, 42]);
        let last = produce_request("t", count - 1, batch(NOT_IDEMPOTENT, &["x"]));
        assert_eq!(produced(&client.ask(9, &last).await), (0, 0));
        let beyond = produce_request("t", count, batch(NOT_IDEMPOTENT, &["x"]));
        assert_eq!(produced(&client.ask(9, &beyond).await).0, 3);
    }
}

#[tokio::test]
async fn a_test_grows_a_topic_without_a_client() {
    let broker = broker().await;
    assert!(broker.grow_topic("t", 4));
    assert!(!broker.grow_topic("t", 3));
    assert!(!broker.grow_topic("nowhere", 3));
    let mut client = Client::connect(&broker).await;
    let last = produce_request("t", 3, batch(NOT_IDEMPOTENT, &["x"]));
    assert_eq!(produced(&client.ask(9, &last).await), (0, 0));
}

async fn setting(client: &mut Client, name: &str) -> (String, i8) {
    let resource = m::describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(str_bytes("t"))
        .with_configuration_keys(Some(vec![str_bytes(name)]));
    let request = m::DescribeConfigsRequest::default().with_resources(vec![resource]);
    let told = client.ask(4, &request).await.results.remove(0);
    let config = &told.configs[0];
    let value = config.value.as_ref().unwrap().to_string();
    (value, config.config_source)
}

fn incremental(operations: &[(&str, i8, Option<&str>)]) -> m::IncrementalAlterConfigsRequest {
    let configs = operations.iter().map(|(name, operation, value)| {
        m::incremental_alter_configs_request::AlterableConfig::default()
            .with_name(str_bytes(name))
            .with_config_operation(*operation)
            .with_value(value.map(str_bytes))
    });
    let resource = m::incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(str_bytes("t"))
        .with_configs(configs.collect());
    m::IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

#[tokio::test]
async fn single_settings_are_set_appended_to_and_given_back_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::IncrementalAlterConfigs) {
        let change = incremental(&[
            ("max.message.bytes", 0, Some("100")),
            ("cleanup.policy", 2, Some("compact")),
        ]);
        let answer = client.ask(version, &change).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(
            setting(&mut client, "max.message.bytes").await,
            ("100".into(), 1)
        );
        assert_eq!(
            setting(&mut client, "cleanup.policy").await,
            ("delete,compact".into(), 1)
        );
        let large = produce_request("t", 0, batch(NOT_IDEMPOTENT, &[&"x".repeat(100)]));
        assert_eq!(produced(&client.ask(9, &large).await).0, 10);
        let back = incremental(&[
            ("max.message.bytes", 1, None),
            ("cleanup.policy", 3, Some("compact")),
        ]);
        assert_eq!(client.ask(version, &back).await.responses[0].error_code, 0);
        assert_eq!(
            setting(&mut client, "max.message.bytes").await,
            ("1048588".into(), 5)
        );
        assert_eq!(
            setting(&mut client, "cleanup.policy").await,
            ("delete".into(), 1)
        );
        assert_eq!(produced(&client.ask(9, &large).await).0, 0);
    }
}

#[tokio::test]
async fn a_change_with_one_bad_setting_changes_nothing() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for bad in [
        ("no.such.thing", 0, Some("1")),
        ("retention.ms", 0, Some("soon")),
        ("retention.ms", 0, None),
        ("retention.ms", 2, Some("7")),
        ("cleanup.policy", 3, Some("delete")),
    ] {
        let change = incremental(&[("max.message.bytes", 0, Some("100")), bad]);
        let answer = client.ask(1, &change).await.responses.remove(0);
        let code = ErrorCode::INVALID_CONFIG.0;
        assert_eq!(answer.error_code, code, "{bad:?}");
        assert!(answer.error_message.unwrap().contains(bad.0));
    }
    let dry = incremental(&[("max.message.bytes", 0, Some("100"))]).with_validate_only(true);
    assert_eq!(client.ask(1, &dry).await.responses[0].error_code, 0);
    assert_eq!(
        setting(&mut client, "max.message.bytes").await,
        ("1048588".into(), 5)
    );
}

#[tokio::test]
async fn replacing_all_settings_gives_the_others_their_defaults_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::AlterConfigs) {
        let first = incremental(&[("retention.ms", 0, Some("5"))]);
        client.ask(1, &first).await;
        let config = m::alter_configs_request::AlterableConfig::default()
            .with_name(str_bytes("segment.ms"))
            .with_value(Some(str_bytes("7")));
        let resource = m::alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(str_bytes("t"))
            .with_configs(vec![config]);
        let request = m::AlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = client.ask(version, &request).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(setting(&mut client, "segment.ms").await, ("7".into(), 1));
        let (_, source) = setting(&mut client, "retention.ms").await;
        assert_eq!(source, 5);
    }
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_in_every_version() {
    for version in versions(Api::DeleteRecords) {
        let broker = broker().await;
        let mut client = Client::connect(&broker).await;
        for _ in 0..3 {
            let request = produce_request("t", 1, batch(NOT_IDEMPOTENT, &["x", "y"]));
            client.ask(9, &request).await;
        }
        let delete = |partition, offset| {
            let partition = m::delete_records_request::DeleteRecordsPartition::default()
                .with_partition_index(partition)
                .with_offset(offset);
            let topic = m::delete_records_request::DeleteRecordsTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            m::DeleteRecordsRequest::default().with_topics(vec![topic])
        };
        // Offset asked for, low watermark and error told: in order.
        for (partition, offset, low, code) in [
            (1, 3, 3, 0),
            (1, 2, 3, 0),
            (1, 7, -1, 1),
            (1, -2, -1, 1),
            (2, 0, -1, 3),
        ] {
            let answer = client.ask(version, &delete(partition, offset)).await;
            let told = &answer.topics[0].partitions[0];
            assert_eq!((told.low_watermark, told.error_code), (low, code));
        }
        assert_eq!(broker.partition_log("t", 1).records()[0].offset, 3);
        let all = client.ask(version, &delete(1, -1)).await;
        assert_eq!(all.topics[0].partitions[0].low_watermark, 6);
        assert!(broker.log("t").is_empty());
    }
}

#[tokio::test]
async fn records_of_a_topic_that_only_compacts_are_not_deleted() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let compact = incremental(&[("cleanup.policy", 0, Some("compact"))]);
    client.ask(1, &compact).await;
    let partition = m::delete_records_request::DeleteRecordsPartition::default();
    let topic = m::delete_records_request::DeleteRecordsTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    let request = m::DeleteRecordsRequest::default().with_topics(vec![topic]);
    let answer = client.ask(2, &request).await;
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::POLICY_VIOLATION.0);
}

async fn commit(client: &mut Client, group: &str) {
    let partition = m::offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(5)
        .with_committed_metadata(Some(str_bytes("")));
    let topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    let request = m::OffsetCommitRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer = client.ask(8, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

/// A member that reads `t`; it has joined and not yet synced.
async fn join(client: &mut Client, group: &str) {
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
        .with_name(str_bytes("range"))
        .with_metadata(bytes::Bytes::from_static(
            b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff",
        ));
    let request = m::JoinGroupRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(str_bytes("consumer"))
        .with_protocols(vec![protocol]);
    // Version 3 does not ask a new member to come back.
    assert_eq!(client.ask(3, &request).await.error_code, 0);
}

#[tokio::test]
async fn groups_without_members_are_deleted_and_others_stay_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    join(&mut client, "busy").await;
    for version in versions(Api::DeleteGroups) {
        commit(&mut client, "idle").await;
        let names = ["idle", "busy", "nobody"].map(|name| GroupId(str_bytes(name)));
        let request = m::DeleteGroupsRequest::default().with_groups_names(names.to_vec());
        let answer = client.ask(version, &request).await;
        let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [0, 68, 69], "version {version}");
        assert_eq!(broker.committed("idle", "t", 0), None);
    }
    assert!(broker.group("busy").is_some());
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    join(&mut client, "busy").await;
    commit(&mut client, "idle").await;
    for (states, types, expected) in [
        (vec![], vec![], vec!["busy", "idle"]),
        (vec!["empty"], vec![], vec!["idle"]),
        (vec!["CompletingRebalance"], vec!["Classic"], vec!["busy"]),
        (vec![], vec!["consumer"], vec![]),
    ] {
        let request = m::ListGroupsRequest::default()
            .with_states_filter(states.into_iter().map(str_bytes).collect())
            .with_types_filter(types.into_iter().map(str_bytes).collect());
        let listed = client.ask(5, &request).await.groups;
        let names: Vec<_> = listed.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn what_a_group_committed_is_deleted_unless_a_member_reads_the_topic() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let delete = |group: &str| {
        let partition = |index| {
            m::offset_delete_request::OffsetDeleteRequestPartition::default()
                .with_partition_index(index)
        };
        let topic = m::offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition(0), partition(7)]);
        m::OffsetDeleteRequest::default()
            .with_group_id(GroupId(str_bytes(group)))
            .with_topics(vec![topic])
    };
    commit(&mut client, "g").await;
    join(&mut client, "g").await;
    let codes = |answer: &m::OffsetDeleteResponse| {
        let partitions = answer.topics[0].partitions.iter();
        partitions.map(|p| p.error_code).collect::<Vec<_>>()
    };
    let reads = client.ask(0, &delete("g")).await;
    assert_eq!(codes(&reads), [86, 3]);
    assert!(broker.committed("g", "t", 0).is_some());
    commit(&mut client, "idle").await;
    let idle = client.ask(0, &delete("idle")).await;
    assert_eq!(codes(&idle), [0, 3]);
    assert_eq!(broker.committed("idle", "t", 0), None);
    assert_eq!(client.ask(0, &delete("nobody")).await.error_code, 69);
}

#[tokio::test]
async fn the_cluster_is_described_in_every_version() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for version in versions(Api::DescribeCluster) {
        let answer = client
            .ask(version, &m::DescribeClusterRequest::default())
            .await;
        assert_eq!(answer.error_code, 0);
        assert_eq!(answer.cluster_id.as_str(), broker.cluster_id());
        let port = i32::from(broker.address().port());
        assert_eq!(answer.brokers[0].port, port);
    }
}

#[tokio::test]
async fn faults_hit_administrators_too() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    broker.fault(Fault::error(Api::CreatePartitions, denied).topic("t"));
    broker.fault(Fault::error(Api::IncrementalAlterConfigs, denied).topic("t"));
    let topic = m::create_partitions_request::CreatePartitionsTopic::default()
        .with_name(TopicName(str_bytes("t")))
        .with_count(9);
    let request = m::CreatePartitionsRequest::default().with_topics(vec![topic]);
    let answer = client.ask(3, &request).await;
    assert_eq!(answer.results[0].error_code, denied.0);
    let change = incremental(&[("retention.ms", 0, Some("5"))]);
    let answer = client.ask(1, &change).await;
    assert_eq!(answer.responses[0].error_code, denied.0);
}
