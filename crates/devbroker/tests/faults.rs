//! Faults, and what a test does to a broker.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_devbroker::{Api, DevBroker, ErrorCode, Fault, Operation, Resource, ServerTls};
use kafka_protocol::messages::{
    ApiVersionsRequest, GroupId, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest,
    JoinGroupResponse, MetadataRequest, ProduceRequest,
    join_group_request::JoinGroupRequestProtocol,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use support::{Client, NOT_IDEMPOTENT, batch, produce_request, produced, str_bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

async fn broker() -> DevBroker {
    DevBroker::builder().topic("t", 2).start().await.unwrap()
}

fn request(partition: i32, value: &str) -> ProduceRequest {
    produce_request("t", partition, batch(NOT_IDEMPOTENT, &[value]))
}

#[tokio::test]
async fn a_connection_dropped_before_applying_leaves_nothing_in_the_log() {
    let broker = broker().await;
    let fault = broker.fault(Fault::drop_before_apply(Api::Produce).skip(1).once());
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "first")).await;
    assert!(client.try_ask(9, &request(0, "second")).await.is_err());
    assert_eq!(fault.hits(), 1);
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "third")).await;
    assert_eq!(broker.log("t").values(), ["first", "third"]);
}

#[tokio::test]
async fn an_error_for_one_partition_leaves_the_other_served() {
    let broker = broker().await;
    broker.fault(
        Fault::error(Api::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER)
            .topic("t")
            .partition(1)
            .once(),
    );
    let mut both = request(0, "a");
    let other = request(1, "b");
    both.topic_data[0]
        .partition_data
        .push(other.topic_data[0].partition_data[0].clone());
    let mut client = Client::connect(&broker).await;
    let response = client.ask(9, &both).await;
    let codes: Vec<i16> = response.responses[0]
        .partition_responses
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(codes, [0, 6]);
    assert_eq!(broker.log("t").values(), ["a"]);
    assert_eq!(produced(&client.ask(9, &other).await), (0, 0));
}

#[tokio::test]
async fn an_error_after_applying_is_told_although_the_record_is_there() {
    let broker = broker().await;
    let code = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    broker.fault(Fault::error_after_apply(Api::Produce, code).once());
    let mut client = Client::connect(&broker).await;
    assert_eq!(produced(&client.ask(9, &request(0, "a")).await).0, code.0);
    assert_eq!(broker.log("t").values(), ["a"]);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_and_its_record_does_not() {
    let broker = broker().await;
    let delay = Duration::from_millis(80);
    broker.fault(Fault::delay(Api::Produce, delay).client("test").once());
    let mut client = Client::connect(&broker).await;
    let before = Instant::now();
    client.send(9, &request(0, "a")).await.unwrap();
    broker.wait_until(|broker| broker.log("t").len() == 1).await;
    client.receive::<ProduceRequest>(9).await.unwrap();
    assert!(before.elapsed() >= delay);
}

#[tokio::test]
async fn a_held_request_holds_up_its_own_connection_alone_until_released() {
    let broker = broker().await;
    let held = broker.fault(Fault::hold(Api::Produce).partition(0).once());
    let mut slow = Client::connect(&broker).await;
    slow.send(9, &request(0, "slow")).await.unwrap();
    held.wait_for_hits(1).await;
    slow.send(9, &request(1, "behind")).await.unwrap();
    let mut quick = Client::connect(&broker).await;
    quick.ask(9, &request(0, "quick")).await;
    assert_eq!(broker.log("t").values(), ["quick"]);
    held.release();
    broker.wait_until(|broker| broker.log("t").len() == 3).await;
    assert_eq!(broker.partition_log("t", 0).values(), ["quick", "slow"]);
    assert_eq!(broker.partition_log("t", 1).values(), ["behind"]);
}

/// Told apart by chance where it goes wrong, so it is tried often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_fault_kept_from_a_connection_that_was_cut_is_not_let_out_with_the_fault() {
    let broker = broker().await;
    for _ in 0..50 {
        let unread = broker.fault(Fault::hold(Api::Produce).partition(0).once());
        let unanswered = broker.fault(Fault::hold_after_apply(Api::Produce).partition(1).once());
        let mut first = Client::connect(&broker).await;
        let mut second = Client::connect(&broker).await;
        first.send(9, &request(0, "unread")).await.unwrap();
        second.send(9, &request(1, "unanswered")).await.unwrap();
        unread.wait_for_hits(1).await;
        unanswered.wait_for_hits(1).await;
        broker.disconnect_clients().await;
        unread.remove();
        unanswered.remove();
        assert!(second.receive::<ProduceRequest>(9).await.is_err());
        assert!(first.receive::<ProduceRequest>(9).await.is_err());
    }
    assert!(broker.partition_log("t", 0).is_empty());
}

#[tokio::test]
async fn errors_are_answered_for_requests_of_groups_and_of_metadata() {
    let broker = broker().await;
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    broker.fault(Fault::error(Api::Heartbeat, loading).once());
    broker.fault(Fault::error(Api::JoinGroup, ErrorCode::NOT_COORDINATOR).once());
    broker.fault(Fault::error(Api::Metadata, ErrorCode::LEADER_NOT_AVAILABLE).topic("t"));
    let mut client = Client::connect(&broker).await;
    let beat = client.ask(4, &HeartbeatRequest::default()).await;
    assert_eq!(beat.error_code, loading.0);
    let joined = client.ask(9, &join("g", "")).await;
    assert_eq!(joined.error_code, ErrorCode::NOT_COORDINATOR.0);
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(support::topic_name("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let metadata = client.ask(9, &request).await;
    assert_eq!(metadata.topics[0].error_code, 5);
    broker.clear_faults();
    let metadata = client.ask(9, &request).await;
    assert_eq!(metadata.topics[0].error_code, 0);
}

#[tokio::test]
async fn one_fault_hits_several_partitions_and_blames_records() {
    let broker = DevBroker::builder().topic("t", 3).start().await.unwrap();
    let bad = Fault::error(Api::Produce, ErrorCode::INVALID_RECORD).records([0, 2]);
    let fault = broker.fault(bad.topic("t").partition(0).partition(2).times(2));
    let mut client = Client::connect(&broker).await;
    for (partition, blamed) in [(0, vec![0, 2]), (1, vec![]), (2, vec![0, 2])] {
        let response = client.ask(9, &request(partition, "a")).await;
        let told = &response.responses[0].partition_responses[0];
        let records: Vec<i32> = told.record_errors.iter().map(|e| e.batch_index).collect();
        assert_eq!((told.error_code == 87, records), (partition != 1, blamed));
    }
    assert_eq!(fault.hits(), 2);
}

#[tokio::test]
async fn a_frozen_broker_accepts_and_answers_nothing_until_it_thaws() {
    let broker = broker().await;
    let mut old = Client::connect(&broker).await;
    old.ask(3, &ApiVersionsRequest::default()).await;
    broker.freeze();
    let mut new = Client::connect(&broker).await;
    for client in [&mut old, &mut new] {
        client.send(9, &request(0, "a")).await.unwrap();
        let answer = client.receive::<ProduceRequest>(9);
        let patience = Duration::from_millis(50);
        assert!(tokio::time::timeout(patience, answer).await.is_err());
    }
    assert!(broker.log("t").is_empty());
    broker.thaw();
    for client in [&mut old, &mut new] {
        client.receive::<ProduceRequest>(9).await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_was_down_comes_back_at_its_address_with_its_log() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "before")).await;
    broker.go_down().await;
    assert!(client.try_ask(9, &request(0, "lost")).await.is_err());
    assert!(TcpStream::connect(broker.address()).await.is_err());
    broker.come_up().await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "after")).await;
    assert_eq!(broker.log("t").values(), ["before", "after"]);
}

#[tokio::test]
async fn a_stopped_broker_leaves_no_port_behind() {
    let broker = broker().await;
    let address = broker.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    broker.stop().await;
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_connection_and_nothing_else() {
    let broker = DevBroker::builder()
        .topic("t", 1)
        .max_frame_bytes(1000)
        .start()
        .await
        .unwrap();
    let mut client = Client::connect(&broker).await;
    let large = vec![0; 1001];
    let _ = client.send_frame(&large).await;
    assert!(client.receive_frame().await.is_err());
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "a")).await;
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(str_bytes("range"))
        .with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_member_id(str_bytes(member))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(str_bytes("consumer"))
        .with_protocols(vec![protocol])
}

async fn join_twice(client: &mut Client) -> JoinGroupResponse {
    let first = client.ask(9, &join("g", "")).await;
    client.ask(9, &join("g", &first.member_id)).await
}

#[tokio::test]
async fn a_waiting_join_holds_up_what_is_behind_it_on_its_connection() {
    let broker = broker().await;
    let mut first = Client::connect(&broker).await;
    let leader = join_twice(&mut first).await.member_id;
    let mut second = Client::connect(&broker).await;
    let given = second.ask(9, &join("g", "")).await.member_id;
    second.send(9, &join("g", &given)).await.unwrap();
    broker
        .wait_until(|broker| broker.group("g").unwrap().members.len() == 2)
        .await;
    second.send(9, &request(0, "behind")).await.unwrap();
    first.ask(9, &request(1, "elsewhere")).await;
    assert!(broker.partition_log("t", 0).is_empty());
    first.ask(9, &join("g", &leader)).await;
    broker.wait_until(|broker| broker.log("t").len() == 2).await;
}

#[tokio::test]
async fn a_session_that_ends_takes_the_member_out_of_the_group() {
    let broker = DevBroker::builder()
        .min_session_timeout(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    let mut client = Client::connect(&broker).await;
    let brief = |member: &str| join("g", member).with_session_timeout_ms(50);
    let given = client.ask(9, &brief("")).await.member_id;
    let joined = client.ask(9, &brief(&given)).await;
    assert_eq!(joined.error_code, 0);
    broker
        .wait_until(|broker| broker.group("g").unwrap().members.is_empty())
        .await;
}

fn connector(authority: &Authority, client: Option<&Identity>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.chain_pem().as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
            config
                .with_client_auth_cert(chain, identity.key_der())
                .unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// A broker over TLS, asked once by a client with this certificate.
async fn ask_over_tls(
    authority: &Authority,
    client: Option<&Identity>,
) -> std::io::Result<(DevBroker, Client)> {
    let server = authority.server().ip([127, 0, 0, 1]).issue().unwrap();
    let broker = DevBroker::builder()
        .tls(ServerTls::mutual(&server, authority.ca_pem()).unwrap())
        .start()
        .await
        .unwrap();
    let tcp = TcpStream::connect(broker.address()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = connector(authority, client).connect(name, tcp).await?;
    let mut client = Client::over(stream);
    client.try_ask(3, &ApiVersionsRequest::default()).await?;
    Ok((broker, client))
}

#[tokio::test]
async fn a_client_with_a_certificate_is_served_and_known_by_it() {
    let authority = Authority::new("CA").unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let (broker, _open) = ask_over_tls(&authority, Some(&client)).await.unwrap();
    let connection = broker.connections().remove(0);
    assert_eq!(connection.certificate.as_ref(), Some(client.certificate()));
    assert_eq!(connection.client_id.as_deref(), Some("test"));
    assert_eq!(connection.principal, "User:CN=node-1");
}

#[tokio::test]
async fn clients_without_a_certificate_with_an_expired_or_a_foreign_one_are_refused() {
    let authority = Authority::new("CA").unwrap();
    let expired = authority.client("node-1").expired().issue().unwrap();
    let other = Authority::new("CA").unwrap();
    let foreign = other.client("node-1").issue().unwrap();
    for client in [None, Some(&expired), Some(&foreign)] {
        assert!(ask_over_tls(&authority, client).await.is_err());
    }
}

#[tokio::test]
async fn another_certificate_is_shown_from_now_on_and_connections_of_before_go_on() {
    let (old, new) = (Authority::new("CA").unwrap(), Authority::new("CA").unwrap());
    let node = old.client("node-1").issue().unwrap();
    let (broker, mut open) = ask_over_tls(&old, Some(&node)).await.unwrap();
    let server = new.server().ip([127, 0, 0, 1]).issue().unwrap();
    broker.speak_tls(ServerTls::mutual(&server, old.ca_pem()).unwrap());
    let connect = async |trusted: &Authority| {
        let tcp = TcpStream::connect(broker.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        connector(trusted, Some(&node)).connect(name, tcp).await
    };
    assert!(connect(&old).await.is_err());
    let mut client = Client::over(connect(&new).await.unwrap());
    client.ask(3, &ApiVersionsRequest::default()).await;
    open.ask(3, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn an_answer_comes_twice_on_request() {
    let broker = broker().await;
    broker.fault(Fault::duplicate(Api::Produce).once());
    let mut client = Client::connect(&broker).await;
    client.send(9, &request(0, "a")).await.unwrap();
    let first = client.receive_frame().await.unwrap();
    assert_eq!(client.receive_frame().await.unwrap(), first);
    assert_eq!(broker.log("t").len(), 1);
    client.ask(9, &request(0, "b")).await;
}

#[tokio::test]
async fn an_answer_is_cut_half_way_and_the_connection_closed() {
    let broker = broker().await;
    broker.fault(Fault::cut(Api::Produce).once());
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    let frame = support::frame(1, 9, &request(0, "a"));
    let length = u32::try_from(frame.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    stream.write_all(&frame).await.unwrap();
    let mut got = Vec::new();
    let to_the_end = stream.read_to_end(&mut got);
    let ended = tokio::time::timeout(Duration::from_secs(10), to_the_end).await;
    ended.unwrap().unwrap();
    let announced = u32::from_be_bytes(got[..4].try_into().unwrap());
    assert_eq!(got.len() - 4, usize::try_from(announced / 2).unwrap());
    assert_eq!(broker.log("t").values(), ["a"]);
}

#[tokio::test]
async fn two_answers_change_places() {
    let broker = broker().await;
    broker.fault(Fault::swap(Api::Produce).once());
    let mut client = Client::connect(&broker).await;
    for value in ["a", "b"] {
        client.send(9, &request(0, value)).await.unwrap();
    }
    let correlations = [
        client.receive_frame().await.unwrap().split_to(4),
        client.receive_frame().await.unwrap().split_to(4),
    ];
    assert_eq!(correlations, [&[0, 0, 0, 2][..], &[0, 0, 0, 1][..]]);
    assert_eq!(broker.log("t").values(), ["a", "b"]);
}

#[tokio::test]
async fn a_leader_moves_just_before_a_request() {
    let builder = DevBroker::builder().brokers(2).topic("t", 1);
    let broker = builder.start().await.unwrap();
    broker.fault(Fault::move_leader(Api::Produce, 2).skip(1).once());
    let mut client = Client::connect(&broker).await;
    assert_eq!(produced(&client.ask(9, &request(0, "a")).await), (0, 0));
    assert_eq!(produced(&client.ask(9, &request(0, "b")).await).0, 6);
    assert_eq!(broker.leader("t", 0).unwrap().broker, Some(2));
}

#[tokio::test]
async fn a_topic_is_lost_or_renewed_just_before_a_request() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    client.ask(9, &request(0, "a")).await;
    let id = broker.topic_id("t");
    broker.fault(Fault::renew_topic(Api::Produce).once());
    assert_eq!(produced(&client.ask(9, &request(0, "b")).await), (0, 0));
    assert_eq!(broker.log("t").values(), ["b"]);
    assert_ne!(broker.topic_id("t"), id);
    broker.fault(Fault::lose_topic(Api::Produce).topic("t").once());
    assert_eq!(produced(&client.ask(9, &request(0, "c")).await).0, 3);
    assert!(broker.topics().is_empty());
}

#[tokio::test]
async fn a_member_expires_just_before_its_heartbeat() {
    let broker = broker().await;
    let fault = Fault::expire_member(Api::Heartbeat).group("g");
    broker.fault(fault.once());
    let mut client = Client::connect(&broker).await;
    let joined = client.ask(3, &join("g", "")).await;
    let beat = HeartbeatRequest::default()
        .with_group_id(GroupId(str_bytes("g")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id);
    let code = client.ask(3, &beat).await.error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[tokio::test]
async fn a_right_is_denied_by_operation_resource_and_name() {
    let builder = DevBroker::builder().topic("t", 1).topic("free", 1);
    let broker = builder.start().await.unwrap();
    broker.fault(Fault::deny(Operation::Write, Resource::Topic).topic("t"));
    broker.fault(Fault::deny(Operation::Read, Resource::Group).group("g"));
    broker.fault(Fault::deny(Operation::IdempotentWrite, Resource::Cluster));
    let mut client = Client::connect(&broker).await;
    assert_eq!(produced(&client.ask(9, &request(0, "a")).await).0, 29);
    let free = produce_request("free", 0, batch(NOT_IDEMPOTENT, &["a"]));
    assert_eq!(produced(&client.ask(9, &free).await), (0, 0));
    assert_eq!(client.ask(3, &join("g", "")).await.error_code, 30);
    assert_eq!(client.ask(3, &join("other", "")).await.error_code, 0);
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    assert_eq!(client.ask(4, &init).await.error_code, 31);
}

#[tokio::test]
async fn a_right_is_denied_to_one_principal_alone() {
    let authority = Authority::new("CA").unwrap();
    let [one, two] = ["node-1", "node-2"].map(|name| authority.client(name).issue().unwrap());
    for (client, code) in [(&one, 29), (&two, 3)] {
        let (broker, mut client) = ask_over_tls(&authority, Some(client)).await.unwrap();
        let deny = Fault::deny(Operation::Write, Resource::Topic);
        broker.fault(deny.principal("User:CN=node-1"));
        assert_eq!(produced(&client.ask(9, &request(0, "a")).await).0, code);
    }
}

#[tokio::test]
async fn a_fault_hits_one_broker_alone() {
    let builder = DevBroker::builder().brokers(2).topic("t", 2);
    let broker = builder.start().await.unwrap();
    broker.fault(Fault::drop_before_apply(Api::ApiVersions).broker(2));
    let versions = ApiVersionsRequest::default();
    for (id, is_served) in [(1, true), (2, false)] {
        let address = broker.address_of(id).unwrap();
        let mut client = Client::over(TcpStream::connect(address).await.unwrap());
        assert_eq!(client.try_ask(3, &versions).await.is_ok(), is_served);
    }
}
