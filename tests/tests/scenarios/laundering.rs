//! What whoever may write to the topics gains by redrives: nothing.

use bytes::Bytes;
use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::dlq::{Asked, Fate, Filter, Position, Refusal, Totals};
use cybermesh_bridge::handler::{HandlerError, Verdict};
use cybermesh_contracts::RecordView;
use cybermesh_contracts::dead_letter::{Burial, Failure, Form, Signing};
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::Signer;
use cybermesh_devbroker::TransactionEnd;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::{Forgery, flipped};
use cybermesh_tests::identity::Identity;
use cybermesh_tests::log::now_ms;
use cybermesh_tests::office::{Office, Run};
use cybermesh_tests::stage::Role;
use cybermesh_tests::transaction::Transactions;
use cybermesh_tests::witness::{Witness, done, witness};
use cybermesh_transport::{Header, Record};

cybermesh_tests::scenarios! {
    both: [
        old_copies_that_were_buried_as_replays_are_not_put_back_in_bulk,
        old_copies_in_a_flood_that_was_summed_up_are_not_put_back_with_the_rest,
        copies_made_while_their_signer_was_not_trusted_are_not_put_back_with_the_rest,
        what_was_copied_since_its_signer_is_trusted_is_not_put_back_with_the_rest,
        a_copy_made_while_a_run_goes_on_keeps_what_was_copied_from_being_put_back,
        a_copy_in_an_open_transaction_keeps_what_was_copied_from_being_put_back,
        what_was_copied_stays_where_its_copy_was_put_back_by_its_position,
        a_copy_that_its_handler_rejected_is_put_back_instead_of_what_was_copied,
        what_was_too_old_already_when_its_signer_was_not_trusted_stays_buried,
        a_dead_letter_that_nobody_trusted_signed_moves_nothing,
        a_genuine_dead_letter_written_again_by_somebody_else_moves_nothing_twice,
        what_cannot_be_read_does_not_stand_in_the_way_of_what_can,
        what_stands_before_the_offset_that_is_asked_for_stays,
    ],
    devbroker_only: [
        many_that_cannot_be_read_in_a_row_do_not_end_a_run: "it is about how long the reader waits, which is kept short here",
    ],
}

/// A backend of this office that handles everything.
async fn backend(stage: &Stage, office: &Office, more: &[(&str, &str)]) -> (Bridge, Witness) {
    let settings = office.settings();
    let mut all: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    all.extend(more);
    let (handlers, saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge_with(Role::Backend, handlers, &all).await;
    (backend, saw)
}

fn honest(stage: &Stage, counts: std::ops::Range<u32>) -> Vec<Record> {
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let sender = Forgery::new(stage.node().signer(), &audience, &topic);
    counts
        .map(|count| sender.record(&draft(Kind::Anomaly), count))
        .collect()
}

async fn old_copies_that_were_buried_as_replays_are_not_put_back_in_bulk(stage: Stage) {
    const MESSAGES: u32 = 48;
    stage.make_topics(1).await;
    let office = Office::new(&stage, &[]);
    let ring = [("CYBERMESH_REPLAY_RING", "16")];
    let (backend, mut saw) = backend(&stage, &office, &ring).await;
    let topic = stage.topic(Kind::Anomaly);
    let records = honest(&stage, 0..MESSAGES);
    let old = records[0].clone();
    stage.put(&topic, records).await;
    saw.take(MESSAGES as usize).await;
    let end = i64::from(MESSAGES);
    stage
        .wait_committed(&stage.own("backend"), &topic, end)
        .await;
    stage.put(&topic, vec![old; 3]).await;
    stage.dead_letters(3).await;
    let run = office.redrive_all(&stage).await;
    let left_alone = Totals {
        left_alone: 3,
        ..Totals::default()
    };
    assert_eq!(run.totals, left_alone, "{run:?}");
    assert_eq!(stage.end(&topic).await, end + 3);
    assert!(saw.rest().is_empty(), "a copy was handled");
    stage.stop(backend).await;
}

async fn old_copies_in_a_flood_that_was_summed_up_are_not_put_back_with_the_rest(stage: Stage) {
    const MESSAGES: u32 = 48;
    const FLOOD: u32 = 30;
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let settings = [
        ("CYBERMESH_REPLAY_RING", "16"),
        ("CYBERMESH_DLQ_RATE", "1@1/s"),
    ];
    let (backend, mut saw) = backend(&stage, &office, &settings).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let records = honest(&stage, 0..MESSAGES);
    let old = records[0].clone();
    stage.put(&topic, records).await;
    saw.take(MESSAGES as usize).await;
    let end = i64::from(MESSAGES);
    stage
        .wait_committed(&stage.own("backend"), &topic, end)
        .await;

    // Somebody whom we do not know yet, and amid their messages what was handled long ago.
    let newcomer = Identity::new(stage.dir(), "newcomer");
    let sender = Forgery::new(newcomer.signer(), &audience, &topic);
    let mut flood: Vec<_> = (0..FLOOD)
        .map(|count| sender.record(&draft(Kind::Anomaly), count))
        .collect();
    flood.insert(20, old);
    stage.put(&topic, flood).await;
    let end = end + i64::from(FLOOD) + 1;
    stage
        .wait_committed(&stage.own("backend"), &topic, end)
        .await;

    let mut entries = stage.trust_entries().to_vec();
    entries.push(newcomer.trust_entry(&Kind::NODE, &[]));
    office.believe(&stage, entries);
    backend.reloader().reload();
    let run = office.redrive_all(&stage).await;
    let redriven = usize::try_from(run.totals.redriven).unwrap();
    let handled = saw.take(redriven).await;
    assert!(
        handled.iter().all(|seen| seen.signer == "newcomer"),
        "an old copy was handled: {run:?}"
    );
    assert!(redriven > 0, "what was buried alone: {run:?}");
    stage.stop(backend).await;
}

async fn copies_made_while_their_signer_was_not_trusted_are_not_put_back_with_the_rest(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let settings = [("CYBERMESH_DLQ_RATE", "2@1/s")];
    let (backend, mut saw) = backend(&stage, &office, &settings).await;
    let topic = stage.topic(Kind::Anomaly);
    let mut records = honest(&stage, 0..8);
    let late = records.split_off(4);
    stage.put(&topic, records.clone()).await;
    saw.take(4).await;

    // A wrong trust file: whoever knows of it copies what was handled, among what is new.
    let somebody = Identity::new(stage.dir(), "somebody");
    let [node, own] = stage.trust_entries();
    let wrong = vec![somebody.trust_entry(&Kind::NODE, &[]), own.clone()];
    office.believe(&stage, wrong);
    backend.reloader().reload();
    let mixed = records.into_iter().zip(late.clone());
    let mixed = mixed.flat_map(|(copy, new)| [copy, new]).collect();
    stage.put(&topic, mixed).await;
    stage
        .wait_committed(&stage.own("backend"), &topic, 12)
        .await;

    office.believe(&stage, vec![node, own]);
    backend.reloader().reload();
    let run = office.redrive_all(&stage).await;
    assert_eq!((run.totals.redriven, run.totals.refused), (4, 4), "{run:?}");
    let keys: Vec<_> = late.into_iter().map(|record| record.key.unwrap()).collect();
    for seen in saw.take(4).await {
        let key = seen.draft.default_key();
        assert!(
            keys.iter().any(|new| *new == key),
            "a copy was handled: {run:?}"
        );
    }
    stage.stop(backend).await;
}

/// Messages of a newcomer, buried as nobody's; then the newcomer is trusted.
async fn mended(
    stage: &Stage,
    office: &mut Office,
    backend: &Bridge,
    counts: std::ops::Range<u32>,
) -> Vec<Record> {
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let newcomer = Identity::new(stage.dir(), "newcomer");
    let sender = Forgery::new(newcomer.signer(), &audience, &topic);
    let records: Vec<_> = counts
        .map(|count| sender.record(&draft(Kind::Anomaly), count))
        .collect();
    stage.put(&topic, records.clone()).await;
    let end = i64::try_from(records.len()).unwrap();
    stage
        .wait_committed(&stage.own("backend"), &topic, end)
        .await;
    let mut entries = stage.trust_entries().to_vec();
    entries.push(newcomer.trust_entry(&Kind::NODE, &[]));
    office.believe(stage, entries);
    backend.reloader().reload();
    records
}

fn refusals(run: &Run) -> Vec<(i64, &Refusal)> {
    let refusals = run.told.iter().filter_map(|told| match &told.fate {
        Fate::Left(refusal) => Some((told.origin.as_ref()?.1.offset, refusal)),
        _ => None,
    });
    refusals.collect()
}

fn at(offset: i64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

async fn what_was_copied_since_its_signer_is_trusted_is_not_put_back_with_the_rest(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let topic = stage.topic(Kind::Anomaly);
    let records = mended(&stage, &mut office, &backend, 0..2).await;
    // Anybody who may write to the topic.
    stage.put(&topic, vec![records[0].clone()]).await;
    let copy = saw.next().await;
    assert_eq!(copy.offset, 2);
    stage.wait_committed(&stage.own("backend"), &topic, 3).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(refusals(&run), [(0, &Refusal::CopiedTo(at(2)))], "{run:?}");
    assert_eq!((run.totals.redriven, run.totals.refused), (1, 1), "{run:?}");
    let seen = saw.next().await;
    assert_eq!(seen.offset, 3);
    assert_ne!(seen.draft, copy.draft, "handled again");
    // Who names it has looked.
    let refused = run
        .told
        .iter()
        .find(|told| matches!(told.fate, Fate::Left(_)));
    let letter = refused.unwrap().letter.offset;
    let run = office.redrive_one(&stage, letter).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(saw.next().await.offset, 4);
    stage.stop(backend).await;
}

async fn a_copy_made_while_a_run_goes_on_keeps_what_was_copied_from_being_put_back(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let records = mended(&stage, &mut office, &backend, 0..2).await;
    let batch = office
        .batch(&stage, Filter::default(), Asked::default())
        .await;
    stage
        .put(&stage.topic(Kind::Anomaly), vec![records[1].clone()])
        .await;
    assert_eq!(saw.next().await.offset, 2);
    let run = office.run(&stage, batch).await;
    assert_eq!(refusals(&run), [(1, &Refusal::CopiedTo(at(2)))], "{run:?}");
    assert_eq!(saw.next().await.offset, 3);
    stage.stop(backend).await;
}

async fn a_copy_in_an_open_transaction_keeps_what_was_copied_from_being_put_back(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let records = mended(&stage, &mut office, &backend, 0..1).await;
    let mut attacker = Transactions::new(&stage, &stage.topic(Kind::Anomaly));
    attacker.open_with(&records[0]).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(refusals(&run), [(0, &Refusal::CopiedTo(at(1)))], "{run:?}");
    attacker.end(TransactionEnd::Commit).await;
    assert_eq!(saw.next().await.offset, 1);
    stage.stop(backend).await;
}

async fn what_was_copied_stays_where_its_copy_was_put_back_by_its_position(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let newcomer = Identity::new(stage.dir(), "newcomer");
    let message = Forgery::new(newcomer.signer(), &audience, &topic);
    let message = message.record(&draft(Kind::Anomaly), 0);
    for end in 1..=2 {
        stage.put(&topic, vec![message.clone()]).await;
        stage
            .wait_committed(&stage.own("backend"), &topic, end)
            .await;
    }
    let mut entries = stage.trust_entries().to_vec();
    entries.push(newcomer.trust_entry(&Kind::NODE, &[]));
    office.believe(&stage, entries);
    backend.reloader().reload();
    let run = office.redrive_one(&stage, 1).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(saw.next().await.offset, 2);
    let run = office.redrive_all(&stage).await;
    let told = [
        (0, &Refusal::CopiedTo(at(2))),
        (1, &Refusal::Redriven { count: 1 }),
    ];
    assert_eq!(refusals(&run), told, "{run:?}");
    assert_eq!(stage.end(&topic).await, 3);
    stage.stop(backend).await;
}

async fn many_that_cannot_be_read_in_a_row_do_not_end_a_run(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    // Longer than each takes, and not than all.
    office.set("KAFKA_REQUEST_TIMEOUT_MS", "600");
    let letters = stage.dead_letter_topic();
    for _ in 0..120 {
        stage.put(&letters, vec![unreadable()]).await;
    }
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals, Totals::default(), "{run:?}");
}

async fn what_stands_before_the_offset_that_is_asked_for_stays(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    mended(&stage, &mut office, &backend, 0..2).await;
    let filter = Filter {
        from_offset: Some(1),
        ..Filter::default()
    };
    let run = office.redrive(&stage, filter, Asked::default()).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(run.told[0].letter, at(1));
    assert_eq!(saw.next().await.offset, 2);
    stage.stop(backend).await;
}

async fn a_copy_that_its_handler_rejected_is_put_back_instead_of_what_was_copied(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (handlers, mut saw) = witness(&Kind::NODE, |message| match message.offset {
        2 => Err(HandlerError::permanent("downstream is away")),
        _ => Ok(Verdict::Done),
    });
    let settings = office.settings();
    let settings = [(settings[0].0, settings[0].1.as_str())];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let records = mended(&stage, &mut office, &backend, 0..2).await;
    stage
        .put(&stage.topic(Kind::Anomaly), vec![records[0].clone()])
        .await;
    assert_eq!(saw.next().await.offset, 2);
    stage.dead_letters(3).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(refusals(&run), [(0, &Refusal::CopiedTo(at(2)))], "{run:?}");
    assert_eq!((run.totals.redriven, run.totals.refused), (2, 1), "{run:?}");
    let handled = saw.take(2).await;
    assert_ne!(handled[0].draft, handled[1].draft, "handled twice");
    stage.stop(backend).await;
}

async fn what_was_too_old_already_when_its_signer_was_not_trusted_stays_buried(stage: Stage) {
    const DAY_MS: i64 = 86_400_000;
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let newcomer = Identity::new(stage.dir(), "newcomer");
    let signed = |ago_ms: i64| {
        let sender = Forgery {
            time_ms: now_ms() - ago_ms,
            ..Forgery::new(newcomer.signer(), &audience, &topic)
        };
        sender.record(&draft(Kind::Anomaly), 0)
    };
    // The topic keeps seven days, and so would its copies have been found no more.
    stage
        .put(&topic, vec![signed(8 * DAY_MS), signed(6 * DAY_MS)])
        .await;
    stage.dead_letters(2).await;
    let mut entries = stage.trust_entries().to_vec();
    entries.push(newcomer.trust_entry(&Kind::NODE, &[]));
    office.believe(&stage, entries);
    backend.reloader().reload();
    let run = office.redrive_all(&stage).await;
    let stale = run.told.iter().filter(|told| {
        matches!(
            &told.fate,
            Fate::Left(Refusal::WouldNotVerify { disposition, .. }) if *disposition == Disposition::Stale
        )
    });
    assert_eq!(stale.count(), 1, "{run:?}");
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(saw.next().await.offset, 2);
    stage.stop(backend).await;
}

/// A dead letter about the record at an offset of the topic of anomalies, as anybody could write it.
fn letter(stage: &Stage, original: &Record, offset: i64, signer: Option<&dyn Signer>) -> Record {
    let (topic, group) = (stage.topic(Kind::Anomaly), stage.own("backend"));
    let audience = stage.own("audience");
    let headers: Vec<_> = original
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_deref()))
        .collect();
    let record = RecordView {
        partition: Some(0),
        offset,
        key: original.key.as_deref(),
        headers: &headers,
        timestamp_ms: original.timestamp_ms,
        ..RecordView::new(&topic, original.value.as_deref())
    };
    let failure = Failure {
        disposition: Disposition::HandlerRejected,
        reason: "downstream was away",
        group: Some(&group),
        attempts: 1,
        first_failed_at_ms: now_ms(),
        last_failed_at_ms: now_ms(),
        node: None,
    };
    let signing = signer.map(|signer| Signing {
        signer,
        audience: &audience,
    });
    let written = Burial::of_record(&record, &failure)
        .write(Form::Json, 1_000_000, signing)
        .unwrap();
    Record {
        key: Some(written.key.into()),
        value: written.value.map(Bytes::from),
        headers: written
            .headers
            .into_iter()
            .map(|header| Header {
                name: header.name,
                value: header.value.map(Bytes::from),
            })
            .collect(),
        timestamp_ms: now_ms(),
    }
}

async fn a_dead_letter_that_nobody_trusted_signed_moves_nothing(stage: Stage) {
    stage.make_topics(1).await;
    let office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let (topic, letters) = (stage.topic(Kind::Anomaly), stage.dead_letter_topic());
    let original = honest(&stage, 0..1).remove(0);
    stage.put(&topic, vec![original.clone()]).await;
    let handled = saw.next().await;
    // It was handled; now it is to be handled again.
    let stranger = Identity::new(stage.dir(), "stranger");
    let unsigned = letter(&stage, &original, 0, None);
    let by_stranger = letter(&stage, &original, 0, Some(stranger.signer()));
    let mut bent = letter(&stage, &original, 0, Some(stage.node().signer()));
    let seal = bent
        .headers
        .iter_mut()
        .find(|header| header.name == "cm-dead-letter");
    let seal = seal.unwrap();
    seal.value = seal.value.as_ref().map(|value| flipped(value, 0));
    let garbage = Record {
        value: Some("no dead letter".into()),
        timestamp_ms: now_ms(),
        ..Record::default()
    };
    stage
        .put(&letters, vec![unsigned, by_stranger, bent, garbage])
        .await;
    let run = office.redrive_all(&stage).await;
    assert_eq!((run.totals.redriven, run.totals.refused), (0, 4), "{run:?}");

    let asked = Asked {
        danger_unsigned: true,
        danger_origin_gone: true,
        ..Asked::default()
    };
    for offset in [1, 2, 3] {
        let filter = Filter {
            at: Some(at(offset)),
            ..Filter::default()
        };
        let run = office.redrive(&stage, filter, asked.clone()).await;
        let refusal = run.refusal();
        assert!(
            matches!(refusal, Refusal::Forged(_) | Refusal::NoLetter(_)),
            "{run:?}"
        );
    }
    assert_eq!(stage.end(&topic).await, 1);
    // What the flag warns of.
    let run = office.redrive(&stage, Filter::default(), asked).await;
    assert_eq!((run.totals.redriven, run.totals.refused), (1, 3), "{run:?}");
    assert_eq!(saw.next().await.draft, handled.draft);
    stage.stop(backend).await;
}

async fn a_genuine_dead_letter_written_again_by_somebody_else_moves_nothing_twice(stage: Stage) {
    stage.make_topics(1).await;
    let office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let (topic, letters) = (stage.topic(Kind::Anomaly), stage.dead_letter_topic());
    let original = honest(&stage, 0..1).remove(0);
    stage.put(&topic, vec![original.clone()]).await;
    saw.next().await;
    let genuine = letter(&stage, &original, 0, Some(stage.node().signer()));
    stage.put(&letters, vec![genuine.clone()]).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    saw.next().await;
    stage.put(&letters, vec![genuine]).await;
    let run = office.redrive_all(&stage).await;
    assert_eq!(
        (run.totals.redriven, run.totals.left_alone),
        (0, 2),
        "{run:?}"
    );
    let run = office.redrive_one(&stage, 1).await;
    assert!(run.refusal().is_left_alone(), "{run:?}");
    assert_eq!(stage.end(&topic).await, 2);
    stage.stop(backend).await;
}

/// More headers than any reader of ours takes, and a broker does.
fn unreadable() -> Record {
    Record {
        key: None,
        value: None,
        headers: vec![Header::new("", Bytes::new()); 16_385],
        timestamp_ms: now_ms(),
    }
}

async fn what_cannot_be_read_does_not_stand_in_the_way_of_what_can(stage: Stage) {
    stage.make_topics(1).await;
    let mut office = Office::new(&stage, &[]);
    let (backend, mut saw) = backend(&stage, &office, &[]).await;
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let newcomer = Identity::new(stage.dir(), "newcomer");
    let sender = Forgery::new(newcomer.signer(), &audience, &topic);
    stage
        .put(&stage.dead_letter_topic(), vec![unreadable()])
        .await;
    stage.put(&topic, vec![unreadable()]).await;
    let message = sender.record(&draft(Kind::Anomaly), 0);
    stage.put(&topic, vec![message]).await;
    stage.wait_committed(&stage.own("backend"), &topic, 2).await;
    stage
        .put(&stage.dead_letter_topic(), vec![unreadable()])
        .await;
    let mut entries = stage.trust_entries().to_vec();
    entries.push(newcomer.trust_entry(&Kind::NODE, &[]));
    office.believe(&stage, entries);
    backend.reloader().reload();
    let run = office.redrive_all(&stage).await;
    assert_eq!(run.totals.redriven, 1, "{run:?}");
    assert_eq!(saw.next().await.signer, "newcomer");
    stage.stop(backend).await;
}
