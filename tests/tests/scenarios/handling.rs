//! What follows from how a handler ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cybermesh_bridge::handler::{HandlerError, Verdict};
use cybermesh_bridge::inbound::LeftBehind;
use cybermesh_contracts::kind::Kind;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::log::LoggedRecord;
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{Answer, Seen, witness};

cybermesh_tests::scenarios! {
    both: [
        a_retriable_error_is_tried_again_until_it_passes,
        a_permanent_error_is_buried_as_rejected,
        a_rejected_message_is_buried_with_the_handlers_words,
        attempts_that_are_used_up_end_in_the_dead_letter_topic,
        a_handler_that_panics_is_caught_and_its_message_buried,
        a_handler_that_never_ends_is_cancelled_at_its_deadline,
        a_failing_message_holds_back_its_own_lane_alone,
    ],
}

/// A backend whose handler answers `answer` to the first message and is done with the second; both
/// are sent. Gives back what the handlers saw until the second, and the dead letters.
async fn play(
    stage: &Stage,
    settings: &[(&str, &str)],
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Vec<Seen>, Vec<LoggedRecord>) {
    stage.make_topics(1).await;
    let troubled = draft(Kind::Anomaly);
    let end = draft(Kind::Anomaly);
    let is_troubled = troubled.clone();
    let (handlers, mut saw) = witness(&Kind::NODE, move |seen| {
        if seen.draft == is_troubled {
            answer(seen)
        } else {
            Ok(Verdict::Done)
        }
    });
    let backend = stage.bridge_with(Role::Backend, handlers, settings).await;
    let node = stage.sender(Role::Node).await;
    // One key, one lane: the second is handled when all is over with the first.
    let options = || cybermesh_bridge::outbound::SendOptions::new().key("lane");
    node.publisher()
        .send_with(troubled, options())
        .await
        .unwrap();
    node.publisher()
        .send_with(end.clone(), options())
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let next = saw.next().await;
        if next.draft == end {
            break;
        }
        seen.push(next);
    }
    stage.stop(node).await;
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    (seen, letters)
}

fn attempts(seen: &[Seen]) -> Vec<u32> {
    seen.iter().map(|seen| seen.attempt).collect()
}

async fn a_retriable_error_is_tried_again_until_it_passes(stage: Stage) {
    let (seen, letters) = play(&stage, &[], |seen| match seen.attempt {
        1 | 2 => Err(HandlerError::retriable("downstream is away")),
        _ => Ok(Verdict::Done),
    })
    .await;
    assert_eq!(attempts(&seen), [1, 2, 3]);
    assert!(letters.is_empty(), "{letters:?}");
}

async fn a_permanent_error_is_buried_as_rejected(stage: Stage) {
    let (seen, letters) = play(&stage, &[], |_| {
        Err(HandlerError::permanent("no such sensor"))
    })
    .await;
    assert_eq!(attempts(&seen), [1]);
    let letter = only(&letters);
    assert_eq!(letter.header("dlq.disposition"), Some("handler-rejected"));
    assert!(
        letter
            .header("dlq.reason")
            .unwrap()
            .contains("no such sensor")
    );
    assert_eq!(letter.header("dlq.attempts"), Some("1"));
}

async fn a_rejected_message_is_buried_with_the_handlers_words(stage: Stage) {
    let (seen, letters) = play(&stage, &[], |_| Ok(Verdict::reject("not ours"))).await;
    assert_eq!(attempts(&seen), [1]);
    assert_eq!(
        only(&letters).header("dlq.disposition"),
        Some("handler-rejected")
    );
    assert!(
        only(&letters)
            .header("dlq.reason")
            .unwrap()
            .contains("not ours")
    );
}

async fn attempts_that_are_used_up_end_in_the_dead_letter_topic(stage: Stage) {
    let settings = [("CYBERMESH_HANDLER_ATTEMPTS", "2")];
    let (seen, letters) = play(&stage, &settings, |_| {
        Err(HandlerError::retriable("still away"))
    })
    .await;
    assert_eq!(attempts(&seen), [1, 2]);
    assert_eq!(
        only(&letters).header("dlq.disposition"),
        Some("attempts-exhausted")
    );
    assert_eq!(only(&letters).header("dlq.attempts"), Some("2"));
}

async fn a_handler_that_panics_is_caught_and_its_message_buried(stage: Stage) {
    let settings = [("CYBERMESH_HANDLER_ATTEMPTS", "2")];
    let (seen, letters) = play(&stage, &settings, |_| panic!("a handler's own mistake")).await;
    assert_eq!(attempts(&seen), [1, 2]);
    assert_eq!(
        only(&letters).header("dlq.disposition"),
        Some("handler-panic")
    );
}

async fn a_handler_that_never_ends_is_cancelled_at_its_deadline(stage: Stage) {
    stage.make_topics(1).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handlers = cybermesh_bridge::handler::Handlers::new()
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
        .register(
            move |_: cybermesh_contracts::verify::Verified<
                cybermesh_contracts::message::Anomaly,
            >,
                  _| {
                counted.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<Answer>()
            },
        );
    let settings = [
        ("CYBERMESH_HANDLER_ATTEMPTS", "2"),
        ("CYBERMESH_HANDLER_TIMEOUT", "1s"),
    ];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let node = stage.sender(Role::Node).await;
    node.publisher().send(draft(Kind::Anomaly)).await.unwrap();
    stage.dead_letters(1).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    stage.stop(node).await;
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert_eq!(
        only(&letters).header("dlq.disposition"),
        Some("attempts-exhausted")
    );
}

async fn a_failing_message_holds_back_its_own_lane_alone(stage: Stage) {
    stage.make_topics(1).await;
    let failing = draft(Kind::Anomaly);
    let fails = failing.clone();
    let (handlers, mut saw) = witness(&Kind::NODE, move |seen| {
        if seen.draft == fails {
            Ok(Verdict::retry())
        } else {
            Ok(Verdict::Done)
        }
    });
    let backend = stage.bridge(Role::Backend, handlers).await;
    let node = stage.sender(Role::Node).await;
    node.publisher().send(failing.clone()).await.unwrap();
    assert_eq!(saw.next().await.draft, failing);
    let others: Vec<_> = (0..10).map(|_| draft(Kind::Anomaly)).collect();
    for other in &others {
        node.publisher().send(other.clone()).await.unwrap();
    }
    let mut passed = 0;
    while passed < others.len() {
        let seen = saw.next().await;
        if seen.draft != failing {
            passed += 1;
        }
    }
    stage.stop(node).await;
    let report = backend.stop(Duration::from_secs(30)).await;
    let left = report.subscriber.expect("it receives").left;
    // It alone is not done, so the watermark stands before it.
    assert!(
        matches!(
            left.as_slice(),
            [LeftBehind {
                watermark: 0,
                unfinished: 1,
                ..
            }]
        ),
        "{left:?}"
    );
}

fn only(letters: &[LoggedRecord]) -> &LoggedRecord {
    match letters {
        [letter] => letter,
        other => panic!("{} dead letters: {other:?}", other.len()),
    }
}
