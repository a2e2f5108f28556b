//! What keeps one kind of trouble from becoming another: floods, handlers that hang, dead letters
//! that nobody takes, keys that are withdrawn.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_bridge::dlq::SPILL_FILE;
use cybermesh_bridge::handler::{HandlerError, Handlers, Verdict};
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Anomaly;
use cybermesh_contracts::verify::Verified;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::{Forgery, flipped, record};
use cybermesh_tests::identity::{Identity, trust_file};
use cybermesh_tests::log::LoggedRecord;
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{done, witness};
use cybermesh_transport::Record;

cybermesh_tests::scenarios! {
    both: [
        a_flood_of_garbage_is_summed_up_and_what_is_honest_behind_it_is_handled,
        thousands_of_forgeries_pause_nothing_and_make_no_more_dead_letters_than_stated,
        a_dead_letter_without_a_topic_is_kept_in_the_state_folder_and_its_message_is_done,
        a_key_revoked_while_its_message_waits_for_a_retry_has_it_buried_unhandled_and_is_named,
        a_hung_handler_makes_the_process_unready_by_the_name_of_its_message,
    ],
}

async fn a_flood_of_garbage_is_summed_up_and_what_is_honest_behind_it_is_handled(stage: Stage) {
    const GARBAGE: usize = 500;
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let settings = [("CYBERMESH_DLQ_RATE", "5@1/s")];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let garbage = record("k", Some(Bytes::from_static(b"\xff garbage")), Vec::new());
    stage.put(&topic, vec![garbage; GARBAGE]).await;
    let audience = stage.own("audience");
    let honest = draft(Kind::Anomaly);
    let sender = Forgery::new(stage.node().signer(), &audience, &topic);
    stage.put(&topic, vec![sender.record(&honest, 0)]).await;
    assert_eq!(saw.next().await.draft, honest);
    let all = i64::try_from(GARBAGE + 1).unwrap();
    stage
        .wait_committed(&stage.own("backend"), &topic, all)
        .await;
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert!(
        letters.len() < GARBAGE / 2,
        "{} dead letters",
        letters.len()
    );
    let stood_for: u64 = letters
        .iter()
        .map(|letter| match letter.header("dlq.format") {
            Some("reference") => {
                let value = letter.value.as_deref().unwrap();
                let value: serde_json::Value = serde_json::from_slice(value).unwrap();
                value["count"].as_u64().unwrap()
            }
            _ => 1,
        })
        .sum();
    assert_eq!(stood_for, GARBAGE as u64);
}

/// What a dead letter says by numbers.
fn said(letter: &LoggedRecord, name: &str) -> i64 {
    letter.header(name).unwrap().parse().unwrap()
}

/// How many messages a dead letter stands for.
fn stands_for(letter: &LoggedRecord) -> u64 {
    if letter.header("dlq.format") != Some("reference") {
        return 1;
    }
    let value = letter.value.as_deref().unwrap();
    let value: serde_json::Value = serde_json::from_slice(value).unwrap();
    value["count"].as_u64().unwrap()
}

async fn thousands_of_forgeries_pause_nothing_and_make_no_more_dead_letters_than_stated(
    stage: Stage,
) {
    const ROUNDS: u32 = 60;
    const FORGED: usize = 100;
    // What the settings say where nobody says otherwise.
    const BURST: i64 = 1000;
    const PER_SECOND: i64 = 100;
    stage.make_topics(1).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let trail = stage.dir().join("audit.ndjson");
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let settings = [("CYBERMESH_AUDIT", trail.to_str().unwrap())];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;

    let sender = Forgery::new(stage.node().signer(), &audience, &topic);
    let stranger = Identity::new(stage.dir(), "stranger");
    let unknown = Forgery::new(stranger.signer(), &audience, &topic);
    let unknown = unknown.record(&draft(Kind::Anomaly), 0);
    let genuine = sender.record(&draft(Kind::Anomaly), ROUNDS);
    let bent = Record {
        // Within the payload, whose hash is signed.
        value: genuine
            .value
            .as_ref()
            .map(|value| flipped(value, value.len() / 2)),
        ..genuine
    };
    let garbage = record("k", Some(Bytes::from_static(b"\xff garbage")), Vec::new());
    let forgeries = [garbage, unknown, bent];
    let (mut honest, mut records) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        records.extend(forgeries.iter().cycle().take(FORGED).cloned());
        let draft = draft(Kind::Anomaly);
        records.push(sender.record(&draft, round));
        honest.push(draft);
    }
    stage.put(&topic, records).await;
    let handled = saw.take(ROUNDS as usize).await;
    assert!(
        honest
            .iter()
            .all(|sent| handled.iter().any(|seen| seen.draft == *sent))
    );
    let all = i64::from(ROUNDS) * i64::try_from(FORGED + 1).unwrap();
    stage
        .wait_committed(&stage.own("backend"), &topic, all)
        .await;
    assert!(backend.health().is_ready());
    stage.stop(backend).await;
    assert!(saw.rest().is_empty(), "a forgery was handled");

    let text = std::fs::read_to_string(trail).unwrap();
    let events = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["event"].as_str().unwrap().to_owned()
    });
    let paused: Vec<_> = events.filter(|event| event.contains("paused")).collect();
    assert!(paused.is_empty(), "{paused:?}");

    let letters = stage.log(&stage.dead_letter_topic()).await;
    let stood_for: u64 = letters.iter().map(stands_for).sum();
    assert_eq!(stood_for, u64::from(ROUNDS) * FORGED as u64);
    // Judged by the times that they tell themselves, however slow this machine is.
    let first = letters
        .iter()
        .map(|letter| said(letter, "dlq.first-failed-at"))
        .min();
    let last = letters
        .iter()
        .map(|letter| said(letter, "dlq.last-failed-at"))
        .max();
    let seconds = (last.unwrap() - first.unwrap()) / 1000 + 1;
    let is_summary = |letter: &&LoggedRecord| letter.header("dlq.format") == Some("reference");
    let summaries = letters.iter().filter(is_summary).count();
    let summaries = i64::try_from(summaries).unwrap();
    let alone = i64::try_from(letters.len()).unwrap() - summaries;
    assert!(summaries > 0, "all were buried alone, in {seconds} s");
    assert!(
        alone <= BURST + PER_SECOND * seconds + 1,
        "{alone} alone in {seconds} s"
    );
    assert!(
        summaries <= seconds + 1,
        "{summaries} summaries in {seconds} s"
    );
}

async fn a_dead_letter_without_a_topic_is_kept_in_the_state_folder_and_its_message_is_done(
    stage: Stage,
) {
    for topic in Kind::NODE.map(|kind| stage.topic(kind)) {
        stage.make_topic(&topic, 1).await;
    }
    let topic = stage.topic(Kind::Anomaly);
    let state = stage.dir().join("state");
    let (handlers, _saw) = witness(&Kind::NODE, done);
    let settings = [("CYBERMESH_STATE_DIR", state.to_str().unwrap())];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let garbage = record("k", Some(Bytes::from_static(b"\xff garbage")), Vec::new());
    stage.put(&topic, vec![garbage]).await;
    stage.wait_committed(&stage.own("backend"), &topic, 1).await;
    stage.stop(backend).await;
    let text = std::fs::read_to_string(state.join(SPILL_FILE)).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    let key = format!("{}/{topic}/0/0", stage.own("backend"));
    assert_eq!(line["key"], key);
    assert!(
        line["value"]
            .as_str()
            .unwrap()
            .contains(&hex::encode(b"\xff garbage"))
    );
}

async fn a_key_revoked_while_its_message_waits_for_a_retry_has_it_buried_unhandled_and_is_named(
    stage: Stage,
) {
    stage.make_topics(1).await;
    // Somebody else may sign as well, or the kind would have no key left, and pause.
    let other = Identity::new(stage.dir(), "other");
    let other = other.trust_entry(&Kind::NODE, &[]);
    let (handlers, mut saw) = witness(&Kind::NODE, |_| {
        Ok(Verdict::retry_after(Duration::from_secs(6)))
    });
    let backend = stage.bridge(Role::Backend, handlers).await;
    let sender = stage.sender(Role::Node).await;
    sender.publisher().send(draft(Kind::Anomaly)).await.unwrap();
    assert_eq!(saw.next().await.attempt, 1);
    let [node, own] = stage.trust_entries();
    let revoked = format!("{node}revoked = true\n");
    trust_file(stage.dir(), "backend-trust.toml", &[revoked, other, own]);
    stage.dead_letters(1).await;
    let numbers = backend.exposition().unwrap().text().unwrap();
    stage.stop(sender).await;
    stage.stop(backend).await;
    assert!(saw.rest().is_empty(), "it was handled again");
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert_eq!(letters[0].header("dlq.disposition"), Some("key-revoked"));
    assert_eq!(letters[0].header("dlq.attempts"), Some("1"));
    let named = numbers
        .lines()
        .find(|line| line.starts_with("bridge_formerly_trusted_total{"));
    assert!(
        named.is_some_and(|line| line.contains(r#"id="node""#) && line.ends_with(" 1")),
        "{named:?}"
    );
}

async fn a_hung_handler_makes_the_process_unready_by_the_name_of_its_message(stage: Stage) {
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let calls = AtomicU32::new(0);
    let handlers = Handlers::new()
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
        .register(move |_: Verified<Anomaly>, _| {
            let hangs = calls.fetch_add(1, Ordering::Relaxed) == 1;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok::<_, HandlerError>(Verdict::Done)
            }
        });
    let settings = [("CYBERMESH_HANG_AFTER", "2s")];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let sender = stage.sender(Role::Node).await;
    for _ in 0..2 {
        sender.publisher().send(draft(Kind::Anomaly)).await.unwrap();
    }
    let hung = Condition::Hung {
        topic: topic.clone(),
        partition: 0,
    };
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    // On a busy machine the first message may be late enough to be named before it.
    let names_it = |detail: &str| detail.contains(&topic) && detail.contains("offset 1 ");
    loop {
        looks.tick().await;
        let mut conditions = backend.health().conditions().into_iter();
        if conditions.any(|(holds, detail)| holds == hung && names_it(&detail)) {
            break;
        }
    }
    stage.stop(sender).await;
    backend.stop(Duration::from_secs(10)).await;
}
