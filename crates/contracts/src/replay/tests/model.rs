//! The judge against a model that remembers everything.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::replay::claim::Value;

#[derive(Clone, Debug)]
enum Step {
    /// A message of a signer, `late` behind the newest it signed.
    Send { signer: u8, ahead: u64, late: u64 },
    /// A copy of any earlier record.
    Copy(Index),
    /// An old message redriven.
    Redrive(Index),
    /// A record that is not authentic.
    Garbage,
    /// Offsets that compaction took away.
    Gap(u8),
    /// Commits so far behind the judged position.
    Commit { behind: i64 },
    /// Ends, and starts again from the last commit.
    Restart,
}

fn steps(signers: u8) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..signers, 0..4u64, prop_oneof![3 => Just(0), 1 => 0..60u64])
            .prop_map(|(signer, ahead, late)| Step::Send { signer, ahead, late }),
        5 => any::<Index>().prop_map(Step::Copy),
        1 => any::<Index>().prop_map(Step::Redrive),
        1 => Just(Step::Garbage),
        1 => (1..20u8).prop_map(Step::Gap),
        3 => (0..12i64).prop_map(|behind| Step::Commit { behind }),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Everything that was ever accepted, and the rules as the contract words them.
struct Model {
    limits: RingLimits,
    accepted: Vec<(i64, Claim)>,
    first: i64,
    /// Seconds that were loaded are closed, by key.
    closed: HashMap<SignerId, u64>,
}

impl Model {
    fn judge(&self, offset: i64, claim: &Claim) -> Judgement {
        let ring: Vec<_> = self
            .accepted
            .iter()
            .filter(|(at, _)| *at >= self.first)
            .collect();
        if ring
            .iter()
            .any(|(at, other)| *at == offset && other == claim)
        {
            return Judgement::Redelivered;
        }
        if ring.iter().any(|(_, other)| other == claim) {
            return Judgement::Duplicate;
        }
        let is_node = matches!(claim.signer, SignerId::Instance { .. });
        let same_value = |other: &Claim| other.signer == claim.signer && other.value == claim.value;
        if is_node && ring.iter().any(|(_, other)| same_value(other)) {
            return Judgement::Replay;
        }
        let left = || {
            self.accepted
                .iter()
                .filter(|(at, _)| *at < self.first)
                .map(|(_, claim)| claim)
        };
        let settled = left()
            .filter(|other| other.signer == claim.signer)
            .map(|other| other.value)
            .max();
        let is_old = match settled {
            None => false,
            Some(settled) if claim.value == settled && !is_node => {
                self.closed
                    .get(&claim.signer)
                    .is_some_and(|second| claim.value.time <= *second)
                    || left().any(|other| other == claim)
            }
            Some(settled) => claim.value <= settled,
        };
        if is_old {
            Judgement::Replay
        } else {
            Judgement::Accepted
        }
    }

    fn commit(&mut self, watermark: i64, log: &[Record]) {
        let mut first = (watermark - i64::from(self.limits.offsets())).max(0);
        let mut bytes = 0;
        for record in log.iter().rev().filter(|record| record.offset < watermark) {
            bytes += record.bytes;
            if bytes > self.limits.bytes() {
                first = first.max(record.offset + 1);
                break;
            }
        }
        self.first = self.first.max(first);
    }

    /// The ring is what the log has between its first offset and the watermark.
    fn restart(&mut self, watermark: i64, log: &[Record]) {
        let first = self.first;
        self.accepted.retain(|(at, _)| *at < first);
        for (_, claim) in &self.accepted {
            if let SignerId::Key(_) = claim.signer {
                let second = self.closed.entry(claim.signer).or_insert(0);
                *second = claim.value.time.max(*second);
            }
        }
        for record in log
            .iter()
            .filter(|record| (first..watermark).contains(&record.offset))
        {
            let Some(claims) = record.claims else {
                continue;
            };
            let judged = claims.judged;
            let is_node = matches!(judged.signer, SignerId::Instance { .. });
            let is_known = self.accepted.iter().any(|(at, other)| {
                *at >= first
                    && (*other == judged
                        || is_node && other.signer == judged.signer && other.value == judged.value)
            });
            if !is_known {
                self.accepted
                    .extend(claims.all().map(|claim| (record.offset, claim)));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Record {
    offset: i64,
    bytes: usize,
    claims: Option<Claims>,
}

/// Signers, a log, the judge and who remembers where each message was handed on.
struct World {
    limits: RingLimits,
    budget: Budget,
    clocks: HashMap<u8, u64>,
    sequence: u32,
    next_offset: i64,
    log: Vec<Record>,
    replay: PartitionReplay,
    stored: Option<(i64, String)>,
    handed_on: HashMap<Claim, i64>,
}

impl World {
    fn new(limits: RingLimits, budget: Budget) -> Self {
        Self {
            limits,
            budget,
            clocks: HashMap::new(),
            sequence: 0,
            next_offset: 0,
            log: Vec::new(),
            replay: PartitionReplay::at_start_of_log(limits, 0),
            stored: None,
            handed_on: HashMap::new(),
        }
    }

    /// Times are in eighths of a second, so that control messages share seconds and all share a clock.
    /// Every third signer signs control messages; signers share keys, so that keys have instances.
    fn claim(&mut self, signer: u8, ahead: u64, late: u64) -> Claim {
        let clock = self.clocks.entry(signer).or_insert(1_000);
        *clock += ahead;
        let time = *clock - late;
        self.sequence += 1;
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&self.sequence.to_be_bytes());
        let key = key(signer / 12);
        if signer.is_multiple_of(3) {
            Claim {
                signer: SignerId::Key(self::key(100 + signer)),
                value: Value {
                    time: time / 8,
                    counter: 0,
                },
                digest,
            }
        } else {
            let signer = SignerId::Instance {
                key,
                instance: signer.into(),
            };
            Claim {
                signer,
                value: Value {
                    time: time * 125,
                    counter: self.sequence,
                },
                digest,
            }
        }
    }

    fn append(&mut self, claims: Option<Claims>) -> Record {
        let bytes = 50 + usize::try_from(self.next_offset % 7).unwrap() * 30;
        let record = Record {
            offset: self.next_offset,
            bytes,
            claims,
        };
        self.next_offset += 1;
        self.log.push(record);
        record
    }

    fn judge(&mut self, record: Record) -> Option<Judgement> {
        let Some(claims) = record.claims else {
            self.replay.pass_over(record.offset, record.bytes);
            return None;
        };
        let judgement = self.replay.judge(record.offset, record.bytes, &claims);
        if judgement.passes() {
            let at = *self.handed_on.entry(claims.judged).or_insert(record.offset);
            assert_eq!(at, record.offset, "{claims:?} was handed on at two offsets");
        }
        Some(judgement)
    }

    fn commit(&mut self, behind: i64) -> i64 {
        let committed = self.stored.as_ref().map_or(0, |(watermark, _)| *watermark);
        let watermark = (self.replay.judged_position() - behind).max(committed);
        let snapshot = self.replay.checkpoint(watermark);
        let text = snapshot
            .seal(&binding(watermark), self.budget, None)
            .unwrap()
            .unwrap();
        self.stored = Some((watermark, text));
        self.replay.committed(watermark);
        watermark
    }

    /// Starts from the last commit; what comes after it is to be judged again.
    fn restart(&mut self) -> (i64, Vec<Record>) {
        let watermark = match &self.stored {
            None => {
                self.replay = PartitionReplay::at_start_of_log(self.limits, 0);
                0
            }
            Some((watermark, text)) => {
                let snapshot =
                    Snapshot::open(text, &binding(*watermark), &StateKeys::default()).unwrap();
                let mut read_back = ReadBack::restored(self.limits, *watermark, snapshot);
                for record in &self.log {
                    read_back.record(record.offset, record.bytes, 0, record.claims.as_ref());
                }
                let (replay, origin) = read_back.finish(0, u64::MAX);
                assert_eq!(origin, Origin::Restored);
                self.replay = replay;
                *watermark
            }
        };
        let again = self
            .log
            .iter()
            .copied()
            .filter(|record| record.offset >= watermark);
        (watermark, again.collect())
    }

    /// The record that this step appends, where it appends one.
    fn record_of(&mut self, step: &Step) -> Option<Record> {
        let claims = match step {
            Step::Send {
                signer,
                ahead,
                late,
            } => Some(Claims::of(self.claim(*signer, *ahead, *late))),
            Step::Copy(of) => of.get_checked(&self.log)?.claims,
            Step::Redrive(of) => {
                let original = of.get_checked(&self.log)?.claims?;
                let redrive = self.claim(250, 1, 0);
                Some(Claims::redriven(
                    redrive,
                    original.original.unwrap_or(original.judged),
                ))
            }
            Step::Garbage => None,
            Step::Gap(offsets) => {
                self.next_offset += i64::from(*offsets);
                return None;
            }
            Step::Commit { .. } | Step::Restart => return None,
        };
        Some(self.append(claims))
    }
}

trait GetChecked {
    fn get_checked<'a, T>(&self, from: &'a [T]) -> Option<&'a T>;
}

impl GetChecked for Index {
    fn get_checked<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| self.get(from))
    }
}

fn limits() -> impl Strategy<Value = RingLimits> {
    prop_oneof![
        Just(small()),
        Just(RingLimits::new(40).unwrap()),
        Just(small().with_bytes(900))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Few enough signers that nothing folds: every judgement is the model's, across restarts.
    #[test]
    fn every_judgement_is_that_of_a_model_which_remembers_everything(limits in limits(), steps in steps(9)) {
        let mut world = World::new(limits, Budget::COMMIT);
        let mut model = Model { limits, accepted: Vec::new(), first: 0, closed: HashMap::new() };
        for step in &steps {
            let mut to_judge: Vec<_> = world.record_of(step).into_iter().collect();
            match step {
                Step::Commit { behind } => {
                    let watermark = world.commit(*behind);
                    model.commit(watermark, &world.log);
                }
                Step::Restart => {
                    let (watermark, again) = world.restart();
                    model.restart(watermark, &world.log);
                    to_judge.extend(again);
                }
                _ => {}
            }
            for record in to_judge {
                let expected = record.claims.map(|claims| model.judge(record.offset, &claims.judged));
                if expected == Some(Judgement::Accepted) {
                    let claims = record.claims.unwrap();
                    model.accepted.extend(claims.all().map(|claim| (record.offset, claim)));
                }
                prop_assert_eq!(world.judge(record), expected, "offset {}", record.offset);
            }
        }
    }

    /// More signers and instances than are listed or fit: whatever folds, no message is handed on at
    /// two offsets, what is newer than everything passes, and memory stays within its bounds.
    #[test]
    fn no_message_is_ever_handed_on_at_two_offsets(limits in limits(), steps in steps(60), halvings in 0..5) {
        let mut budget = Budget::COMMIT;
        for _ in 0..halvings {
            budget = budget.halved().unwrap_or(budget);
        }
        let mut world = World::new(limits, budget);
        let mut newest = 1_000;
        for step in &steps {
            if let Step::Send { signer, .. } = step {
                // One clock for all: the floor binds whoever is not listed.
                world.clocks.insert(*signer, newest);
            }
            if let Some(record) = world.record_of(step) {
                let judgement = world.judge(record);
                if let Step::Send { signer, late: 0, .. } = step && !signer.is_multiple_of(3) {
                    let time_ms = record.claims.unwrap().judged.time_ms();
                    if time_ms > newest * 125 {
                        prop_assert_eq!(judgement, Some(Judgement::Accepted));
                    }
                }
            }
            newest = world.clocks.values().copied().max().unwrap_or(newest);
            match step {
                Step::Commit { behind } => {
                    world.commit(*behind);
                    prop_assert!(world.replay.ring_len() <= 2 * usize::from(limits.offsets()) + 24);
                }
                Step::Restart => {
                    let (_, again) = world.restart();
                    for record in again {
                        world.judge(record);
                    }
                }
                _ => {}
            }
        }
    }
}
