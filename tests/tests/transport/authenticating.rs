//! Who a client is, said by SASL over TLS.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_tests::Stage;
use cybermesh_tests::sasl::{Access, SESSION, unsigned_token};
use cybermesh_transport::error::SaslFailure;
use cybermesh_transport::producer::FixedSchedule;
use cybermesh_transport::sasl::{Token, TokenError, TokenSource};
use cybermesh_transport::{
    Class, Client, Consumer, ConsumerConfig, ErrorKind, Event, FetchConfig, OffsetToCommit,
    Position, Producer, ProducerConfig, Reader, Sasl, StartPolicy, TopicPartition, TransportError,
};
use tokio::time::Instant;

use crate::support::{record, send, text, within};

cybermesh_tests::scenarios! {
    both: [
        by_every_mechanism_a_client_writes_and_reads,
        a_wrong_password_and_an_expired_token_are_told_as_such,
        a_mechanism_the_broker_does_not_offer_is_told_with_those_it_does,
        sessions_that_end_are_renewed_under_load_without_a_failed_or_doubled_send,
        a_group_keeps_its_member_through_sessions_that_end,
    ],
    devbroker_only: [
        a_broker_with_a_wrong_signature_is_refused: "Apache Kafka knows the passwords it lets in by",
    ],
    kafka_only: [
        a_listener_without_sasl_is_told_apart: "every port of the built-in broker asks once it does",
    ]
}

/// Gives out an unsigned token of this lifetime in seconds.
#[derive(Debug)]
struct Unsigned {
    user: String,
    lifetime_s: i64,
}

impl TokenSource for Unsigned {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        let token = Token::new(unsigned_token(&self.user, self.lifetime_s));
        Box::pin(async { Ok(token) })
    }
}

fn bearer(access: &Access, lifetime_s: i64) -> Sasl {
    let user = access.user.clone();
    Sasl::oauth_bearer(Arc::new(Unsigned { user, lifetime_s }))
}

fn every_mechanism(access: &Access) -> [Sasl; 4] {
    let (user, password) = (&*access.user, &*access.password);
    [
        Sasl::plain(user, password).unwrap(),
        Sasl::scram_sha_256(user, password).unwrap(),
        Sasl::scram_sha_512(user, password).unwrap(),
        bearer(access, 3600),
    ]
}

async fn client(stage: &Stage, access: &Access, sasl: Sasl) -> Result<Client, TransportError> {
    within(Client::connect(stage.sasl_config(access, sasl))).await
}

async fn failure(stage: &Stage, access: &Access, sasl: Sasl) -> SaslFailure {
    let error = client(stage, access, sasl).await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(&access.password), "{shown}");
    match error.kind() {
        ErrorKind::Sasl(failure) => failure.clone(),
        other => panic!("{other}"),
    }
}

async fn by_every_mechanism_a_client_writes_and_reads(stage: Stage) {
    let topic = stage.own("authenticating");
    stage.make_topic(&topic, 1).await;
    let access = stage.ask_for_sasl();
    let mut sent = Vec::new();
    for sasl in every_mechanism(&access) {
        let value = sasl.mechanism().to_string();
        let client = client(&stage, &access, sasl).await.unwrap();
        let producer = Producer::new(client.clone(), ProducerConfig::default());
        let delivery = send(&producer, &topic, 0, record(value.clone())).await;
        within(delivery).await.unwrap();
        sent.push(value);
        let reader = reading(client, &topic);
        assert_eq!(next(&reader, sent.len()).await, sent);
    }
}

fn reading(client: Client, topic: &str) -> Reader {
    let reader = Reader::new(client, FetchConfig::default(), StartPolicy::None);
    reader.begin(&TopicPartition::new(topic, 0), Position::Earliest);
    reader
}

/// The values of the next `count` records.
async fn next(reader: &Reader, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        match within(reader.next()).await.expect("the reader goes on") {
            Event::Records(batch) => {
                let read = batch.records.iter();
                values.extend(read.map(|record| text(record.value.as_ref())));
            }
            other => panic!("{other:?}"),
        }
    }
    values
}

async fn a_wrong_password_and_an_expired_token_are_told_as_such(stage: Stage) {
    let access = stage.ask_for_sasl();
    let wrong = "not-the-pass-word";
    for sasl in [
        Sasl::plain(&access.user, wrong).unwrap(),
        Sasl::scram_sha_256(&access.user, wrong).unwrap(),
        Sasl::scram_sha_512("nobody", wrong).unwrap(),
        bearer(&access, -120),
    ] {
        let failure = failure(&stage, &access, sasl).await;
        let SaslFailure::Refused {
            message: Some(message),
        } = &failure
        else {
            panic!("{failure:?}");
        };
        assert!(!message.contains(wrong), "{message}");
    }
}

async fn a_mechanism_the_broker_does_not_offer_is_told_with_those_it_does(stage: Stage) {
    let access = stage.ask_for_plain_only();
    for sasl in every_mechanism(&access).into_iter().skip(1) {
        let expected = SaslFailure::MechanismNotEnabled {
            mechanism: sasl.mechanism().name(),
            offered: ["PLAIN".into()].into(),
        };
        assert_eq!(failure(&stage, &access, sasl).await, expected);
    }
}

async fn sessions_that_end_are_renewed_under_load_without_a_failed_or_doubled_send(stage: Stage) {
    let topic = stage.own("renewing");
    stage.make_topic(&topic, 1).await;
    let access = stage.ask_for_sasl();
    let sasl = Sasl::scram_sha_256(&access.user, &*access.password).unwrap();
    let client = client(&stage, &access, sasl).await.unwrap();
    // What is lost is not sent again, so that a connection that ends under a request is seen.
    let config = ProducerConfig {
        linger: Duration::ZERO,
        schedule: Arc::new(FixedSchedule {
            delay: Duration::ZERO,
            resends: 0,
        }),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client.clone(), config);
    let reader = reading(client, &topic);
    // Long enough for every connection of now to have been ended twice.
    let until = Instant::now() + SESSION * 2 + Duration::from_secs(1);
    let mut sent = Vec::new();
    while Instant::now() < until {
        let mut deliveries = Vec::new();
        for _ in 0..5 {
            let value = sent.len().to_string();
            deliveries.push(send(&producer, &topic, 0, record(value.clone())).await);
            sent.push(value);
        }
        for delivery in deliveries {
            within(delivery).await.unwrap();
        }
        assert_eq!(next(&reader, 5).await, sent[sent.len() - 5..]);
    }
    let plain = stage.log(&topic).await;
    let logged: Vec<_> = plain.iter().map(|one| text(one.value.as_ref())).collect();
    assert_eq!(logged, sent);
}

async fn a_group_keeps_its_member_through_sessions_that_end(stage: Stage) {
    let topic = stage.own("staying");
    stage.make_topic(&topic, 1).await;
    let access = stage.ask_for_sasl();
    let client = client(&stage, &access, bearer(&access, 3600))
        .await
        .unwrap();
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    let config = ConsumerConfig::new(stage.own("group"), [topic.as_str()]);
    let consumer = Consumer::join(client, config).await.unwrap();
    let partition = TopicPartition::new(topic.as_str(), 0);
    let assigned = || async {
        loop {
            match within(consumer.next()).await.expect("a member") {
                Event::Assigned { partitions, .. } => break partitions.len(),
                Event::Failed(error) if error.class() == Class::Retriable => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(assigned().await, 1);
    consumer.begin(&partition, Position::Earliest);
    let until = Instant::now() + SESSION * 2 + Duration::from_secs(1);
    let mut done = 0;
    while Instant::now() < until {
        within(send(&producer, &topic, 0, record(done.to_string())).await)
            .await
            .unwrap();
        // Anything else, such as a lost or a new assignment, is a surprise.
        match within(consumer.next()).await.expect("a member") {
            Event::Records(batch) => {
                let [read] = &*batch.records else {
                    panic!("{batch:?}");
                };
                assert_eq!(text(read.value.as_ref()), done.to_string());
            }
            other => panic!("{other:?}"),
        }
        done += 1;
        let offset = OffsetToCommit {
            partition: partition.clone(),
            offset: done,
            leader_epoch: None,
            metadata: String::new(),
        };
        within(consumer.commit(vec![offset])).await.unwrap();
    }
}

async fn a_broker_with_a_wrong_signature_is_refused(stage: Stage) {
    let access = stage.ask_for_sasl();
    let forging = cybermesh_devbroker::ServerSasl::new()
        .scram_sha_256(&access.user, &access.password)
        .forging_signatures();
    stage.devbroker().set_sasl(forging);
    let sasl = Sasl::scram_sha_256(&access.user, &*access.password).unwrap();
    let failure = failure(&stage, &access, sasl).await;
    assert_eq!(failure, SaslFailure::WrongServerSignature);
}

async fn a_listener_without_sasl_is_told_apart(stage: Stage) {
    let access = stage.ask_for_sasl();
    let sasl = Sasl::plain(&access.user, &*access.password).unwrap();
    let error = within(Client::connect(stage.client_config().sasl(sasl))).await;
    let expected = ErrorKind::Sasl(SaslFailure::NotAskedFor);
    assert_eq!(error.unwrap_err().kind(), &expected);
}
