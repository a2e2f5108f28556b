//! Who a client is, said by SASL: what gets in, what does not and how that is told, and what shows nothing.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cybermesh_devbroker::pki::Authority;
use cybermesh_devbroker::{Api, DevBroker, Fault, ServerSasl, ServerTls};
use cybermesh_transport::error::{DialPhase, SaslFailure};
use cybermesh_transport::sasl::{Mechanism, Token, TokenError, TokenSource};
use cybermesh_transport::tls::{Pem, TlsConfig};
use cybermesh_transport::{
    Address, Class, Client, ClientConfig, ErrorKind, FetchConfig, Position, Producer, Reader, Sasl,
    Secret, Security, StartPolicy, TransportError,
};
use support::{PATIENCE, eager, logged, partition, send, values, within};

const PASSWORD: &str = "hunter2-correct-horse";
const TOKEN: &str = "hunter2.header.signature";

fn everybody() -> ServerSasl {
    ServerSasl::new()
        .plain("alice", PASSWORD)
        .scram_sha_256("alice", PASSWORD)
        .scram_sha_512("alice", PASSWORD)
        .oauth_bearer(|token| match token {
            TOKEN => Ok("alice".to_owned()),
            other => Err(format!("the token {other} has expired")),
        })
}

/// Tokens as a caller gives them out: what it makes of the number of times it was asked.
struct Source<F> {
    asked: AtomicU32,
    give: F,
}

impl<F> std::fmt::Debug for Source<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl<F> TokenSource for Source<F>
where
    F: Fn(u32) -> Result<Token, TokenError> + Send + Sync,
{
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            // A source has others to ask.
            tokio::task::yield_now().await;
            (self.give)(asked)
        })
    }
}

fn source<F>(give: F) -> Arc<Source<F>> {
    Arc::new(Source {
        asked: AtomicU32::new(0),
        give,
    })
}

fn bearer<F>(give: F) -> Sasl
where
    F: Fn(u32) -> Result<Token, TokenError> + Send + Sync + 'static,
{
    Sasl::oauth_bearer(source(give))
}

/// A broker behind TLS, and how it is reached.
async fn broker(sasl: ServerSasl) -> (DevBroker, TlsConfig) {
    let authority = Authority::new("test CA").unwrap();
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    let node = authority.client("node-1").issue().unwrap();
    let tls = ServerTls::mutual(&server.issue().unwrap(), authority.ca_pem()).unwrap();
    let broker = DevBroker::builder().topic("t", 1).tls(tls).sasl(sasl);
    let tls = TlsConfig::builder(Pem::new("ca.pem", authority.ca_pem())).client_certificate(
        Pem::new("node.pem", node.chain_pem()),
        Pem::new("node-key.pem", node.key_pem()),
    );
    (broker.start().await.unwrap(), tls.build().unwrap())
}

fn config(broker: &DevBroker, security: Security) -> ClientConfig {
    ClientConfig::new(Address::parse_list(&broker.bootstrap()).unwrap(), security)
        .connect_timeout(PATIENCE)
}

/// What comes of connecting to a broker with this.
async fn connect(broker: &(DevBroker, TlsConfig), sasl: Sasl) -> Result<Client, TransportError> {
    let (broker, tls) = broker;
    let config = config(broker, Security::Tls(tls.clone())).sasl(sasl);
    within(Client::connect(config)).await
}

async fn refused(broker: &(DevBroker, TlsConfig), sasl: Sasl) -> TransportError {
    connect(broker, sasl).await.unwrap_err()
}

async fn failure(broker: &(DevBroker, TlsConfig), sasl: Sasl) -> SaslFailure {
    match refused(broker, sasl).await.kind() {
        ErrorKind::Sasl(failure) => failure.clone(),
        other => panic!("{other}"),
    }
}

fn is_known_as(broker: &DevBroker, principal: &str) -> bool {
    let connections = broker.connections();
    !connections.is_empty() && connections.iter().all(|one| one.principal == principal)
}

#[tokio::test]
async fn by_every_mechanism_a_client_is_known_writes_and_reads() {
    let token = |_| Ok(Token::new(TOKEN).extension("traceId", "7"));
    for sasl in [
        Sasl::plain("alice", PASSWORD).unwrap(),
        Sasl::scram_sha_256("alice", PASSWORD).unwrap(),
        Sasl::scram_sha_512("alice", PASSWORD).unwrap(),
        bearer(token),
    ] {
        let broker = broker(everybody()).await;
        let client = connect(&broker, sasl).await.unwrap();
        let producer = Producer::new(client.clone(), eager(0));
        within(send(&producer, "t", 0, "from alice").await)
            .await
            .unwrap();
        let reader = Reader::new(client, FetchConfig::default(), StartPolicy::Earliest);
        reader.begin(&partition("t", 0), Position::Offset(0));
        let read = values(async || reader.next().await, 1).await;
        assert_eq!(read, ["from alice"]);
        assert!(is_known_as(&broker.0, "User:alice"));
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_brokers_words() {
    let broker = broker(everybody()).await;
    for wrong in [
        Sasl::plain("alice", "guess").unwrap(),
        Sasl::plain("bob", PASSWORD).unwrap(),
        Sasl::scram_sha_256("alice", "guess").unwrap(),
        Sasl::scram_sha_512("bob", PASSWORD).unwrap(),
    ] {
        let error = refused(&broker, wrong).await;
        let ErrorKind::Sasl(SaslFailure::Refused {
            message: Some(words),
        }) = error.kind()
        else {
            panic!("{error:?}");
        };
        assert!(words.starts_with("Authentication failed"), "{words}");
        assert_eq!(error.class(), Class::Fatal);
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_told_with_those_that_are() {
    let offering = ServerSasl::new().plain("a", "b").scram_sha_512("a", "b");
    let broker = broker(offering).await;
    let expected = SaslFailure::MechanismNotEnabled {
        mechanism: "SCRAM-SHA-256",
        offered: ["PLAIN".into(), "SCRAM-SHA-512".into()].into(),
    };
    let sasl = Sasl::scram_sha_256("alice", PASSWORD).unwrap();
    let error = refused(&broker, sasl).await;
    assert_eq!(error.kind(), &ErrorKind::Sasl(expected));
    let offered = "does not offer SCRAM-SHA-256; it offers PLAIN, SCRAM-SHA-512";
    assert!(error.to_string().contains(offered), "{error}");
}

#[tokio::test]
async fn a_broker_that_does_not_ask_for_sasl_is_told_apart() {
    let authority = Authority::new("test CA").unwrap();
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    let node = authority.client("node-1").issue().unwrap();
    let tls = ServerTls::mutual(&server.issue().unwrap(), authority.ca_pem()).unwrap();
    let devbroker = DevBroker::builder().tls(tls).start().await.unwrap();
    let tls = TlsConfig::builder(Pem::new("ca.pem", authority.ca_pem())).client_certificate(
        Pem::new("node.pem", node.chain_pem()),
        Pem::new("node-key.pem", node.key_pem()),
    );
    let broker = (devbroker, tls.build().unwrap());
    let sasl = Sasl::plain("alice", PASSWORD).unwrap();
    assert_eq!(failure(&broker, sasl).await, SaslFailure::NotAskedFor);
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let broker = broker(everybody().forging_signatures()).await;
    for sasl in [
        Sasl::scram_sha_256("alice", PASSWORD).unwrap(),
        Sasl::scram_sha_512("alice", PASSWORD).unwrap(),
    ] {
        let failure = failure(&broker, sasl).await;
        assert_eq!(failure, SaslFailure::WrongServerSignature);
    }
    assert_eq!(broker.0.requests(Api::Metadata), 0);
}

#[tokio::test]
async fn a_broker_that_asks_for_too_much_or_too_little_work_gets_none() {
    for asked in [1 << 31, 4095] {
        let broker = broker(everybody().iterations(asked)).await;
        let sasl = Sasl::scram_sha_256("alice", PASSWORD).unwrap();
        let expected = SaslFailure::Iterations {
            asked: asked.into(),
            fewest: 4096,
            most: 131_072,
        };
        assert_eq!(failure(&broker, sasl).await, expected);
        // The challenge was not answered.
        assert_eq!(broker.0.requests(Api::SaslAuthenticate), 1);
    }
}

#[tokio::test]
async fn a_source_that_has_no_token_fails_panics_or_hangs_is_told_and_asked_again() {
    let broker = broker(everybody()).await;
    let failing = bearer(|_| Err("the identity provider is away".into()));
    let error = refused(&broker, failing).await;
    let reason = "the identity provider is away".into();
    assert_eq!(
        error.kind(),
        &ErrorKind::Sasl(SaslFailure::Token { reason })
    );
    assert_eq!(error.class(), Class::Retriable);

    let panicking = bearer(|asked: u32| match asked {
        0 => panic!("in the caller's code"),
        _ => Ok(Token::new(TOKEN)),
    });
    let error = refused(&broker, panicking.clone()).await;
    let told = matches!(error.kind(), ErrorKind::Sasl(SaslFailure::Token { .. }));
    assert!(told, "{error:?}");
    connect(&broker, panicking).await.unwrap();

    let unusable = failure(&broker, bearer(|_| Ok(Token::new("two words")))).await;
    assert!(matches!(unusable, SaslFailure::Token { .. }), "{unusable}");
}

#[derive(Debug)]
struct Never;

impl TokenSource for Never {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_source_or_a_broker_that_says_nothing_is_silent_within_the_deadline() {
    const SHORT: Duration = Duration::from_secs(1);
    let (broker, tls) = broker(everybody()).await;
    let silent = broker.fault(Fault::hold(Api::SaslAuthenticate));
    for (sasl, phase) in [
        (Sasl::oauth_bearer(Arc::new(Never)), DialPhase::Token),
        (
            Sasl::plain("alice", PASSWORD).unwrap(),
            DialPhase::Authenticate,
        ),
    ] {
        let config = config(&broker, Security::Tls(tls.clone())).sasl(sasl);
        let connecting = Client::connect(config.connect_timeout(SHORT));
        let error = within(connecting).await.unwrap_err();
        let after = SHORT;
        assert_eq!(error.kind(), &ErrorKind::Silent { phase, after });
        assert_eq!(error.class(), Class::Retriable);
    }
    silent.release();
}

#[tokio::test]
async fn a_token_with_a_lifetime_serves_many_connections_until_a_broker_refuses_it() {
    let (broker, tls) = broker(everybody()).await;
    let source = source(|asked: u32| {
        let value = if asked == 0 { TOKEN } else { "another" };
        Ok(Token::new(value).lifetime(Duration::from_secs(3600)))
    });
    let sasl = Sasl::oauth_bearer(Arc::clone(&source) as Arc<dyn TokenSource>);
    let both = (broker, tls);
    for _ in 0..3 {
        connect(&both, sasl.clone()).await.unwrap();
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);

    both.0
        .set_sasl(ServerSasl::new().oauth_bearer(|token| match token {
            "another" => Ok("alice".to_owned()),
            other => Err(format!("the token {other} has expired")),
        }));
    let failure = failure(&both, sasl.clone()).await;
    let message = Some("the token … has expired".into());
    assert_eq!(failure, SaslFailure::Refused { message });
    connect(&both, sasl).await.unwrap();
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn over_plaintext_nothing_is_shown_unless_that_is_allowed_expressly() {
    let broker = DevBroker::builder().sasl(everybody()).start();
    let broker = broker.await.unwrap();
    let sasl = || Sasl::plain("alice", PASSWORD).unwrap();
    let plaintext = || config(&broker, Security::Plaintext).sasl(sasl());
    let error = within(Client::connect(plaintext())).await.unwrap_err();
    let expected = ErrorKind::Sasl(SaslFailure::PlaintextRefused);
    assert_eq!(error.kind(), &expected);
    assert_eq!(broker.requests(Api::ApiVersions), 0);

    let allowed = plaintext().danger_sasl_over_plaintext();
    within(Client::connect(allowed)).await.unwrap();
    assert!(is_known_as(&broker, "User:alice"));
}

#[tokio::test]
async fn a_secret_is_in_no_debug_text_and_in_no_error_even_where_the_broker_says_it_aloud() {
    let told = format!("wrong: {PASSWORD}{}", "!".repeat(1000));
    let indiscreet = everybody().refusing_with(&told);
    let broker = broker(indiscreet).await;
    let wrong = "hunter2-correct-hors";
    let mut shown = vec![format!("{:?}", Secret::new(PASSWORD))];
    let token = Token::new(TOKEN).extension("name", "value");
    shown.push(format!("{token:?}"));
    let kept = Token::new(format!("{TOKEN}x")).lifetime(Duration::from_secs(60));
    for sasl in [
        Sasl::plain("bob", PASSWORD).unwrap(),
        Sasl::plain("alice", wrong).unwrap(),
        Sasl::scram_sha_256("bob", PASSWORD).unwrap(),
        Sasl::scram_sha_512("bob", PASSWORD).unwrap(),
        bearer(move |_| Ok(kept.clone())),
    ] {
        let config = config(&broker.0, Security::Tls(broker.1.clone())).sasl(sasl.clone());
        let error = within(Client::connect(config.clone())).await.unwrap_err();
        let refused = matches!(error.kind(), ErrorKind::Sasl(SaslFailure::Refused { .. }));
        assert!(refused, "{error:?}");
        shown.push(format!(
            "{sasl:?} {config:?} {error} {error:?} {:#?}",
            error.kind()
        ));
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            shown.push(format!("{error} {error:?}"));
            cause = error.source();
        }
    }
    for shown in shown {
        // The beginning of each secret, so that half of one is found too.
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn sessions_that_end_are_renewed_under_load_without_a_failed_or_doubled_send() {
    let lifetime = Duration::from_millis(300);
    let short = everybody()
        .session_lifetime(lifetime)
        .session_grace(Duration::from_secs(2));
    let broker = broker(short).await;
    let sasl = Sasl::scram_sha_256("alice", PASSWORD).unwrap();
    let client = connect(&broker, sasl).await.unwrap();
    let broker = broker.0;
    // What is lost is not sent again, so that a connection that ends under a request is seen.
    let producer = Producer::new(client.clone(), eager(0));
    let reader = Reader::new(client, FetchConfig::default(), StartPolicy::Earliest);
    reader.begin(&partition("t", 0), Position::Offset(0));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let load = tokio::spawn(async move {
        let mut sent = Vec::new();
        while stopped.has_changed().is_ok() {
            let mut last = None;
            for _ in 0..3 {
                let value = sent.len().to_string();
                last = Some(send(&producer, "t", 0, &value).await);
                sent.push(value);
            }
            within(last.unwrap()).await.unwrap();
        }
        sent
    });
    // Two messages for each connection; three connections are needed to begin with. By the end the first would be
    // long over.
    let began = tokio::time::Instant::now();
    let renewed = |broker: &DevBroker| {
        let long_over = began.elapsed() > Duration::from_secs(3);
        long_over && broker.requests(Api::SaslAuthenticate) >= 24
    };
    within(broker.wait_until(renewed)).await;
    drop(stop);
    let sent = load.await.unwrap();
    assert_eq!(logged(&broker, "t", 0), sent);
    let read = values(async || reader.next().await, sent.len()).await;
    assert_eq!(read, sent);
}

#[tokio::test]
async fn a_connection_that_is_quiet_when_its_session_ends_costs_the_next_request_nothing() {
    let lifetime = Duration::from_millis(200);
    let (broker, tls) = broker(everybody().session_lifetime(lifetime)).await;
    let sasl = Sasl::plain("alice", PASSWORD).unwrap();
    let config = config(&broker, Security::Tls(tls)).sasl(sasl);
    let client = within(Client::connect(config)).await.unwrap();
    let producer = Producer::new(client, eager(0));
    for value in ["one", "two", "three"] {
        within(send(&producer, "t", 0, value).await).await.unwrap();
        within(broker.wait_until(|broker| broker.connections().is_empty())).await;
    }
    assert_eq!(logged(&broker, "t", 0), ["one", "two", "three"]);
}

#[tokio::test]
async fn credentials_exchanged_while_running_are_shown_by_the_next_connection() {
    let both = broker(ServerSasl::new().plain("alice", PASSWORD)).await;
    let sasl = Sasl::plain("alice", PASSWORD).unwrap();
    let client = connect(&both, sasl.clone()).await.unwrap();
    let producer = Producer::new(client, eager(50));
    within(send(&producer, "t", 0, "before").await)
        .await
        .unwrap();

    both.0
        .set_sasl(ServerSasl::new().scram_sha_256("alice", "the next one"));
    let next = Sasl::scram_sha_256("alice", "the next one").unwrap();
    sasl.exchange(&next);
    assert_eq!(sasl.mechanism(), Mechanism::ScramSha256);
    both.0.disconnect_clients().await;
    within(send(&producer, "t", 0, "after").await)
        .await
        .unwrap();
    assert_eq!(logged(&both.0, "t", 0), ["before", "after"]);
}

#[tokio::test]
async fn whoever_waits_is_told_that_the_credentials_are_no_longer_taken() {
    let both = broker(ServerSasl::new().plain("alice", PASSWORD)).await;
    let sasl = Sasl::plain("alice", PASSWORD).unwrap();
    let client = connect(&both, sasl).await.unwrap();
    let producer = Producer::new(client, eager(0));
    both.0.set_sasl(ServerSasl::new().plain("alice", "another"));
    both.0.disconnect_clients().await;
    let room = within(producer.reserve("t", 0, 100)).await;
    let error = room.map(drop).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("refused the credentials"), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
}
