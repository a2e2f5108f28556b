//! What a client is told when it cannot come in: each a typed error, in time, that says which.

use std::time::{Duration, Instant};

use cybermesh_devbroker::pki::Authority;
use cybermesh_devbroker::{DevBroker, ServerTls};
use cybermesh_tests::cluster::{CertificateFiles, TlsFiles};
use cybermesh_tests::proxy::{Conduct, Proxy};
use cybermesh_tests::{Stage, stage};
use cybermesh_transport::error::TlsFailure;
use cybermesh_transport::{
    Address, Class, Client, ClientConfig, ErrorCode, ErrorKind, Security, TransportError,
};

cybermesh_tests::scenarios! {
    both: [
        a_broker_that_accepts_and_never_answers_is_told_at_the_deadline,
        a_port_where_nobody_listens_is_told_as_refused,
        a_broker_of_another_authority_is_told_as_such,
        a_broker_under_another_name_is_told_as_such,
        a_missing_client_certificate_is_told_as_probably_that,
        a_client_certificate_of_another_authority_is_told_as_refused,
        an_expired_client_certificate_is_told_as_refused,
        an_unknown_topic_is_told_by_its_name,
        a_good_address_behind_bad_ones_is_found,
    ],
    devbroker_only: [
        an_expired_broker_certificate_is_told_as_such:
            "the one cluster of all tests has a certificate that is in date",
        a_broker_that_falls_silent_is_told_at_the_request_deadline:
            "a cluster that serves other tests cannot be frozen",
    ],
}

/// Much less than the defaults, so that the tests are quick; a busy machine still answers in time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(3);

/// What connecting fails with; it must not take longer than one address may.
async fn refusal(config: ClientConfig) -> TransportError {
    let started = Instant::now();
    let refused = Client::connect(config.connect_timeout(CONNECT_TIMEOUT)).await;
    let took = started.elapsed();
    assert!(took < CONNECT_TIMEOUT + SLACK, "connecting took {took:?}");
    refused.expect_err("this client must not come in")
}

fn with_tls(stage: &Stage, files: &TlsFiles) -> ClientConfig {
    let addresses = Address::parse_list(stage.cluster().bootstrap()).unwrap();
    ClientConfig::new(
        addresses,
        Security::Tls(stage::tls(&files.ca, Some(&files.client))),
    )
}

async fn a_broker_that_accepts_and_never_answers_is_told_at_the_deadline(stage: Stage) {
    let proxy = Proxy::start("127.0.0.1:0", stage.cluster().bootstrap()).await;
    proxy.conduct(Conduct::Silence);
    let started = Instant::now();
    let error = refusal(stage.client_config_at(&proxy.address().to_string())).await;
    assert!(matches!(error.kind(), ErrorKind::Silent { .. }), "{error}");
    assert!(started.elapsed() >= CONNECT_TIMEOUT, "it gave up early");
    assert_eq!(error.class(), Class::Retriable);
    assert!(
        error.to_string().contains(&proxy.address().to_string()),
        "{error}"
    );
}

async fn a_port_where_nobody_listens_is_told_as_refused(stage: Stage) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = refusal(stage.client_config_at(&address)).await;
    assert_eq!(error.kind(), &ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

async fn a_broker_of_another_authority_is_told_as_such(stage: Stage) {
    let other = Authority::new("another CA").unwrap();
    let ca = stage.dir().join("another-ca.pem");
    std::fs::write(&ca, other.ca_pem()).unwrap();
    let files = TlsFiles {
        ca,
        client: stage.cluster().tls().client.clone(),
    };
    let error = refusal(with_tls(&stage, &files)).await;
    assert_eq!(
        error.kind(),
        &ErrorKind::Tls(TlsFailure::UnknownAuthority),
        "{error}"
    );
    assert_eq!(error.class(), Class::Fatal);
}

async fn a_broker_under_another_name_is_told_as_such(stage: Stage) {
    let addresses = Address::parse_list(stage.cluster().bootstrap()).unwrap();
    let tls = stage
        .tls(Some(&stage.cluster().tls().client))
        .with_server_name("elsewhere.test")
        .unwrap();
    let error = refusal(ClientConfig::new(addresses, Security::Tls(tls))).await;
    assert!(
        matches!(error.kind(), ErrorKind::Tls(TlsFailure::WrongName { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("elsewhere.test"), "{error}");
}

async fn a_missing_client_certificate_is_told_as_probably_that(stage: Stage) {
    let addresses = Address::parse_list(stage.cluster().bootstrap()).unwrap();
    let error = refusal(ClientConfig::new(addresses, Security::Tls(stage.tls(None)))).await;
    let ErrorKind::Tls(TlsFailure::ClientCertificateRequired { certain }) = error.kind() else {
        panic!("{error}");
    };
    assert!(
        *certain || error.to_string().contains("probably"),
        "{error}"
    );
}

async fn a_client_certificate_of_another_authority_is_told_as_refused(stage: Stage) {
    let stranger = Authority::new("another CA")
        .unwrap()
        .client("stranger")
        .issue()
        .unwrap();
    let client = CertificateFiles::write(stage.dir(), "stranger", &stranger);
    let files = TlsFiles {
        ca: stage.cluster().tls().ca.clone(),
        client,
    };
    let error = refusal(with_tls(&stage, &files)).await;
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Tls(TlsFailure::ClientCertificateRefused { .. })
        ),
        "{error}"
    );
}

async fn an_expired_client_certificate_is_told_as_refused(stage: Stage) {
    let files = TlsFiles {
        ca: stage.cluster().tls().ca.clone(),
        client: stage.cluster().expired().clone(),
    };
    let error = refusal(with_tls(&stage, &files)).await;
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Tls(TlsFailure::ClientCertificateRefused { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("in date"), "{error}");
}

async fn an_unknown_topic_is_told_by_its_name(stage: Stage) {
    let client = Client::connect(stage.client_config().request_timeout(REQUEST_TIMEOUT))
        .await
        .unwrap();
    let topic = stage.own("never-made");
    let started = Instant::now();
    let error = client.partition_count(&topic).await.unwrap_err();
    assert!(
        started.elapsed() < REQUEST_TIMEOUT + SLACK,
        "it took {:?}",
        started.elapsed()
    );
    assert_eq!(
        error.error_code(),
        Some(ErrorCode::UnknownTopicOrPartition),
        "{error}"
    );
    assert!(error.to_string().contains(&topic), "{error}");
}

async fn a_good_address_behind_bad_ones_is_found(stage: Stage) {
    let silent = Proxy::start("127.0.0.1:0", stage.cluster().bootstrap()).await;
    silent.conduct(Conduct::Silence);
    let refused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let addresses = format!(
        "{refused},{},{}",
        silent.address(),
        stage.cluster().bootstrap()
    );
    let config = stage
        .client_config_at(&addresses)
        .connect_timeout(CONNECT_TIMEOUT);
    let client = Client::connect(config).await.unwrap();
    assert!(client.cluster_id().is_some());
}

async fn an_expired_broker_certificate_is_told_as_such(stage: Stage) {
    let authority = Authority::new("test CA").unwrap();
    let server = authority
        .server()
        .ip([127, 0, 0, 1])
        .expired()
        .issue()
        .unwrap();
    let tls = ServerTls::mutual(&server, authority.ca_pem()).unwrap();
    let broker = DevBroker::builder().tls(tls).start().await.unwrap();
    let ca = stage.dir().join("its-ca.pem");
    std::fs::write(&ca, authority.ca_pem()).unwrap();
    let client = CertificateFiles::write(
        stage.dir(),
        "its-client",
        &authority.client("x").issue().unwrap(),
    );
    let addresses = Address::parse_list(&broker.bootstrap()).unwrap();
    let error = refusal(ClientConfig::new(
        addresses,
        Security::Tls(stage::tls(&ca, Some(&client))),
    ))
    .await;
    assert!(
        matches!(error.kind(), ErrorKind::Tls(TlsFailure::Expired { .. })),
        "{error}"
    );
    assert_eq!(error.class(), Class::Fatal);
}

async fn a_broker_that_falls_silent_is_told_at_the_request_deadline(stage: Stage) {
    let topic = stage.own("silent");
    stage.make_topic(&topic, 1).await;
    let config = stage
        .client_config()
        .request_timeout(REQUEST_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT);
    let client = Client::connect(config).await.unwrap();
    stage.devbroker().freeze();
    let started = Instant::now();
    let error = client.refresh_topic(&topic).await.unwrap_err();
    assert!(
        started.elapsed() < REQUEST_TIMEOUT + SLACK,
        "it took {:?}",
        started.elapsed()
    );
    assert!(error.is_unreachable(), "{error}");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::TimedOut { .. } | ErrorKind::Silent { .. }
        ),
        "{error}"
    );
}
