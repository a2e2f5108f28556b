//! The job itself: every kind leaves one end, is verified and handled at the other.

use std::collections::BTreeMap;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Draft;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{done, witness};

cybermesh_tests::scenarios! {
    both: [
        all_seven_kinds_cross_and_arrive_as_they_were_sent,
        messages_of_one_key_are_handled_in_the_order_they_were_sent,
        what_stop_leaves_is_nothing_when_all_is_done,
    ],
}

const EACH: usize = 5;

async fn all_seven_kinds_cross_and_arrive_as_they_were_sent(stage: Stage) {
    stage.make_topics(3).await;
    let (at_backend, mut backend_saw) = witness(&Kind::NODE, done);
    let (at_node, mut node_saw) = witness(&Kind::CONTROL, done);
    let backend = stage.bridge(Role::Backend, at_backend).await;
    let node = stage.bridge(Role::Node, at_node).await;

    let mut sent = Vec::new();
    for kind in Kind::ALL {
        let publisher = if Kind::NODE.contains(&kind) {
            node.publisher()
        } else {
            backend.publisher()
        };
        for _ in 0..EACH {
            let draft = draft(kind);
            let receipt = publisher.send(draft.clone()).await.unwrap();
            assert!(receipt.is_logged());
            sent.push(draft);
        }
    }
    let mut seen = backend_saw.take(Kind::NODE.len() * EACH).await;
    seen.extend(node_saw.take(Kind::CONTROL.len() * EACH).await);

    for seen in &seen {
        let from_node = Kind::NODE.contains(&seen.draft.kind());
        assert_eq!(seen.signer, if from_node { "node" } else { "backend" });
        assert_eq!(seen.topic, stage.topic(seen.draft.kind()));
        assert_eq!(seen.attempt, 1);
    }
    let sorted = |drafts: Vec<Draft>| -> BTreeMap<Vec<u8>, Draft> {
        drafts
            .into_iter()
            .map(|draft| (draft.to_proto(), draft))
            .collect()
    };
    assert_eq!(
        sorted(seen.into_iter().map(|seen| seen.draft).collect()),
        sorted(sent)
    );
    assert!(stage.log(&stage.dead_letter_topic()).await.is_empty());
    stage.stop(node).await;
    stage.stop(backend).await;
}

async fn messages_of_one_key_are_handled_in_the_order_they_were_sent(stage: Stage) {
    stage.make_topics(3).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge(Role::Backend, handlers).await;
    let node = stage.sender(Role::Node).await;
    let options = || cybermesh_bridge::outbound::SendOptions::new().key("one lane");

    let mut sending = Vec::new();
    for _ in 0..50 {
        let draft = draft(Kind::Anomaly);
        let publisher = node.publisher().clone();
        let options = options();
        let own = draft.clone();
        let mut send = Box::pin(async move { publisher.send_with(own, options).await });
        // Begun in this order, awaited together: many are on their way at once.
        assert!(futures_util::poll!(&mut send).is_pending());
        sending.push((draft, send));
    }
    let mut by_offset = BTreeMap::new();
    for (draft, send) in sending {
        let receipt = send.await.unwrap();
        by_offset.insert(offset(&receipt), draft);
    }
    let seen = saw.take(50).await;
    let offsets: Vec<_> = seen.iter().map(|seen| seen.offset).collect();
    assert!(offsets.is_sorted(), "{offsets:?}");
    for seen in seen {
        assert_eq!(
            Some(&seen.draft),
            by_offset.get(&seen.offset),
            "the receipt of offset {}",
            seen.offset
        );
    }
    stage.stop(node).await;
    stage.stop(backend).await;
}

fn offset(receipt: &cybermesh_bridge::outbound::Receipt) -> i64 {
    match receipt {
        cybermesh_bridge::outbound::Receipt::Logged {
            offset: Some(offset),
            ..
        } => *offset,
        other => panic!("{other:?}"),
    }
}

async fn what_stop_leaves_is_nothing_when_all_is_done(stage: Stage) {
    stage.make_topics(1).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge(Role::Backend, handlers).await;
    let node = stage.sender(Role::Node).await;
    let first = draft(Kind::Policy);
    node.publisher().send(first.clone()).await.unwrap();
    assert_eq!(saw.next().await.draft, first);
    stage.stop(backend).await;

    // What was handled is committed: whoever comes next begins behind it.
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge(Role::Backend, handlers).await;
    let second = draft(Kind::Policy);
    node.publisher().send(second.clone()).await.unwrap();
    assert_eq!(saw.next().await.draft, second);
    stage.stop(node).await;
    stage.stop(backend).await;
}
