//! One connection against a broker made by hand, which misbehaves in every way but one.

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::peer::{Peer, answer, answer_and_throttle, versions_of_old};
use super::*;
use crate::config::{RedialSchedule, Security};
use crate::error::{Class, DialPhase};
use crate::wire::HeartbeatRequest;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);

fn heartbeat(generation_id: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: "m".into(),
        group_instance_id: None,
    }
}

fn config() -> ClientConfig {
    ClientConfig::new(vec![], Security::Plaintext).connect_timeout(LONG)
}

fn broker_at(peer: &Peer, config: ClientConfig) -> Broker {
    Broker::new(peer.address(), Purpose::Coordinator, Arc::new(config))
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

#[tokio::test]
async fn requests_leave_in_the_order_they_were_submitted_in_and_each_gets_its_own_answer() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let answers: Vec<_> = (0..300)
        .map(|generation| broker.submit(heartbeat(generation), within(LONG)))
        .collect();
    let mut connection = peer.accept_and_greet().await;
    let mut requests = Vec::new();
    for generation in 0..300 {
        let request = connection.request().await;
        assert_eq!(request.heartbeat_generation(), generation);
        requests.push(request);
    }
    for request in requests.iter().rev() {
        let generation = i16::try_from(request.heartbeat_generation()).unwrap();
        connection.send(&answer(request, generation)).await;
    }
    let codes: Vec<_> = join_all(answers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(codes, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_without_an_answer_ends_at_its_deadline_and_takes_the_connection_with_it() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let silent = broker.submit(heartbeat(1), within(SHORT));
    let bystander = broker.submit(heartbeat(2), within(LONG));
    let mut first = peer.accept_and_greet().await;
    first.request().await;
    first.request().await;

    let error = silent.await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut { sent: true, .. }),
        "{error}"
    );
    let error = bystander.await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionLost { sent: true, .. }),
        "{error}"
    );
    assert!(first.is_closed_by_client().await);

    let next = broker.submit(heartbeat(3), within(LONG));
    let mut second = peer.accept_and_greet().await;
    let request = second.request().await;
    second.send(&answer(&request, 0)).await;
    assert_eq!(next.await, Ok(0));
}

#[tokio::test]
async fn a_request_taken_back_before_it_left_is_never_sent() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let kept = broker.submit(heartbeat(1), within(LONG));
    drop(broker.submit(heartbeat(2), within(LONG)));
    let also_kept = broker.submit(heartbeat(3), within(LONG));
    let mut connection = peer.accept_and_greet().await;
    for expected in [1, 3] {
        let request = connection.request().await;
        assert_eq!(request.heartbeat_generation(), expected);
        connection.send(&answer(&request, 0)).await;
    }
    assert_eq!((kept.await, also_kept.await), (Ok(0), Ok(0)));
}

#[tokio::test]
async fn a_deadline_that_passes_before_the_request_left_says_that_it_was_never_sent() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    // Nobody answers the exchange of versions, so nothing else can leave.
    let error = broker
        .request(heartbeat(1), within(SHORT))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut { sent: false, .. }),
        "{error}"
    );
    assert_eq!(error.class(), Class::Retriable);
}

#[tokio::test]
async fn an_answer_nobody_waits_for_any_more_disturbs_nobody() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let forgotten = broker.submit(heartbeat(1), within(LONG));
    let mut connection = peer.accept_and_greet().await;
    let first = connection.request().await;
    drop(forgotten);
    let kept = broker.submit(heartbeat(2), within(LONG));
    let second = connection.request().await;
    connection.send(&answer(&first, 11)).await;
    connection.send(&answer(&second, 22)).await;
    assert_eq!(kept.await, Ok(22));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection_at_its_length_and_not_at_the_deadline() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    for announced in [i32::MAX, -1, 0, 3, (16 << 20) + 1] {
        let pending = broker.submit(heartbeat(1), within(LONG));
        let mut connection = peer.accept_and_greet().await;
        connection.request().await;
        connection.send(&announced.to_be_bytes()).await;
        let error = pending.await.unwrap_err();
        let expected = ErrorKind::FrameTooLarge {
            announced_bytes: announced.into(),
            limit_bytes: 16 << 20,
        };
        assert_eq!(error.kind(), &expected);
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_malformed_and_ends_the_connection() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(1), within(LONG));
    let mut connection = peer.accept_and_greet().await;
    let request = connection.request().await;
    let mut garbage = 5i32.to_be_bytes().to_vec();
    garbage.extend(request.correlation_id.to_be_bytes());
    garbage.push(0xff);
    connection.send(&garbage).await;
    let error = pending.await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Malformed { .. }),
        "{error}"
    );
    assert!(connection.is_closed_by_client().await);
}

#[tokio::test]
async fn an_answer_to_another_question_leaves_ours_to_its_deadline() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(1), within(SHORT));
    let mut connection = peer.accept_and_greet().await;
    let mut request = connection.request().await;
    request.correlation_id += 1;
    connection.send(&answer(&request, 0)).await;
    let error = pending.await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut { sent: true, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_the_broker_closed_while_idle_costs_the_next_request_nothing() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    for _ in 0..3 {
        let pending = broker.submit(heartbeat(1), within(LONG));
        let mut connection = peer.accept_and_greet().await;
        let request = connection.request().await;
        connection.send(&answer(&request, 0)).await;
        assert_eq!(pending.await, Ok(0));
        connection.close_and_await_the_other_side().await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_with_a_request_on_it_leaves_its_outcome_unknown() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(
        crate::wire::DeleteTopicsRequest {
            topics: vec!["t".into()],
            timeout_ms: 1,
        },
        within(LONG),
    );
    let mut connection = peer.accept_and_greet().await;
    connection.request().await;
    drop(connection);
    let error = pending.await.unwrap_err();
    assert_eq!(error.class(), Class::UnknownOutcome);
    assert_eq!(
        error.to_string(),
        format!(
            "delete topics (broker {}): the connection was lost before the answer came: the broker closed it",
            peer.address()
        )
    );
}

#[tokio::test]
async fn a_broker_that_accepts_and_says_nothing_is_silent_within_the_connect_timeout() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config().connect_timeout(SHORT));
    let error = broker
        .request(heartbeat(1), within(LONG))
        .await
        .unwrap_err();
    let expected = ErrorKind::Silent {
        phase: DialPhase::Versions,
        after: SHORT,
    };
    assert_eq!(error.kind(), &expected);
}

#[tokio::test]
async fn a_request_the_broker_does_not_speak_is_named_with_both_sides_versions() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(1), within(LONG));
    let _connection = peer.accept_and_speak_only(0, 9, 99).await;
    let expected = ErrorKind::UnsupportedVersion {
        api: "Heartbeat",
        ours: "1 to 4".into(),
        theirs: "none".into(),
    };
    assert_eq!(pending.await.unwrap_err().kind(), &expected);
}

#[tokio::test]
async fn a_broker_that_speaks_tls_is_told_from_one_that_speaks_garbage() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(1), within(LONG));
    let mut connection = peer.accept().await;
    let unexpected_message_alert = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];
    connection.send(&unexpected_message_alert).await;
    assert_eq!(pending.await.unwrap_err().kind(), &ErrorKind::SpeaksTls);
}

#[derive(Debug, Default)]
struct CountedRedial(AtomicU32);

impl RedialSchedule for CountedRedial {
    fn delay(&self, failures: u32) -> Duration {
        self.0.fetch_max(failures, Ordering::SeqCst);
        Duration::from_millis(1)
    }
}

#[tokio::test]
async fn a_refused_port_fails_each_request_and_asks_the_schedule_before_the_next_attempt() {
    let schedule = Arc::new(CountedRedial::default());
    let address = Peer::listen().await.address();
    let config = config().redial(Arc::clone(&schedule) as Arc<dyn RedialSchedule>);
    let broker = Broker::new(address, Purpose::Control, Arc::new(config));
    for attempt in 1..=3 {
        let error = broker
            .request(heartbeat(1), within(LONG))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Refused);
        assert_eq!(error.class(), Class::Retriable);
        // The last delay is asked for right after its failure was told.
        while schedule.0.load(Ordering::SeqCst) < attempt {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_connection_closes_with_the_last_handle() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let (told, tell) = oneshot::channel();
    let pending = broker.submit(heartbeat(1), within(LONG));
    tokio::spawn(async move { told.send(pending.await) });
    let mut connection = peer.accept_and_greet().await;
    let request = connection.request().await;
    drop(broker);
    connection.send(&answer(&request, 7)).await;
    assert_eq!(tell.await.unwrap(), Ok(7));
    assert!(connection.is_closed_by_client().await);
}

#[tokio::test]
async fn a_broker_that_does_not_know_our_version_of_the_first_question_is_asked_in_the_oldest() {
    const UNSUPPORTED_VERSION: i16 = 35;
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(7), within(LONG));
    let mut connection = peer.accept().await;
    let asked = connection.request().await;
    assert_eq!((asked.api_key, asked.version), (18, 3));
    let refusal = versions_of_old(&asked, UNSUPPORTED_VERSION, &[(18, 0, 2)]);
    connection.send(&refusal).await;
    let asked = connection.request().await;
    assert_eq!((asked.api_key, asked.version), (18, 0));
    let told = versions_of_old(&asked, 0, &[(12, 0, 1), (18, 0, 2)]);
    connection.send(&told).await;
    let beat = connection.request().await;
    assert_eq!((beat.api_key, beat.version), (12, 1));
    connection.send(&answer(&beat, 0)).await;
    assert_eq!(pending.await, Ok(0));
}

#[tokio::test]
async fn each_request_leaves_in_the_newest_version_that_both_sides_have() {
    let (ours_min, ours_max) = (1, 4);
    for (min, max, expected) in [(0, 99, ours_max), (0, 2, 2), (3, 3, 3), (0, 1, ours_min)] {
        let peer = Peer::listen().await;
        let broker = broker_at(&peer, config());
        let pending = broker.submit(heartbeat(1), within(LONG));
        let apis = [(3, 0, 0), (12, min, max)];
        let mut connection = peer.accept_and_speak(&apis).await;
        assert_eq!(connection.request().await.version, expected);
        drop(pending);
    }
}

#[tokio::test]
async fn a_broker_that_dropped_all_our_versions_of_a_request_is_named_with_its_range() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let pending = broker.submit(heartbeat(1), within(LONG));
    let _connection = peer.accept_and_speak_only(12, 5, 9).await;
    let error = pending.await.unwrap_err();
    let expected = ErrorKind::UnsupportedVersion {
        api: "Heartbeat",
        ours: "1 to 4".into(),
        theirs: "5 to 9".into(),
    };
    assert_eq!(error.kind(), &expected);
    assert_eq!(error.class(), Class::Fatal);
}

#[tokio::test]
async fn a_broker_that_asks_for_rest_is_sent_nothing_until_it_is_over() {
    const REST: Duration = Duration::from_millis(700);
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let [first, second] = [1, 2].map(|number| broker.submit(heartbeat(number), within(LONG)));
    let mut connection = peer.accept_and_greet().await;
    let [request, in_flight] = [connection.request().await, connection.request().await];
    let asked = Instant::now();
    let rest = i32::try_from(REST.as_millis()).unwrap();
    connection
        .send(&answer_and_throttle(&request, 0, rest))
        .await;
    assert_eq!(first.await, Ok(0));
    let third = broker.submit(heartbeat(3), within(LONG));
    // What was in flight before is answered meanwhile, and takes nothing from the rest.
    connection.send(&answer(&in_flight, 0)).await;
    assert_eq!(second.await, Ok(0));
    let request = connection.request().await;
    assert!(asked.elapsed() >= REST, "{:?}", asked.elapsed());
    connection.send(&answer(&request, 0)).await;
    assert_eq!(third.await, Ok(0));
}

#[tokio::test]
async fn a_request_whose_deadline_passes_in_a_rest_was_not_sent_and_the_connection_stays() {
    let peer = Peer::listen().await;
    let broker = broker_at(&peer, config());
    let first = broker.submit(heartbeat(1), within(LONG));
    let mut connection = peer.accept_and_greet().await;
    let request = connection.request().await;
    connection
        .send(&answer_and_throttle(&request, 0, i32::MAX))
        .await;
    assert_eq!(first.await, Ok(0));
    let error = broker.request(heartbeat(2), within(SHORT)).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut { sent: false, .. }),
        "{error}"
    );
    drop(broker);
    assert!(connection.is_closed_by_client().await);
}

#[tokio::test]
async fn no_rest_is_longer_than_any_of_kafkas_and_none_is_negative() {
    let peer = Peer::listen().await;
    let (address, config) = (peer.address(), config());
    let (dialled, mut connection) = tokio::join!(
        crate::dial::dial(&address, Purpose::Control, &config, &Security::Plaintext),
        peer.accept_and_greet()
    );
    let dialled = dialled.unwrap();
    assert!(!dialled.is_resting());
    assert_eq!(dialled.rest(Duration::MAX), Duration::from_secs(300));
    assert!(dialled.is_resting());
    let answer = tokio::spawn(async move {
        let request = connection.request().await;
        connection.send(&answer_and_throttle(&request, 0, -5)).await;
        connection
    });
    let answered = dialled.engine().request(&heartbeat(1)).await.unwrap();
    assert_eq!(answered.throttle, Duration::ZERO);
    drop(answer.await);
}
