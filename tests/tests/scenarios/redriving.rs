//! Dead letters that are put back: handled once, by the group they are for, and not for ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::clock::WallClock;
use cybermesh_bridge::dlq::{Asked, Fate, Filter, Outcome, Recovered, Refusal};
use cybermesh_bridge::handler::{HandlerError, Handlers, Verdict};
use cybermesh_contracts::headers::REDRIVE;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Draft;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_devbroker::{Api, Fault};
use cybermesh_tests::Stage;
use cybermesh_tests::conditions::number;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::Forgery;
use cybermesh_tests::identity::Identity;
use cybermesh_tests::log::now_ms;
use cybermesh_tests::office::{Office, Run};
use cybermesh_tests::stage::Role;
use cybermesh_tests::transaction::Transactions;
use cybermesh_tests::witness::{Witness, done, witness};
use cybermesh_transport::admin::DeleteUpTo;
use cybermesh_transport::{
    Admin, Event, FetchConfig, FetchedRecord, Position as From, Reader, Record, StartPolicy,
    TopicPartition,
};

cybermesh_tests::scenarios! {
    both: [
        what_is_put_back_is_handled_once_by_the_group_that_buried_it_and_skipped_by_another,
        a_copy_of_what_was_put_back_is_a_duplicate,
        a_copy_of_what_was_put_back_is_a_duplicate_after_a_restart_too,
        what_fails_each_time_is_put_back_five_times_and_no_more,
        a_run_that_was_interrupted_goes_on_where_it_was,
        a_dead_letter_whose_message_was_deleted_needs_the_operators_word,
        what_a_wrong_trust_file_buried_is_handled_when_it_is_mended_summaries_too,
        a_message_from_the_future_is_not_put_back_before_its_time,
        what_was_put_back_of_a_topic_tells_nothing_of_the_one_made_again_under_its_name,
        the_headers_that_other_tools_go_by_name_where_a_message_came_from,
    ],
    devbroker_only: [
        a_redrive_whose_answer_was_lost_is_found_in_the_log_and_not_sent_again: "Apache Kafka loses no answer on request",
        a_redrive_that_never_arrived_is_sent_again_as_the_same_bytes: "Apache Kafka loses no request on request",
        a_redrive_behind_an_open_transaction_is_found_and_not_called_lapsed: "Apache Kafka loses no answer on request",
        a_redrive_whose_stretch_of_the_log_is_gone_stays_unknown: "Apache Kafka loses no answer on request",
        a_redrive_that_never_arrived_is_not_sent_to_the_topic_made_again: "Apache Kafka loses no request on request",
    ],
}

/// A downstream that refuses everything while it is away.
#[derive(Clone, Default)]
struct Downstream(Arc<AtomicBool>);

impl Downstream {
    fn away() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn is_back(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn handlers(&self) -> (Handlers, Witness) {
        let downstream = self.clone();
        witness(&Kind::NODE, move |_| {
            match downstream.0.load(Ordering::SeqCst) {
                true => Err(HandlerError::permanent("downstream is away")),
                false => Ok(Verdict::Done),
            }
        })
    }
}

/// A backend that goes by the office's trust store, with settings besides.
async fn backend(
    stage: &Stage,
    office: &Office,
    handlers: Handlers,
    more: &[(&str, &str)],
) -> Bridge {
    let settings = office.settings();
    let mut all: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    all.extend(more);
    stage.bridge_with(Role::Backend, handlers, &all).await
}

/// Honest records, the next of the node after `counts`.
fn honest(stage: &Stage, counts: std::ops::Range<u32>) -> Vec<(Draft, Record)> {
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let sender = Forgery::new(stage.node().signer(), &audience, &topic);
    counts
        .map(|count| {
            let draft = draft(Kind::Anomaly);
            let record = sender.record(&draft, count);
            (draft, record)
        })
        .collect()
}

/// Has a backend bury so many messages, and gives it back with what it saw taken.
async fn buried(
    stage: &Stage,
    office: &Office,
    messages: u32,
) -> (Downstream, Bridge, Witness, Vec<Draft>) {
    stage.make_topics(1).await;
    let downstream = Downstream::away();
    let (handlers, mut saw) = downstream.handlers();
    // One signer's failures pause nothing.
    let backend = backend(stage, office, handlers, &[]).await;
    let (drafts, records): (Vec<_>, Vec<_>) = honest(stage, 0..messages).into_iter().unzip();
    stage.put(&stage.topic(Kind::Anomaly), records).await;
    stage.dead_letters(messages as usize).await;
    saw.take(messages as usize).await;
    (downstream, backend, saw, drafts)
}

fn other_group(stage: &Stage, backend: &Bridge) -> f64 {
    let topic = stage.topic(Kind::Anomaly);
    let labels = [("reason", "other-group"), ("topic", topic.as_str())];
    number(backend, "bridge_skipped_total", &labels)
}

/// The records of a partition from an offset on, as many as are asked for.
async fn records(stage: &Stage, topic: &str, from: i64, count: usize) -> Vec<FetchedRecord> {
    let reader = Reader::new(
        stage.client().await,
        FetchConfig::default(),
        StartPolicy::Earliest,
    );
    reader.begin(&TopicPartition::new(topic, 0), From::Offset(from));
    let mut records = Vec::new();
    while records.len() < count {
        match reader.next().await.unwrap() {
            Event::Records(batch) => records.extend(batch.records),
            other => panic!("reading {topic}: {other:?}"),
        }
    }
    records
}

async fn what_is_put_back_is_handled_once_by_the_group_that_buried_it_and_skipped_by_another(
    stage: Stage,
) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    let other = stage.own("other");
    let (handlers, mut other_saw) = witness(&Kind::NODE, done);
    let group = [("KAFKA_CONSUMER_GROUP", other.as_str())];
    let bystander = self::backend(&stage, &office, handlers, &group).await;
    assert_eq!(other_saw.next().await.draft, drafts[0]);

    downstream.is_back();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    let seen = saw.next().await;
    assert_eq!((seen.draft, seen.offset), (drafts[0].clone(), 1));
    let topic = stage.topic(Kind::Anomaly);
    stage.wait_committed(&stage.own("backend"), &topic, 2).await;
    stage.wait_committed(&other, &topic, 2).await;
    assert!(other_saw.rest().is_empty(), "handled by another group");
    assert_eq!(other_group(&stage, &bystander), 1.0);
    assert_eq!(other_group(&stage, &backend), 0.0);

    // The second run knows of the first, and a restart of what was committed.
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.refusal(), &Refusal::Redriven { count: 1 });
    stage.stop(backend).await;
    stage.stop(bystander).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let restarted = self::backend(&stage, &office, handlers, &[]).await;
    let (mark, record) = honest(&stage, 1..2).remove(0);
    stage.put(&topic, vec![record]).await;
    assert_eq!(saw.next().await.draft, mark, "something came before it");
    stage.stop(restarted).await;
}

async fn a_copy_of_what_was_put_back_is_a_duplicate(stage: Stage) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    downstream.is_back();
    office.redrive_all(&stage).await;
    assert_eq!(saw.next().await.draft, drafts[0]);
    let topic = stage.topic(Kind::Anomaly);
    stage
        .put(&topic, vec![copy_of_redriven(&stage, &topic).await])
        .await;
    stage.wait_committed(&stage.own("backend"), &topic, 3).await;
    assert_eq!(duplicates(&backend, &topic), 1.0);
    stage.stop(backend).await;
    assert!(saw.rest().is_empty(), "a copy was handled");
    assert_eq!(stage.end(&stage.dead_letter_topic()).await, 1);
}

async fn a_copy_of_what_was_put_back_is_a_duplicate_after_a_restart_too(stage: Stage) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    downstream.is_back();
    office.redrive_all(&stage).await;
    assert_eq!(saw.next().await.draft, drafts[0]);
    let topic = stage.topic(Kind::Anomaly);
    stage.wait_committed(&stage.own("backend"), &topic, 2).await;
    stage.stop(backend).await;
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let restarted = self::backend(&stage, &office, handlers, &[]).await;
    stage
        .put(&topic, vec![copy_of_redriven(&stage, &topic).await])
        .await;
    stage.wait_committed(&stage.own("backend"), &topic, 3).await;
    assert_eq!(duplicates(&restarted, &topic), 1.0);
    stage.stop(restarted).await;
    assert!(saw.rest().is_empty(), "a copy was handled");
}

/// The record that was put back first, as somebody would write it again.
async fn copy_of_redriven(stage: &Stage, topic: &str) -> Record {
    let redriven = records(stage, topic, 1, 1).await.remove(0);
    assert!(redriven.headers.iter().any(|header| header.name == REDRIVE));
    Record {
        key: redriven.key,
        value: redriven.value,
        headers: redriven.headers,
        timestamp_ms: now_ms(),
    }
}

fn duplicates(backend: &Bridge, topic: &str) -> f64 {
    let labels = [("reason", "duplicate"), ("topic", topic)];
    number(backend, "bridge_skipped_total", &labels)
}

async fn what_fails_each_time_is_put_back_five_times_and_no_more(stage: Stage) {
    let office = Office::new(&stage, &[]);
    let (_away, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    for count in 1..=5_u8 {
        let run = office.redrive_all(&stage).await;
        assert_eq!(run.totals.redriven, 1, "{run:?}");
        let seen = saw.next().await;
        assert_eq!(
            (seen.draft, seen.offset),
            (drafts[0].clone(), i64::from(count))
        );
        stage.dead_letters(usize::from(count) + 1).await;
    }
    let run = office.redrive_all(&stage).await;
    assert_eq!((run.totals.redriven, run.totals.refused), (0, 1), "{run:?}");
    assert_eq!(run.totals.left_alone, 5, "{run:?}");
    let refused = run.told.iter().find(|told| told.letter.offset == 5);
    assert_eq!(
        refused.map(|told| &told.fate),
        Some(&Fate::Left(Refusal::TooOften))
    );
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    for (letter, count) in letters.iter().zip(0..) {
        assert_eq!(
            letter.header("dlq.redrive-count"),
            Some(format!("{count}").as_str())
        );
        assert_eq!(letter.header("dlq.origin.offset"), Some("0"));
    }
}

async fn a_run_that_was_interrupted_goes_on_where_it_was(stage: Stage) {
    const MESSAGES: u32 = 7;
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, MESSAGES).await;
    downstream.is_back();
    let mut batch = office
        .batch(&stage, Filter::default(), Asked::default())
        .await;
    let redriver = office.redriver(&office.desk(&stage).await);
    batch.doing(redriver, 1000).await.unwrap();
    for _ in 0..3 {
        let told = batch.next().await.unwrap().unwrap();
        assert!(
            matches!(told.fate, Fate::Did(_, Outcome::Acknowledged(_))),
            "{told:?}"
        );
    }
    // Without any of what an orderly end does.
    drop(batch);
    let run = office.redrive_all(&stage).await;
    assert_eq!(
        (run.totals.redriven, run.totals.left_alone),
        (4, 3),
        "{run:?}"
    );
    saw.take(MESSAGES as usize).await;
    let topic = stage.topic(Kind::Anomaly);
    let all = i64::from(MESSAGES * 2);
    stage
        .wait_committed(&stage.own("backend"), &topic, all)
        .await;
    stage.stop(backend).await;
    assert_eq!(stage.end(&topic).await, all);
    // In the order they first had, whatever the order they were buried in.
    let records = records(&stage, &topic, i64::from(MESSAGES), MESSAGES as usize).await;
    let keys: Vec<_> = records.into_iter().map(|record| record.key).collect();
    let sent = drafts
        .iter()
        .map(|draft| Some(Bytes::from(draft.default_key())));
    assert_eq!(keys, sent.collect::<Vec<_>>());
}

async fn a_dead_letter_whose_message_was_deleted_needs_the_operators_word(stage: Stage) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    downstream.is_back();
    let partition = TopicPartition::new(stage.topic(Kind::Anomaly), 0);
    let admin = Admin::new(stage.client().await);
    admin
        .delete_records(&partition, DeleteUpTo::HighWatermark)
        .await
        .unwrap();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.refusal(), &Refusal::OriginGone);
    let asked = Asked {
        danger_origin_gone: true,
        ..Asked::default()
    };
    let run = office.redrive(&stage, Filter::default(), asked).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(saw.next().await.draft, drafts[0]);
    stage.stop(backend).await;
}

async fn what_a_wrong_trust_file_buried_is_handled_when_it_is_mended_summaries_too(stage: Stage) {
    const MESSAGES: u32 = 40;
    stage.make_topics(1).await;
    // Somebody else may sign as well, or the kind would have no key, and pause.
    let somebody = Identity::new(stage.dir(), "somebody");
    let mut office = Office::new(&stage, &[]);
    let [node, own] = stage.trust_entries();
    let wrong = vec![somebody.trust_entry(&Kind::NODE, &[]), own.clone()];
    office.believe(&stage, wrong);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let rate = [("CYBERMESH_DLQ_RATE", "5@1/s")];
    let backend = backend(&stage, &office, handlers, &rate).await;
    let (drafts, records): (Vec<_>, Vec<_>) = honest(&stage, 0..MESSAGES).into_iter().unzip();
    let topic = stage.topic(Kind::Anomaly);
    stage.put(&topic, records).await;
    let all = i64::from(MESSAGES);
    stage
        .wait_committed(&stage.own("backend"), &topic, all)
        .await;
    let letters = stage.end(&stage.dead_letter_topic()).await;
    assert!(letters < all, "{letters} dead letters, and no summary");
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 0, "{run:?}");
    let first = run.told.first().map(|told| &told.fate);
    assert!(
        matches!(
            first,
            Some(Fate::Left(Refusal::WouldNotVerify {
                disposition: Disposition::UnknownKey,
                ..
            }))
        ),
        "{run:?}"
    );

    office.believe(&stage, vec![node, own]);
    backend.reloader().reload();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, u64::from(MESSAGES), "{run:?}");
    let handled: Vec<_> = saw.take(MESSAGES as usize).await;
    let handled: BTreeSet<_> = handled
        .iter()
        .map(|seen| format!("{:?}", seen.draft))
        .collect();
    let sent: BTreeSet<_> = drafts.iter().map(|draft| format!("{draft:?}")).collect();
    assert_eq!(handled, sent);
    stage.stop(backend).await;
}

/// A clock so far ahead.
#[derive(Debug)]
struct Ahead(i64);

impl WallClock for Ahead {
    fn unix_ms(&self) -> u64 {
        u64::try_from(now_ms() + self.0).unwrap()
    }
}

async fn a_message_from_the_future_is_not_put_back_before_its_time(stage: Stage) {
    const HOUR_MS: i64 = 3_600_000;
    stage.make_topics(1).await;
    let office = Office::new(&stage, &[]);
    let (handlers, _saw) = witness(&Kind::NODE, done);
    let backend = backend(&stage, &office, handlers, &[]).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let ahead = Forgery {
        time_ms: now_ms() + HOUR_MS,
        ..Forgery::new(stage.node().signer(), &audience, &topic)
    };
    stage
        .put(&topic, vec![ahead.record(&draft(Kind::Anomaly), 0)])
        .await;
    stage.dead_letters(1).await;
    let run = office.redrive_all(&stage).await;
    assert!(matches!(run.refusal(), Refusal::NotYet { .. }), "{run:?}");
    assert_eq!(stage.end(&topic).await, 1);
    let later = Arc::new(Ahead(HOUR_MS));
    let mut batch = office
        .batch_by(&stage, later, Filter::default(), Asked::default())
        .await;
    let told = batch.next().await.unwrap().unwrap();
    assert!(matches!(told.fate, Fate::Would(_)), "{told:?}");
    stage.stop(backend).await;
}

async fn the_headers_that_other_tools_go_by_name_where_a_message_came_from(stage: Stage) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, _drafts) = buried(&stage, &office, 2).await;
    downstream.is_back();
    office.redrive_all(&stage).await;
    saw.take(2).await;
    stage.stop(backend).await;
    let topic = stage.topic(Kind::Anomaly);
    // Over Apache Kafka by the word of its own console consumer.
    let letters = stage.log(&stage.dead_letter_topic()).await;
    let bytes = |record: &cybermesh_tests::log::LoggedRecord, name: &str| {
        let mut values = record.headers.iter().filter(|(header, _)| header == name);
        let (_, value) = values.next().unwrap();
        assert!(values.next().is_none(), "{name} twice");
        value.clone().unwrap()
    };
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        let offset: i64 = letter.header("dlq.origin.offset").unwrap().parse().unwrap();
        assert_eq!(
            letter.header("kafka_dlt-original-topic"),
            Some(topic.as_str())
        );
        assert_eq!(
            bytes(letter, "kafka_dlt-original-partition"),
            0_i32.to_be_bytes().as_slice()
        );
        assert_eq!(
            bytes(letter, "kafka_dlt-original-offset"),
            offset.to_be_bytes().as_slice()
        );
        let value: serde_json::Value =
            serde_json::from_slice(letter.value.as_deref().unwrap()).unwrap();
        assert_eq!(value["original_topic"], topic);
    }
    let records = stage.log(&topic).await;
    for (original, redriven) in records.iter().zip(&records[2..4]) {
        assert_eq!(
            (&redriven.key, &redriven.value),
            (&original.key, &original.value)
        );
        let (last, others) = redriven.headers.split_last().unwrap();
        assert_eq!(last.0, REDRIVE);
        assert_eq!(others, original.headers);
    }
}

/// An office whose redrives are sent once, and given up at once.
fn hasty(stage: &Stage) -> Office {
    let mut office = Office::new(stage, &[]);
    office.set("KAFKA_MAX_RETRIES", "0");
    office
}

async fn a_redrive_whose_answer_was_lost_is_found_in_the_log_and_not_sent_again(stage: Stage) {
    let office = hasty(&stage);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 2).await;
    downstream.is_back();
    let topic = stage.topic(Kind::Anomaly);
    let fault = Fault::drop_after_apply(Api::Produce).topic(&topic).once();
    stage.devbroker().fault(fault);
    let run = office.redrive_all(&stage).await;
    assert!(run.is_halted, "{run:?}");
    assert_eq!((run.totals.redriven, run.totals.unknown), (0, 1), "{run:?}");
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.recovered, [Recovered::Found(2)]);
    assert_eq!(
        (run.totals.redriven, run.totals.left_alone),
        (1, 1),
        "{run:?}"
    );
    let handled = saw.take(2).await;
    assert!(
        drafts
            .iter()
            .all(|sent| handled.iter().any(|seen| seen.draft == *sent))
    );
    stage.wait_committed(&stage.own("backend"), &topic, 4).await;
    stage.stop(backend).await;
    assert_eq!(stage.end(&topic).await, 4);
}

async fn a_redrive_that_never_arrived_is_sent_again_as_the_same_bytes(stage: Stage) {
    let office = hasty(&stage);
    let (downstream, backend, mut saw, drafts) = buried(&stage, &office, 1).await;
    downstream.is_back();
    let topic = stage.topic(Kind::Anomaly);
    let fault = Fault::drop_before_apply(Api::Produce).topic(&topic).once();
    stage.devbroker().fault(fault);
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.unknown, 1, "{run:?}");
    let journal = office.desk_journal();
    let signed = journal.unknown()[0].clone();
    let run = office.redrive_all(&stage).await;
    let sent = Recovered::SentAgain(Outcome::Acknowledged(Some(1)));
    assert_eq!(run.recovered, [sent]);
    assert_eq!(saw.next().await.draft, drafts[0]);
    stage.stop(backend).await;
    let redriven = records(&stage, &topic, 1, 1).await.remove(0);
    let header = redriven
        .headers
        .iter()
        .find(|header| header.name == REDRIVE);
    let header: Option<Bytes> = header.and_then(|header| header.value.clone());
    assert_eq!(header.as_deref(), Some(signed.header.as_slice()));
}

async fn make_again(stage: &Stage, topic: &str) {
    let admin = Admin::new(stage.client().await);
    admin.delete_topic(topic).await.unwrap();
    stage.make_topic(topic, 1).await;
}

async fn what_was_put_back_of_a_topic_tells_nothing_of_the_one_made_again_under_its_name(
    stage: Stage,
) {
    let office = Office::new(&stage, &[]);
    let (downstream, backend, mut saw, _) = buried(&stage, &office, 1).await;
    downstream.is_back();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    saw.next().await;
    stage.stop(backend).await;

    let topic = stage.topic(Kind::Anomaly);
    make_again(&stage, &topic).await;
    let downstream = Downstream::away();
    let (handlers, mut saw) = downstream.handlers();
    let backend = self::backend(&stage, &office, handlers, &[]).await;
    let (draft, record) = honest(&stage, 1..2).remove(0);
    stage.put(&topic, vec![record]).await;
    assert_eq!(saw.next().await.offset, 0);
    stage.dead_letters(2).await;
    downstream.is_back();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    let seen = saw.next().await;
    assert_eq!((seen.draft, seen.offset), (draft, 1));
    let run = office.redrive_all(&stage).await;
    assert_eq!(
        (run.totals.redriven, run.totals.left_alone),
        (0, 1),
        "{run:?}"
    );
    stage.stop(backend).await;
}

async fn a_redrive_that_never_arrived_is_not_sent_to_the_topic_made_again(stage: Stage) {
    let office = hasty(&stage);
    let (_away, backend, _saw, _) = buried(&stage, &office, 1).await;
    stage.stop(backend).await;
    let topic = stage.topic(Kind::Anomaly);
    let fault = Fault::drop_before_apply(Api::Produce).topic(&topic).once();
    stage.devbroker().fault(fault);
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.unknown, 1, "{run:?}");
    make_again(&stage, &topic).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.recovered, [Recovered::OtherTopic]);
    assert!(!run.is_halted, "{run:?}");
    assert_eq!(stage.end(&topic).await, 0);
    assert_eq!(office.desk_journal().unknown().len(), 1);
}

/// What a run finds out when no redrive of before holds any more.
async fn recovered_later(stage: &Stage, office: &Office) -> Run {
    let later = Arc::new(Ahead(2 * 3_600_000));
    let (filter, asked) = (Filter::default(), Asked::default());
    let batch = office.batch_by(stage, later.clone(), filter, asked).await;
    office.run_by(stage, later, batch).await
}

async fn lose_the_answer(stage: &Stage, office: &Office) {
    let topic = stage.topic(Kind::Anomaly);
    let fault = Fault::drop_after_apply(Api::Produce).topic(&topic).once();
    stage.devbroker().fault(fault);
    let run = office.redrive_all(stage).await;
    assert_eq!(run.totals.unknown, 1, "{run:?}");
}

async fn a_redrive_behind_an_open_transaction_is_found_and_not_called_lapsed(stage: Stage) {
    let office = hasty(&stage);
    let (_away, backend, _saw, _) = buried(&stage, &office, 1).await;
    stage.stop(backend).await;
    let topic = stage.topic(Kind::Anomaly);
    let mut transactions = Transactions::new(&stage, &topic);
    let (_, record) = honest(&stage, 1..2).remove(0);
    transactions.open_with(&record).await;
    lose_the_answer(&stage, &office).await;
    let run = recovered_later(&stage, &office).await;
    assert_eq!(run.recovered, [Recovered::Found(2)]);
    assert_eq!(run.refusal(), &Refusal::Redriven { count: 1 });
}

async fn a_redrive_whose_stretch_of_the_log_is_gone_stays_unknown(stage: Stage) {
    let office = hasty(&stage);
    let (_away, backend, _saw, _) = buried(&stage, &office, 1).await;
    stage.stop(backend).await;
    lose_the_answer(&stage, &office).await;
    let partition = TopicPartition::new(stage.topic(Kind::Anomaly), 0);
    let admin = Admin::new(stage.client().await);
    let all = admin.delete_records(&partition, DeleteUpTo::HighWatermark);
    assert_eq!(all.await.unwrap(), 2);
    let run = recovered_later(&stage, &office).await;
    let gone = Recovered::Untold { begins_at: Some(2) };
    assert_eq!(run.recovered, [gone]);
    assert!(!run.is_halted, "{run:?}");
    assert_eq!(office.desk_journal().unknown().len(), 1);
}
