//! What must pass.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use cybermesh_checker::{Answer, Event, Fate, History, Outcome, Report, Why, check};
use support::*;

#[track_caller]
fn passes(events: impl IntoIterator<Item = Event>) -> Report {
    let report = judged(events);
    assert!(report.is_valid(), "{report}");
    report
}

fn closed(ids: &[&str]) -> Vec<Event> {
    let end_offset = i64::try_from(ids.len()).unwrap();
    vec![committed(end_offset), log(ids), offsets(end_offset), end()]
}

#[test]
fn a_message_that_is_sent_handled_and_committed_passes() {
    let events = [vec![reads()], through("c", "a", 0), closed(&["a"])];
    passes(events.concat());
}

#[test]
fn handling_again_after_a_crash_before_the_commit_passes() {
    let again = vec![
        crashed("c"),
        handled("c", "a", 0),
        answered("c", 0, Answer::Done),
    ];
    passes([vec![reads()], through("c", "a", 0), again, closed(&["a"])].concat());
}

#[test]
fn handling_again_after_a_lost_session_passes_and_after_a_reset_even_what_was_committed() {
    let redelivery = |why| Event::Redelivery {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        why,
    };
    let again = |process: &str| vec![handled(process, "a", 0), answered(process, 0, Answer::Done)];
    let events = [
        vec![reads()],
        through("c", "a", 0),
        vec![redelivery(Why::LostSession)],
        again("d"),
        vec![committed(1), redelivery(Why::OffsetReset)],
        again("d"),
        closed(&["a"]),
    ];
    passes(events.concat());
}

#[test]
fn a_send_of_unknown_outcome_may_be_in_the_log_or_not_and_be_sent_again() {
    let unknown = |id| vec![sent(id, 0), ended(id, 0, Outcome::Unknown)];
    let second = vec![
        sent("b", 1),
        ended("b", 1, Outcome::Unknown),
        handled("c", "b", 0),
        answered("c", 0, Answer::Done),
        handled("c", "b", 1),
        answered("c", 1, Answer::Done),
    ];
    let events = [vec![reads()], unknown("a"), unknown("b"), second];
    passes([events.concat(), closed(&["b", "b"])].concat());
}

#[test]
fn a_send_cut_off_by_a_crash_of_the_sender_is_not_stuck() {
    passes([vec![reads(), sent("a", 0), crashed(SENDER)], closed(&[])].concat());
}

#[test]
fn a_retried_and_a_rejected_message_pass() {
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0), handled("c", "a", 0)],
        vec![answered("c", 0, Answer::Retry), handled("c", "a", 0)],
        vec![
            answered("c", 0, Answer::Reject),
            buried(0, "handler-rejected", true),
        ],
        through("c", "b", 1),
        closed(&["a", "b"]),
    ];
    passes(events.concat());
}

#[test]
fn what_was_done_behind_one_that_was_cut_off_may_be_handled_again_with_it() {
    let lane = |mut event: Event| {
        if let Event::Handled { lane, .. } = &mut event {
            *lane = Some("another".to_owned());
        }
        event
    };
    let events = [
        vec![
            reads(),
            sent("a", 0),
            logged("a", 0),
            sent("b", 0),
            logged("b", 1),
        ],
        vec![handled("c", "a", 0), lane(handled("c", "b", 1))],
        vec![
            answered("c", 1, Answer::Done),
            answered("c", 0, Answer::Cancelled),
        ],
        vec![rebalanced()],
        vec![handled("d", "a", 0), lane(handled("d", "b", 1))],
        vec![
            answered("d", 0, Answer::Done),
            answered("d", 1, Answer::Done),
        ],
        closed(&["a", "b"]),
    ];
    passes(events.concat());
}

/// In the lane of its own message, so that no order between them is asked for.
fn in_lanes(events: Vec<Event>) -> Vec<Event> {
    let in_lane = |mut event| {
        match &mut event {
            Event::Sent { lane, id, .. } | Event::Handled { lane, id, .. } => {
                *lane = Some(format!("of-{id}"));
            }
            Event::Log { records, .. } => {
                for record in records {
                    record.lane = record.id.as_ref().map(|id| format!("of-{id}"));
                }
            }
            _ => {}
        }
        event
    };
    events.into_iter().map(in_lane).collect()
}

fn rebalanced() -> Event {
    Event::Redelivery {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        why: Why::Rebalanced,
    }
}

fn send(id: &str, offset: i64) -> Vec<Event> {
    vec![sent(id, 0), logged(id, offset)]
}

fn handle(process: &str, id: &str, offset: i64, answer: Answer) -> Vec<Event> {
    vec![
        handled(process, id, offset),
        answered(process, offset, answer),
    ]
}

#[test]
fn what_was_held_up_may_be_handled_again_though_the_next_owner_commits_before_it_gets_there() {
    let events = [
        vec![reads()],
        send("a", 0),
        send("b", 1),
        send("d", 2),
        vec![handled("c", "a", 0)],
        handle("c", "b", 1, Answer::Done),
        handle("c", "d", 2, Answer::Done),
        vec![answered("c", 0, Answer::Cancelled), rebalanced()],
        handle("e", "a", 0, Answer::Done),
        vec![committed(1)],
        handle("e", "b", 1, Answer::Done),
        handle("e", "d", 2, Answer::Done),
        closed(&["a", "b", "d"]),
    ];
    passes(in_lanes(events.concat()));
}

#[test]
fn what_an_earlier_owner_did_and_could_not_commit_holds_up_whoever_has_to_do_it_again() {
    let events = [
        vec![reads()],
        send("a", 0),
        send("b", 1),
        send("d", 2),
        vec![handled("c", "a", 0)],
        handle("c", "b", 1, Answer::Done),
        vec![answered("c", 0, Answer::Cancelled), rebalanced()],
        handle("e", "a", 0, Answer::Done),
        vec![committed(1)],
        handle("e", "b", 1, Answer::Failed),
        handle("e", "d", 2, Answer::Done),
        vec![rebalanced()],
        handle("f", "b", 1, Answer::Done),
        handle("f", "d", 2, Answer::Done),
        closed(&["a", "b", "d"]),
    ];
    passes(in_lanes(events.concat()));
}

#[test]
fn what_a_late_commit_uncovers_may_be_handled_again_after_a_crash() {
    let again = vec![handled("c", "b", 1), answered("c", 1, Answer::Done)];
    let events = [
        vec![reads()],
        through("c", "a", 0),
        through("c", "b", 1),
        vec![committed(2), committed(1), crashed("c")],
        again,
        closed(&["a", "b"]),
    ];
    passes(events.concat());
}

#[test]
fn a_copy_of_what_was_buried_for_a_wrong_clock_is_the_message() {
    let stepped = Event::ClockStepped {
        process: "c".to_owned(),
        off_by_ms: -3_600_000,
    };
    let events = [
        vec![
            reads(),
            sent("a", 0),
            logged("a", 0),
            stepped,
            buried(0, "future", true),
        ],
        vec![forged(1, Some("a"), vec![Fate::Skipped])],
        vec![handled("c", "a", 1), answered("c", 1, Answer::Done)],
        closed(&["a", "a"]),
    ];
    passes(events.concat());
}

#[test]
fn who_has_lost_a_partition_and_does_not_know_may_still_handle_what_it_has() {
    let lost = Event::Redelivery {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        why: Why::LostSession,
    };
    let started = |process: &str| Event::Started {
        process: process.to_owned(),
    };
    let again = |process| vec![handled(process, "a", 0), answered(process, 0, Answer::Done)];
    let history = |before: Vec<Event>, after: Vec<Event>| {
        let events = [
            vec![reads()],
            before,
            vec![lost.clone()],
            through("c", "a", 0),
        ];
        [
            events.concat(),
            vec![committed(1)],
            after,
            again("d"),
            closed(&["a"]),
        ]
        .concat()
    };
    passes(history(vec![started("d")], vec![]));
    // Whoever comes later reads what was committed.
    assert!(!judged(history(vec![], vec![started("d")])).is_valid());
}

#[test]
fn a_burial_repeated_after_a_crash_passes() {
    let events = [
        vec![
            reads(),
            forged(0, None, vec![Fate::Buried("decode".to_owned())]),
        ],
        vec![
            buried(0, "decode", true),
            crashed("c"),
            buried(0, "decode", true),
        ],
        closed(&["x"]),
    ];
    passes(events.concat());
}

#[test]
fn what_an_outbox_sent_once_more_after_more_than_a_ring_is_buried_as_the_copy_that_it_is() {
    let spooled = ended("a", 0, Outcome::Spooled { sequence: 1 });
    let events = [
        vec![reads(), sent("a", 0), spooled],
        vec![handled("c", "a", 0), answered("c", 0, Answer::Done)],
        vec![buried(1, "replay", true)],
        closed(&["a", "a"]),
    ];
    passes(events.concat());
}

#[test]
fn a_copy_that_nobody_handles_passes() {
    let copy = forged(1, Some("a"), vec![Fate::Skipped]);
    passes(
        [
            vec![reads()],
            through("c", "a", 0),
            vec![copy],
            closed(&["a", "a"]),
        ]
        .concat(),
    );
}

#[test]
fn what_a_withdrawn_key_signed_may_be_buried_though_it_was_sent_honestly() {
    let withdrawn = Event::Withdrawn {
        signer: "key".to_owned(),
    };
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0), withdrawn],
        vec![buried(0, "key-revoked", true)],
        closed(&["a"]),
    ];
    passes(events.concat());
}

#[test]
fn records_that_retention_deleted_are_nobodys_fault() {
    let mut events = [vec![reads()], through("c", "a", 0)].concat();
    events.push(committed(1));
    events.push(Event::Log {
        topic: TOPIC.to_owned(),
        partition: 0,
        start: 1,
        end: 1,
        records: vec![],
    });
    events.extend([offsets(1), end()]);
    passes(events);
}

#[test]
fn a_history_survives_its_file_and_a_line_that_is_no_event_is_named() {
    let events = [vec![reads()], through("c", "a", 0), closed(&["a"])].concat();
    let history = History::from_iter(events);
    let mut file = Vec::new();
    history.write_lines(&mut file).unwrap();
    assert_eq!(History::from_lines(&file[..]).unwrap(), history);
    assert!(
        check(&history)
            .to_string()
            .ends_with("Everything was kept.")
    );

    file.extend(b"{\"at_ms\":1,\"event\":\"imagined\"}\n");
    let error = History::from_lines(&file[..]).unwrap_err().to_string();
    let line = history.entries().len() + 1;
    assert!(
        error.starts_with(&format!("line {line} is no event")),
        "{error}"
    );
}
