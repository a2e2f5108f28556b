use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::Lanes;

fn key(name: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(name.as_bytes()))
}

fn started(lanes: &mut Lanes<()>, now: Instant) -> Vec<i64> {
    std::iter::from_fn(|| lanes.start(now).map(|start| start.offset)).collect()
}

#[test]
fn messages_of_one_lane_wait_for_each_other_and_lanes_do_not() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    lanes.push(0, key("a"), ());
    lanes.push(1, key("a"), ());
    lanes.push(2, key("b"), ());
    assert_eq!(started(&mut lanes, now), [0, 2]);
    assert!(lanes.finish(0));
    assert_eq!(started(&mut lanes, now), [1]);
}

#[test]
fn messages_without_a_key_share_a_lane_that_an_empty_key_does_not() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    lanes.push(0, None, ());
    lanes.push(1, None, ());
    lanes.push(2, key(""), ());
    assert_eq!(started(&mut lanes, now), [0, 2]);
}

#[test]
fn a_retry_holds_its_lane_until_it_is_due() {
    let now = Instant::now();
    let due = now + Duration::from_secs(1);
    let mut lanes = Lanes::default();
    lanes.push(0, key("a"), ());
    lanes.push(1, key("a"), ());
    assert_eq!(started(&mut lanes, now), [0]);
    lanes.retry(0, due);
    assert!(started(&mut lanes, now).is_empty());
    assert_eq!(lanes.next_timer(), Some(due));
    let again = lanes.start(due).unwrap();
    assert_eq!((again.offset, again.attempt), (0, 2));
    assert!(started(&mut lanes, due).is_empty());
}

#[test]
fn a_burial_holds_its_lane_until_it_is_acknowledged() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    lanes.push(0, None, ());
    lanes.push(1, None, ());
    lanes.start(now).unwrap();
    lanes.bury(0);
    assert!(started(&mut lanes, now).is_empty());
    lanes.finish(0);
    assert_eq!(started(&mut lanes, now), [1]);
}

#[test]
fn draining_keeps_what_runs_and_forgets_the_rest() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    for (offset, lane) in [(0, "a"), (1, "a"), (2, "b"), (3, "c")] {
        lanes.push(offset, key(lane), ());
    }
    assert_eq!(started(&mut lanes, now), [0, 2, 3]);
    lanes.retry(2, now);
    lanes.bury(3);
    lanes.drain();
    assert!(started(&mut lanes, now).is_empty());
    assert_eq!(lanes.running(), 1);
    lanes.retry(0, now);
    assert!(!lanes.is_empty());
    lanes.finish(3);
    assert!(lanes.is_empty());
    lanes.push(9, None, ());
    assert!(lanes.is_empty());
}

#[test]
fn a_held_message_holds_its_lane_and_runs_no_more() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    for (offset, lane) in [(0, "a"), (1, "a"), (2, "b")] {
        lanes.push(offset, key(lane), ());
    }
    lanes.start(now).unwrap();
    assert!(lanes.is_running(0) && !lanes.is_running(1));
    lanes.hold(0);
    assert!(!lanes.is_running(0));
    assert_eq!(started(&mut lanes, now), [2]);
    lanes.finish(0);
    assert_eq!(started(&mut lanes, now), [1]);
}

#[test]
fn only_what_runs_can_be_held_retried_or_buried() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    lanes.push(0, None, ());
    lanes.hold(0);
    lanes.retry(0, now + Duration::from_secs(1));
    lanes.bury(0);
    assert_eq!(lanes.next_timer(), None);
    assert_eq!(started(&mut lanes, now), [0]);
}

#[test]
fn what_is_held_while_draining_is_forgotten() {
    let mut lanes = Lanes::default();
    lanes.push(0, None, ());
    lanes.start(Instant::now()).unwrap();
    lanes.drain();
    lanes.hold(0);
    assert!(lanes.is_empty());
}

#[test]
fn the_end_of_a_message_behind_a_running_one_starts_nothing_again() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    for offset in 0..3 {
        lanes.push(offset, None, ());
    }
    assert_eq!(started(&mut lanes, now), [0]);
    lanes.finish(1);
    assert!(started(&mut lanes, now).is_empty());
    lanes.finish(0);
    assert_eq!(started(&mut lanes, now), [2]);
}

#[test]
fn an_end_while_draining_starts_nothing_behind_it() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    lanes.push(0, None, ());
    lanes.push(1, None, ());
    lanes.start(now).unwrap();
    lanes.drain();
    lanes.finish(0);
    assert!(started(&mut lanes, now).is_empty());
    assert!(lanes.is_empty());
}

#[test]
fn an_end_that_comes_twice_frees_the_lane_once() {
    let now = Instant::now();
    let mut lanes = Lanes::default();
    for offset in 0..3 {
        lanes.push(offset, None, ());
    }
    lanes.start(now).unwrap();
    assert!(lanes.finish(0));
    assert!(!lanes.finish(0));
    assert_eq!(started(&mut lanes, now), [1]);
}

/// What a lane is, said in the plainest way: a list whose head alone may move.
#[derive(Default)]
struct Model {
    queues: HashMap<Option<Bytes>, Vec<i64>>,
    running: Vec<i64>,
    waiting: HashMap<i64, Instant>,
    attempts: HashMap<i64, u32>,
}

impl Model {
    fn may_start(&self, offset: i64, now: Instant) -> bool {
        self.queues
            .values()
            .any(|queue| queue.first() == Some(&offset))
            && !self.running.contains(&offset)
            && self.waiting.get(&offset).is_none_or(|due| *due <= now)
    }

    fn startable(&self, now: Instant) -> Vec<i64> {
        let mut heads: Vec<i64> = self
            .queues
            .values()
            .filter_map(|queue| queue.first().copied())
            .filter(|offset| self.may_start(*offset, now))
            .collect();
        heads.sort_unstable();
        heads
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    Start,
    Finish(prop::sample::Index),
    Retry(prop::sample::Index, u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..5).prop_map(Step::Push),
        3 => Just(Step::Start),
        2 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (any::<prop::sample::Index>(), 0_u64..50).prop_map(|(which, after)| Step::Retry(which, after)),
        1 => (1_u64..30).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #[test]
    fn any_schedule_starts_exactly_the_heads_that_are_due_oldest_first(steps in steps()) {
        let mut now = Instant::now();
        let mut lanes = Lanes::default();
        let mut model = Model::default();
        let mut next_offset = 0;
        for step in steps {
            match step {
                Step::Push(lane) => {
                    let lane = (lane > 0).then(|| Bytes::from(vec![lane]));
                    lanes.push(next_offset, lane.clone(), ());
                    model.queues.entry(lane).or_default().push(next_offset);
                    next_offset += 1;
                }
                Step::Start => {
                    let expected = model.startable(now).first().copied();
                    let start = lanes.start(now);
                    prop_assert_eq!(start.as_ref().map(|start| start.offset), expected);
                    if let Some(start) = start {
                        let attempts = model.attempts.entry(start.offset).or_default();
                        *attempts += 1;
                        prop_assert_eq!(start.attempt, *attempts);
                        model.waiting.remove(&start.offset);
                        model.running.push(start.offset);
                    }
                }
                Step::Finish(which) if !model.running.is_empty() => {
                    let offset = model.running.remove(which.index(model.running.len()));
                    prop_assert!(lanes.finish(offset));
                    for queue in model.queues.values_mut() {
                        queue.retain(|queued| *queued != offset);
                    }
                }
                Step::Retry(which, after) if !model.running.is_empty() => {
                    let offset = model.running.remove(which.index(model.running.len()));
                    let due = now + Duration::from_millis(after);
                    lanes.retry(offset, due);
                    model.waiting.insert(offset, due);
                }
                Step::Finish(_) | Step::Retry(..) => {}
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(lanes.running(), model.running.len());
            prop_assert_eq!(lanes.is_empty(), model.queues.values().all(Vec::is_empty));
        }
    }
}
