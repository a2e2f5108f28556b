//! What each refusal and failure means for one batch, and for those beside it.

use super::*;

#[test]
fn a_refusal_that_may_pass_is_asked_again_and_a_doubtful_one_leaves_the_outcome_unknown() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.finish();
    assert_eq!(bench.outcome(0), Ok(Some(0)));

    for (code, written) in [
        (ErrorCode::NotLeaderOrFollower, Written::No),
        (ErrorCode::RequestTimedOut, Written::Unknown),
    ] {
        let mut bench = Bench::new(0);
        bench.append(1);
        bench.pump();
        bench.answer_with(code);
        assert_eq!(bench.outcome(0), Err(written), "{code:?}");
    }
}

#[test]
fn a_request_that_never_left_is_certainly_not_written() {
    for (sent, written) in [(false, Written::No), (true, Written::Unknown)] {
        let mut bench = Bench::new(0);
        bench.append(1);
        bench.pump();
        let (id, ..) = bench.in_flight.pop_front().unwrap();
        let kind = ErrorKind::ConnectionLost {
            reason: "reset".into(),
            sent,
        };
        let error = TransportError::new(Operation::Produce, Target::default(), kind);
        bench.queue.answered(bench.now, id, Answer::Failed(error));
        bench.pump();
        assert_eq!(bench.outcome(0), Err(written));
    }
}

#[test]
fn a_refusal_that_is_about_no_record_is_of_the_whole_batch() {
    let mut bench = Bench::new(5);
    bench.append(2);
    bench.pump();
    bench.answer_with(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(bench.settled.len(), 2);
    assert!(bench.in_flight.is_empty());
}

#[test]
fn a_broker_that_always_says_out_of_order_is_asked_in_measure() {
    let mut bench = Bench::new(2);
    bench.append(1);
    bench.pump();
    for _ in 0..2 {
        bench.answer_with(ErrorCode::OutOfOrderSequenceNumber);
        assert!(bench.in_flight.is_empty(), "not before its time");
        bench.wait(Duration::from_secs(1));
        assert_eq!(bench.in_flight.len(), 1);
    }
    bench.answer_with(ErrorCode::OutOfOrderSequenceNumber);
    let error = bench.settled[&0].as_ref().unwrap_err();
    assert_eq!(
        (error.reason(), error.written()),
        (GiveUp::ResendsExhausted, Written::No)
    );
}

#[test]
fn one_in_doubt_that_those_behind_it_prove_written_is_asked_for_its_offset_all_the_same() {
    let mut bench = five_in_flight(5);
    bench.lose_answer();
    bench.deliver();
    bench.finish();
    assert_eq!(bench.outcome(1), Ok(Some(1)));
    bench.check();
}

#[test]
fn a_batch_refused_behind_others_is_given_up_alone() {
    let mut bench = five_in_flight(5);
    let first = bench.in_flight.pop_front().unwrap();
    bench.answer_with(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(bench.outcome(2), Err(Written::No));
    bench.in_flight.push_front(first);
    bench.finish();
    assert_eq!(bench.leader.log, [0, 1, 3, 4, 5, 6]);
    bench.check();
}

#[test]
fn behind_a_gap_what_was_refused_and_never_in_doubt_is_asked_no_more_under_its_epoch() {
    let mut bench = five_in_flight(1);
    bench.lose_request();
    (0..4).for_each(|_| bench.deliver());
    bench.wait(Duration::from_secs(1));
    bench.lose_request();
    bench.finish();
    let epochs = |number: u32| -> Vec<i16> {
        let of_it = bench
            .sent
            .iter()
            .filter(|(seen, _)| seen.records == [number]);
        of_it.map(|(seen, _)| seen.epoch).collect()
    };
    assert_eq!(epochs(1), [0, 0]);
    assert!((2..6).all(|number| epochs(number) == [0, 1]));
}

#[test]
fn one_refused_for_the_gap_before_it_outlives_one_behind_it_that_is_given_up_in_doubt() {
    let mut bench = five_in_flight(0);
    bench.lose_request();
    bench.deliver();
    bench.lose_request();
    bench.finish();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.outcome(3), Err(Written::Unknown));
    assert_eq!(bench.leader.log, [0, 2, 4, 5, 6]);
    bench.check();
}
