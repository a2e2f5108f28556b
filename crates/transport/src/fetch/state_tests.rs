//! Positions and deliveries, without any socket.

use super::*;
use crate::consumer::RecordBatch;
use crate::record::{Compression, CorruptReason, ProducerStamp, Record, encode};

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn batch(base_offset: i64, values: &[&str]) -> Vec<u8> {
    let records: Vec<_> = values
        .iter()
        .map(|value| Record {
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..Record::default()
        })
        .collect();
    let producer = ProducerStamp {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
    let mut bytes = encode(&records, producer, Compression::Snappy)
        .unwrap()
        .bytes
        .to_vec();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

fn chunk(records: Vec<u8>) -> Chunk {
    Chunk {
        records: records.into(),
        aborted: Vec::new(),
        high_watermark: 9,
        last_stable_offset: 9,
        log_start_offset: 0,
        topic_id: None,
        leader_epoch: -1,
    }
}

fn fetch_from(offset: i64) -> Wanted {
    Wanted::Fetch(Next {
        offset,
        last_epoch: None,
        topic_id: None,
        replica: None,
        may_be_sent_on: true,
    })
}

fn reading(partitions: &[i32]) -> FetchState {
    let mut state = FetchState::unrestricted(FetchConfig::default());
    for partition in partitions {
        state.begin(&name(*partition), Position::Offset(0));
    }
    state
}

/// Asks for everything wanted and gives what was.
fn ask(state: &mut FetchState, now: Instant) -> Vec<(TopicPartition, Incarnation, Wanted)> {
    let nothing_known = LeaderView {
        topic_id: None,
        epoch: -1,
    };
    let mut asked = Vec::new();
    for (partition, incarnation) in state.wanted(now) {
        let wanted = state.meets(now, &partition, nothing_known);
        state.asking(&partition);
        asked.push((partition, incarnation, wanted.expect("something to ask")));
    }
    asked
}

fn records(event: Option<Event>) -> RecordBatch {
    match event {
        Some(Event::Records(batch)) => batch,
        other => panic!("no records but {other:?}"),
    }
}

fn fetched(
    state: &mut FetchState,
    now: Instant,
    partition: &TopicPartition,
    incarnation: Incarnation,
    chunk: Chunk,
) {
    state
        .fetched(now, partition, incarnation, chunk)
        .expect("a whole batch");
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    batch.records.iter().map(|record| record.offset).collect()
}

#[test]
fn fetching_runs_ahead_of_delivery_from_where_the_last_answer_ended() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    let (_, incarnation, wanted) = ask(&mut state, now).remove(0);
    assert_eq!(wanted, fetch_from(0));
    assert!(ask(&mut state, now).is_empty(), "one request at a time");
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk([batch(0, &["a", "b"]), batch(2, &["c"])].concat()),
    );
    assert_eq!(ask(&mut state, now)[0].2, fetch_from(3));
    assert_eq!(state.position(&name(0)), Some(0));
    let delivered = records(state.take_event());
    assert_eq!(
        (offsets(&delivered), delivered.next_offset),
        (vec![0, 1, 2], 3)
    );
    assert!(state.take_event().is_none());
}

#[test]
fn a_seek_drops_what_was_fetched_and_what_is_still_on_its_way() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    let (_, before, _) = ask(&mut state, now).remove(0);
    fetched(&mut state, now, &name(0), before, chunk(batch(0, &["a"])));
    ask(&mut state, now);
    state.begin(&name(0), Position::Offset(7));
    fetched(&mut state, now, &name(0), before, chunk(batch(1, &["b"])));
    assert!(state.take_event().is_none());
    assert_eq!(ask(&mut state, now)[0].2, fetch_from(7));
}

#[test]
fn a_paused_partition_is_neither_fetched_nor_delivered_and_goes_on_where_it_was() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(batch(0, &["a"])),
    );
    state.set_paused(&name(0), true);
    assert!(state.take_event().is_none() && state.wanted(now).is_empty());
    state.set_paused(&name(0), false);
    assert_eq!(offsets(&records(state.take_event())), [0]);
}

#[test]
fn partitions_take_turns() {
    let now = Instant::now();
    let mut state = reading(&[0, 1, 2]);
    state.config.max_records = 1;
    for (partition, incarnation, _) in ask(&mut state, now) {
        fetched(
            &mut state,
            now,
            &partition,
            incarnation,
            chunk(batch(0, &["a", "b"])),
        );
    }
    let served: Vec<_> = (0..6)
        .map(|_| records(state.take_event()).partition.partition)
        .collect();
    assert_eq!(served, [0, 1, 2, 0, 1, 2]);
}

fn given(number: i32) -> AssignedPartition {
    AssignedPartition {
        partition: name(number),
        committed: None,
        start: Some(Position::Earliest),
        topic_id: None,
    }
}

#[test]
fn what_a_caller_says_of_a_partition_is_about_the_assignment_it_has_heard_of() {
    let mut state = FetchState::of_member(FetchConfig::default());
    state.assign(5, vec![given(0), given(1)]);
    assert_eq!(state.tenure(&name(0)), None, "not heard of yet");
    state.take_event();
    let first = state.tenure(&name(0));
    assert!(first.is_some());
    // More of them change nothing about those that are kept, heard of or not.
    state.assign(6, vec![given(2)]);
    assert_eq!(state.tenure(&name(0)), first);
    assert_eq!(state.tenure(&name(2)), None);
    state.lose(&[name(0)]);
    assert_eq!(state.tenure(&name(0)), None);
    // Given again, and the caller still speaks of the time before.
    state.assign(7, vec![given(0)]);
    state.take_event();
    assert_eq!(state.tenure(&name(0)), None);
    state.take_event();
    assert!(state.tenure(&name(0)) > first);
    assert!(state.tenure(&name(1)).is_some());
}

#[test]
fn a_partition_of_a_member_is_read_only_while_it_is_held() {
    let now = Instant::now();
    let mut state = FetchState::of_member(FetchConfig::default());
    state.begin(&name(0), Position::Offset(0));
    assert!(state.wanted(now).is_empty());
    state.assign(1, vec![given(0)]);
    assert!(matches!(state.take_event(), Some(Event::Assigned { .. })));
    state.begin(&name(0), Position::Offset(0));
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    state.drop_partitions(&[name(0)]);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(batch(0, &["a"])),
    );
    state.begin(&name(0), Position::Offset(0));
    assert!(state.take_event().is_none() && state.wanted(now).is_empty());
}

#[test]
fn a_fault_comes_after_what_stands_before_it_and_halts_only_its_partition() {
    let now = Instant::now();
    let mut state = reading(&[0, 1]);
    let mut broken = batch(1, &["b"]);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    for (partition, incarnation, _) in ask(&mut state, now) {
        let records = if partition == name(0) {
            [batch(0, &["a"]), broken.clone()].concat()
        } else {
            batch(0, &["x"])
        };
        fetched(&mut state, now, &partition, incarnation, chunk(records));
    }
    assert_eq!(
        ask(&mut state, now)
            .iter()
            .map(|wanted| &wanted.0)
            .collect::<Vec<_>>(),
        [&name(1)]
    );
    assert_eq!(offsets(&records(state.take_event())), [0]);
    assert_eq!(records(state.take_event()).partition, name(1));
    match state.take_event() {
        Some(Event::Corrupt { partition, fault }) => {
            assert_eq!(
                (partition, fault.offset, fault.reason),
                (name(0), 1, CorruptReason::Checksum)
            );
        }
        other => panic!("no fault but {other:?}"),
    }
    assert!(state.take_event().is_none());
    state.begin(&name(0), Position::Offset(2));
    assert_eq!(ask(&mut state, now)[0].2, fetch_from(2));
}

#[test]
fn a_broker_cannot_pile_up_resets_that_nobody_takes() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    let refused = || {
        Event::Failed(crate::error::TransportError::code(
            crate::error::Operation::Fetch,
            crate::error::Target::default(),
            crate::error::ErrorCode::OffsetOutOfRange,
        ))
    };
    let round = |state: &mut FetchState| {
        let asked = ask(state, now);
        for (partition, incarnation, _) in &asked {
            let earliest = Some(Position::Earliest);
            state.out_of_range(now, partition, *incarnation, earliest, refused());
        }
        for (partition, incarnation, _) in ask(state, now) {
            state.resolved(&partition, incarnation, 40);
        }
        asked.len()
    };
    let asked = [(); 4].map(|()| round(&mut state));
    assert_eq!(asked, [1, 1, 0, 0]);
    assert!(matches!(state.take_event(), Some(Event::Reset { .. })));
    // With one of them taken it is asked for again.
    assert_eq!(round(&mut state), 1);
}

#[test]
fn an_offset_out_of_range_is_reset_and_told() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    let error = || {
        Event::Failed(crate::error::TransportError::code(
            crate::error::Operation::Fetch,
            crate::error::Target::default(),
            crate::error::ErrorCode::OffsetOutOfRange,
        ))
    };
    state.out_of_range(
        now,
        &name(0),
        incarnation,
        Some(Position::Earliest),
        error(),
    );
    assert_eq!(
        ask(&mut state, now)[0].2,
        Wanted::Resolve(Position::Earliest)
    );
    state.resolved(&name(0), incarnation, 40);
    assert!(matches!(
        state.take_event(),
        Some(Event::Reset {
            from: 0,
            to: 40,
            ..
        })
    ));
    let (_, incarnation, wanted) = ask(&mut state, now).remove(0);
    assert_eq!(wanted, fetch_from(40));
    state.out_of_range(now, &name(0), incarnation, None, error());
    assert!(matches!(state.take_event(), Some(Event::Failed(_))));
    assert!(ask(&mut state, now).is_empty(), "it stands until a seek");
}

#[test]
fn fetching_stops_at_the_bound_and_goes_on_when_there_is_room() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    state.config.partition_max_bytes = 10;
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(batch(0, &["a"])),
    );
    assert!(state.wanted(now).is_empty());
    state.take_event();
    assert_eq!(ask(&mut state, now)[0].2, fetch_from(1));
}

#[test]
fn failures_are_asked_again_after_a_growing_wait() {
    let mut now = Instant::now();
    let mut state = reading(&[0]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (_, incarnation, _) = ask(&mut state, now).remove(0);
        state.failed(now, &name(0), incarnation);
        let next = state.next_wakeup(now).unwrap();
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits[..2], [RETRY_FROM, RETRY_FROM * 2]);
    assert_eq!(waits[7], RETRY_UP_TO);
}

#[test]
fn a_failure_that_is_not_heard_is_not_repeated() {
    let mut state = reading(&[]);
    let error = crate::error::TransportError::new(
        crate::error::Operation::Fetch,
        crate::error::Target::default(),
        crate::error::ErrorKind::Closed,
    );
    state.tell(Event::Failed(error.clone()));
    state.tell(Event::Failed(error));
    assert!(state.take_event().is_some() && state.take_event().is_none());
}

#[test]
fn what_was_fetched_before_the_position_fell_out_of_range_is_delivered_first() {
    let mut now = Instant::now();
    let mut state = reading(&[0]);
    let failed = || {
        Event::Failed(crate::error::TransportError::code(
            crate::error::Operation::Fetch,
            crate::error::Target::default(),
            crate::error::ErrorCode::OffsetOutOfRange,
        ))
    };
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(batch(0, &["a"])),
    );
    ask(&mut state, now);
    state.out_of_range(now, &name(0), incarnation, None, failed());
    assert_eq!(offsets(&records(state.take_event())), [0]);
    assert!(state.take_event().is_none());
    now += RETRY_FROM;
    ask(&mut state, now);
    state.out_of_range(now, &name(0), incarnation, None, failed());
    assert!(matches!(state.take_event(), Some(Event::Failed(_))));
}

#[test]
fn what_waits_behind_a_fault_takes_no_room_from_other_partitions() {
    let now = Instant::now();
    let mut state = reading(&[0, 1]);
    let two = [batch(0, &["a"]), batch(1, &["b"])].concat();
    state.config.buffer_bytes = batch(1, &["b"]).len();
    state.config.max_batch_bytes = 1;
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(&mut state, now, &name(0), incarnation, chunk(two));
    assert!(matches!(state.take_event(), Some(Event::Corrupt { .. })));
    let other = state.partitions.get_mut(&name(1)).unwrap();
    other.asking = false;
    assert_eq!(state.wanted(now).len(), 1);
}

#[test]
fn records_of_many_empty_headers_do_not_fill_the_memory_with_one_event() {
    const HEADERS: usize = 5_000;
    let now = Instant::now();
    let mut state = reading(&[0]);
    let record = Record {
        headers: vec![crate::record::Header::new("", ""); HEADERS],
        ..Record::default()
    };
    let producer = ProducerStamp {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
    let bytes = encode(&vec![record; 100], producer, Compression::Snappy)
        .unwrap()
        .bytes;
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(bytes.to_vec()),
    );
    let event = records(state.take_event());
    let held = event.records.len() * HEADERS * size_of::<crate::record::Header>();
    assert!(held < 2 * EVENT_BYTES, "{held} bytes in one event");
}

#[test]
fn an_answer_without_a_whole_batch_is_an_error_and_asked_again_after_a_growing_wait() {
    let mut now = Instant::now();
    let mut state = reading(&[0]);
    let mut cut = batch(0, &["a"]);
    cut.pop();
    for wait in [RETRY_FROM, RETRY_FROM * 2, RETRY_FROM * 4] {
        let (_, incarnation, _) = ask(&mut state, now).remove(0);
        assert_eq!(
            state.fetched(now, &name(0), incarnation, chunk(cut.clone())),
            Err(CutOff { offset: 0 })
        );
        assert!(state.wanted(now).is_empty());
        assert_eq!(state.next_wakeup(now), Some(now + wait));
        now += wait;
    }
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    fetched(
        &mut state,
        now,
        &name(0),
        incarnation,
        chunk(batch(0, &["a"])),
    );
    assert_eq!(offsets(&records(state.take_event())), [0]);
    assert_eq!(state.next_wakeup(now), None);
}

#[test]
fn paused_partitions_give_up_what_they_hold_where_another_would_starve_and_fetch_it_again() {
    let now = Instant::now();
    let mut state = reading(&[0, 1]);
    state.config.buffer_bytes = 1;
    state.config.max_records = 1;
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    let held = chunk(batch(0, &["a", "b"]));
    fetched(&mut state, now, &name(0), incarnation, held.clone());
    assert_eq!(offsets(&records(state.take_event())), [0]);
    state.set_paused(&name(0), true);
    state.partitions.get_mut(&name(1)).unwrap().asking = false;
    assert!(state.wanted(now).is_empty(), "the buffer is full");
    state.make_room();
    let (starved, other, _) = ask(&mut state, now).remove(0);
    assert_eq!(starved, name(1));
    fetched(&mut state, now, &name(1), other, chunk(batch(0, &["x"])));
    assert_eq!(records(state.take_event()).partition, name(1));
    while state.take_event().is_some() {}
    state.set_paused(&name(0), false);
    let (_, incarnation, wanted) = ask(&mut state, now).remove(0);
    assert_eq!(wanted, fetch_from(1));
    fetched(&mut state, now, &name(0), incarnation, held);
    assert_eq!(offsets(&records(state.take_event())), [1]);
}

#[test]
fn paused_partitions_keep_what_they_hold_while_nobody_starves() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    state.config.buffer_bytes = 1;
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    let held = chunk(batch(0, &["a"]));
    fetched(&mut state, now, &name(0), incarnation, held);
    state.set_paused(&name(0), true);
    state.make_room();
    state.set_paused(&name(0), false);
    assert_eq!(offsets(&records(state.take_event())), [0]);
}

#[test]
fn an_answer_for_a_paused_partition_that_gave_up_what_it_held_skips_nothing() {
    let now = Instant::now();
    let mut state = reading(&[0, 1]);
    state.config.buffer_bytes = 1;
    let (_, before, _) = ask(&mut state, now).remove(0);
    let first = chunk(batch(0, &["a"]));
    fetched(&mut state, now, &name(0), before, first);
    state.set_paused(&name(0), true);
    state.make_room();
    let late = chunk(batch(1, &["b"]));
    fetched(&mut state, now, &name(0), before, late);
    state.set_paused(&name(0), false);
    assert!(state.take_event().is_none());
    assert_eq!(ask(&mut state, now)[0].2, fetch_from(0));
}

#[test]
fn a_batch_being_read_counts_as_what_it_decompressed_to() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    state.config.max_records = 1;
    let large = "x".repeat(100_000);
    let (_, incarnation, _) = ask(&mut state, now).remove(0);
    let held = chunk(batch(0, &[&large, &large]));
    fetched(&mut state, now, &name(0), incarnation, held);
    assert!(state.held_bytes() < 50_000);
    state.take_event();
    assert!(state.held_bytes() >= 200_000);
    state.take_event();
    state.take_event();
    assert_eq!(state.held_bytes(), 0);
}

fn ends(high_watermark: i64, last_stable_offset: i64) -> Chunk {
    Chunk {
        high_watermark,
        last_stable_offset,
        ..chunk(Vec::new())
    }
}

fn progress_after(state: &mut FetchState, now: Instant, told: Chunk) -> Progress {
    let (_, incarnation, _) = ask(state, now).remove(0);
    fetched(state, now, &name(0), incarnation, told);
    state.progress().remove(0)
}

#[test]
fn lag_ends_at_the_last_stable_offset_or_at_the_high_watermark_by_isolation() {
    let now = Instant::now();
    for (isolation, lag) in [
        (crate::IsolationLevel::ReadCommitted, 6),
        (crate::IsolationLevel::ReadUncommitted, 9),
    ] {
        let mut state = reading(&[0]);
        state.config.isolation = isolation;
        assert_eq!(state.progress()[0].lag, None);
        let progress = progress_after(&mut state, now, ends(9, 6));
        assert_eq!((progress.position, progress.lag), (Some(0), Some(lag)));
        assert_eq!(
            (progress.high_watermark, progress.last_stable_offset),
            (Some(9), Some(6))
        );
    }
}

#[test]
fn a_last_stable_offset_that_stands_still_below_the_high_watermark_is_told_since_when() {
    let begin = Instant::now();
    let later = |seconds| begin + Duration::from_secs(seconds);
    let mut state = reading(&[0]);
    let mut since =
        |seconds, told| progress_after(&mut state, later(seconds), told).held_back_since;
    assert_eq!(since(0, ends(9, 9)), None);
    assert_eq!(since(1, ends(12, 9)), Some(later(1)));
    assert_eq!(since(50, ends(15, 9)), Some(later(1)));
    assert_eq!(since(51, ends(15, 12)), Some(later(51)), "it moves");
    assert_eq!(since(52, ends(15, 15)), None);
    assert_eq!(since(53, ends(15, -1)), None, "the broker does not tell");
}

#[test]
fn a_seek_keeps_what_is_known_of_the_ends() {
    let now = Instant::now();
    let mut state = reading(&[0]);
    progress_after(&mut state, now, ends(9, 9));
    state.begin(&name(0), Position::Offset(4));
    assert_eq!(state.progress()[0].lag, Some(5));
}

#[test]
fn records_of_aborted_transactions_are_left_out_by_the_list_and_delivered_without_it() {
    let now = Instant::now();
    let mut transactional = batch(0, &["aborted"]);
    transactional[22] |= 0x10;
    transactional[43..51].copy_from_slice(&7_i64.to_be_bytes());
    let crc = crc32c::crc32c(&transactional[21..]);
    transactional[17..21].copy_from_slice(&crc.to_be_bytes());
    let bytes = [transactional, batch(1, &["plain"])].concat();
    for (aborted, expected) in [(vec![(7, 0)], vec![1]), (Vec::new(), vec![0, 1])] {
        let mut state = reading(&[0]);
        let (_, incarnation, _) = ask(&mut state, now).remove(0);
        let told = Chunk {
            aborted,
            ..chunk(bytes.clone())
        };
        fetched(&mut state, now, &name(0), incarnation, told);
        let delivered = records(state.take_event());
        assert_eq!((offsets(&delivered), delivered.next_offset), (expected, 2));
    }
}
