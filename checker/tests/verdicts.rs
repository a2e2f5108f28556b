//! Each breach is named, with the events that prove it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use cybermesh_checker::{Answer, Event, Fate, LogRecord, Outcome, Verdict, Why};
use support::*;

/// Exactly these verdicts, and of the first the events with these numbers.
#[track_caller]
fn breaks(events: Vec<Event>, verdicts: &[Verdict], proof: &[usize]) {
    let report = judged(events);
    assert_eq!(report.broken(), verdicts, "{report}");
    let violations = report.violations().iter();
    let mut proofs = violations
        .filter(|violation| violation.verdict == verdicts[0])
        .map(|violation| -> Vec<usize> { violation.proof.iter().map(|(at, _)| *at).collect() });
    assert!(proofs.any(|found| found == proof), "{report}");
}

fn closed(ids: &[&str]) -> Vec<Event> {
    let end_offset = i64::try_from(ids.len()).unwrap();
    vec![committed(end_offset), log(ids), offsets(end_offset), end()]
}

#[test]
fn acknowledged_and_not_in_the_log_is_lost() {
    let events = vec![reads(), sent("a", 0), logged("a", 0), log(&[]), end()];
    breaks(events, &[Verdict::LostAcknowledged], &[1, 2, 3]);
}

#[test]
fn acknowledged_at_an_offset_where_another_stands_is_lost() {
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0)],
        through("c", "b", 0),
        closed(&["b"]),
    ];
    breaks(events.concat(), &[Verdict::LostAcknowledged], &[1, 2, 8]);
}

#[test]
fn spooled_and_never_drained_is_lost() {
    let spooled = ended("a", 0, Outcome::Spooled { sequence: 1 });
    let events = vec![reads(), sent("a", 0), spooled, log(&[]), end()];
    breaks(events, &[Verdict::LostAcknowledged], &[1, 2, 4]);
}

#[test]
fn a_commit_over_an_unhandled_message_is_named_and_the_message_lost() {
    let events = [vec![reads(), sent("a", 0), logged("a", 0)], closed(&["a"])];
    let both = [Verdict::LostAcknowledged, Verdict::CommittedPast];
    breaks(events.concat(), &both, &[2, 3]);
}

#[test]
fn what_the_group_had_committed_in_the_end_counts_though_nobody_saw_the_commit() {
    let seen = through("c", "b", 0);
    let missed = vec![sent("a", 0), logged("a", 1)];
    let closing = vec![log(&["b", "a"]), offsets(2), end()];
    let both = [Verdict::LostAcknowledged, Verdict::CommittedPast];
    for commits in [vec![], vec![committed(1)]] {
        let ended = 6 + commits.len();
        let parts = [
            vec![reads()],
            seen.clone(),
            commits,
            missed.clone(),
            closing.clone(),
        ];
        breaks(parts.concat(), &both, &[ended, ended + 2]);
    }
}

#[test]
fn a_commit_ahead_of_the_answer_is_named_though_the_answer_comes() {
    let events = vec![
        reads(),
        sent("a", 0),
        logged("a", 0),
        handled("c", "a", 0),
        committed(1),
        answered("c", 0, Answer::Done),
        log(&["a"]),
        offsets(1),
        end(),
    ];
    breaks(events, &[Verdict::CommittedPast], &[3, 4, 5, 6]);
}

#[test]
fn a_commit_beyond_the_logs_end_is_named() {
    let mut events = [vec![reads()], through("c", "a", 0)].concat();
    events.extend([committed(2), log(&["a"]), offsets(2), end()]);
    breaks(events, &[Verdict::CommittedPast], &[5, 6]);
}

#[test]
fn what_nobody_sent_is_a_phantom() {
    let events = vec![
        reads(),
        handled("c", "ghost", 0),
        answered("c", 0, Answer::Done),
    ];
    breaks(events, &[Verdict::Phantom], &[1]);
    let events = vec![reads(), log(&["ghost"])];
    breaks(events, &[Verdict::Phantom], &[1]);
}

#[test]
fn what_was_told_not_to_be_sent_and_stands_in_the_log_is_a_phantom() {
    let events = vec![
        reads(),
        sent("a", 0),
        ended("a", 0, Outcome::NotSent),
        log(&["a"]),
    ];
    breaks(events, &[Verdict::Phantom], &[1, 2, 3]);
}

#[test]
fn what_is_handled_where_nothing_or_another_stands_is_a_phantom() {
    let first = [vec![reads()], through("c", "a", 0), vec![log(&[])]].concat();
    breaks(
        first,
        &[Verdict::LostAcknowledged, Verdict::Phantom],
        &[1, 2, 5],
    );
    let other = vec![
        reads(),
        sent("a", 0),
        sent("b", 0),
        handled("c", "a", 0),
        log(&["b"]),
    ];
    breaks(other, &[Verdict::Phantom], &[3, 4]);
}

#[test]
fn unverified_or_forged_and_handled_is_named() {
    let mut events = [vec![reads()], through("c", "a", 0), closed(&["a"])].concat();
    if let Event::Handled { verified_by, .. } = &mut events[3] {
        *verified_by = None;
    }
    breaks(events.clone(), &[Verdict::Unverified], &[3]);
    if let Event::Handled { verified_by, .. } = &mut events[3] {
        *verified_by = Some("another".to_owned());
    }
    breaks(events, &[Verdict::Unverified], &[1, 3]);
    let fates = vec![Fate::Buried("signature-invalid".to_owned())];
    let forged = vec![
        reads(),
        forged(0, None, fates),
        handled("c", "x", 0),
        log(&["x"]),
    ];
    breaks(forged, &[Verdict::Unverified], &[1, 2]);
}

#[test]
fn a_copy_that_is_handled_is_named_by_the_forger_or_by_its_id() {
    let copy = vec![
        forged(1, Some("a"), vec![Fate::Skipped]),
        handled("c", "a", 1),
        answered("c", 1, Answer::Done),
    ];
    let events = [
        vec![reads()],
        through("c", "a", 0),
        copy,
        closed(&["a", "a"]),
    ];
    breaks(events.concat(), &[Verdict::CopyHandled], &[5, 6]);

    let copy = vec![handled("c", "a", 1), answered("c", 1, Answer::Done)];
    let events = [
        vec![reads()],
        through("c", "a", 0),
        copy,
        closed(&["a", "a"]),
    ];
    let both = [Verdict::CopyHandled, Verdict::WrittenTwice];
    breaks(events.concat(), &both, &[3, 5]);
}

#[test]
fn a_second_handling_without_cause_is_named() {
    let again = vec![handled("d", "a", 0), answered("d", 0, Answer::Done)];
    let events = [vec![reads()], through("c", "a", 0), again, closed(&["a"])];
    breaks(events.concat(), &[Verdict::WithoutCause], &[3, 4, 5]);
}

#[test]
fn a_partition_that_changes_hands_is_no_cause_where_all_could_have_been_committed() {
    let rebalanced = Event::Redelivery {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        why: Why::Rebalanced,
    };
    let again = vec![
        committed(1),
        rebalanced,
        handled("d", "b", 1),
        answered("d", 1, Answer::Done),
    ];
    let (first, second) = (through("c", "a", 0), through("c", "b", 1));
    let events = [vec![reads()], first, second, again, closed(&["a", "b"])];
    breaks(events.concat(), &[Verdict::WithoutCause], &[7, 8, 11]);
}

#[test]
fn a_crash_is_no_cause_once_the_offset_was_committed() {
    let again = vec![
        committed(1),
        crashed("c"),
        handled("c", "a", 0),
        answered("c", 0, Answer::Done),
    ];
    let events = [vec![reads()], through("c", "a", 0), again, closed(&["a"])];
    breaks(events.concat(), &[Verdict::WithoutCause], &[3, 5, 7]);
}

#[test]
fn a_crash_of_somebody_else_is_no_cause() {
    let again = vec![
        crashed("other"),
        handled("c", "a", 0),
        answered("c", 0, Answer::Done),
    ];
    let events = [vec![reads()], through("c", "a", 0), again, closed(&["a"])];
    breaks(events.concat(), &[Verdict::WithoutCause], &[3, 4, 6]);
}

#[test]
fn a_lane_out_of_order_is_named() {
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0)],
        through("c", "b", 1),
        vec![handled("c", "a", 0), answered("c", 0, Answer::Done)],
        closed(&["a", "b"]),
    ];
    breaks(events.concat(), &[Verdict::OutOfOrder], &[5, 7]);
}

#[test]
fn a_lane_that_is_written_in_another_order_than_it_was_sent_is_named() {
    let history = |outcome| {
        let sending = vec![
            reads(),
            sent("a", 0),
            sent("b", 0),
            ended("a", 0, outcome),
            logged("b", 0),
        ];
        let handling = ["b", "a"].into_iter().zip(0..).flat_map(|(id, offset)| {
            [
                handled("c", id, offset),
                answered("c", offset, Answer::Done),
            ]
        });
        [sending, handling.collect(), closed(&["b", "a"])].concat()
    };
    let spooled = Outcome::Spooled { sequence: 1 };
    breaks(history(spooled), &[Verdict::OutOfOrder], &[1, 2]);
    // Its request may have been under way for as long.
    let report = judged(history(Outcome::Unknown));
    assert!(report.broken().is_empty(), "{report}");
}

#[test]
fn one_that_overtakes_a_retry_or_an_open_call_is_out_of_order() {
    for answer in [None, Some(Answer::Retry)] {
        let first = vec![reads(), sent("a", 0), logged("a", 0), handled("c", "a", 0)];
        let answer = answer.map(|answer| answered("c", 0, answer));
        let answer: Vec<_> = answer.into_iter().collect();
        let told = answer.len();
        let late = match told {
            0 => vec![answered("c", 0, Answer::Done)],
            _ => vec![handled("c", "a", 0), answered("c", 0, Answer::Done)],
        };
        let events = [
            first,
            answer,
            through("c", "b", 1),
            late,
            closed(&["a", "b"]),
        ];
        let proof = match told {
            0 => vec![3, 6, 8],
            _ => vec![3, 4, 7],
        };
        breaks(events.concat(), &[Verdict::OutOfOrder], &proof);
    }
}

#[test]
fn a_dead_letter_without_cause_or_of_another_disposition_is_named() {
    let letter = vec![buried(0, "handler-rejected", true)];
    let events = [vec![reads()], through("c", "a", 0), letter, closed(&["a"])];
    breaks(events.concat(), &[Verdict::WronglyBuried], &[4, 5, 7]);

    let letter = vec![buried(0, "replay", true)];
    let sent = vec![reads(), sent("a", 0), logged("a", 0)];
    let events = [sent, letter, closed(&["a"])];
    breaks(events.concat(), &[Verdict::WronglyBuried], &[3, 5]);

    let fates = vec![Fate::Buried("decode".to_owned())];
    let events = [
        vec![reads(), forged(0, None, fates), buried(0, "replay", true)],
        closed(&["x"]),
    ];
    breaks(events.concat(), &[Verdict::WronglyBuried], &[1, 2]);
}

#[test]
fn what_a_key_signed_is_not_buried_before_the_key_is_withdrawn() {
    let withdrawn = Event::Withdrawn {
        signer: "key".to_owned(),
    };
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0)],
        vec![buried(0, "key-revoked", true), withdrawn],
        closed(&["a"]),
    ];
    breaks(events.concat(), &[Verdict::WronglyBuried], &[3, 6]);
}

#[test]
fn a_missing_dead_letter_is_named_and_one_that_was_not_acknowledged_is_missing() {
    let fates = || vec![Fate::Buried("decode".to_owned())];
    for letter in [vec![], vec![buried(0, "decode", false)]] {
        let length = letter.len();
        let events = [
            vec![reads(), forged(0, None, fates())],
            letter,
            closed(&["x"]),
        ];
        let both = [Verdict::NotBuried];
        let report = judged(events.concat());
        assert!(report.broken().contains(&both[0]), "{report}");
        assert!(
            report.broken().contains(&Verdict::CommittedPast),
            "{report}"
        );
        let missing = report.violations().iter();
        let mut missing = missing.filter(|violation| violation.verdict == both[0]);
        let proof = &missing.next().unwrap().proof;
        let proof: Vec<_> = proof.iter().map(|(at, _)| *at).collect();
        assert_eq!(proof, [1, 4 + length]);
    }
}

#[test]
fn a_rejected_message_without_a_dead_letter_is_named() {
    let events = [
        vec![reads(), sent("a", 0), logged("a", 0), handled("c", "a", 0)],
        vec![answered("c", 0, Answer::Reject)],
        closed(&["a"]),
    ];
    let report = judged(events.concat());
    assert!(report.broken().contains(&Verdict::NotBuried), "{report}");
}

#[test]
fn one_nonce_over_two_contents_is_named() {
    let mut events = [vec![reads()], through("c", "a", 0), through("c", "b", 1)].concat();
    events.push(committed(2));
    let record = |offset, id: &str| LogRecord {
        offset,
        id: Some(id.to_owned()),
        lane: Some("k".to_owned()),
        identity: Some(id.to_owned()),
        nonce: Some("the same".to_owned()),
    };
    events.push(Event::Log {
        topic: TOPIC.to_owned(),
        partition: 0,
        start: 0,
        end: 2,
        records: vec![record(0, "a"), record(1, "b")],
    });
    events.extend([offsets(2), end()]);
    breaks(events, &[Verdict::NonceReused], &[10]);
}

#[test]
fn an_offset_behind_and_a_send_without_end_are_stuck_once_the_faults_ended() {
    let events = [
        vec![reads()],
        through("c", "a", 0),
        vec![log(&["a"]), offsets(0), end()],
    ];
    breaks(events.concat(), &[Verdict::Stuck], &[5, 6, 7]);
    let events = vec![reads(), sent("a", 0), log(&[]), end()];
    breaks(events, &[Verdict::Stuck], &[1, 3]);
    // Whoever ends in order, or after it all, was not cut off.
    let stopped = |clean| Event::Stopped {
        process: SENDER.to_owned(),
        clean,
    };
    let events = vec![reads(), sent("a", 0), log(&[]), end(), stopped(false)];
    breaks(events, &[Verdict::Stuck], &[1, 3]);
    let events = vec![reads(), sent("a", 0), stopped(true), log(&[]), end()];
    breaks(events, &[Verdict::Stuck], &[1, 4]);
    let events = vec![reads(), sent("a", 0), stopped(false), log(&[]), end()];
    assert!(judged(events).is_valid());
    let unsettled = vec![
        reads(),
        sent("a", 0),
        log(&[]),
        Event::End { quiescent: false },
    ];
    assert!(judged(unsettled).is_valid());
}

#[test]
fn acknowledged_and_in_the_log_twice_is_named() {
    let events = [vec![reads()], through("c", "a", 0), closed(&["a", "a"])];
    breaks(events.concat(), &[Verdict::WrittenTwice], &[6]);
}

#[test]
fn what_does_not_get_through_once_the_faults_ended_is_stuck() {
    let told = |attempt| [sent("a", attempt), ended("a", attempt, Outcome::NotSent)];
    let after = [
        vec![reads(), Event::Healed],
        told(0).to_vec(),
        told(1).to_vec(),
    ];
    let events = [after.concat(), vec![log(&[]), end()]].concat();
    breaks(events, &[Verdict::Stuck], &[1, 2, 3, 5]);
    let before = [
        vec![reads()],
        told(0).to_vec(),
        vec![Event::Healed, log(&[]), end()],
    ];
    assert!(judged(before.concat()).is_valid());
}

#[test]
fn a_dead_letter_from_the_future_needs_a_clock_that_stepped() {
    let stepped = Event::ClockStepped {
        process: SENDER.to_owned(),
        off_by_ms: 3_600_000,
    };
    let sending = vec![reads(), sent("a", 0), logged("a", 0)];
    let letter = vec![buried(0, "future", true)];
    let events = [
        sending.clone(),
        letter.clone(),
        vec![stepped.clone()],
        closed(&["a"]),
    ];
    breaks(events.concat(), &[Verdict::WronglyBuried], &[3, 6]);
    let events = [sending, vec![stepped], letter, closed(&["a"])];
    assert!(judged(events.concat()).is_valid());
}
