//! Reaching a cluster, and saying what is wrong when it cannot be reached.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_devbroker::{DevBroker, ServerTls};
use cybermesh_transport::error::{DialPhase, TlsFailure};
use cybermesh_transport::tls::{MinVersion, Pem, TlsConfig, TlsConfigBuilder};
use cybermesh_transport::{Address, Class, Client, ClientConfig, ErrorKind, Security};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);

fn pem(name: &str, text: &str) -> Pem {
    Pem::new(name, text)
}

fn trusting(authority: &Authority) -> TlsConfigBuilder {
    TlsConfig::builder(pem("ca.pem", authority.ca_pem()))
}

fn showing(builder: TlsConfigBuilder, client: &Identity) -> TlsConfigBuilder {
    builder.client_certificate(
        pem("node.pem", client.chain_pem()),
        pem("node-key.pem", client.key_pem()),
    )
}

fn local_server(authority: &Authority) -> Identity {
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    server.issue().unwrap()
}

async fn connect(bootstrap: &str, security: Security) -> Result<Client, ErrorKind> {
    let config = ClientConfig::new(Address::parse_list(bootstrap).unwrap(), security);
    let connected = Client::connect(config.connect_timeout(LONG)).await;
    connected.map_err(|error| error.kind().clone())
}

async fn tls_failure(bootstrap: &str, tls: TlsConfig) -> TlsFailure {
    match connect(bootstrap, Security::Tls(tls)).await.unwrap_err() {
        ErrorKind::Tls(failure) => failure,
        other => panic!("{other}"),
    }
}

type Versions = [&'static rustls::SupportedProtocolVersion];

const TLS13: &Versions = &[&rustls::version::TLS13];
const TLS12: &Versions = &[&rustls::version::TLS12];

/// A broker with this certificate, in these versions of TLS, that wants a certificate of its clients only
/// where an authority for them is given.
async fn broker_with(
    server: &Identity,
    versions: &Versions,
    clients: Option<&Authority>,
) -> DevBroker {
    let provider = Arc::new(rustls_graviola::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.certificate().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let config = builder
        .with_single_cert(vec![server.certificate().clone()], server.key_der())
        .unwrap();
    let broker = DevBroker::builder().tls(ServerTls::from_config(Arc::new(config)));
    broker.start().await.unwrap()
}

/// A port that was free a moment ago and that the system gives to nobody else so soon.
async fn refused_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_client_and_a_broker_that_know_each_other_connect_over_either_version_of_tls() {
    let authority = Authority::new("test CA").unwrap();
    let client = authority.client("node-1").issue().unwrap();
    for versions in [TLS13, TLS12] {
        let broker = broker_with(&local_server(&authority), versions, Some(&authority)).await;
        let tls = showing(trusting(&authority), &client).build().unwrap();
        assert!(tls.has_client_certificate());
        assert!(tls.client_certificate_expires_at_unix_s().is_some());
        let connected = connect(&broker.bootstrap(), Security::Tls(tls))
            .await
            .unwrap();
        assert_eq!(
            connected.cluster_id().as_deref(),
            Some(&*broker.cluster_id())
        );
        broker.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_is_dead_does_not_keep_the_next_one_from_being_tried() {
    let broker = DevBroker::builder().start().await.unwrap();
    let bootstrap = format!("{},{}", refused_port().await, broker.bootstrap());
    connect(&bootstrap, Security::Plaintext).await.unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_not_in_the_bundle_is_told_as_that() {
    let authority = Authority::new("test CA").unwrap();
    let other = Authority::new("other CA").unwrap();
    let broker = broker_with(&local_server(&authority), TLS13, None).await;
    let tls = trusting(&other).build().unwrap();
    let failure = tls_failure(&broker.bootstrap(), tls).await;
    assert_eq!(failure, TlsFailure::UnknownAuthority);
}

#[tokio::test]
async fn a_certificate_out_of_date_is_told_with_the_direction() {
    let authority = Authority::new("test CA").unwrap();
    let tls = trusting(&authority).build().unwrap();
    let server = || authority.server().dns("localhost").ip([127, 0, 0, 1]);

    let broker = broker_with(&server().expired().issue().unwrap(), TLS13, None).await;
    let failure = tls_failure(&broker.bootstrap(), tls.clone()).await;
    assert!(matches!(failure, TlsFailure::Expired { .. }), "{failure}");

    let broker = broker_with(&server().not_yet_valid().issue().unwrap(), TLS13, None).await;
    let failure = tls_failure(&broker.bootstrap(), tls).await;
    assert!(
        matches!(failure, TlsFailure::NotYetValid { .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn a_certificate_for_other_names_is_told_with_them_unless_the_name_to_expect_is_given() {
    let authority = Authority::new("test CA").unwrap();
    let server = authority.server().dns("kafka.example").issue().unwrap();
    let broker = broker_with(&server, TLS13, None).await;
    let tls = trusting(&authority).build().unwrap();
    let failure = tls_failure(&broker.bootstrap(), tls.clone()).await;
    assert!(
        matches!(failure, TlsFailure::WrongName { .. }),
        "{failure:?}"
    );
    assert!(
        failure.to_string().contains("(it is for kafka.example)"),
        "{failure}"
    );

    let named = tls.with_server_name("kafka.example").unwrap();
    connect(&broker.bootstrap(), Security::Tls(named))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_missing_client_certificate_is_told_although_tls_13_says_so_late() {
    let authority = Authority::new("test CA").unwrap();
    for versions in [TLS13, TLS12] {
        let broker = broker_with(&local_server(&authority), versions, Some(&authority)).await;
        let tls = trusting(&authority).build().unwrap();
        let failure = tls_failure(&broker.bootstrap(), tls).await;
        let required = matches!(failure, TlsFailure::ClientCertificateRequired { .. });
        assert!(required, "{failure:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_the_broker_does_not_accept_is_told_as_refused() {
    let authority = Authority::new("test CA").unwrap();
    let other = Authority::new("other CA").unwrap();
    for client in [
        other.client("node-1").issue().unwrap(),
        authority.client("node-1").expired().issue().unwrap(),
    ] {
        let broker = broker_with(&local_server(&authority), TLS13, Some(&authority)).await;
        let tls = showing(trusting(&authority), &client).build().unwrap();
        let failure = tls_failure(&broker.bootstrap(), tls).await;
        let refused = matches!(failure, TlsFailure::ClientCertificateRefused { .. });
        assert!(refused, "{failure:?}");
    }
}

#[tokio::test]
async fn a_broker_below_the_oldest_version_we_accept_has_nothing_in_common_with_us() {
    let authority = Authority::new("test CA").unwrap();
    let broker = broker_with(&local_server(&authority), TLS12, None).await;
    let builder = trusting(&authority).min_version(MinVersion::Tls13);
    let failure = tls_failure(&broker.bootstrap(), builder.build().unwrap()).await;
    let nothing = matches!(failure, TlsFailure::NothingInCommon { .. });
    assert!(nothing, "{failure:?}");
}

#[tokio::test]
async fn tls_to_a_plaintext_port_and_plaintext_to_a_tls_port_are_told_as_such() {
    let authority = Authority::new("test CA").unwrap();
    let plaintext = DevBroker::builder().start().await.unwrap();
    let tls = trusting(&authority).build().unwrap();
    let failure = tls_failure(&plaintext.bootstrap(), tls).await;
    let told = matches!(failure, TlsFailure::EndedInHandshake | TlsFailure::NotTls);
    assert!(told, "{failure:?}");

    let encrypted = broker_with(&local_server(&authority), TLS13, None).await;
    let kind = connect(&encrypted.bootstrap(), Security::Plaintext).await;
    assert_eq!(kind.unwrap_err(), ErrorKind::SpeaksTls);
}

#[tokio::test]
async fn a_port_that_accepts_and_never_answers_is_silent_within_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let authority = Authority::new("test CA").unwrap();
    let tls = Security::Tls(trusting(&authority).build().unwrap());
    for (security, phase) in [
        (Security::Plaintext, DialPhase::Versions),
        (tls, DialPhase::Handshake),
    ] {
        let config = ClientConfig::new(Address::parse_list(&address).unwrap(), security);
        let connecting = Client::connect(config.connect_timeout(SHORT));
        let connected = tokio::time::timeout(LONG, connecting).await.unwrap();
        let error = connected.unwrap_err();
        assert_eq!(
            error.kind(),
            &ErrorKind::Silent {
                phase,
                after: SHORT
            }
        );
        assert_eq!(error.class(), Class::Retriable);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused_by_name() {
    let address = refused_port().await;
    let config = ClientConfig::new(Address::parse_list(&address).unwrap(), Security::Plaintext);
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused);
    assert_eq!(error.target().broker_address(), Some(&*address));
}

#[tokio::test]
async fn plaintext_beyond_this_machine_is_refused_for_configured_and_for_advertised_brokers() {
    let kind = connect("192.0.2.1:9092", Security::Plaintext).await;
    assert_eq!(kind.unwrap_err(), ErrorKind::PlaintextRefused);

    let builder = DevBroker::builder().topic("t", 1);
    let broker = builder.advertised_host("192.0.2.1").start().await.unwrap();
    let client = connect(&broker.address().to_string(), Security::Plaintext)
        .await
        .unwrap();
    let error = cybermesh_transport::Admin::new(client)
        .delete_topic("t")
        .await;
    assert_eq!(error.unwrap_err().kind(), &ErrorKind::PlaintextRefused);
    assert_eq!(broker.topics(), ["t"]);
}

#[test]
fn certificates_and_keys_that_are_none_or_do_not_fit_are_named_with_the_reason() {
    let authority = Authority::new("test CA").unwrap();
    let one = authority.client("one").issue().unwrap();
    let two = authority.client("two").issue().unwrap();
    let wrong = |ca: &str, chain: &str, key: &str| {
        let builder = TlsConfig::builder(pem("ca.pem", ca));
        let builder = builder.client_certificate(pem("node.pem", chain), pem("node-key.pem", key));
        builder.build().unwrap_err().to_string()
    };
    let ca = authority.ca_pem();
    let (chain, key) = (one.chain_pem(), one.key_pem());
    let broken = ca.replacen("MI", "M!", 1);
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (error, file, reason) in [
        (wrong("", chain, key), "ca.pem", "no certificate in it"),
        (wrong(key, chain, key), "ca.pem", "holds a private key"),
        (wrong(&broken, chain, key), "ca.pem", "not a PEM file"),
        (wrong(ca, chain, ""), "node-key.pem", "no private key in it"),
        (
            wrong(ca, chain, chain),
            "node-key.pem",
            "holds a certificate",
        ),
        (
            wrong(ca, chain, locked),
            "node-key.pem",
            "encrypted with a password",
        ),
        (
            wrong(ca, chain, two.key_pem()),
            "node.pem",
            "the private key in node-key.pem",
        ),
    ] {
        assert!(error.contains(file) && error.contains(reason), "{error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn what_is_shown_of_a_key_is_its_source_and_never_its_text() {
    let authority = Authority::new("test CA").unwrap();
    let client = authority.client("node").issue().unwrap();
    let shown = format!("{:?}", showing(trusting(&authority), &client));
    assert!(shown.contains("node-key.pem"));
    assert!(!shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn a_silent_address_does_not_keep_the_next_one_waiting_for_its_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = DevBroker::builder().start().await.unwrap();
    let bootstrap = format!("{},{}", silent.local_addr().unwrap(), broker.bootstrap());
    let config = ClientConfig::new(
        Address::parse_list(&bootstrap).unwrap(),
        Security::Plaintext,
    );
    let connecting = Client::connect(config.connect_timeout(Duration::from_secs(3600)));
    tokio::time::timeout(LONG, connecting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn of_several_addresses_that_fail_the_reason_a_person_can_mend_is_told() {
    let authority = Authority::new("test CA").unwrap();
    let other = Authority::new("other CA").unwrap();
    let broker = broker_with(&local_server(&authority), TLS13, None).await;
    let bootstrap = format!("{},{}", broker.bootstrap(), refused_port().await);
    let failure = tls_failure(&bootstrap, trusting(&other).build().unwrap()).await;
    assert_eq!(failure, TlsFailure::UnknownAuthority);
}

#[tokio::test]
async fn a_broker_at_an_ipv6_address_is_found_and_its_certificate_checked_for_that_address() {
    let authority = Authority::new("test CA").unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let provider = rustls_graviola::default_provider();
    let broker_as = async |server: &Identity| {
        let tls =
            ServerTls::mutual_with_provider(server, authority.ca_pem(), provider.clone().into());
        let builder = DevBroker::builder().topic("t", 1).tls(tls.unwrap());
        let builder = builder.bind("[::1]:0".parse().unwrap());
        builder.advertised_host("::1").start().await.unwrap()
    };
    let tls = || Security::Tls(showing(trusting(&authority), &client).build().unwrap());

    let server = authority.server().ip(std::net::Ipv6Addr::LOCALHOST);
    let broker = broker_as(&server.issue().unwrap()).await;
    assert!(broker.bootstrap().starts_with("[::1]:"));
    let connected = connect(&broker.bootstrap(), tls()).await.unwrap();
    assert_eq!(connected.brokers()[0].host(), "::1");
    // Asked of the address that was advertised.
    let partition = cybermesh_transport::TopicPartition::new("t", 0);
    let admin = cybermesh_transport::Admin::new(connected);
    let up_to = cybermesh_transport::admin::DeleteUpTo::HighWatermark;
    assert_eq!(admin.delete_records(&partition, up_to).await, Ok(0));

    let broker = broker_as(&local_server(&authority)).await;
    let kind = connect(&broker.bootstrap(), tls()).await.unwrap_err();
    let wrong_name = matches!(kind, ErrorKind::Tls(TlsFailure::WrongName { .. }));
    assert!(wrong_name, "{kind:?}");
}

#[tokio::test]
async fn a_callers_own_provider_and_own_configuration_are_used_as_they_are() {
    use cybermesh_transport::tls::ProviderChoice;

    let authority = Authority::new("test CA").unwrap();
    let broker = broker_with(&local_server(&authority), TLS12, None).await;
    let mut provider = rustls_graviola::default_provider();
    let custom = ProviderChoice::Custom(Arc::new(provider.clone()));
    let tls = trusting(&authority).provider(custom).build().unwrap();
    assert_eq!(tls.provider_name(), "custom");
    connect(&broker.bootstrap(), Security::Tls(tls))
        .await
        .unwrap();

    // Without a cipher of TLS 1.2 it has nothing in common with this broker.
    let tls13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    provider.cipher_suites.retain(tls13);
    let custom = ProviderChoice::Custom(Arc::new(provider));
    let tls = trusting(&authority).provider(custom).build().unwrap();
    let failure = tls_failure(&broker.bootstrap(), tls).await;
    let nothing = matches!(failure, TlsFailure::NothingInCommon { .. });
    assert!(nothing, "{failure:?}");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let own =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()));
    let own = own.with_protocol_versions(TLS12).unwrap();
    let own = own.with_root_certificates(roots).with_no_client_auth();
    let tls = TlsConfig::from_rustls(Arc::new(own));
    assert!(!tls.has_client_certificate());
    connect(&broker.bootstrap(), Security::Tls(tls))
        .await
        .unwrap();
}

#[cfg(feature = "portable-crypto")]
#[tokio::test]
async fn the_portable_provider_connects_and_finds_a_certificate_that_does_not_fit_its_key() {
    use cybermesh_transport::tls::ProviderChoice;

    let authority = Authority::new("test CA").unwrap();
    let one = authority.client("one").issue().unwrap();
    let two = authority.client("two").issue().unwrap();
    let broker = broker_with(&local_server(&authority), TLS13, Some(&authority)).await;
    let builder = trusting(&authority).provider(ProviderChoice::Portable);
    let tls = showing(builder.clone(), &one).build().unwrap();
    assert_eq!(tls.provider_name(), "portable");
    connect(&broker.bootstrap(), Security::Tls(tls))
        .await
        .unwrap();

    let mixed = builder.client_certificate(
        pem("node.pem", one.chain_pem()),
        pem("node-key.pem", two.key_pem()),
    );
    let error = mixed.build().unwrap_err().to_string();
    assert!(
        error.contains("does not belong to the private key"),
        "{error}"
    );
}

#[tokio::test]
async fn who_leads_a_partition_is_known_once_the_topic_was_asked_for() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let config = ClientConfig::new(bootstrap.clone(), Security::Plaintext);
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.leader_address("t", 0), None);
    client.topic("t").await.unwrap();
    assert_eq!(client.leader_address("t", 0).as_ref(), bootstrap.first());
    assert_eq!(client.leader_address("t", 1), None);
}

#[tokio::test]
async fn tls_over_a_connection_of_a_callers_own_holds_the_peer_to_the_same_authority() {
    let authority = Authority::new("test CA").unwrap();
    let server = ServerTls::mutual(&local_server(&authority), authority.ca_pem()).unwrap();
    let broker = DevBroker::builder().tls(server).start().await.unwrap();
    let other = Authority::new("another CA").unwrap();
    for (authority, holds) in [(&authority, true), (&other, false)] {
        let ca = cybermesh_transport::tls::Pem::new("ca.pem", authority.ca_pem().as_bytes());
        let tls = cybermesh_transport::tls::TlsConfig::builder(ca)
            .build()
            .unwrap();
        let tcp = tokio::net::TcpStream::connect(broker.address())
            .await
            .unwrap();
        let shaken = tls.handshake("127.0.0.1", tcp).await;
        assert_eq!(shaken.is_ok(), holds);
    }
}
