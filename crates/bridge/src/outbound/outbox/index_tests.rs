//! The index against senders, a transport that gives up, and workers that send what waits.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn topic() -> Arc<str> {
    Arc::from("t")
}

fn bounded(bytes: u64, when_full: WhenFull) -> Index {
    Index::new(Bounds { bytes, when_full }, 1)
}

fn arrival<'a>(topic: &'a Arc<str>, key: &'a [u8], accepted_at_ms: u64) -> Arrival<'a> {
    Arrival {
        kind: Kind::Anomaly,
        topic,
        key: Some(key),
        partition: Some(0),
        doubtful: None,
        bytes: 44,
        accepted_at_ms,
        accepted_at: None,
    }
}

/// What one takes in this file: 44 and 256 bytes.
const EACH: u64 = 300;

#[test]
fn a_message_that_does_not_fit_is_refused_and_what_is_there_stays() {
    let (topic, mut index) = (topic(), bounded(2 * EACH, WhenFull::Refuse));
    for number in 0..2 {
        index.accept(None, &arrival(&topic, b"k", number)).unwrap();
    }
    let full = index.accept(None, &arrival(&topic, b"k", 2)).unwrap_err();
    assert_eq!((full.bytes, full.limit), (2 * EACH, 2 * EACH));
    assert_eq!(index.len(), 2);
}

#[test]
fn the_oldest_make_room_but_not_what_is_on_its_way() {
    let (topic, mut index) = (topic(), bounded(3 * EACH, WhenFull::DropOldest));
    for number in 0..3 {
        let place = index
            .accept(None, &arrival(&topic, b"k", number))
            .unwrap()
            .place;
        index.stored(place);
    }
    let taken = index.take(&(Arc::clone(&topic), Slot::Partition(0)), 1, u64::MAX);
    index.on_its_way(taken[0], 0);
    let accepted = index.accept(None, &arrival(&topic, b"k", 3)).unwrap();
    let dropped: Vec<u64> = accepted.dropped.iter().map(|(place, _)| *place).collect();
    assert_eq!((taken, dropped), (vec![1], vec![2]));
}

#[test]
fn a_message_larger_than_all_there_may_be_is_refused_whatever_the_policy() {
    let (topic, mut index) = (topic(), bounded(EACH - 1, WhenFull::DropOldest));
    index.accept(None, &arrival(&topic, b"k", 0)).unwrap_err();
    assert_eq!((index.len(), index.bytes()), (0, 0));
}

#[test]
fn nothing_is_dropped_for_a_message_that_does_not_fit_all_the_same() {
    let (topic, mut index) = (topic(), bounded(3 * EACH, WhenFull::DropOldest));
    for number in 0..3 {
        let place = index
            .accept(None, &arrival(&topic, b"k", number))
            .unwrap()
            .place;
        index.stored(place);
    }
    let taken = index.take(&(Arc::clone(&topic), Slot::Partition(0)), 1, u64::MAX);
    index.on_its_way(taken[0], 0);
    let large = Arrival {
        bytes: 44 + 2 * usize::try_from(EACH).unwrap(),
        ..arrival(&topic, b"k", 3)
    };
    index.accept(None, &large).unwrap_err();
    assert_eq!((index.len(), index.bytes()), (3, 3 * EACH));
}

#[test]
fn what_is_too_old_is_taken_out_and_the_rest_is_not() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    for accepted_at_ms in [10, 20, 30] {
        let place = index
            .accept(None, &arrival(&topic, b"k", accepted_at_ms))
            .unwrap()
            .place;
        index.stored(place);
    }
    let now = Instant::now();
    assert_eq!(expired(&mut index, 35, now, 5), [1, 2]);
    assert_eq!((index.len(), index.oldest_ms()), (1, Some(30)));
}

fn expired(index: &mut Index, now_ms: u64, now: Instant, age_ms: u64) -> Vec<u64> {
    let expired = index.expire(now_ms, now, Duration::from_millis(age_ms));
    expired.into_iter().map(|(place, _)| place).collect()
}

#[test]
fn a_clock_that_is_set_forward_makes_nothing_old_that_this_process_accepted() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let now = Instant::now();
    index.found(1, &arrival(&topic, b"earlier process", 1_000));
    let ours = Arrival {
        accepted_at: Some(now),
        ..arrival(&topic, b"k", 1_000)
    };
    let place = index.accept(None, &ours).unwrap().place;
    index.stored(place);
    let just_before = now + Duration::from_millis(99);
    assert_eq!(expired(&mut index, 1_000_000, just_before, 100), [1]);
    let then = now + Duration::from_millis(100);
    // Nor does the one clock alone.
    assert!(expired(&mut index, 1_100, then, 100).is_empty());
    assert_eq!(expired(&mut index, 1_000_000, then, 100), [place]);
}

#[test]
fn what_is_found_at_the_start_is_taken_in_beyond_the_bound_and_places_go_on_behind_it() {
    let (topic, mut index) = (topic(), bounded(EACH, WhenFull::Refuse));
    for place in [4, 9] {
        index.found(place, &arrival(&topic, b"k", place));
    }
    assert_eq!((index.len(), index.next_place()), (2, 10));
    index.accept(None, &arrival(&topic, b"k", 1)).unwrap_err();
}

#[test]
fn nothing_of_a_partition_goes_beside_what_is_in_doubt() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let doubtful = Arrival {
        doubtful: Some(0),
        ..arrival(&topic, b"a", 0)
    };
    index.found(5, &arrival(&topic, b"b", 0));
    index.found(8, &doubtful);
    assert_eq!(index.admit(&topic, 0, Some(b"c")), Way::Behind);
    assert!(matches!(index.admit(&topic, 1, Some(b"c")), Way::On(_)));
    let group = (Arc::clone(&topic), Slot::Partition(0));
    // First and alone, though it has the later place.
    assert_eq!(index.take(&group, 10, u64::MAX), [8]);
    index.on_its_way(8, 0);
    assert_eq!(index.ready(), []);
    index.remove(8);
    index.settled(&topic, 0);
    assert_eq!(index.take(&group, 10, u64::MAX), [5]);
}

/// A key that is in one partition of few, and in another of many.
fn key_that_moves(few: i32, from: i32, many: i32, to: i32) -> [u8; 1] {
    let moves = |key: &[u8; 1]| {
        let hash = murmur2(key);
        partition_of_hash(hash, few) == from && partition_of_hash(hash, many) == to
    };
    (0..=u8::MAX).map(|key| [key]).find(moves).unwrap()
}

#[test]
fn what_is_in_doubt_goes_as_it_was_signed_wherever_it_stands() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let of_signing = |signing| Arrival {
        doubtful: Some(signing),
        ..arrival(&topic, b"a", 0)
    };
    // The first place waited long before it was signed.
    index.found(1, &of_signing(30));
    index.found(2, &of_signing(10));
    index.found(3, &of_signing(11));
    let place = index.accept(None, &arrival(&topic, b"b", 0)).unwrap().place;
    index.stored(place);
    let group = (Arc::clone(&topic), Slot::Partition(0));
    assert_eq!(index.take(&group, 2, u64::MAX), [2, 3]);
    for place in [2, 3] {
        index.on_its_way(place, 0);
        index.settled(&topic, 0);
        index.remove(place);
    }
    assert_eq!(index.ready(), std::slice::from_ref(&group));
    assert_eq!(index.take(&group, 10, u64::MAX), [1]);
    index.remove(1);
    assert_eq!(index.take(&group, 10, u64::MAX), [place]);
}

#[test]
fn a_signing_comes_after_all_places_and_signings_before_it_those_of_earlier_processes_too() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let of_signing = |signing| Arrival {
        doubtful: Some(signing),
        ..arrival(&topic, b"a", 0)
    };
    index.found(1, &arrival(&topic, b"b", 0));
    index.found(2, &of_signing(40));
    assert_eq!(
        index.take(&(Arc::clone(&topic), Slot::Partition(0)), 9, u64::MAX),
        [2]
    );
    index.remove(2);
    let Way::On(first) = index.admit(&topic, 0, Some(b"a")) else {
        panic!("it waits for nothing");
    };
    assert_eq!(first, 41);
    // A draft that waited is signed after it.
    let drained = index.next_signing();
    let Way::On(second) = index.admit(&topic, 0, Some(b"a")) else {
        panic!("it waits for nothing");
    };
    let group = (Arc::clone(&topic), Slot::Partition(0));
    assert_eq!(index.take(&group, 1, u64::MAX), [1]);
    index.on_its_way(1, 0);
    for place in [second, first] {
        index.hold(&topic, 0);
        index.accept(Some(place), &of_signing(place)).unwrap();
        index.stored(place);
        index.settled(&topic, 0);
    }
    index.in_doubt(1, 0, drained);
    index.waits_again(1);
    index.settled(&topic, 0);
    assert_eq!(index.take(&group, 10, u64::MAX), [first, 1, second]);
}

#[test]
fn when_partitions_become_more_what_waits_is_not_passed_by_what_came_later() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let key = key_that_moves(3, 0, 6, 3);
    let of = |partition| Arrival {
        partition: Some(partition),
        ..arrival(&topic, &key, 0)
    };
    assert!(index.counted(&topic, 3));
    for partition in [0, 3] {
        let place = index.accept(None, &of(partition)).unwrap().place;
        index.stored(place);
    }
    assert!(index.counted(&topic, 6));
    // Who counted before keeps nothing back there either.
    let place = index.accept(None, &of(0)).unwrap().place;
    index.stored(place);
    let group = (Arc::clone(&topic), Slot::Partition(3));
    assert_eq!(index.ready(), std::slice::from_ref(&group));
    assert_eq!(index.take(&group, 10, u64::MAX), [1, 2, 3]);
}

#[test]
fn what_an_earlier_process_put_elsewhere_is_put_with_the_rest_of_its_lane() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let key = key_that_moves(3, 0, 6, 3);
    for (place, partition) in [(1, 0), (2, 3)] {
        let partition = Some(partition);
        index.found(
            place,
            &Arrival {
                partition,
                ..arrival(&topic, &key, 0)
            },
        );
    }
    assert!(index.counted(&topic, 6));
    let group = (topic, Slot::Partition(3));
    assert_eq!(index.ready(), std::slice::from_ref(&group));
    assert_eq!(index.take(&group, 10, u64::MAX), [1, 2]);
}

#[test]
fn nothing_is_put_elsewhere_while_some_of_it_is_on_its_way_by_the_old_partitions() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let key = key_that_moves(3, 0, 6, 3);
    let of = |partition| Arrival {
        partition: Some(partition),
        ..arrival(&topic, &key, 0)
    };
    assert!(index.counted(&topic, 3));
    index.found(1, &of(0));
    let before = (Arc::clone(&topic), Slot::Partition(0));
    assert_eq!(index.take(&before, 10, u64::MAX), [1]);
    index.found(2, &of(0));
    assert!(!index.counted(&topic, 6));
    index.on_its_way(1, 0);
    assert!(!index.counted(&topic, 6));
    index.settled(&topic, 0);
    index.waits_again(1);
    assert!(index.counted(&topic, 6));
    let group = (topic, Slot::Partition(3));
    assert_eq!(index.take(&group, 10, u64::MAX), [1, 2]);
}

#[test]
fn what_is_new_waits_for_one_of_its_key_that_is_on_its_way_to_where_the_key_was() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let key = key_that_moves(PARTITIONS, 0, MORE_PARTITIONS, 2);
    assert!(index.counted(&topic, PARTITIONS));
    index.found(1, &arrival(&topic, &key, 0));
    let group = (Arc::clone(&topic), Slot::Partition(0));
    assert_eq!(index.take(&group, 1, u64::MAX), [1]);
    index.on_its_way(1, 0);
    assert!(matches!(index.admit(&topic, 0, Some(&key)), Way::On(_)));
    assert!(matches!(index.admit(&topic, 2, Some(&key)), Way::Behind));
    // It comes back, and goes once more.
    index.waits_again(1);
    assert!(matches!(index.admit(&topic, 2, Some(&key)), Way::Behind));
    assert_eq!(index.take(&group, 1, u64::MAX), [1]);
    index.on_its_way(1, 0);
    assert!(matches!(index.admit(&topic, 2, Some(&key)), Way::Behind));
    index.remove(1);
    assert!(matches!(index.admit(&topic, 2, Some(&key)), Way::On(_)));
}

#[test]
fn what_is_signed_stays_in_the_partition_it_is_signed_for() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    let key = key_that_moves(3, 0, 6, 3);
    let doubtful = Arrival {
        doubtful: Some(0),
        ..arrival(&topic, &key, 0)
    };
    index.found(1, &doubtful);
    assert!(index.counted(&topic, 6));
    let group = (Arc::clone(&topic), Slot::Partition(0));
    assert_eq!(index.take(&group, 10, u64::MAX), [1]);
    assert!(index.counted(&topic, 9), "nothing waits for it");
}

#[test]
fn while_partitions_are_not_known_none_of_the_topics_messages_passes_another() {
    let (topic, mut index) = (topic(), bounded(u64::MAX, WhenFull::Refuse));
    index.found(3, &arrival(&topic, b"a", 0));
    let unplaced = Arrival {
        partition: None,
        ..arrival(&topic, b"a", 0)
    };
    index.found(1, &unplaced);
    let group = (Arc::clone(&topic), Slot::Unplaced);
    assert_eq!(index.ready(), std::slice::from_ref(&group));
    assert!(index.counted(&topic, 1));
    let placed = (topic, Slot::Partition(0));
    assert_eq!(index.ready(), std::slice::from_ref(&placed));
    assert_eq!(index.take(&placed, 10, u64::MAX), [1, 3]);
}

/// At the start.
const PARTITIONS: i32 = 2;
/// Once they have become more.
const MORE_PARTITIONS: i32 = 4;

/// A message on its way through the transport.
#[derive(Debug, Clone, Copy)]
struct Travelling {
    number: u32,
    place: u64,
    from_outbox: bool,
    signed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Logged,
    /// Certainly not in the log.
    No,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send {
        key: u8,
    },
    /// The transport is done with its oldest.
    Deliver {
        partition: usize,
    },
    GiveUp {
        partition: usize,
        written: Option<bool>,
    },
    /// What came of one, of all that is not known yet, becomes known here.
    Hear {
        which: prop::sample::Index,
    },
    /// The disk has the oldest that it was given.
    Store,
    Drain {
        which: prop::sample::Index,
    },
    /// The process ends, and another begins.
    Crash,
    /// The topic gets more partitions.
    Grow,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..usize::try_from(MORE_PARTITIONS).unwrap();
    prop_oneof![
        6 => (0_u8..4).prop_map(|key| Step::Send { key }),
        3 => partition().prop_map(|partition| Step::Deliver { partition }),
        2 => (partition(), prop::option::of(any::<bool>()))
            .prop_map(|(partition, written)| Step::GiveUp { partition, written }),
        4 => any::<prop::sample::Index>().prop_map(|which| Step::Hear { which }),
        4 => Just(Step::Store),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Drain { which }),
        1 => Just(Step::Crash),
        1 => Just(Step::Grow),
    ]
}

/// Everything round the index.
#[derive(Debug)]
struct World {
    index: Index,
    topic: Arc<str>,
    partitions: i32,
    /// Of each partition: what the transport has, and whether it is held.
    transport: Vec<(VecDeque<Travelling>, bool)>,
    heard: Vec<(usize, Travelling, Outcome)>,
    /// On disk, by place: number, which signing it is of if it is in doubt, and the partition it was kept with.
    disk: BTreeMap<u64, (u32, Option<u64>, i32)>,
    writing: VecDeque<(u64, u32, Option<u64>, i32)>,
    keys: Vec<u8>,
    /// Numbers, and which signings they are of.
    log: Vec<Vec<(u32, u64)>>,
    crashed: bool,
}

impl World {
    fn new() -> Self {
        Self {
            index: bounded(u64::MAX, WhenFull::Refuse),
            topic: topic(),
            partitions: PARTITIONS,
            transport: vec![(VecDeque::new(), false); usize::try_from(MORE_PARTITIONS).unwrap()],
            heard: Vec::new(),
            disk: BTreeMap::new(),
            writing: VecDeque::new(),
            keys: Vec::new(),
            log: vec![Vec::new(); usize::try_from(MORE_PARTITIONS).unwrap()],
            crashed: false,
        }
    }

    fn partition(&self, number: u32) -> i32 {
        let key = [self.keys[usize::try_from(number).unwrap()]];
        partition_of_hash(murmur2(&key), self.partitions)
    }

    fn append(&mut self, travelling: Travelling, partition: i32) {
        let partition = usize::try_from(partition).unwrap();
        let (queue, held) = &mut self.transport[partition];
        if *held {
            self.heard.push((partition, travelling, Outcome::No));
        } else {
            queue.push_back(travelling);
        }
    }

    fn accept(&mut self, place: Option<u64>, number: u32, doubtful: Option<u64>, partition: i32) {
        let key = [self.keys[usize::try_from(number).unwrap()]];
        let arrival = Arrival {
            partition: Some(partition),
            doubtful,
            ..arrival(&self.topic, &key, 0)
        };
        let place = self.index.accept(place, &arrival).unwrap().place;
        self.writing.push_back((place, number, doubtful, partition));
    }

    fn send(&mut self, key: u8) {
        let number = u32::try_from(self.keys.len()).unwrap();
        self.keys.push(key);
        let partition = self.partition(number);
        match self.index.admit(&self.topic, partition, Some(&[key])) {
            Way::Behind => self.accept(None, number, None, partition),
            Way::On(place) => {
                let travelling = Travelling {
                    number,
                    place,
                    from_outbox: false,
                    signed: place,
                };
                self.append(travelling, partition);
            }
        }
    }

    fn give_up(&mut self, partition: usize, written: Option<bool>) {
        let (queue, held) = &mut self.transport[partition];
        let Some(oldest) = queue.pop_front() else {
            return;
        };
        *held = true;
        let behind: Vec<Travelling> = queue.drain(..).collect();
        let outcome = match written {
            None => Outcome::No,
            Some(_) => Outcome::Unknown,
        };
        if written == Some(true) {
            self.log[partition].push((oldest.number, oldest.signed));
        }
        self.heard.push((partition, oldest, outcome));
        for travelling in behind {
            self.heard.push((partition, travelling, Outcome::No));
        }
    }

    fn hear(&mut self, which: usize) {
        let (partition, travelling, outcome) = self.heard.remove(which);
        let number = i32::try_from(partition).unwrap();
        let topic = Arc::clone(&self.topic);
        if outcome != Outcome::Logged {
            self.index.hold(&topic, number);
        }
        match (outcome, travelling.from_outbox) {
            (Outcome::Logged, false) => {}
            (Outcome::Logged, true) => {
                self.index.remove(travelling.place);
                self.disk.remove(&travelling.place);
            }
            (outcome, false) => self.accept(
                Some(travelling.place),
                travelling.number,
                (outcome == Outcome::Unknown).then_some(travelling.signed),
                number,
            ),
            (outcome, true) => {
                if outcome == Outcome::Unknown {
                    let signed = travelling.signed;
                    self.index.in_doubt(travelling.place, number, signed);
                    self.disk
                        .insert(travelling.place, (travelling.number, Some(signed), number));
                }
                self.index.waits_again(travelling.place);
            }
        }
        if self.index.settled(&topic, number) {
            self.transport[partition].1 = false;
        }
    }

    fn store(&mut self) {
        if let Some((place, number, doubtful, partition)) = self.writing.pop_front() {
            self.disk.insert(place, (number, doubtful, partition));
            self.index.stored(place);
        }
    }

    fn drain(&mut self, which: usize) {
        let ready = self.index.ready();
        let Some(group) = ready.get(which % ready.len().max(1)) else {
            return;
        };
        let Slot::Partition(partition) = group.1 else {
            panic!("{group:?}");
        };
        let topic = Arc::clone(&self.topic);
        if !self.index.counted(&topic, self.partitions) {
            return;
        }
        for place in self.index.take(group, 3, u64::MAX) {
            let (number, doubtful, _) = self.disk[&place];
            assert!(
                doubtful.is_some() || partition == self.partition(number),
                "{number}"
            );
            let signed = doubtful.unwrap_or_else(|| self.index.next_signing());
            self.index.on_its_way(place, partition);
            let from_outbox = true;
            self.append(
                Travelling {
                    number,
                    place,
                    from_outbox,
                    signed,
                },
                partition,
            );
        }
    }

    /// What is on disk is found by the next process. What was nowhere else, its senders were not told of.
    fn crash(&mut self) {
        self.crashed = true;
        let mut index = bounded(u64::MAX, WhenFull::Refuse);
        index.next_place = self.index.next_place();
        for (place, (number, doubtful, partition)) in &self.disk {
            let key = [self.keys[usize::try_from(*number).unwrap()]];
            let arrival = Arrival {
                partition: Some(*partition),
                doubtful: *doubtful,
                ..arrival(&self.topic, &key, 0)
            };
            index.found(*place, &arrival);
        }
        self.index = index;
        self.writing.clear();
        self.heard.clear();
        self.transport = vec![(VecDeque::new(), false); self.transport.len()];
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            while !self.writing.is_empty() {
                self.store();
            }
            for partition in 0..self.transport.len() {
                self.deliver(partition);
            }
            if self.heard.is_empty() {
                self.drain(0);
            } else {
                self.hear(0);
            }
            let idle = self.transport.iter().all(|(queue, _)| queue.is_empty());
            if idle && self.heard.is_empty() && self.writing.is_empty() && self.index.len() == 0 {
                return;
            }
        }
        panic!("it never ended: {self:?}");
    }

    fn deliver(&mut self, partition: usize) {
        if let Some(oldest) = self.transport[partition].0.pop_front() {
            self.log[partition].push((oldest.number, oldest.signed));
            self.heard.push((partition, oldest, Outcome::Logged));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_keeps_its_order_and_all_that_is_accepted_gets_through(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Send { key } => world.send(key),
                Step::Deliver { partition } => world.deliver(partition),
                Step::GiveUp { partition, written } => world.give_up(partition, written),
                Step::Hear { which } if !world.heard.is_empty() => {
                    world.hear(which.index(world.heard.len()));
                }
                Step::Hear { .. } => {}
                Step::Store => world.store(),
                Step::Drain { which } => world.drain(which.index(1_000)),
                // What was in the transport then is lost or there twice: told so, and another test's business.
                Step::Crash if world.transport.iter().all(|(queue, _)| queue.is_empty())
                    && world.heard.is_empty() => world.crash(),
                // What the transport has then is where it was before.
                Step::Grow if world.transport.iter().all(|(queue, _)| queue.is_empty())
                    && world.heard.is_empty() => world.partitions = MORE_PARTITIONS,
                Step::Crash | Step::Grow => {}
            }
        }
        world.finish();
        let mut seen = BTreeSet::new();
        for log in &world.log {
            let mut last = HashMap::new();
            let mut last_signed = 0;
            for (number, signed) in log {
                let key = world.keys[usize::try_from(*number).unwrap()];
                // A copy of what was in doubt is recognised as one.
                if seen.insert(*number) {
                    // Receivers go by order.
                    prop_assert!(*signed > last_signed, "{number} signed before another: {log:?}");
                    last_signed = *signed;
                    let before = last.insert(key, *number);
                    prop_assert!(before < Some(*number), "{number} after {before:?} of lane {key}: {log:?}");
                }
            }
        }
        let all = u32::try_from(world.keys.len()).unwrap();
        let missing: Vec<u32> = (0..all).filter(|number| !seen.contains(number)).collect();
        prop_assert!(missing.is_empty() || world.crashed, "{missing:?} of {all}");
    }
}
