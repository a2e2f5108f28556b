//! What stands behind a batch that was given up, where its owner wants that one to go first.

use super::*;

/// Every give-up holds.
#[derive(Debug)]
struct AlwaysHold;

impl HoldPolicy for AlwaysHold {
    fn holds(&self, _error: &DeliveryError) -> bool {
        true
    }
}

fn holding(resends: u32) -> Bench {
    let mut bench = Bench::new(resends);
    bench.queue.settings.hold = Arc::new(AlwaysHold);
    bench
}

fn reason(bench: &Bench, number: u32) -> GiveUp {
    bench.settled[&number].as_ref().unwrap_err().reason()
}

#[test]
fn what_was_never_sent_is_given_up_with_the_batch_before_it() {
    let mut bench = holding(0);
    bench.append(1);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    assert_eq!(bench.outcome(0), Err(Written::No));
    assert_eq!(bench.outcome(1), Err(Written::No));
    assert_eq!(reason(&bench, 1), GiveUp::Behind);
    assert!(bench.in_flight.is_empty());
}

#[test]
fn what_is_appended_to_a_held_partition_is_given_up_until_it_is_resumed() {
    let mut bench = holding(0);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.append(1);
    bench.pump();
    assert_eq!(reason(&bench, 1), GiveUp::Behind);
    bench.queue.resume();
    bench.append(1);
    bench.finish();
    assert_eq!(bench.outcome(2), Ok(Some(0)));
}

#[test]
fn what_was_refused_for_the_gap_does_not_go_on_under_the_next_epoch() {
    let mut bench = holding(0);
    bench.warm_up();
    bench.append(1);
    bench.append(1);
    bench.pump();
    // The first is refused and given up, the second finds the gap.
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.deliver();
    // The answer to the second was still to come.
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.outcome(2), Err(Written::No));
    assert_eq!(reason(&bench, 2), GiveUp::Behind);
    assert_eq!(bench.leader.log, [0]);
}

/// A batch that is refused for now, and one behind it whose request was lost.
fn refused_before_one_in_doubt(resends: u32) -> Bench {
    let mut bench = holding(resends);
    bench.warm_up();
    bench.append(1);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.lose_request();
    bench
}

#[test]
fn what_is_given_up_before_one_that_is_in_doubt_is_in_doubt_with_it() {
    let mut bench = refused_before_one_in_doubt(1);
    bench.wait(Duration::from_secs(1));
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.finish();
    assert_eq!(bench.leader.log, [0]);
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
}

#[test]
fn so_it_is_where_both_run_out_of_time() {
    let mut bench = refused_before_one_in_doubt(1_000);
    for _ in 0..121 {
        bench.wait(Duration::from_secs(1));
        while !bench.in_flight.is_empty() {
            bench.answer_with(ErrorCode::NotLeaderOrFollower);
        }
    }
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
}

#[test]
fn so_it_is_where_the_producer_closes() {
    let mut bench = refused_before_one_in_doubt(1_000);
    bench.queue.abandon();
    bench.pump();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
}

#[test]
fn so_is_what_was_refused_for_the_gap_before_those() {
    let mut bench = holding(0);
    bench.warm_up();
    (0..5).for_each(|_| bench.append(1));
    bench.pump();
    bench.lose_request();
    bench.deliver();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.finish();
    let written: Vec<_> = (1..6).map(|number| bench.outcome(number)).collect();
    let (unknown, no) = (Err(Written::Unknown), Err(Written::No));
    assert_eq!(written, [unknown, unknown, unknown, no, no]);
}

#[test]
fn without_a_hold_each_is_what_it_is() {
    let mut bench = refused_before_one_in_doubt(1_000);
    bench.queue.settings.hold = Arc::new(NeverHold);
    bench.queue.abandon();
    bench.pump();
    assert_eq!(bench.outcome(1), Err(Written::No));
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
}

#[test]
fn without_a_hold_they_go_on() {
    let mut bench = Bench::new(0);
    bench.append(1);
    bench.append(1);
    bench.pump();
    bench.answer_with(ErrorCode::NotLeaderOrFollower);
    bench.finish();
    assert_eq!(bench.outcome(1), Ok(Some(0)));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Deliver,
    LoseAnswer,
    LoseRequest,
    Refuse,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Append),
        3 => Just(Step::Deliver),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::LoseRequest),
        1 => Just(Step::Refuse),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn nothing_gets_into_the_log_before_one_that_was_given_up_and_is_not_there(
        steps in prop::collection::vec(step(), 1..120), resends in 0_u32..3,
    ) {
        let mut bench = holding(resends);
        bench.warm_up();
        for step in steps {
            match step {
                Step::Append => { bench.append(1); bench.pump(); }
                Step::Wait => bench.wait(Duration::from_secs(1)),
                _ if bench.in_flight.is_empty() => {}
                Step::Deliver => bench.deliver(),
                Step::LoseAnswer => bench.lose_answer(),
                Step::LoseRequest => bench.lose_request(),
                Step::Refuse => bench.answer_with(ErrorCode::NotLeaderOrFollower),
            }
        }
        bench.finish();
        let last = bench.leader.log.last().copied().unwrap();
        let gaps: Vec<u32> = (0..last).filter(|number| !bench.leader.log.contains(number)).collect();
        prop_assert!(gaps.is_empty(), "{:?} without {gaps:?}", bench.leader.log);
        for number in last + 1..bench.appended {
            prop_assert!(bench.settled[&number].is_err(), "{number}");
        }
        // What is in doubt is sent again before all else.
        let given_up = bench.settled.values().filter_map(|result| result.as_ref().err());
        let in_doubt: Vec<bool> = given_up.map(|error| error.written() == Written::Unknown).collect();
        prop_assert!(in_doubt.is_sorted_by(|first, then| first >= then), "{:?}", bench.settled);
    }
}
