//! Batches in doubt behind one that was given up: what those behind them leave open stays open for them.

use super::*;

/// Three batches in the log whose answers were lost, of which the broker, restarted, remembers the last; the first is
/// given up as unknown, the second refused for the gap that leaves.
fn three_in_doubt(last_until: Duration) -> Bench {
    let mut bench = Bench::new(1);
    bench.warm_up();
    bench.append(1);
    bench.append(1);
    let deadline = bench.now + last_until;
    bench.queue.append_until(bench.now, deadline, record(3), 3);
    bench.appended += 1;
    bench.queue.flush();
    bench.pump();
    for _ in 0..3 {
        bench.lose_answer();
    }
    for (_, cached) in bench.leader.producers.values_mut() {
        cached.drain(..cached.len() - 1);
    }
    bench.wait(Duration::from_secs(1));
    bench.deliver();
    bench.deliver();
    assert_eq!(bench.outcome(1), Err(Written::Unknown));
    assert!(!bench.settled.contains_key(&2));
    bench
}

#[test]
fn a_refusal_for_good_of_the_one_behind_leaves_a_batch_in_doubt_unknown() {
    let mut bench = three_in_doubt(Duration::from_secs(120));
    bench.answer_with(ErrorCode::MessageTooLarge);
    bench.finish();
    bench.check();
    assert_eq!(bench.leader.log, [0, 1, 2, 3]);
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
    assert_eq!(bench.outcome(3), Err(Written::Unknown));
}

#[test]
fn a_deadline_of_the_one_behind_leaves_a_batch_in_doubt_unknown() {
    let mut bench = three_in_doubt(Duration::from_secs(2));
    bench.wait(Duration::from_secs(3));
    bench.finish();
    bench.check();
    assert_eq!(bench.leader.log, [0, 1, 2, 3]);
    assert_eq!(bench.outcome(2), Err(Written::Unknown));
}

#[test]
fn an_answer_to_the_one_behind_decides_for_a_batch_in_doubt() {
    let mut bench = three_in_doubt(Duration::from_secs(120));
    bench.finish();
    bench.check();
    assert_eq!(bench.leader.log, [0, 1, 2, 3]);
    assert_eq!(bench.outcome(2), Ok(None));
    assert_eq!(bench.outcome(3), Ok(Some(3)));
}
