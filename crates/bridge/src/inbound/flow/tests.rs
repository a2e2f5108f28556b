use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::redrive::{GroupHash, Terms};
use cybermesh_contracts::rejection::{DecodeFault, Disposition, Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{At, Flow, FlowPolicy};
use crate::handler::{HandlerError, Verdict};
use crate::inbound::attempts::{Ended, RetryPolicy};
use crate::inbound::budget::Budget;
use crate::inbound::effect::{Effect, Job, Moment};
use crate::inbound::group::TopicId;
use crate::inbound::guard::burials::BurialRate;
use crate::inbound::guard::{GuardPolicy, OwnFaults};
use crate::inbound::judge::{JudgeOrder, Order};
use crate::inbound::origin::{Origin, TopicPartition};
use crate::inbound::pause::Pause;
use crate::settings::OnExhausted;

/// Says of each message what its number says: 1 is a copy, 2 a replay, 202 one that was redriven.
struct ByNumber;

impl JudgeOrder<u8> for ByNumber {
    fn judge(&mut self, _offset: i64, _record_bytes: usize, message: &u8) -> Order {
        match message {
            1 => Order::Duplicate,
            2 | 202 => Order::Replay,
            _ => Order::Passes,
        }
    }

    fn pass_over(&mut self, _offset: i64, _record_bytes: usize) {}

    fn log_begins_again(&mut self, _: Option<TopicId>) {}

    fn committed(&mut self, _watermark: i64, _wall_ms: i64) {}
}

impl crate::inbound::judge::Believed for u8 {
    fn signer(&self) -> Option<PublicKey> {
        Some(PublicKey([*self; 32]))
    }

    fn redrive(&self) -> Option<Terms> {
        (*self == 202).then(redriven)
    }

    fn is_enveloped(&self) -> bool {
        *self >= 100
    }
}

fn tp() -> TopicPartition {
    TopicPartition::new("ai.anomalies.v1", 0)
}

pub(super) fn origin(offset: i64, key: u8) -> Arc<Origin> {
    Arc::new(Origin {
        topic: "ai.anomalies.v1".into(),
        partition: 0,
        offset,
        timestamp_ms: 0,
        append_time_ms: None,
        key: (key > 0).then(|| Bytes::from(vec![key])),
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
        unreadable: None,
    })
}

/// What was redriven from offset 3.
pub(super) fn redriven() -> Terms {
    Terms {
        nonce: [0; 16],
        expires_ms: 0,
        count: 1,
        origin_partition: 0,
        origin_offset: 3,
        group: GroupHash([0; 8]),
    }
}

pub(super) fn undecodable() -> Rejection {
    Rejection::new(Reason::Decode(DecodeFault::NullValue), None)
}

pub(super) struct Rig {
    pub(super) flow: Flow<u8>,
    pub(super) budget: Budget<TopicPartition>,
    pub(super) faults: OwnFaults,
    pub(super) now: Instant,
    wall_ms: i64,
}

impl Rig {
    pub(super) fn new(on_exhausted: OnExhausted) -> Self {
        Self::guarded(on_exhausted, GuardPolicy::On(BurialRate::default()))
    }

    pub(super) fn guarded(on_exhausted: OnExhausted, guard: GuardPolicy) -> Self {
        let now = Instant::now();
        let mut budget = Budget::new(16, 1 << 20);
        budget.join(tp());
        let retry = RetryPolicy {
            attempts: NonZeroU32::new(2).unwrap(),
            on_exhausted,
            ..RetryPolicy::default()
        };
        let policy = FlowPolicy {
            retry,
            guard,
            try_every: Duration::from_secs(30),
        };
        Self {
            flow: Flow::new(tp(), 0, Box::new(ByNumber), policy, now),
            budget,
            faults: OwnFaults::new(guard),
            now,
            wall_ms: 1_000,
        }
    }

    /// Fetches, admits and judges records at offsets 0.. with these keys and verdicts of the order.
    pub(super) fn feed(&mut self, messages: &[(u8, Result<u8, Rejection>)]) -> Vec<Effect> {
        let start = self.flow.watermark.position();
        let records: Vec<_> = messages
            .iter()
            .zip(start..)
            .map(|((key, _), offset)| origin(offset, *key))
            .collect();
        let end = start + i64::try_from(records.len()).unwrap();
        self.flow.fetched(records, end);
        let admitted = self.flow.admit(&mut self.budget, self.now);
        assert_eq!(admitted.len(), messages.len());
        for (origin, (_, judged)) in admitted.into_iter().zip(messages) {
            self.flow.judged(origin, judged.clone());
        }
        self.settle()
    }

    pub(super) fn settle(&mut self) -> Vec<Effect> {
        let at = At {
            now: self.now,
            wall_ms: self.wall_ms,
        };
        self.flow.settle(&mut self.budget, &mut self.faults, at)
    }

    pub(super) fn start(&mut self) -> Option<(Arc<Job<u8>>, u32)> {
        self.flow
            .start(self.now)
            .map(|start| (start.item, start.attempt))
    }

    pub(super) fn end(
        &mut self,
        (job, attempt): (Arc<Job<u8>>, u32),
        ended: Ended,
    ) -> Option<Effect> {
        let moment = Moment {
            now: self.now,
            wall_ms: 2_000,
            jitter: 0.0,
        };
        self.flow
            .ended(&job, attempt, ended, moment, &mut self.budget)
    }
}

pub(super) fn done() -> Ended {
    Ended::Returned(Ok(Verdict::Done))
}

pub(super) fn retriable() -> Ended {
    Ended::Returned(Err(HandlerError::retriable("away")))
}

#[test]
fn a_rejected_message_is_done_only_after_its_dead_letter_is_acknowledged() {
    let mut rig = Rig::new(OnExhausted::Bury);
    let effects = rig.feed(&[(0, Err(undecodable()))]);
    assert!(
        matches!(&effects[..], [Effect::Bury(burial)] if burial.disposition == Disposition::Decode)
    );
    assert_eq!(rig.flow.watermark(), 0);
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert_eq!(rig.flow.watermark(), 1);
    assert_eq!(rig.budget.messages_in_flight(), 0);
}

#[test]
fn a_copy_is_skipped_and_a_replay_is_buried() {
    let mut rig = Rig::new(OnExhausted::Bury);
    let effects = rig.feed(&[(0, Ok(1)), (0, Ok(2))]);
    assert!(matches!(
        &effects[..],
        [
            Effect::Skipped { disposition: Disposition::Duplicate, .. },
            Effect::Bury(burial),
        ] if burial.disposition == Disposition::Replay
    ));
    assert_eq!(rig.flow.watermark(), 1);
}

#[test]
fn a_message_whose_attempts_are_used_up_is_buried_with_its_history() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(0, Ok(0))]);
    let first = rig.start().unwrap();
    assert!(matches!(
        rig.end(first, retriable()),
        Some(Effect::Retried { .. })
    ));
    assert!(rig.start().is_none());
    rig.now += Duration::from_secs(1);
    let second = rig.start().unwrap();
    match rig.end(second, retriable()) {
        Some(Effect::Bury(burial)) => {
            assert_eq!(burial.disposition, Disposition::AttemptsExhausted);
            assert_eq!(burial.attempts, 2);
            assert_eq!(burial.reason, "away");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.flow.watermark(), 0);
}

#[test]
fn a_dead_letter_that_fails_pauses_the_partition_until_it_passes() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(1, Err(undecodable())), (2, Ok(0))]);
    rig.flow.burial_failed(0, rig.now);
    assert_eq!(rig.flow.pauses().collect::<Vec<_>>(), [Pause::DeadLetters]);
    assert!(rig.start().is_none());
    assert!(rig.flow.due_burials(rig.now).is_empty());
    rig.now = rig.flow.next_timer().unwrap();
    assert_eq!(rig.flow.due_burials(rig.now).len(), 1);
    assert!(rig.flow.due_burials(rig.now).is_empty());
    assert_eq!(rig.flow.watermark(), 0);
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert!(rig.start().is_some());
}

#[test]
fn while_dead_letters_fail_only_the_oldest_is_tried_and_the_rest_follow_it() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[
        (0, Err(undecodable())),
        (0, Err(undecodable())),
        (0, Err(undecodable())),
    ]);
    for offset in 0..3 {
        rig.flow.burial_failed(offset, rig.now);
    }
    rig.now += Duration::from_secs(60);
    assert_eq!(rig.flow.due_burials(rig.now).len(), 1);
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert_eq!(rig.flow.due_burials(rig.now).len(), 2);
}

#[test]
fn an_exhausted_message_that_is_held_pauses_its_partition_and_is_not_done() {
    let mut rig = Rig::new(OnExhausted::Pause);
    rig.feed(&[(1, Ok(0)), (2, Ok(0))]);
    let first = rig.start().unwrap();
    rig.end(first, Ended::Panicked);
    let other = rig.start().unwrap();
    rig.now += Duration::from_secs(1);
    let second = rig.start().unwrap();
    assert!(matches!(
        rig.end(second, Ended::Panicked),
        Some(Effect::Held { offset: 0, .. })
    ));
    assert!(matches!(
        rig.end(other, done()),
        Some(Effect::Handled { offset: 1 })
    ));
    assert_eq!(rig.flow.watermark(), 0);
    assert!(!rig.flow.wants_records());
}

#[test]
fn a_paused_partition_takes_nothing_up_and_lets_what_runs_end() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(1, Ok(0)), (2, Ok(0))]);
    let running = rig.start().unwrap();
    rig.flow.pause(Pause::NoKeys);
    rig.flow.fetched([origin(2, 0)], 3);
    assert!(rig.flow.admit(&mut rig.budget, rig.now).is_empty());
    assert!(rig.start().is_none());
    assert!(rig.end(running, done()).is_some());
    rig.flow.resume(Pause::NoKeys);
    assert_eq!(rig.flow.admit(&mut rig.budget, rig.now).len(), 1);
    assert!(rig.start().is_some());
}

#[test]
fn draining_commits_what_is_done_and_nothing_behind_it() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(1, Ok(0)), (2, Ok(0)), (3, Ok(0)), (1, Ok(0))]);
    let (first, second, third) = (
        rig.start().unwrap(),
        rig.start().unwrap(),
        rig.start().unwrap(),
    );
    rig.end(third, done());
    rig.flow.drain();
    rig.end(first, done());
    assert!(!rig.flow.is_drained());
    rig.end(second, retriable());
    assert!(rig.flow.is_drained());
    assert_eq!(rig.flow.watermark(), 1);
}

#[test]
fn draining_waits_for_dead_letters_on_their_way_and_not_for_those_that_failed() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(0, Err(undecodable())), (0, Err(undecodable()))]);
    rig.flow.burial_failed(1, rig.now);
    rig.flow.drain();
    assert!(!rig.flow.is_drained());
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert!(rig.flow.is_drained());
    assert_eq!(rig.flow.watermark(), 1);
}

#[test]
fn a_dead_letter_that_fails_while_draining_is_left_undone() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(0, Ok(0))]);
    let start = rig.start().unwrap();
    rig.end(start, Ended::Returned(Ok(Verdict::reject("no"))));
    rig.flow.drain();
    rig.flow.burial_failed(0, rig.now);
    assert!(rig.flow.is_drained());
    assert_eq!(rig.flow.watermark(), 0);
}

#[test]
fn a_message_not_trusted_any_more_is_buried_without_its_handler() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(0, Ok(0))]);
    let (job, attempt) = rig.start().unwrap();
    let rejection = Rejection::new(Reason::UnknownKey, None);
    match rig.flow.distrusted(&job, attempt, &rejection, 5_000) {
        Effect::Bury(burial) => {
            assert_eq!(burial.disposition, Disposition::UnknownKey);
            assert_eq!(burial.attempts, 0);
        }
        other => panic!("{other:?}"),
    }
    rig.flow.buried(0, rig.now, &mut rig.budget);
    assert!(rig.flow.is_drained());
    assert_eq!(rig.flow.watermark(), 1);
}

#[test]
fn a_batch_of_nothing_but_gaps_moves_the_watermark() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.flow.fetched([], 7);
    assert_eq!(rig.flow.watermark(), 7);
}

#[test]
fn records_delivered_again_are_not_taken_up_twice() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.flow.fetched([origin(0, 0), origin(1, 0)], 2);
    rig.flow.fetched([origin(1, 0), origin(2, 0)], 3);
    assert_eq!(rig.flow.admit(&mut rig.budget, rig.now).len(), 3);
    rig.flow.fetched([origin(0, 0)], 3);
    assert!(rig.flow.admit(&mut rig.budget, rig.now).is_empty());
}

#[test]
fn a_partition_does_not_run_without_bound_ahead_of_a_message_that_is_stuck() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(1, Ok(0))]);
    let stuck = rig.start().unwrap();
    rig.flow
        .fetched([origin(100_000, 2), origin(100_001, 2)], 100_002);
    assert_eq!(rig.flow.admit(&mut rig.budget, rig.now).len(), 1);
    assert!(!rig.flow.wants_records());
    rig.end(stuck, done());
    assert_eq!(rig.flow.admit(&mut rig.budget, rig.now).len(), 1);
}

#[test]
fn the_position_is_behind_what_is_fetched_and_the_oldest_is_what_holds_the_watermark() {
    let mut rig = Rig::new(OnExhausted::Bury);
    assert_eq!((rig.flow.position(), rig.flow.oldest()), (0, None));
    rig.flow.fetched([origin(3, 0), origin(5, 1)], 5);
    assert_eq!(rig.flow.position(), 6);
    rig.flow.admit(&mut rig.budget, rig.now);
    assert_eq!(rig.flow.in_flight(), 2);
    assert_eq!(rig.flow.oldest(), Some((3, rig.now)));
    rig.flow.fetched([], 9);
    assert_eq!((rig.flow.position(), rig.flow.watermark()), (9, 3));
}

#[test]
fn records_are_wanted_when_none_wait_unless_it_pauses_or_drains() {
    let mut rig = Rig::new(OnExhausted::Bury);
    assert!(rig.flow.wants_records() && !rig.flow.is_draining());
    rig.flow.fetched([origin(0, 0)], 1);
    assert!(!rig.flow.wants_records());
    rig.flow.admit(&mut rig.budget, rig.now);
    assert!(rig.flow.wants_records());
    rig.flow.pause(Pause::Clock);
    assert!(!rig.flow.wants_records());
    rig.flow.resume(Pause::Clock);
    rig.flow.drain();
    assert!(!rig.flow.wants_records() && rig.flow.is_draining());
}

#[test]
fn a_dead_letter_tells_when_its_message_failed_first_and_last() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.feed(&[(1, Ok(0))]);
    let mut fail_at = |wall_ms| {
        let start = rig.flow.start(rig.now).unwrap();
        let moment = Moment {
            now: rig.now,
            wall_ms,
            jitter: 0.0,
        };
        rig.now += Duration::from_secs(60);
        rig.flow.ended(
            &start.item,
            start.attempt,
            retriable(),
            moment,
            &mut rig.budget,
        )
    };
    assert!(matches!(fail_at(5_000), Some(Effect::Retried { .. })));
    let Some(Effect::Bury(burial)) = fail_at(9_000) else {
        panic!("not buried")
    };
    assert_eq!(
        (burial.first_failed_ms, burial.last_failed_ms),
        (5_000, 9_000)
    );
}

/// Tells what it heard was committed.
#[derive(Default)]
struct Hears(Arc<std::sync::Mutex<Vec<(i64, i64)>>>);

impl JudgeOrder<u8> for Hears {
    fn judge(&mut self, _: i64, _: usize, _: &u8) -> Order {
        Order::Passes
    }

    fn pass_over(&mut self, _: i64, _: usize) {}

    fn log_begins_again(&mut self, _: Option<TopicId>) {}

    fn committed(&mut self, watermark: i64, wall_ms: i64) {
        self.0.lock().unwrap().push((watermark, wall_ms));
    }
}

#[test]
fn what_was_committed_is_told_to_the_order_so_that_its_ring_lets_go() {
    let order = Hears::default();
    let heard = Arc::clone(&order.0);
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.flow.order = Box::new(order);
    rig.flow.committed(7, 1_000);
    assert_eq!(*heard.lock().unwrap(), [(7, 1_000)]);
}

#[test]
fn a_gap_wider_than_the_bound_does_not_stop_an_idle_partition() {
    let mut rig = Rig::new(OnExhausted::Bury);
    rig.flow.fetched([origin(1_000_000, 0)], 1_000_001);
    assert_eq!(rig.flow.admit(&mut rig.budget, rig.now).len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Fetch { gap: i64, key: u8 },
    Admit,
    Judge(prop::sample::Index, u8),
    Start,
    End(prop::sample::Index, u8),
    Burial(prop::sample::Index, bool),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        3 => (0_i64..3, 0_u8..4).prop_map(|(gap, key)| Step::Fetch { gap, key }),
        2 => Just(Step::Admit),
        3 => (index(), 0_u8..6).prop_map(|(which, what)| Step::Judge(which, what)),
        4 => Just(Step::Start),
        4 => (index(), 0_u8..7).prop_map(|(which, how)| Step::End(which, how)),
        3 => (index(), any::<bool>()).prop_map(|(which, passes)| Step::Burial(which, passes)),
        1 => (1_u64..4000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..300)
}

/// Remembers what truly ended, and what was started in which order.
#[derive(Default)]
struct World {
    existing: BTreeSet<i64>,
    ended: BTreeSet<i64>,
    keys: HashMap<i64, Option<Bytes>>,
    judging: Vec<Arc<Origin>>,
    running: Vec<(Arc<Job<u8>>, u32)>,
    burying: Vec<i64>,
    last_started: BTreeMap<Option<Bytes>, i64>,
}

impl World {
    fn note(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Bury(burial) => self.burying.push(burial.origin.offset),
                Effect::Skipped { origin, .. } => {
                    self.ended.insert(origin.offset);
                }
                Effect::Handled { offset }
                | Effect::HandledBefore { offset }
                | Effect::Declined { offset, .. } => {
                    self.ended.insert(offset);
                }
                Effect::Retried { .. }
                | Effect::Held { .. }
                | Effect::PutBack { .. }
                | Effect::Summed { .. } => {}
            }
        }
    }

    fn started(&mut self, job: Arc<Job<u8>>, attempt: u32) {
        let lane = self.keys[&job.origin.offset].clone();
        let busy = self
            .running
            .iter()
            .any(|(other, _)| other.origin.key == lane);
        assert!(!busy, "two messages of one lane at a time");
        let last = self.last_started.insert(lane, job.origin.offset);
        assert!(
            last.is_none_or(|last| last <= job.origin.offset),
            "lane out of order"
        );
        self.running.push((job, attempt));
    }
}

fn judgement(what: u8) -> Result<u8, Rejection> {
    match what {
        3 => Err(undecodable()),
        other => Ok(other),
    }
}

fn ended(how: u8) -> Ended {
    match how {
        0 => Ended::Returned(Ok(Verdict::skip("no need"))),
        1 => Ended::Returned(Ok(Verdict::reject("never"))),
        2 => retriable(),
        3 => Ended::Panicked,
        4 => Ended::TimedOut,
        _ => done(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes in whatever order: the watermark is never ahead of what truly ended, lanes
    /// keep their order, the budget holds, and in the end everything is done.
    #[test]
    fn nothing_is_committed_before_it_ended_and_nothing_is_left_behind(steps in steps()) {
        let mut rig = Rig::new(OnExhausted::Bury);
        let mut world = World::default();
        let mut end = 0;
        for step in steps {
            match step {
                Step::Fetch { gap, key } => {
                    let record = origin(end + gap, key);
                    world.existing.insert(record.offset);
                    world.keys.insert(record.offset, record.key.clone());
                    end = record.offset + 1;
                    rig.flow.fetched([record], end);
                }
                Step::Admit => world.judging.extend(rig.flow.admit(&mut rig.budget, rig.now)),
                Step::Judge(which, what) if !world.judging.is_empty() => {
                    let origin = world.judging.swap_remove(which.index(world.judging.len()));
                    rig.flow.judged(origin, judgement(what));
                    let effects = rig.settle();
                    world.note(effects);
                }
                Step::Start => if let Some((job, attempt)) = rig.start() {
                    world.started(job, attempt);
                },
                Step::End(which, how) if !world.running.is_empty() => {
                    let run = world.running.swap_remove(which.index(world.running.len()));
                    let effect = rig.end(run, ended(how));
                    world.note(effect);
                }
                Step::Burial(which, passes) if !world.burying.is_empty() => {
                    let offset = world.burying.swap_remove(which.index(world.burying.len()));
                    if passes {
                        rig.flow.buried(offset, rig.now, &mut rig.budget);
                        world.ended.insert(offset);
                    } else {
                        rig.flow.burial_failed(offset, rig.now);
                    }
                }
                Step::Judge(..) | Step::End(..) | Step::Burial(..) => {}
                Step::Pass(ms) => {
                    rig.now += Duration::from_millis(ms);
                    let due = rig.flow.due_burials(rig.now);
                    world.burying.extend(due.iter().map(|burial| burial.origin.offset));
                }
            }
            let open = world.existing.difference(&world.ended).next().copied();
            prop_assert!(rig.flow.watermark() <= open.unwrap_or(end));
            prop_assert!(rig.budget.messages_in_flight() <= 16);
        }

        for _ in 0..10_000 {
            if rig.flow.watermark() == end { break; }
            world.judging.extend(rig.flow.admit(&mut rig.budget, rig.now));
            for origin in std::mem::take(&mut world.judging) {
                rig.flow.judged(origin, Ok(0));
            }
            let effects = rig.settle();
            world.note(effects);
            while let Some((job, attempt)) = rig.start() {
                world.started(job, attempt);
            }
            for run in std::mem::take(&mut world.running) {
                let effect = rig.end(run, done());
                world.note(effect);
            }
            for offset in std::mem::take(&mut world.burying) {
                rig.flow.buried(offset, rig.now, &mut rig.budget);
            }
            if let Some(due) = rig.flow.next_timer() {
                rig.now = rig.now.max(due);
            }
            let due = rig.flow.due_burials(rig.now);
            world.burying.extend(due.iter().map(|burial| burial.origin.offset));
        }
        prop_assert_eq!(rig.flow.watermark(), end);
        prop_assert_eq!(rig.budget.messages_in_flight(), 0);
        prop_assert!(rig.flow.is_drained());
    }
}
