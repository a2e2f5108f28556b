//! What the sender asks a queue between attempts: when, how much, under which id, and how it stands.

use super::*;

fn kind() -> ErrorKind {
    ErrorKind::Refused
}

fn not_sent() -> TransportError {
    TransportError::new(Operation::Produce, Target::default(), kind())
}

#[test]
fn a_batch_is_never_larger_than_it_may_be_and_one_that_is_full_waits_for_nobody() {
    let mut bench = Bench::new(5);
    let one = record(0).size_bound();
    bench.queue.settings.batch_bytes = 3 * one - 1;
    for number in 0..3 {
        bench.queue.append(bench.now, record(number), number);
    }
    assert!(bench.queue.is_ready(bench.now));
    let records: Vec<_> = bench
        .queue
        .unsent
        .iter()
        .map(|batch| batch.entries.len())
        .collect();
    assert_eq!(records, [2, 1]);

    let mut bench = Bench::new(5);
    bench.queue.settings.batch_bytes = one;
    bench.queue.append(bench.now, record(0), 0);
    assert!(bench.queue.is_ready(bench.now));
}

#[test]
fn it_is_ready_exactly_when_an_attempt_is_given() {
    let mut bench = Bench::new(5);
    assert!(!bench.queue.is_ready(bench.now), "nothing is there");
    assert_eq!(bench.queue.next_send(), None);
    bench.queue.append(bench.now, record(0), 0);
    assert!(!bench.queue.is_ready(bench.now), "it lingers");
    bench.now += LINGER;
    assert!(bench.queue.is_ready(bench.now));
    bench.pump();
    bench.append(1);
    assert!(!bench.queue.is_ready(bench.now), "one at a time at first");
    assert_eq!(bench.queue.next_send(), None);
    bench.lose_request();
    let again = bench.now + Duration::from_secs(1);
    assert_eq!(bench.queue.next_send(), Some(again));
    assert!(!bench.queue.is_ready(bench.now));
    bench.pump();
    assert!(bench.in_flight.is_empty(), "not before its time");
    assert!(bench.queue.is_ready(again));
    bench.now = again;
    bench.pump();
    assert_eq!(bench.in_flight.len(), 1);
}

#[test]
fn while_it_drains_nothing_new_is_due() {
    let mut bench = five_in_flight(5);
    bench.queue.settings.max_in_flight = 9;
    bench.queue.draining = true;
    assert_eq!(bench.queue.next_send(), None);
    bench.queue.draining = false;
    assert_eq!(bench.queue.next_send(), Some(bench.now));
}

#[test]
fn it_tells_how_many_wait_for_an_answer_since_when_and_what_was_sent_again() {
    let mut bench = Bench::new(5);
    assert_eq!(
        (bench.queue.in_flight(), bench.queue.waiting_since()),
        (0, None)
    );
    let begun = bench.now;
    bench.append(1);
    bench.now += Duration::from_secs(1);
    bench.append(1);
    assert_eq!(bench.queue.waiting_since(), Some(begun));
    bench.pump();
    bench.deliver();
    assert_eq!(bench.queue.waiting_since(), Some(bench.now));
    bench.append(1);
    bench.pump();
    assert_eq!(bench.queue.in_flight(), 2);
    for resends in 1..4 {
        bench.lose_request();
        if resends == 1 {
            bench.lose_request();
        }
        bench.wait(Duration::from_secs(1));
        assert_eq!(
            (bench.queue.in_flight(), bench.queue.resends()),
            (1, resends)
        );
    }
}

#[test]
fn it_wants_an_id_only_where_records_wait_and_there_is_none_it_can_use() {
    let mut bench = Bench::new(5);
    assert!(!bench.queue.wants_id(None), "nothing is to be sent");
    bench.append(1);
    assert!(bench.queue.wants_id(None));
    assert!(!bench.queue.wants_id(Some(1)));
    bench.queue.spent_id = Some(1);
    assert!(bench.queue.wants_id(Some(1)) && !bench.queue.wants_id(Some(2)));
    bench.pump();
    bench.append(1);
    assert!(!bench.queue.wants_id(None), "it has one");
}

#[test]
fn the_next_attempt_is_no_larger_than_told() {
    let mut bench = Bench::new(5);
    assert_eq!(bench.queue.next_bytes(), 0);
    bench.append(3);
    let (told, most) = (
        bench.queue.next_bytes(),
        BATCH_HEADER_BYTES + 3 * record(0).size_bound(),
    );
    assert_eq!(told, most);
    bench.pump();
    let sent = bench.in_flight[0].2.len();
    assert!(sent <= told, "{sent} of {told}");
    bench.append(1);
    bench.lose_request();
    assert_eq!(bench.queue.next_bytes(), sent, "the same is sent again");
}

#[test]
fn what_hinders_is_told_to_what_expires_meanwhile() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.queue.hindered(&not_sent());
    bench.now += Duration::from_secs(120);
    bench.pump();
    let error = bench.settled[&0].as_ref().unwrap_err();
    assert_eq!(
        (error.reason(), error.error.kind()),
        (GiveUp::DeadlinePassed, &kind())
    );
}

#[test]
fn a_refusal_for_good_gives_up_what_was_never_sent_and_nothing_else() {
    let mut bench = five_in_flight(5);
    bench.queue.refuse_unsent(&not_sent());
    bench.pump();
    assert_eq!(bench.settled.len(), 2);
    let error = bench.settled[&6].as_ref().unwrap_err();
    assert_eq!(
        (error.reason(), error.written()),
        (GiveUp::Refused, Written::No)
    );
    assert_eq!(error.error.kind(), &kind());
}

#[test]
fn what_is_abandoned_is_told_that_the_producer_closed() {
    let mut bench = Bench::new(5);
    bench.append(1);
    bench.queue.abandon();
    bench.pump();
    let error = bench.settled[&0].as_ref().unwrap_err();
    assert_eq!(
        (error.reason(), error.error.kind()),
        (GiveUp::Closed, &ErrorKind::Closed)
    );
}

#[test]
fn after_more_than_ten_minutes_without_an_answer_one_batch_is_sent_alone_again() {
    for (idle, in_flight) in [(600, 2), (601, 1)] {
        let mut bench = Bench::new(5);
        bench.warm_up();
        bench.wait(Duration::from_secs(idle));
        bench.append(1);
        bench.append(1);
        bench.pump();
        assert_eq!(bench.in_flight.len(), in_flight, "{idle} s");
    }
}
