//! Several brokers in one process: who leads, who coordinates, and how the others refuse.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use cybermesh_devbroker::{DevBroker, ErrorCode, TopicSpec};
use kafka_protocol::messages as m;
use kafka_protocol::messages::GroupId;
use support::{Client, NOT_IDEMPOTENT, batch, produce_request, produced, str_bytes, topic_name};

async fn three() -> DevBroker {
    let builder = DevBroker::builder().brokers(3).topic("t", 3);
    let builder = builder.topic_with(TopicSpec::new("single", 3).replicas(1));
    builder.start().await.unwrap()
}

async fn connect(broker: &DevBroker, id: i32) -> Client {
    let address = broker.address_of(id).unwrap();
    Client::over(tokio::net::TcpStream::connect(address).await.unwrap())
}

fn produce(topic: &str, partition: i32) -> m::ProduceRequest {
    produce_request(topic, partition, batch(NOT_IDEMPOTENT, &["x"]))
}

async fn metadata(client: &mut Client) -> m::MetadataResponse {
    let request = m::MetadataRequest::default().with_topics(None);
    client.ask(12, &request).await
}

fn fetch(partition: i32, known_epoch: i32) -> m::FetchRequest {
    fetch_of("t", partition, known_epoch)
}

fn fetch_of(topic: &str, partition: i32, known_epoch: i32) -> m::FetchRequest {
    let partition = m::fetch_request::FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(known_epoch)
        .with_partition_max_bytes(1000);
    let topic = m::fetch_request::FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    m::FetchRequest::default()
        .with_max_bytes(1000)
        .with_topics(vec![topic])
}

async fn fetched(client: &mut Client, request: &m::FetchRequest) -> i16 {
    let response = client.ask(12, request).await;
    response.responses[0].partitions[0].error_code
}

#[tokio::test]
async fn every_broker_tells_of_all_brokers_and_leaders() {
    let broker = three().await;
    assert_eq!(broker.bootstrap().split(',').count(), 3);
    for id in broker.broker_ids() {
        let told = metadata(&mut connect(&broker, id).await).await;
        let mut at: Vec<(i32, i32)> = told
            .brokers
            .iter()
            .map(|node| (node.node_id.0, node.port))
            .collect();
        at.sort_unstable();
        let ports = [1, 2, 3].map(|id| (id, i32::from(broker.address_of(id).unwrap().port())));
        assert_eq!(at, ports);
        let topic = told.topics.last().unwrap();
        let leaders: Vec<i32> = topic.partitions.iter().map(|p| p.leader_id.0).collect();
        assert_eq!(leaders, [1, 2, 3]);
        assert!(topic.partitions.iter().all(|p| p.isr_nodes.len() == 3));
    }
}

#[tokio::test]
async fn a_broker_that_does_not_lead_refuses_and_says_who_does() {
    let broker = three().await;
    let mut wrong = connect(&broker, 1).await;
    let response = wrong.ask(10, &produce("t", 1)).await;
    assert_eq!(produced(&response).0, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    let told = &response.responses[0].partition_responses[0].current_leader;
    assert_eq!((told.leader_id.0, told.leader_epoch), (2, 0));
    assert_eq!(response.node_endpoints[0].node_id.0, 2);
    // A follower may be read from, in the versions that know of it.
    let old = wrong.ask(10, &fetch(1, -1)).await;
    for code in [
        old.responses[0].partitions[0].error_code,
        fetched(&mut wrong, &fetch_of("single", 1, -1)).await,
    ] {
        assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    }
    assert_eq!(fetched(&mut wrong, &fetch(1, -1)).await, 0);
    assert!(broker.log("t").is_empty());
    let mut right = connect(&broker, 2).await;
    assert_eq!(produced(&right.ask(10, &produce("t", 1)).await), (0, 0));
}

#[tokio::test]
async fn after_a_leader_moved_the_old_one_refuses_and_the_log_goes_on() {
    let broker = three().await;
    let mut old = connect(&broker, 1).await;
    let mut new = connect(&broker, 3).await;
    assert_eq!(produced(&old.ask(9, &produce("t", 0)).await), (0, 0));
    assert_eq!(broker.move_leader("t", 0, 3), Some(1));
    assert_eq!(
        produced(&old.ask(9, &produce("t", 0)).await).0,
        ErrorCode::NOT_LEADER_OR_FOLLOWER.0
    );
    assert_eq!(produced(&new.ask(9, &produce("t", 0)).await), (0, 1));
    assert_eq!(
        metadata(&mut old).await.topics[1].partitions[0].leader_id.0,
        3
    );
}

#[tokio::test]
async fn readers_with_another_leader_epoch_are_told_whose_is_older() {
    let broker = three().await;
    broker.move_leader("t", 0, 3);
    let mut leader = connect(&broker, 3).await;
    for (known, code) in [
        (-1, ErrorCode::NONE),
        (0, ErrorCode::FENCED_LEADER_EPOCH),
        (1, ErrorCode::NONE),
        (2, ErrorCode::UNKNOWN_LEADER_EPOCH),
    ] {
        assert_eq!(fetched(&mut leader, &fetch(0, known)).await, code.0);
    }
}

#[tokio::test]
async fn where_an_epoch_ended_is_told_in_every_version() {
    let broker = three().await;
    let mut old = connect(&broker, 1).await;
    old.ask(9, &produce("t", 0)).await;
    broker.move_leader("t", 0, 2);
    let mut new = connect(&broker, 2).await;
    new.ask(9, &produce("t", 0)).await;
    for version in 2..=4 {
        let ask = |epoch| {
            let partition = m::offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
                .with_current_leader_epoch(1)
                .with_leader_epoch(epoch);
            let topic = m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic_name("t"))
                .with_partitions(vec![partition]);
            m::OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
        };
        for (epoch, end) in [(0, (0, 1)), (1, (1, 2)), (2, (-1, -1))] {
            let answer = new.ask(version, &ask(epoch)).await;
            let told = &answer.topics[0].partitions[0];
            assert_eq!((told.leader_epoch, told.end_offset), end);
        }
        let refused = old.ask(version, &ask(0)).await;
        assert_eq!(refused.topics[0].partitions[0].error_code, 6);
    }
}

#[tokio::test]
async fn a_fetch_that_waits_is_answered_when_its_leader_moves() {
    let broker = three().await;
    let mut reader = connect(&broker, 1).await;
    let request = fetch(0, 0).with_max_wait_ms(60_000).with_min_bytes(1);
    reader.send(12, &request).await.unwrap();
    let waits = |broker: &DevBroker| broker.requests(cybermesh_devbroker::Api::Fetch) == 1;
    broker.wait_until(waits).await;
    broker.move_leader("t", 0, 2);
    let response = reader.receive::<m::FetchRequest>(12).await.unwrap();
    let told = &response.responses[0].partitions[0];
    assert_eq!(told.error_code, ErrorCode::FENCED_LEADER_EPOCH.0);
    assert_eq!(told.current_leader.leader_id.0, 2);
}

#[tokio::test]
async fn when_a_broker_stops_another_replica_leads_and_its_port_refuses() {
    let broker = three().await;
    let address = broker.address_of(1).unwrap();
    broker.stop_broker(1).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let leader = broker.leader("t", 0).unwrap();
    assert_eq!((leader.broker, leader.epoch), (Some(2), 1));
    let told = metadata(&mut connect(&broker, 3).await).await;
    assert_eq!(told.brokers.len(), 2);
    let [single, t] = [0, 1].map(|topic: usize| &told.topics[topic].partitions[0]);
    assert_eq!((single.error_code, single.leader_id.0), (5, -1));
    assert_eq!((t.leader_id.0, t.isr_nodes.len()), (2, 2));
    broker.start_broker(1).await.unwrap();
    assert_eq!(broker.leader("single", 0).unwrap().broker, Some(1));
    assert_eq!(broker.leader("t", 0).unwrap().broker, Some(2));
    let mut back = connect(&broker, 1).await;
    assert_eq!(produced(&back.ask(9, &produce("single", 0)).await), (0, 0));
}

#[tokio::test]
async fn with_too_few_replicas_in_sync_nothing_is_appended_for_all_acks() {
    let strict = TopicSpec::new("t", 1).config("min.insync.replicas", "3");
    let builder = DevBroker::builder().brokers(3).topic_with(strict);
    let broker = builder.start().await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(produced(&client.ask(9, &produce("t", 0)).await), (0, 0));
    broker.stop_broker(3).await;
    let refused = produced(&client.ask(9, &produce("t", 0)).await).0;
    assert_eq!(refused, ErrorCode::NOT_ENOUGH_REPLICAS.0);
    let lax = produce("t", 0).with_acks(1);
    assert_eq!(produced(&client.ask(9, &lax).await), (0, 1));
}

fn join(group: &str) -> m::JoinGroupRequest {
    let protocol =
        m::join_group_request::JoinGroupRequestProtocol::default().with_name(str_bytes("range"));
    m::JoinGroupRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(str_bytes("consumer"))
        .with_protocols(vec![protocol])
}

#[tokio::test]
async fn a_group_is_served_by_its_coordinator_alone() {
    let broker = three().await;
    for group in ["a", "b", "c"] {
        let coordinator = broker.coordinator(group).unwrap();
        for id in broker.broker_ids() {
            let mut client = connect(&broker, id).await;
            let find = m::FindCoordinatorRequest::default().with_key(str_bytes(group));
            assert_eq!(client.ask(3, &find).await.node_id.0, coordinator);
            let code = client.ask(3, &join(group)).await.error_code;
            let expected = if id == coordinator { 0 } else { 16 };
            assert_eq!(code, expected, "{group} at {id}");
            let listed = client.ask(4, &m::ListGroupsRequest::default()).await;
            let is_listed = listed.groups.iter().any(|g| g.group_id.as_str() == group);
            assert_eq!(is_listed, id == coordinator && code == 0);
        }
    }
}

#[tokio::test]
async fn a_member_that_waits_at_a_coordinator_that_moves_is_told() {
    let broker = three().await;
    assert!(broker.move_coordinator("g", 1));
    let mut first = connect(&broker, 1).await;
    first.ask(3, &join("g")).await;
    let mut second = connect(&broker, 1).await;
    // It waits for the first to join again.
    second.send(3, &join("g")).await.unwrap();
    let both = |broker: &DevBroker| broker.group("g").is_some_and(|g| g.members.len() == 2);
    broker.wait_until(both).await;
    broker.move_coordinator("g", 2);
    let told = second.receive::<m::JoinGroupRequest>(3).await.unwrap();
    assert_eq!(told.error_code, ErrorCode::NOT_COORDINATOR.0);
}

#[tokio::test]
async fn an_expired_member_is_unknown() {
    let broker = three().await;
    broker.move_coordinator("g", 1);
    let mut client = Client::connect(&broker).await;
    let joined = client.ask(3, &join("g")).await;
    assert!(broker.expire_member("g", &joined.member_id));
    assert!(!broker.expire_member("g", &joined.member_id));
    let beat = m::HeartbeatRequest::default()
        .with_group_id(GroupId(str_bytes("g")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id);
    assert_eq!(
        client.ask(3, &beat).await.error_code,
        ErrorCode::UNKNOWN_MEMBER_ID.0
    );
}

#[tokio::test]
async fn a_renewed_topic_is_empty_and_has_another_id() {
    let broker = three().await;
    let before = broker.topic_id("t").unwrap();
    let mut client = Client::connect(&broker).await;
    client.ask(9, &produce("t", 0)).await;
    assert!(broker.renew_topic("t"));
    assert!(broker.log("t").is_empty());
    assert_ne!(broker.topic_id("t").unwrap(), before);
    assert_eq!(produced(&client.ask(9, &produce("t", 0)).await), (0, 0));
    assert!(broker.delete_topic("t"));
    assert_eq!(produced(&client.ask(9, &produce("t", 0)).await).0, 3);
    assert!(!broker.renew_topic("t"));
}
