//! The flood guard at work in one partition.

use super::tests::*;
use super::*;

use cybermesh_contracts::rejection::{EnvelopeFault, Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use std::time::Duration;

use crate::handler::HandlerError;
use crate::inbound::attempts::Ended;
use crate::inbound::guard::burials::BurialRate;
use crate::settings::OnExhausted;

/// One burial alone, then nothing but summaries.
const ONE: GuardPolicy = GuardPolicy::On(BurialRate {
    per_second: 0,
    burst: 1,
});

fn kinds_of(effects: &[Effect]) -> Vec<&'static str> {
    let names = effects.iter().map(|effect| match effect {
        Effect::Bury(burial) if burial.summary.is_some() => "summary",
        Effect::Bury(_) => "alone",
        Effect::Summed { .. } => "summed",
        _ => "other",
    });
    names.collect()
}

fn garbage(count: usize) -> Vec<(u8, Result<u8, Rejection>)> {
    vec![(0, Err(undecodable())); count]
}

#[test]
fn beyond_the_rate_messages_are_done_when_their_summary_is_acknowledged_and_not_before() {
    let mut rig = Rig::guarded(OnExhausted::Bury, ONE);
    let effects = rig.feed(&garbage(4));
    assert_eq!(kinds_of(&effects), ["alone", "summed", "summed", "summed"]);
    assert_eq!(
        rig.budget.messages_in_flight(),
        1,
        "the content of what is summed up is let go"
    );
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert_eq!(rig.flow.watermark(), 1);
    assert_eq!(
        rig.flow.next_timer(),
        Some(rig.now + Duration::from_secs(1))
    );
    rig.now += Duration::from_secs(1);
    assert_eq!(kinds_of(&rig.settle()), ["summary"]);
    assert_eq!(rig.flow.watermark(), 1);
    rig.flow.buried(1, rig.now, &mut rig.budget);
    assert_eq!(rig.flow.watermark(), 4);
    assert_eq!(rig.budget.messages_in_flight(), 0);
}

#[test]
fn replays_are_summed_up_as_well_since_anybody_can_copy() {
    let mut rig = Rig::guarded(OnExhausted::Bury, ONE);
    let effects = rig.feed(&[(0, Ok(2)), (0, Ok(2))]);
    assert_eq!(kinds_of(&effects), ["alone", "summed"]);
}

#[test]
fn a_summary_that_does_not_get_through_pauses_and_is_written_again() {
    let mut rig = Rig::guarded(OnExhausted::Bury, ONE);
    rig.feed(&garbage(3));
    rig.flow.buried(0, rig.now, &mut rig.budget);
    rig.now += Duration::from_secs(1);
    rig.settle();
    rig.flow.burial_failed(1, rig.now);
    assert_eq!(rig.flow.pauses().collect::<Vec<_>>(), [Pause::DeadLetters]);
    rig.now = rig.flow.next_timer().unwrap();
    let again = rig.flow.due_burials(rig.now);
    assert_eq!(again[0].offsets(), [1, 2]);
    rig.flow.buried(1, rig.now, &mut rig.budget);
    assert_eq!(rig.flow.watermark(), 3);
}

#[test]
fn what_was_redriven_is_buried_alone_in_any_flood() {
    let mut rig = Rig::guarded(OnExhausted::Bury, ONE);
    let rejected = undecodable().with_redrive(Some(redriven()));
    rig.feed(&garbage(2));
    let effects = rig.feed(&[(0, Err(rejected)), (0, Ok(202))]);
    assert_eq!(kinds_of(&effects), ["alone", "alone"]);
    for effect in effects {
        let Effect::Bury(burial) = effect else {
            unreachable!()
        };
        assert_eq!(burial.redrive, Some(redriven()), "its first origin");
    }
}

#[test]
fn without_the_guard_everything_is_buried_alone_and_nothing_pauses() {
    let mut rig = Rig::guarded(OnExhausted::Bury, GuardPolicy::Off);
    let effects = rig.feed(&garbage(16));
    assert_eq!(kinds_of(&effects), ["alone"; 16]);
    let mut rig = Rig::guarded(OnExhausted::Bury, GuardPolicy::Off);
    for key in (3..6).cycle().take(60) {
        assert!(matches!(fail(&mut rig, key), Some(Effect::Bury(_))));
    }
    assert_eq!(rig.flow.pauses().count(), 0);
    let effects = rig.feed(&[(0, Err(future(7))), (0, Err(future(8)))]);
    assert_eq!(kinds_of(&effects), ["alone", "alone"]);
}

#[test]
fn a_summary_that_still_collects_is_left_to_the_next_owner() {
    let mut rig = Rig::guarded(OnExhausted::Bury, ONE);
    rig.feed(&garbage(3));
    rig.flow.buried(0, rig.now, &mut rig.budget);
    rig.flow.drain();
    assert!(rig.flow.is_drained());
    rig.now += Duration::from_secs(1);
    assert!(rig.settle().is_empty());
    assert_eq!(rig.flow.watermark(), 1);
}

fn permanent() -> Ended {
    Ended::Returned(Err(HandlerError::permanent("downstream is away")))
}

/// One message of this signer fails for good; its dead letter, if there is one, is acknowledged.
fn fail(rig: &mut Rig, key: u8) -> Option<Effect> {
    rig.feed(&[(key, Ok(key))]);
    let start = rig.start()?;
    let offset = start.0.origin.offset;
    let effect = rig.end(start, permanent());
    rig.flow.buried(offset, rig.now, &mut rig.budget);
    effect
}

/// A partition whose twentieth failure has just paused it; nineteen messages are done.
fn failing() -> Rig {
    let mut rig = Rig::new(OnExhausted::Bury);
    for key in (3..6).cycle().take(19) {
        assert!(matches!(fail(&mut rig, key), Some(Effect::Bury(_))));
        assert_eq!(rig.flow.pauses().count(), 0);
    }
    assert!(matches!(
        fail(&mut rig, 4),
        Some(Effect::PutBack { offset: 19, .. })
    ));
    assert_eq!(rig.flow.pauses().collect::<Vec<_>>(), [Pause::Failing]);
    rig
}

#[test]
fn when_all_fail_the_partition_pauses_and_what_paused_it_is_not_given_up() {
    let mut rig = failing();
    assert_eq!(rig.flow.watermark(), 19);
    rig.now += Duration::from_secs(29);
    assert!(rig.start().is_none());
}

#[test]
fn while_all_fail_a_few_are_tried_now_and_then_without_costing_an_attempt() {
    let mut rig = failing();
    for _ in 0..10 {
        rig.now = rig.flow.next_timer().unwrap();
        let (job, attempt) = rig.start().unwrap();
        assert_eq!((job.origin.offset, attempt), (19, 1));
        assert!(rig.start().is_none(), "its lane is all there is");
        for ended in [retriable(), permanent()] {
            let again = rig.end((Arc::clone(&job), attempt), ended);
            assert!(matches!(again, Some(Effect::PutBack { .. }) | None));
        }
        assert!(rig.start().is_none(), "once a round");
    }
    assert_eq!(rig.flow.watermark(), 19);
}

#[test]
fn those_that_are_to_be_retried_make_room_for_others_to_be_tried() {
    let mut rig = failing();
    rig.feed(&[(7, Ok(7)), (8, Ok(8)), (9, Ok(9)), (10, Ok(10))]);
    for _ in 0..3 {
        rig.now = rig.flow.next_timer().unwrap();
        let tried: Vec<_> = std::iter::from_fn(|| rig.start()).collect();
        assert_eq!(tried.len(), 3);
        for start in tried {
            assert!(matches!(
                rig.end(start, retriable()),
                Some(Effect::PutBack { .. })
            ));
        }
    }
}

#[test]
fn what_will_be_tried_again_has_not_failed_yet() {
    let mut rig = Rig::new(OnExhausted::Bury);
    for key in (3..6).cycle().take(30) {
        rig.feed(&[(key, Ok(key))]);
        let start = rig.start().unwrap();
        let offset = start.0.origin.offset;
        assert!(matches!(
            rig.end(start, retriable()),
            Some(Effect::Retried { .. })
        ));
        rig.now += Duration::from_secs(1);
        let again = rig.start().unwrap();
        assert_eq!(again.0.origin.offset, offset);
        rig.end(again, done());
    }
    assert_eq!(rig.flow.pauses().count(), 0);
}

#[test]
fn the_first_that_passes_ends_the_pause_and_all_go_on() {
    let mut rig = failing();
    rig.feed(&[(7, Ok(7)), (8, Ok(8)), (9, Ok(9)), (10, Ok(10))]);
    assert!(rig.start().is_none());
    rig.now = rig.flow.next_timer().unwrap();
    let tried: Vec<_> = std::iter::from_fn(|| rig.start()).collect();
    let offsets: Vec<_> = tried.iter().map(|(job, _)| job.origin.offset).collect();
    assert_eq!(offsets, [19, 20, 21], "a few lanes, one message of each");
    let mut tried = tried.into_iter();
    rig.end(tried.next().unwrap(), permanent());
    assert!(matches!(
        rig.end(tried.next().unwrap(), done()),
        Some(Effect::Handled { offset: 20 })
    ));
    assert_eq!(rig.flow.pauses().count(), 0);
    assert!(rig.start().is_some());
}

#[test]
fn a_message_that_ran_before_the_pause_does_not_end_it() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(9, Ok(9))]);
    let early = rig.start().unwrap();
    for key in (3..6).cycle().take(19) {
        fail(&mut rig, key);
    }
    fail(&mut rig, 4);
    rig.end(early, done());
    assert_eq!(rig.flow.pauses().collect::<Vec<_>>(), [Pause::Failing]);
}

#[test]
fn what_fails_before_its_signature_is_buried_while_all_others_fail() {
    let mut rig = failing();
    assert_eq!(kinds_of(&rig.feed(&garbage(1))), ["alone"]);
    assert!(rig.flow.wants_records());
}

#[test]
fn a_message_not_trusted_any_more_makes_room_for_another_to_be_tried() {
    let mut rig = failing();
    for _ in 0..2 {
        rig.feed(&[(7, Ok(7)), (8, Ok(8)), (9, Ok(9))]);
    }
    rig.now = rig.flow.next_timer().unwrap();
    let tried: Vec<_> = std::iter::from_fn(|| rig.start()).collect();
    assert_eq!(tried.len(), 3);
    for (job, attempt) in tried {
        let rejection = Rejection::new(Reason::UnknownKey, None);
        rig.flow.distrusted(&job, attempt, &rejection, 5_000);
        rig.flow.buried(job.origin.offset, rig.now, &mut rig.budget);
    }
    rig.now = rig.flow.next_timer().unwrap();
    assert!(rig.start().is_some());
}

#[test]
fn a_command_ends_the_pause_and_failures_are_counted_anew() {
    let mut rig = failing();
    assert_eq!(rig.flow.resume_by_command(), [Pause::Failing]);
    assert!(matches!(fail(&mut rig, 4), Some(Effect::Bury(_))));
    assert_eq!(rig.flow.pauses().count(), 0);
}

#[test]
fn a_command_has_a_held_message_tried_again_with_all_its_attempts() {
    let mut rig = Rig::new(OnExhausted::Pause);
    rig.feed(&[(1, Ok(9))]);
    for _ in 0..2 {
        let start = rig.start().unwrap();
        rig.end(start, retriable());
        rig.now += Duration::from_secs(1);
    }
    assert!(rig.start().is_none());
    assert_eq!(rig.flow.resume_by_command(), [Pause::Exhausted]);
    let (job, attempt) = rig.start().unwrap();
    assert_eq!(attempt, 1);
    rig.end((job, attempt), done());
    assert_eq!(rig.flow.watermark(), 1);
    assert!(rig.flow.resume_by_command().is_empty());
}

/// A message of this signer that our clock at 1 000 would admit at 3 000.
fn future(key: u8) -> Rejection {
    let reason = Reason::Future {
        field: "timestamp",
        ahead_ms: 2_300,
        tolerance_ms: 300,
    };
    Rejection::new(reason, Some(PublicKey([key; 32])))
}

#[test]
fn messages_of_two_signers_from_the_future_are_held_and_judged_again_when_the_clock_is_right() {
    let mut rig = Rig::new(OnExhausted::Bury);
    let effects = rig.feed(&[(0, Err(future(7))), (0, Err(future(8))), (0, Ok(9))]);
    assert_eq!(kinds_of(&effects), ["alone"]);
    assert_eq!(rig.flow.pauses().collect::<Vec<_>>(), [Pause::Clock]);
    assert!(rig.faults.clock.is_behind(2_999, Instant::now()));
    assert!(!rig.faults.clock.is_behind(3_000, Instant::now()));
    rig.flow.resume(Pause::Clock);
    let again = rig.flow.judge_again();
    assert_eq!(again.len(), 1);
    assert!(rig.settle().is_empty(), "it is awaited in its place");
    rig.flow.judged(Arc::clone(&again[0]), Ok(8));
    rig.settle();
    assert_eq!(rig.start().unwrap().0.origin.offset, 1);
}

#[test]
fn a_message_held_against_the_brokers_clock_says_nothing_of_ours() {
    let mut rig = Rig::new(OnExhausted::Bury);
    let appended = |offset| {
        Arc::new(Origin {
            append_time_ms: Some(999),
            ..(*origin(offset, 0)).clone()
        })
    };
    rig.flow.fetched([appended(0), appended(1)], 2);
    for (record, key) in rig
        .flow
        .admit(&mut rig.budget, rig.now)
        .into_iter()
        .zip(7..)
    {
        rig.flow.judged(record, Err(future(key)));
    }
    assert_eq!(kinds_of(&rig.settle()), ["alone", "alone"]);
}

#[test]
fn the_audience_is_doubted_when_no_envelope_holds_and_settled_by_the_first_that_does() {
    let envelope = |key: u8| {
        let reason = Reason::EnvelopeInvalid {
            id: "signer".into(),
            fault: EnvelopeFault::Signature,
        };
        (0, Err(Rejection::new(reason, Some(PublicKey([key; 32])))))
    };
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[envelope(1), envelope(2), envelope(1)]);
    assert!(!rig.faults.audience.is_doubted());
    rig.feed(&[envelope(3), (0, Ok(9))]);
    assert!(
        rig.faults.audience.is_doubted(),
        "no envelope was seen to hold"
    );
    assert_eq!(rig.flow.pauses().count(), 0);
    rig.feed(&[(0, Ok(100))]);
    assert!(!rig.faults.audience.is_doubted());
}

#[test]
fn a_draining_flow_that_the_guard_paused_waits_for_no_trial_any_more() {
    let mut rig = failing();
    rig.now = rig.flow.next_timer().unwrap();
    let _running = rig.start().unwrap();
    rig.flow.drain();
    assert!(!rig.flow.is_drained(), "its trial runs");
    rig.now += Duration::from_secs(31);
    assert!(rig.start().is_none());
    assert_eq!(rig.flow.next_timer(), None);
}
