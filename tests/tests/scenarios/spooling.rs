//! What a node keeps on disk while it gets no answers, and what a backend hears of it.

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::outbound::{Receipt, SendOptions};
use cybermesh_contracts::kind::Kind;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::link::Link;
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{done, witness};

cybermesh_tests::scenarios! {
    both: [
        what_was_written_unheard_goes_again_byte_for_byte_and_is_handled_once,
        what_was_spooled_in_silence_is_handled_in_order_by_way_of_the_next_process,
    ],
}

const KEY: &str = "one lane";

async fn node(stage: &Stage, link: &Link<'_>) -> Bridge {
    let folder = stage.dir().join("state");
    let bootstrap = link.bootstrap();
    let settings = stage.settings(
        Role::Node,
        &[
            ("KAFKA_BROKERS", &bootstrap),
            ("CYBERMESH_STATE_DIR", folder.to_str().unwrap()),
            ("KAFKA_MAX_RETRIES", "0"),
            ("KAFKA_RETRY_BACKOFF_MS", "100"),
            ("KAFKA_REQUEST_TIMEOUT_MS", "3000"),
            ("KAFKA_CONNECT_TIMEOUT_MS", "3000"),
            ("KAFKA_DELIVERY_TIMEOUT_MS", "9000"),
        ],
    );
    let builder = Bridge::builder(settings).receives([]);
    builder.start().await.unwrap()
}

async fn is_empty(node: &Bridge) {
    let mut status = node.publisher().outbox().unwrap();
    status.wait_for(|status| status.entries == 0).await.unwrap();
}

fn lane() -> SendOptions {
    SendOptions::new().key(KEY)
}

async fn what_was_written_unheard_goes_again_byte_for_byte_and_is_handled_once(stage: Stage) {
    stage.make_topics(1).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge(Role::Backend, handlers).await;
    let link = Link::new(&stage).await;
    let node = node(&stage, &link).await;
    let drafts = [(); 3].map(|()| draft(Kind::Anomaly));
    let send = |number: usize| node.publisher().send_with(drafts[number].clone(), lane());

    assert!(send(0).await.unwrap().is_logged());
    let loss = link.lose_answers();
    let unheard = async {
        loss.happened().await;
        loss.end().await;
    };
    let (spooled, ()) = tokio::join!(send(1), unheard);
    assert!(
        matches!(spooled, Ok(Receipt::Spooled { .. })),
        "{spooled:?}"
    );
    is_empty(&node).await;
    send(2).await.unwrap();
    is_empty(&node).await;

    let seen = saw.take(3).await;
    let handled: Vec<_> = seen.into_iter().map(|seen| seen.draft).collect();
    assert_eq!(handled, drafts);
    // Before the topic is read: over Apache Kafka that leaves a record in it that is no message.
    assert!(stage.log(&stage.dead_letter_topic()).await.is_empty());
    let log = stage.log(&stage.topic(Kind::Anomaly)).await;
    assert_eq!(log.len(), 4);
    assert_eq!(log[1].value, log[2].value);
    assert_eq!(log[1].headers, log[2].headers);
    stage.stop(node).await;
    stage.stop(backend).await;
}

async fn what_was_spooled_in_silence_is_handled_in_order_by_way_of_the_next_process(stage: Stage) {
    stage.make_topics(1).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge(Role::Backend, handlers).await;
    let drafts: Vec<_> = (0..12).map(|_| draft(Kind::Anomaly)).collect();
    {
        let link = Link::new(&stage).await;
        let node = node(&stage, &link).await;
        let first = node.publisher().send_with(drafts[0].clone(), lane()).await;
        assert!(first.unwrap().is_logged());
        stage.stop(node).await;
    }
    // Nobody listens where it is told to look: what comes now waits on disk.
    {
        let folder = stage.dir().join("state");
        let settings = stage.settings(
            Role::Node,
            &[
                ("KAFKA_BROKERS", "127.0.0.1:1"),
                ("CYBERMESH_STATE_DIR", folder.to_str().unwrap()),
            ],
        );
        let away = Bridge::builder(settings)
            .receives([])
            .start()
            .await
            .unwrap();
        for draft in &drafts[1..8] {
            let spooled = away.publisher().send_with(draft.clone(), lane()).await;
            assert!(
                matches!(spooled, Ok(Receipt::Spooled { .. })),
                "{spooled:?}"
            );
        }
        stage.stop(away).await;
    }
    let link = Link::new(&stage).await;
    let next = node(&stage, &link).await;
    for draft in &drafts[8..] {
        next.publisher()
            .send_with(draft.clone(), lane())
            .await
            .unwrap();
    }
    is_empty(&next).await;
    let seen = saw.take(drafts.len()).await;
    let handled: Vec<_> = seen.into_iter().map(|seen| seen.draft).collect();
    assert_eq!(handled, drafts);
    stage.stop(next).await;
    stage.stop(backend).await;
}
