//! A judge that tells which records it was shown together.

use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::inbound::pipeline::tests::stand_ins::{TOPIC, tp};
use crate::telemetry::Exposition;

/// Takes batches; refuses `bad`, panics at `bomb`, and owes an answer where one `forgets one`.
#[derive(Default)]
struct Batches {
    shown: Mutex<Vec<usize>>,
}

impl Judge for Batches {
    type Message = String;
    type Trust = ();

    fn trust(&self) -> Arc<()> {
        Arc::new(())
    }

    fn has_keys(&self, (): &(), _: Kind) -> bool {
        true
    }

    fn judge(&self, (): &(), _: Kind, origin: &Origin, _: i64) -> Judged<String> {
        match origin.value.as_deref() {
            Some(b"bomb") => panic!("a fault of ours"),
            Some(b"bad") => Err(undecodable("bad")),
            _ => Ok(origin.offset.to_string()),
        }
    }

    fn mode(&self, kind: Kind) -> VerifyMode {
        match kind {
            Kind::Anomaly => VerifyMode::Batch,
            _ => VerifyMode::Strict,
        }
    }

    fn judge_batch(
        &self,
        trust: &(),
        kind: Kind,
        origins: &[&Origin],
        wall_ms: i64,
    ) -> Vec<Judged<String>> {
        self.shown.lock().unwrap().push(origins.len());
        let each = origins.iter();
        let mut judged: Vec<_> = each
            .map(|origin| self.judge(trust, kind, origin, wall_ms))
            .collect();
        let forgets = |origin: &&Origin| origin.value.as_deref() == Some(b"forgets one");
        if origins.iter().any(forgets) {
            judged.pop();
        }
        judged
    }

    fn recheck(&self, (): &(), _: &String) -> Result<(), Rejection> {
        Ok(())
    }
}

fn record(offset: i64, value: &'static str) -> Arc<Origin> {
    Arc::new(Origin {
        topic: TOPIC.into(),
        partition: 0,
        offset,
        timestamp_ms: 0,
        append_time_ms: None,
        key: None,
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
        unreadable: (value == "unreadable").then(|| "a damaged batch".into()),
    })
}

fn records(offsets: std::ops::Range<i64>) -> Vec<Arc<Origin>> {
    offsets.map(|offset| record(offset, "good")).collect()
}

/// Puts these one after the other, and gives the sizes of what workers then take.
fn taken(kind: Kind, puts: Vec<(u64, Arc<()>, Vec<Arc<Origin>>)>) -> Vec<usize> {
    let mut waiting = Waiting::<Batches>::default();
    let mode = Batches::default().mode(kind);
    for (assignment, trust, records) in puts {
        let place = Place {
            partition: &tp(0),
            assignment,
            kind,
        };
        waiting.put(&place, &trust, 0, mode, records);
    }
    std::iter::from_fn(|| waiting.take().map(|chunk| chunk.records.len())).collect()
}

fn judged(kind: Kind, records: Vec<Arc<Origin>>) -> (Vec<(i64, bool)>, Vec<usize>) {
    let (judge, metrics) = (Batches::default(), Exposition::new().unwrap().metrics());
    let chunk = Chunk {
        partition: tp(0),
        assignment: 1,
        kind,
        trust: Arc::new(()),
        wall_ms: 0,
        records,
    };
    let Finished::Judged { results, .. } = judge_chunk(&judge, &metrics, chunk) else {
        panic!("something else was done");
    };
    let results = results
        .into_iter()
        .map(|(origin, judged)| (origin.offset, judged.is_ok()))
        .collect();
    (results, judge.shown.into_inner().unwrap())
}

#[test]
fn what_waits_of_a_partition_makes_one_batch() {
    let trust = Arc::new(());
    let put = |records| (1, Arc::clone(&trust), records);
    let puts = vec![put(records(0..3)), put(records(3..4)), put(records(4..100))];
    assert_eq!(taken(Kind::Anomaly, puts), [64, 36]);
}

#[test]
fn nothing_joins_a_batch_of_another_trust_or_assignment() {
    let trust = Arc::new(());
    let puts = vec![
        (1, Arc::clone(&trust), records(0..3)),
        (1, Arc::new(()), records(3..4)),
        (2, Arc::clone(&trust), records(0..5)),
    ];
    assert_eq!(taken(Kind::Anomaly, puts), [3, 1, 5]);
}

#[test]
fn strictly_verified_kinds_go_in_small_portions_and_are_judged_one_by_one() {
    let puts = vec![(1, Arc::new(()), records(0..40))];
    assert_eq!(taken(Kind::Commit, puts), [16, 16, 8]);
    let (results, shown) = judged(Kind::Commit, records(0..2));
    assert_eq!(results, [(0, true), (1, true)]);
    assert_eq!(shown, [0; 0]);
}

#[test]
fn a_batch_is_judged_at_once_and_answers_in_order_around_what_cannot_be_read() {
    let records = vec![
        record(0, "good"),
        record(1, "unreadable"),
        record(2, "bad"),
        record(3, "good"),
    ];
    let (results, shown) = judged(Kind::Anomaly, records);
    assert_eq!(shown, [3]);
    assert_eq!(results, [(0, true), (1, false), (2, false), (3, true)]);
}

#[test]
fn a_record_that_panics_in_a_batch_is_found_and_its_neighbours_are_judged() {
    let records = vec![record(0, "good"), record(1, "bomb"), record(2, "good")];
    let (results, _) = judged(Kind::Anomaly, records);
    assert_eq!(results, [(0, true), (1, false), (2, true)]);
}

#[test]
fn a_batch_with_fewer_answers_than_records_is_judged_one_by_one() {
    let records = vec![
        record(0, "forgets one"),
        record(1, "bad"),
        record(2, "good"),
    ];
    let (results, _) = judged(Kind::Anomaly, records);
    assert_eq!(results, [(0, true), (1, false), (2, true)]);
}

#[test]
fn a_batch_is_held_against_the_clock_as_it_was_when_the_last_of_it_came() {
    let mut waiting = Waiting::<Batches>::default();
    let place = Place {
        partition: &tp(0),
        assignment: 1,
        kind: Kind::Anomaly,
    };
    let trust = Arc::new(());
    for (wall_ms, offsets) in [(5, 0..3), (7, 3..4)] {
        waiting.put(&place, &trust, wall_ms, VerifyMode::Batch, records(offsets));
    }
    let batch = waiting.take().unwrap();
    assert_eq!((batch.wall_ms, batch.records.len()), (7, 4));
    assert!(waiting.take().is_none());
}
