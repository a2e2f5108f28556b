//! Certificates exchanged while a client runs.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::{Arc, Mutex};

use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_devbroker::{DevBroker, ServerTls};
use cybermesh_transport::error::TlsFailure;
use cybermesh_transport::tls::{Pem, TlsConfig};
use cybermesh_transport::{Address, Class, Client, ClientConfig, ErrorKind, Producer, Security};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

mod support;
use support::{logged, send, within};

/// A server certificate that can be exchanged as well.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl Shown {
    fn show(&self, server: &Identity) {
        *self.0.lock().unwrap() = certified(server);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

fn certified(server: &Identity) -> Arc<CertifiedKey> {
    let key_provider = rustls_graviola::default_provider().key_provider;
    let key = key_provider.load_private_key(server.key_der()).unwrap();
    Arc::new(CertifiedKey::new(vec![server.certificate().clone()], key))
}

fn server(authority: &Authority) -> Identity {
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    server.issue().unwrap()
}

/// A broker that lets in clients of both authorities, and what it shows.
async fn broker(authorities: [&Authority; 2]) -> (DevBroker, Arc<Shown>) {
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.certificate().clone()).unwrap();
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let shown = Arc::new(Shown(Mutex::new(certified(&server(authorities[0])))));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
    let broker = DevBroker::builder()
        .topic("t", 1)
        .tls(ServerTls::from_config(Arc::new(config)));
    (broker.start().await.unwrap(), shown)
}

fn tls(trusted: &[&Authority], client: &Identity) -> TlsConfig {
    let bundle: String = trusted.iter().map(|authority| authority.ca_pem()).collect();
    TlsConfig::builder(Pem::new("ca.pem", bundle))
        .client_certificate(
            Pem::new("node.pem", client.chain_pem()),
            Pem::new("node-key.pem", client.key_pem()),
        )
        .build()
        .unwrap()
}

async fn client(broker: &DevBroker, tls: TlsConfig) -> Client {
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let config = ClientConfig::new(bootstrap, Security::Tls(tls));
    Client::connect(config).await.unwrap()
}

async fn all_show(broker: &DevBroker, identity: &Identity) {
    let shown = |broker: &DevBroker| {
        let connections = broker.connections();
        let theirs = Some(identity.certificate().clone());
        !connections.is_empty() && connections.iter().all(|one| one.certificate == theirs)
    };
    within(broker.wait_until(shown)).await;
}

#[tokio::test]
async fn certificate_key_and_authority_are_exchanged_under_load_without_a_failed_or_doubled_send() {
    let (old, new) = (
        Authority::new("old CA").unwrap(),
        Authority::new("new CA").unwrap(),
    );
    let before = old.client("node-1").issue().unwrap();
    let after = new.client("node-1").issue().unwrap();
    let (broker, shown) = broker([&old, &new]).await;
    let client = client(&broker, tls(&[&old], &before)).await;
    let producer = Producer::new(client.clone(), support::eager(0));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let load = tokio::spawn({
        let producer = producer.clone();
        async move {
            let mut sent = Vec::new();
            while stopped.has_changed().is_ok() {
                for _ in 0..4 {
                    let value = sent.len().to_string();
                    let delivery = send(&producer, "t", 0, &value).await;
                    sent.push((value, delivery));
                }
                tokio::task::yield_now().await;
                if let Some((_, last)) = sent.last_mut() {
                    within(last).await.unwrap();
                }
            }
            sent.into_iter().map(|(value, _)| value).collect::<Vec<_>>()
        }
    });
    let progress = async || {
        let reached = logged(&broker, "t", 0).len() + 20;
        within(broker.wait_until(|broker| logged(broker, "t", 0).len() >= reached)).await;
    };
    progress().await;
    all_show(&broker, &before).await;

    let both = tls(&[&old, &new], &after);
    client.exchange_tls(both).await.unwrap();
    progress().await;
    all_show(&broker, &after).await;

    shown.show(&server(&new));
    client.exchange_tls(tls(&[&new], &after)).await.unwrap();
    progress().await;
    drop(stop);
    let sent = load.await.unwrap();
    assert_eq!(logged(&broker, "t", 0), sent);
}

#[tokio::test]
async fn certificates_no_broker_accepts_are_refused_and_the_old_ones_stay() {
    let (ours, other) = (
        Authority::new("our CA").unwrap(),
        Authority::new("other CA").unwrap(),
    );
    let node = ours.client("node-1").issue().unwrap();
    let stranger = other.client("node-1").issue().unwrap();
    let (broker, _) = broker([&ours, &ours]).await;
    let client = client(&broker, tls(&[&ours], &node)).await;
    let producer = Producer::new(client.clone(), support::eager(5));

    let refused = client.exchange_tls(tls(&[&ours], &stranger)).await;
    let refused = refused.unwrap_err();
    let by_broker = matches!(
        refused.kind(),
        ErrorKind::Tls(TlsFailure::ClientCertificateRefused { .. })
    );
    assert!(by_broker, "{refused:?}");
    let refused = client.exchange_tls(tls(&[&other], &node)).await;
    let by_us = ErrorKind::Tls(TlsFailure::UnknownAuthority);
    assert_eq!(refused.unwrap_err().kind(), &by_us);

    // New connections too.
    broker.disconnect_clients().await;
    within(send(&producer, "t", 0, "still here").await)
        .await
        .unwrap();
    all_show(&broker, &node).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_tried_are_not_taken_and_it_is_said_that_they_may_be_good() {
    let authority = Authority::new("CA").unwrap();
    let before = authority.client("node-1").issue().unwrap();
    let after = authority.client("node-1").issue().unwrap();
    let (broker, _) = broker([&authority, &authority]).await;
    let client = client(&broker, tls(&[&authority], &before)).await;
    broker.go_down().await;
    let untried = client.exchange_tls(tls(&[&authority], &after)).await;
    assert_eq!(untried.unwrap_err().class(), Class::Retriable);
    broker.come_up().await.unwrap();
    within(client.refresh_topic("t")).await.unwrap();
    all_show(&broker, &before).await;
    client
        .exchange_tls(tls(&[&authority], &after))
        .await
        .unwrap();
    within(client.refresh_topic("t")).await.unwrap();
    all_show(&broker, &after).await;
}

#[tokio::test]
async fn what_one_broker_refuses_is_refused_though_the_others_cannot_be_asked() {
    let (ours, other) = (
        Authority::new("our CA").unwrap(),
        Authority::new("other CA").unwrap(),
    );
    let node = ours.client("node-1").issue().unwrap();
    let stranger = other.client("node-1").issue().unwrap();
    let (broker, _) = broker([&ours, &ours]).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    let bootstrap = format!("{},{closed}", broker.bootstrap());
    let bootstrap = Address::parse_list(&bootstrap).unwrap();
    let config = ClientConfig::new(bootstrap, Security::Tls(tls(&[&ours], &node)));
    let client = Client::connect(config).await.unwrap();
    let refused = client.exchange_tls(tls(&[&ours], &stranger)).await;
    assert_eq!(refused.unwrap_err().class(), Class::Fatal);
    client.exchange_tls(tls(&[&ours], &node)).await.unwrap();
}

#[tokio::test]
async fn a_client_without_tls_does_not_get_it_by_an_exchange() {
    let broker = support::broker("t", 1).await;
    let authority = Authority::new("CA").unwrap();
    let node = authority.client("node-1").issue().unwrap();
    let client = support::client(&broker).await;
    let refused = client.exchange_tls(tls(&[&authority], &node)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::Settings { .. }),
        "{refused}"
    );
}
