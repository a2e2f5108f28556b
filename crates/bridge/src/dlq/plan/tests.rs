use cybermesh_contracts::RecordView;
use cybermesh_contracts::dead_letter::{Burial, Failure, Flood, Form};
use cybermesh_contracts::redrive::{GroupHash, Terms};
use cybermesh_transport::{FetchedRecord, TimestampType};

use super::super::entry::Letter;
use super::super::journal::{SignedRedrive, Step};
use super::*;

const TOPIC: &str = "ai.anomalies.v1";

fn at(offset: i64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

fn signed() -> Standing {
    Standing::Signed("burier".into())
}

fn forged() -> Standing {
    Standing::Forged(DeadLetterFault::SignatureInvalid)
}

/// A dead letter at `letter` about the record at `origin`, redriven so often before.
fn entry(
    letter: i64,
    origin: i64,
    count: u8,
    disposition: Disposition,
    standing: Standing,
) -> Entry {
    let failure = failure(disposition);
    let record = RecordView {
        partition: Some(0),
        offset: origin,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let terms = Terms {
        nonce: [0; 16],
        expires_ms: 0,
        count,
        origin_partition: 0,
        origin_offset: origin,
        group: GroupHash::of("backend"),
    };
    let burial = match count {
        0 => Burial::of_record(&record, &failure),
        _ => Burial::of_redriven(&record, &terms, &failure),
    };
    read(letter, &burial, standing)
}

fn failure(disposition: Disposition) -> Failure<'static> {
    Failure {
        disposition,
        reason: "because",
        group: Some("backend"),
        attempts: 1,
        first_failed_at_ms: 0,
        last_failed_at_ms: 0,
        node: None,
    }
}

fn read(letter: i64, burial: &Burial<'_>, standing: Standing) -> Entry {
    let written = burial.write(Form::Json, 1_000_000, None).unwrap();
    let headers = written.header_views();
    let view = RecordView {
        key: Some(&written.key),
        headers: &headers,
        ..RecordView::new("ai.dlq", written.value.as_deref())
    };
    let parsed = DeadLetter::parse(&view).unwrap();
    Entry {
        read: Ok(Letter {
            letter: parsed,
            standing,
        }),
        ..no_letter(letter)
    }
}

fn no_letter(letter: i64) -> Entry {
    Entry {
        at: at(letter),
        timestamp_ms: 0,
        key: None,
        read: Err(DeadLetterFault::Absent { name: "dlq.format" }),
        record: FetchedRecord {
            offset: letter,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp_ms: 0,
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: None,
        },
    }
}

fn rejected(letter: i64, origin: i64, count: u8) -> Entry {
    entry(
        letter,
        origin,
        count,
        Disposition::HandlerRejected,
        signed(),
    )
}

fn original(offset: i64) -> Original {
    Original {
        at: at(offset),
        key: None,
        value: Some("value".into()),
        headers: Vec::new(),
    }
}

fn verifies() -> Today {
    Today::Verifies {
        signer: "node".into(),
    }
}

/// What becomes of an entry where these are all there are.
fn decided(which: &Entry, all: &[&Entry], ledger: &Ledger, asked: &Asked) -> Result<Key, Refusal> {
    let mut index = Index::default();
    for entry in all {
        index.note(entry);
    }
    let (group, count) = admit(which, asked, false)?;
    let terms = (group, count, "");
    let offset = which.letter().unwrap().origin().offset.unwrap();
    decide(which, &original(offset), terms, &verifies(), &index, ledger)
}

fn acknowledged(count: u8) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.note(Step::Acknowledged {
        key: Key::new("backend", TOPIC, at(7)),
        count,
        offset: Some(99),
    });
    ledger
}

fn one() -> Asked {
    Asked {
        one: true,
        ..Asked::default()
    }
}

#[test]
fn in_bulk_only_what_our_own_state_may_have_caused_is_put_back_and_by_its_position_anything() {
    for disposition in Disposition::ALL {
        if !disposition.buried() || disposition == Disposition::ProduceFailed {
            continue;
        }
        let entry = entry(1, 7, 0, disposition, signed());
        let bulk = decided(&entry, &[&entry], &Ledger::default(), &Asked::default());
        assert_eq!(
            bulk.is_ok(),
            disposition.redriven_by_default(),
            "{disposition}"
        );
        assert!(bulk.is_ok() || bulk.is_err_and(|refusal| refusal.is_left_alone()));
        let by_position = decided(&entry, &[&entry], &Ledger::default(), &one());
        assert!(by_position.is_ok(), "{disposition}");
    }
}

#[test]
fn a_forged_one_is_never_put_back_and_an_unsigned_one_by_the_operators_word_alone() {
    let every_danger = Asked {
        one: true,
        danger_unsigned: true,
        danger_origin_gone: true,
        ..Asked::default()
    };
    let entry = |standing| entry(1, 7, 0, Disposition::HandlerRejected, standing);
    let refused = admit(&entry(forged()), &every_danger, false).map(|_| ());
    assert_eq!(
        refused,
        Err(Refusal::Forged(DeadLetterFault::SignatureInvalid))
    );
    let unsigned = entry(Standing::Unsigned);
    assert_eq!(admit(&unsigned, &one(), false), Err(Refusal::Unsigned));
    assert!(admit(&unsigned, &every_danger, false).is_ok());
    assert!(matches!(
        admit(&no_letter(1), &every_danger, false),
        Err(Refusal::NoLetter(_))
    ));
}

#[test]
fn a_sixth_redrive_is_refused() {
    for (count, next) in [
        (0, Ok(("backend", 1))),
        (4, Ok(("backend", 5))),
        (5, Err(Refusal::TooOften)),
    ] {
        assert_eq!(admit(&rejected(1, 7, count), &one(), false), next);
    }
}

#[test]
fn a_burial_repeated_after_a_crash_is_put_back_once() {
    let (first, second) = (rejected(1, 7, 0), rejected(2, 7, 0));
    let all = [&first, &second];
    let (ledger, asked) = (Ledger::default(), Asked::default());
    assert!(decided(&first, &all, &ledger, &asked).is_ok());
    assert_eq!(
        decided(&second, &all, &ledger, &asked),
        Err(Refusal::SameRecord(at(1)))
    );
}

#[test]
fn what_was_buried_again_stands_for_what_was_before() {
    let (before, again) = (rejected(1, 7, 0), rejected(2, 7, 1));
    let all = [&before, &again];
    // Also where no journal tells of it.
    for ledger in [Ledger::default(), acknowledged(1)] {
        let old = decided(&before, &all, &ledger, &Asked::default());
        assert_eq!(old, Err(Refusal::SameRecord(at(2))));
        assert!(decided(&again, &all, &ledger, &Asked::default()).is_ok());
    }
}

#[test]
fn what_was_put_back_is_not_put_back_again_until_it_is_buried_again() {
    let entry = rejected(1, 7, 0);
    let decided = decided(&entry, &[&entry], &acknowledged(1), &Asked::default());
    assert_eq!(decided, Err(Refusal::Redriven { count: 1 }));
}

#[test]
fn one_of_unknown_outcome_is_not_put_back_until_that_is_known() {
    let entry = rejected(1, 7, 0);
    let mut ledger = Ledger::default();
    ledger.note(Step::Signed(SignedRedrive {
        key: Key::new("backend", TOPIC, at(7)),
        count: 1,
        letter: at(1),
        topic: TOPIC.to_owned(),
        origin: at(7),
        log_end: 8,
        expires_ms: 0,
        header: Vec::new(),
        at_ms: 0,
    }));
    let decided = decided(&entry, &[&entry], &ledger, &Asked::default());
    assert_eq!(decided, Err(Refusal::Unknown));
}

#[test]
fn who_may_write_to_the_topic_stands_in_nobodys_way() {
    let genuine = rejected(1, 7, 0);
    for standing in [Standing::Unsigned, forged()] {
        let other = entry(2, 7, 3, Disposition::HandlerRejected, standing);
        let all = [&genuine, &other];
        let decided = decided(&genuine, &all, &Ledger::default(), &Asked::default());
        assert!(decided.is_ok(), "{decided:?}");
    }
    // The other way round it does.
    let unsigned = entry(2, 7, 3, Disposition::HandlerRejected, Standing::Unsigned);
    let asked = Asked {
        danger_unsigned: true,
        ..Asked::default()
    };
    let decided = decided(
        &unsigned,
        &[&genuine, &unsigned],
        &Ledger::default(),
        &asked,
    );
    assert_eq!(decided, Err(Refusal::SameRecord(at(1))));
}

#[test]
fn one_of_another_group_is_another() {
    let entry = rejected(1, 7, 0);
    let asked = Asked {
        for_group: Some("frontend".to_owned()),
        ..Asked::default()
    };
    let decided = decided(&entry, &[&entry], &acknowledged(1), &asked);
    assert_eq!(decided, Ok(Key::new("frontend", TOPIC, at(7))));
}

#[test]
fn what_is_discarded_is_discarded_wherever_somebody_writes_it_again() {
    let sealed = |at: Position, seal: &'static str| {
        let mut entry = rejected(1, 7, 0);
        entry.at = at;
        let seal = cybermesh_transport::Header::new(DEAD_LETTER, seal);
        entry.record.headers.push(seal);
        entry
    };
    let elsewhere = Position {
        partition: 1,
        offset: 0,
    };
    let (genuine, again) = (sealed(at(1), "a"), sealed(elsewhere, "a"));
    let mut index = Index::default();
    // Partitions are read in any order.
    index.note(&again);
    index.note(&genuine);
    index.discard(&genuine);
    assert!(index.is_discarded(&genuine) && index.is_discarded(&again));
    assert!(!index.is_discarded(&sealed(at(2), "b")));
    assert!(!index.is_discarded(&rejected(3, 7, 0)), "not sealed");
}

#[test]
fn what_was_buried_again_is_put_back_once_for_another_group() {
    let (before, again) = (rejected(1, 7, 0), rejected(2, 7, 1));
    let asked = Asked {
        for_group: Some("frontend".to_owned()),
        ..Asked::default()
    };
    let mut ledger = Ledger::default();
    ledger.note(Step::Acknowledged {
        key: Key::new("frontend", TOPIC, at(7)),
        count: 1,
        offset: Some(99),
    });
    for entry in [&before, &again] {
        let decided = decided(entry, &[&before, &again], &ledger, &asked);
        assert_eq!(decided, Err(Refusal::Redriven { count: 1 }));
    }
}

#[test]
fn what_does_not_verify_today_or_whose_time_has_not_come_stays() {
    let entry = rejected(1, 7, 0);
    let decide = |today: &Today| {
        let (index, ledger) = (Index::default(), Ledger::default());
        decide(
            &entry,
            &original(7),
            ("backend", 1, ""),
            today,
            &index,
            &ledger,
        )
    };
    assert!(decide(&verifies()).is_ok());
    let refused = decide(&Today::NotYet { ahead_ms: 5 });
    assert_eq!(refused, Err(Refusal::NotYet { ahead_ms: 5 }));
    let refused = decide(&Today::Rejected {
        disposition: Disposition::UnknownKey,
        reason: "nobody".to_owned(),
    });
    assert!(matches!(
        refused,
        Err(Refusal::WouldNotVerify {
            disposition: Disposition::UnknownKey,
            ..
        })
    ));
}

#[test]
fn a_copy_stands_for_what_is_gone_by_the_operators_word_alone() {
    let gone = || Origin::GoneButCopied(Box::new(original(7)));
    assert_eq!(
        originals(gone(), &Asked::default()),
        Err(Refusal::OriginGone)
    );
    let asked = Asked {
        danger_origin_gone: true,
        ..Asked::default()
    };
    assert_eq!(originals(gone(), &asked), Ok(vec![original(7)]));
    assert_eq!(originals(Origin::Gone, &asked), Err(Refusal::NothingLeft));
    let differs = originals(Origin::Differs("value"), &asked);
    assert_eq!(differs, Err(Refusal::OriginDiffers("value")));
}

#[test]
fn of_a_summary_what_has_a_dead_letter_of_its_own_is_left_to_that() {
    let failure = failure(Disposition::UnknownKey);
    let record = |offset| RecordView {
        partition: Some(0),
        offset,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let mut flood = Flood::starting_with(&record(6));
    flood.add(&record(7));
    let summary = read(1, &Burial::of_flood(&flood, &failure), signed());
    let single = rejected(2, 7, 0);
    let mut index = Index::default();
    index.note(&summary);
    index.note(&single);
    let ledger = Ledger::default();
    let decide = |offset| {
        let terms = ("backend", 1, "");
        decide(
            &summary,
            &original(offset),
            terms,
            &verifies(),
            &index,
            &ledger,
        )
    };
    assert!(decide(6).is_ok());
    assert_eq!(decide(7), Err(Refusal::SameRecord(at(2))));
}

#[test]
fn a_summary_is_not_stood_in_for_by_a_letter_about_one_message_under_its_signature() {
    let failure = failure(Disposition::HandlerRejected);
    let record = |offset| RecordView {
        partition: Some(0),
        offset,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let mut flood = Flood::starting_with(&record(5));
    flood.add(&record(6));
    let sealed = |mut entry: Entry| {
        let seal = cybermesh_transport::Header::new(DEAD_LETTER, "a");
        entry.record.headers.push(seal);
        entry
    };
    let summary = sealed(read(2, &Burial::of_flood(&flood, &failure), signed()));
    let mut index = Index::default();
    index.note(&sealed(rejected(1, 7, 0)));
    index.note(&summary);
    assert_eq!(index.earlier(&summary), None);
    index.note(&sealed(read(
        3,
        &Burial::of_flood(&flood, &failure),
        signed(),
    )));
    let again = sealed(read(3, &Burial::of_flood(&flood, &failure), signed()));
    assert_eq!(index.earlier(&again), Some(at(2)));
}

#[test]
fn what_a_dead_letter_keeps_from_being_handled_is_told_by_signed_ones_and_whole_summaries() {
    let hash = value_hash(Some(b"value"));
    let keeps = |entries: &[Entry], offset, only_signed| {
        let mut index = Index::default();
        for entry in entries {
            index.note(entry);
        }
        index.keeps_from_handling(("backend", TOPIC, at(offset)), &hash, only_signed)
    };
    assert!(!keeps(&[], 7, true));
    for (disposition, does) in [
        (Disposition::UnknownKey, true),
        (Disposition::Replay, true),
        // It is put back in its own right.
        (Disposition::HandlerRejected, false),
    ] {
        let own = || entry(1, 7, 0, disposition, signed());
        assert_eq!(keeps(&[own()], 7, true), does, "{disposition}");
        assert!(!keeps(&[own()], 8, true), "another record");
        let again = entry(2, 7, 1, Disposition::UnknownKey, signed());
        assert_eq!(keeps(&[own(), again], 7, true), does, "{disposition}");
        let unsigned = || entry(3, 7, 0, disposition, Standing::Unsigned);
        assert!(!keeps(&[unsigned()], 7, true));
        assert_eq!(keeps(&[unsigned()], 7, false), does);
        let forged = entry(4, 7, 0, disposition, forged());
        assert!(!keeps(&[forged], 7, false));
    }
    let record = |offset| RecordView {
        partition: Some(0),
        offset,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let summary = |offsets: &[i64], standing| {
        let mut flood = Flood::starting_with(&record(offsets[0]));
        for offset in &offsets[1..] {
            flood.add(&record(*offset));
        }
        let failure = Failure {
            reason: "too many to bury one by one: unknown-key 2",
            ..failure(Disposition::UnknownKey)
        };
        read(1, &Burial::of_flood(&flood, &failure), standing)
    };
    assert!(keeps(&[summary(&[6, 7, 8], signed())], 7, true));
    assert!(!keeps(&[summary(&[6, 7, 8], signed())], 9, true));
    assert!(!keeps(&[summary(&[6, 8], signed())], 8, true), "not all");
    let unsigned = || summary(&[6, 7], Standing::Unsigned);
    assert!(!keeps(&[unsigned()], 7, false));
}

#[test]
fn of_a_summary_all_that_it_names_says_whether_copies_are_looked_for() {
    let record = |offset| RecordView {
        partition: Some(0),
        offset,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let mut flood = Flood::starting_with(&record(6));
    flood.add(&record(7));
    for (reason, is_before) in [
        (
            "too many to bury one by one: no-handler 40 unknown-key 1",
            true,
        ),
        ("too many to bury one by one: no-handler 2", false),
        ("whatever else it may say", true),
    ] {
        let failure = Failure {
            reason,
            ..failure(Disposition::NoHandler)
        };
        let summary = read(1, &Burial::of_flood(&flood, &failure), signed());
        assert_eq!(is_before_order(summary.letter().unwrap()), is_before);
        assert!(!is_before_order(
            read(1, &Burial::of_record(&record(6), &failure), signed())
                .letter()
                .unwrap()
        ));
    }
}

#[test]
fn what_is_discarded_is_left_alone_unless_it_is_named() {
    let entry = rejected(1, 7, 0);
    assert_eq!(
        admit(&entry, &Asked::default(), true),
        Err(Refusal::Discarded)
    );
    assert!(admit(&entry, &one(), true).is_ok());
}

#[test]
fn a_summary_is_put_back_only_where_all_it_stands_for_may_be_in_bulk() {
    let record = |offset| RecordView {
        partition: Some(0),
        offset,
        ..RecordView::new(TOPIC, Some(b"value"))
    };
    let mut flood = Flood::starting_with(&record(6));
    flood.add(&record(7));
    for (reason, is_put_back) in [
        ("too many to bury one by one: unknown-key 2", true),
        (
            "too many to bury one by one: unknown-key 1 key-expired 1",
            true,
        ),
        (
            "too many to bury one by one: unknown-key 40 replay 1",
            false,
        ),
        ("whatever else it may say", false),
    ] {
        let failure = Failure {
            reason,
            ..failure(Disposition::UnknownKey)
        };
        let summary = read(1, &Burial::of_flood(&flood, &failure), signed());
        for asked in [Asked::default(), one()] {
            let admitted = admit(&summary, &asked, false);
            assert_eq!(admitted.is_ok(), is_put_back, "{reason}");
            assert!(is_put_back || admitted == Err(Refusal::Mixed), "{reason}");
        }
    }
}

#[test]
fn another_value_at_the_same_place_is_another_record() {
    let failure = failure(Disposition::HandlerRejected);
    let record = RecordView {
        partition: Some(0),
        offset: 7,
        ..RecordView::new(TOPIC, Some(b"of the topic that was deleted"))
    };
    let old = read(1, &Burial::of_record(&record, &failure), signed());
    let new = rejected(2, 7, 0);
    let ledger = Ledger::default();
    assert!(decided(&new, &[&old, &new], &ledger, &Asked::default()).is_ok());
    let again = rejected(3, 7, 0);
    let same = decided(&again, &[&old, &new, &again], &ledger, &Asked::default());
    assert_eq!(same, Err(Refusal::SameRecord(at(2))));
}

#[test]
fn what_stands_there_again_with_its_signature_is_known_whatever_it_stands_for() {
    let with_seal = |letter: i64, seal: &'static [u8]| {
        let mut entry = rejected(letter, 7, 0);
        let seal = cybermesh_transport::Header::new(DEAD_LETTER, seal);
        entry.record.headers = vec![seal];
        entry
    };
    let (first, again, other) = (with_seal(1, b"a"), with_seal(2, b"a"), with_seal(3, b"b"));
    let forged = Entry {
        read: entry(0, 7, 0, Disposition::HandlerRejected, forged()).read,
        ..with_seal(0, b"a")
    };
    let mut index = Index::default();
    for entry in [&forged, &first, &again, &other] {
        index.note(entry);
    }
    assert_eq!(index.earlier(&again), Some(at(1)));
    assert_eq!(
        index.earlier(&first),
        None,
        "a forged one stands in nobody's way"
    );
    assert_eq!(index.earlier(&other), None);
}
