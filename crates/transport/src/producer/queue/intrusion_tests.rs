//! Someone else writes under the queue's id.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whoever_else_writes_under_our_id_no_answer_of_theirs_is_taken_for_ours(
        steps in prop::collection::vec(
            prop_oneof![
                8 => step(),
                1 => (1..4_u32).prop_map(|count| Step::Intrude(count, Intrusion::Sequence)),
                1 => (1..4_u32).prop_map(|count| Step::Intrude(count, Intrusion::Epoch)),
            ],
            1..80,
        ),
        resends in 0..4_u32
    ) {
        let bench = run(&steps, resends);
        bench.check_answers();
        // Where their batches push ours out of the broker's memory of five, no answer tells ours from lost ones.
        if !bench.queue.is_unprotected() && !bench.leader.has_forgotten_ours {
            let ours = bench.leader.log.iter().filter(|record| **record < INTRUDERS.1);
            let mut ours: Vec<_> = ours.collect();
            ours.sort_unstable();
            prop_assert!(ours.windows(2).all(|pair| pair[0] != pair[1]), "nothing is in the log twice");
        }
    }
}

/// Four of ours behind one another, of which the last gets into the log because someone else has filled the places before
/// it; its answer is lost, and five batches of theirs make the broker forget it.
fn forgotten_behind_theirs() -> Bench {
    let mut bench = Bench::new(1);
    bench.warm_up();
    for count in [2, 2, 1, 1, 1] {
        bench.append(count);
        bench.pump();
    }
    for count in [1, 1, 3] {
        bench.intrude(count, Intrusion::Sequence);
    }
    bench.deliver();
    bench.lose_answer();
    bench.deliver();
    bench.lose_answer();
    for _ in 0..5 {
        bench.intrude(1, Intrusion::Sequence);
    }
    assert!(bench.leader.has_forgotten_ours);
    bench
}

#[test]
fn behind_a_gap_that_someone_else_may_have_filled_what_is_in_doubt_stays_unknown_and_is_not_written_again()
 {
    // Their batch in the place of the last shows them; without it the first refusal does, which nothing explains.
    for last_is_answered in [true, false] {
        let mut bench = forgotten_behind_theirs();
        if !last_is_answered {
            bench.lose_request();
        }
        bench.finish();
        let times = bench.leader.log.iter().filter(|record| **record == 6);
        assert_eq!(times.count(), 1);
        assert_eq!(bench.outcome(6), Err(Written::Unknown));
        bench.check_answers();
    }
}

#[test]
fn what_is_in_doubt_stays_unknown_though_the_sign_of_someone_else_comes_after_its_refusal() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    for _ in 0..3 {
        bench.append(1);
        bench.pump();
    }
    bench.answer_with(ErrorCode::MessageTooLarge);
    // Theirs fills the gap, ours gets in behind it and its answer is lost, theirs takes the place of the next.
    bench.intrude(1, Intrusion::Sequence);
    bench.lose_answer();
    bench.intrude(1, Intrusion::Sequence);
    bench.lose_request();
    for _ in 0..4 {
        bench.intrude(1, Intrusion::Sequence);
    }
    assert!(bench.leader.has_forgotten_ours);
    bench.finish();
    let times = bench.leader.log.iter().filter(|record| **record == 2);
    assert_eq!(times.count(), 1);
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
    bench.check_answers();
}

#[test]
fn a_sequence_that_someone_else_took_is_noticed_and_the_batch_goes_on_under_a_new_producer_id() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    bench.intrude(1, Intrusion::Sequence);
    bench.append(1);
    bench.finish();
    assert_eq!(bench.leader.log, [0, INTRUDERS.1, 1]);
    assert_eq!(bench.outcome(1), Ok(Some(2)));
    assert_eq!(bench.alarms, [Alarm::SequenceTaken { offset: Some(1) }]);
    assert_eq!(bench.sent.last().map(|(seen, _)| seen.id), Some(2));
}

#[test]
fn a_batch_never_sent_before_is_not_acknowledged_by_a_copy_of_the_same_timestamp() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.pump();
    let (id, seen, _) = bench.in_flight.pop_front().unwrap();
    let answer = Answer::Written {
        base_offset: Some(9),
        append_time: AppendTime::EarlierBatch(seen.max_timestamp_ms),
    };
    bench.queue.answered(bench.now, id, answer);
    bench.finish();
    assert_eq!(bench.outcome(0), Ok(Some(0)));
    assert_eq!(bench.alarms, [Alarm::SequenceTaken { offset: Some(9) }]);
}

#[test]
fn a_resend_is_acknowledged_by_the_copy_that_has_its_own_timestamp() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.pump();
    bench.lose_answer();
    bench.finish();
    assert_eq!(bench.outcome(0), Ok(Some(0)));
    assert_eq!(bench.alarms, []);
}

#[test]
fn a_resend_is_not_acknowledged_by_a_batch_that_has_another_timestamp() {
    let mut bench = Bench::new(5);
    bench.warm_up();
    bench.append(1);
    bench.pump();
    bench.lose_request();
    bench.intrude(1, Intrusion::Sequence);
    bench.finish();
    assert_eq!(bench.leader.log, [0, INTRUDERS.1, 1]);
    assert_eq!(bench.outcome(1), Ok(Some(2)));
}

#[test]
fn on_a_topic_with_the_brokers_timestamps_an_append_time_is_passed_on_and_raises_no_alarm() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.pump();
    let (id, ..) = bench.in_flight.pop_front().unwrap();
    let answer = Answer::Written {
        base_offset: Some(0),
        append_time: AppendTime::Broker(99),
    };
    bench.queue.answered(bench.now, id, answer);
    bench.pump();
    let appended = bench.settled[&0].as_ref().unwrap();
    assert_eq!(appended.log_append_time_ms, Some(99));
    assert_eq!(bench.alarms, []);
}

/// Three fences in a row, each on a fresh id.
fn unprotected() -> Bench {
    let mut bench = Bench::new(5);
    bench.append(1);
    for _ in 0..3 {
        bench.pump();
        bench.answer_with(ErrorCode::InvalidProducerEpoch);
    }
    bench.pump();
    bench
}

#[test]
fn after_three_fences_in_a_row_the_partition_goes_on_without_a_producer_id_and_says_so() {
    let mut bench = unprotected();
    let ids: Vec<_> = bench.sent.iter().map(|(seen, _)| seen.id).collect();
    assert_eq!(ids, [1, 2, 3, -1]);
    let last = &bench.sent[3].0;
    assert_eq!((last.epoch, last.sequence), (-1, -1));
    assert_eq!(bench.alarms.last(), Some(&Alarm::Unprotected));
    bench.finish();
    assert_eq!(bench.outcome(0), Ok(Some(0)));
}

#[test]
fn without_a_producer_id_one_batch_is_on_its_way_at_a_time() {
    let mut bench = unprotected();
    bench.deliver();
    (0..3).for_each(|_| bench.append(1));
    bench.pump();
    assert_eq!(bench.in_flight.len(), 1);
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1, 2, 3]);
}

#[test]
fn a_fence_without_a_producer_id_ends_the_batch() {
    let mut bench = unprotected();
    bench.answer_with(ErrorCode::InvalidProducerEpoch);
    let error = bench.settled[&0].as_ref().unwrap_err();
    assert_eq!(
        (error.written(), error.class()),
        (Written::No, Class::Fenced)
    );
}

#[test]
fn fences_with_an_acknowledgement_between_them_cost_no_protection() {
    let mut bench = Bench::new(5);
    for _ in 0..4 {
        bench.append(1);
        bench.pump();
        bench.answer_with(ErrorCode::InvalidProducerEpoch);
        bench.pump();
        bench.deliver();
    }
    assert!(!bench.queue.is_unprotected());
    assert_eq!(bench.leader.log, [0, 1, 2, 3]);
}

#[test]
fn five_fences_at_once_are_one_intrusion() {
    let mut bench = five_in_flight(5);
    for _ in 0..5 {
        bench.answer_with(ErrorCode::InvalidProducerEpoch);
    }
    bench.finish();
    assert!(!bench.queue.is_unprotected());
    assert_eq!(bench.leader.log, [0, 1, 2, 3, 4, 5, 6]);
    bench.check();
}

#[test]
fn a_fence_is_answered_with_a_new_producer_id() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::InvalidProducerEpoch);
    bench.finish();
    let ids: Vec<_> = bench.sent.iter().map(|(seen, _)| seen.id).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(bench.outcome(0), Ok(Some(0)));
    assert_eq!(bench.alarms, [Alarm::Fenced]);
}
