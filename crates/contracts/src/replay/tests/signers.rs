//! Signers of every conduct, over a restart: each with the verdict that the contract gives.

use super::*;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const T0: u64 = 1_760_000_000_000;

/// A partition that is judged in its order, and can be restarted at any time.
struct Partition {
    log: Vec<(i64, Option<Claims>)>,
    replay: PartitionReplay,
    budget: Budget,
}

impl Partition {
    fn new(budget: Budget) -> Self {
        Self {
            log: Vec::new(),
            replay: fresh(),
            budget,
        }
    }

    fn next(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap()
    }

    fn append(&mut self, claims: Claims) -> Judgement {
        let offset = self.next();
        self.log.push((offset, Some(claims)));
        self.replay.judge(offset, BYTES, &claims)
    }

    /// A message that was out of bounds when it was appended: it is buried, and never enters.
    fn append_out_of_bounds(&mut self) {
        let offset = self.next();
        self.log.push((offset, None));
        self.replay.pass_over(offset, BYTES);
    }

    /// A ring full of others goes by, and all is committed.
    fn a_ring_goes_by(&mut self, time_ms: u64) {
        for n in 0..u64::from(small().offsets()) {
            assert_eq!(self.append(node(200, 1, time_ms + n)), Judgement::Accepted);
        }
        self.replay.committed(self.next());
    }

    /// Stores the state with a commit of everything, and goes on from that and the log alone.
    fn restart(&mut self) {
        let watermark = self.next();
        self.replay.committed(watermark);
        let text = self.replay.checkpoint(watermark);
        let text = text.seal(&binding(watermark), self.budget, None).unwrap();
        let snapshot = Snapshot::open(&text.unwrap(), &binding(watermark), &StateKeys::default());
        let mut ring = ReadBack::restored(small(), watermark, snapshot.unwrap());
        for (offset, claims) in &self.log {
            ring.record(*offset, BYTES, 0, claims.as_ref());
        }
        let (replay, origin) = ring.finish(0, u64::MAX);
        assert_eq!(origin, Origin::Restored);
        self.replay = replay;
    }
}

#[test]
fn an_old_copy_of_a_signer_that_was_silent_for_days_does_not_pass_after_a_restart() {
    let mut partition = Partition::new(Budget::COMMIT);
    let old = node(1, 1, T0);
    assert_eq!(partition.append(old), Judgement::Accepted);
    for days in 1..10 {
        partition.a_ring_goes_by(T0 + days * DAY_MS);
        partition
            .replay
            .forget_stale(T0 + days * DAY_MS, 7 * DAY_MS);
        partition.restart();
        assert_eq!(
            partition.append(old),
            Judgement::Replay,
            "{days} days later"
        );
    }
    // It is heard of again: what it signs now is new.
    let now = node(1, 1, T0 + 9 * DAY_MS + 1_000);
    assert_eq!(partition.append(now), Judgement::Accepted);
}

#[test]
fn a_node_whose_clock_jumped_290_s_ahead_and_back_goes_on_as_another_instance() {
    let mut partition = Partition::new(Budget::COMMIT);
    let mut nonces = crate::nonce::NonceSource::ephemeral(1);
    let mut signed = |now_ms: u64, content: u8| {
        let crate::nonce::Next::Nonce(nonce) = nonces.next(now_ms, || 2).unwrap() else {
            panic!("it keeps nothing")
        };
        Claims::of(Claim::with_nonce(key(1), nonce.as_bytes(), [content; 32]))
    };
    let before = signed(T0, 1);
    let ahead = signed(T0 + 290_000, 2);
    let after = signed(T0 + 1_000, 3);
    assert_eq!(partition.append(before), Judgement::Accepted);
    assert_eq!(partition.append(ahead), Judgement::Accepted);
    partition.a_ring_goes_by(T0 + 300_000);
    partition.restart();
    assert_eq!(partition.append(after), Judgement::Accepted);
    for copy in [before, ahead] {
        assert_eq!(partition.append(copy), Judgement::Replay);
    }
}

#[test]
fn a_backend_whose_clock_jumped_290_s_ahead_and_back_is_believed_within_the_ring_and_not_after_it()
{
    let second = i64::try_from(T0 / 1000).unwrap();
    let mut partition = Partition::new(Budget::COMMIT);
    assert_eq!(
        partition.append(control(1, second + 290, 1)),
        Judgement::Accepted
    );
    assert_eq!(
        partition.append(control(1, second + 1, 2)),
        Judgement::Accepted
    );
    partition.restart();
    assert_eq!(
        partition.append(control(1, second + 2, 3)),
        Judgement::Accepted
    );
    partition.a_ring_goes_by(T0 + 300_000);
    partition.restart();
    assert_eq!(
        partition.append(control(1, second + 289, 4)),
        Judgement::Replay
    );
    assert_eq!(
        partition.append(control(1, second + 291, 5)),
        Judgement::Accepted
    );
}

#[test]
fn a_signer_that_was_six_hours_ahead_for_a_while_is_believed_as_soon_as_it_is_not() {
    let mut partition = Partition::new(Budget::COMMIT);
    assert_eq!(partition.append(node(1, 1, T0)), Judgement::Accepted);
    for _ in 0..5 {
        partition.append_out_of_bounds();
    }
    partition.a_ring_goes_by(T0 + 60_000);
    partition.restart();
    assert_eq!(
        partition.append(node(1, 1, T0 + 1_000)),
        Judgement::Accepted
    );
    // What it signed ahead of time is late by now, and is in nobody's way.
    partition.a_ring_goes_by(T0 + 6 * HOUR_MS + 60_000);
    partition.restart();
    let signed_ahead = node(1, 1, T0 + 6 * HOUR_MS);
    assert_eq!(partition.append(signed_ahead), Judgement::Accepted);
}

#[test]
fn an_instance_that_drains_hours_late_passes_beside_one_of_its_key_that_does_not() {
    let mut partition = Partition::new(Budget::COMMIT);
    assert_eq!(partition.append(node(1, 1, T0)), Judgement::Accepted);
    for hour in 0..5 {
        assert_eq!(
            partition.append(node(1, 2, T0 + hour * HOUR_MS)),
            Judgement::Accepted
        );
        partition.a_ring_goes_by(T0 + hour * HOUR_MS);
        partition.restart();
    }
    // Known by its first message, and in its own order; and one that nobody heard of.
    for (instance, late) in [(1, T0 + 1), (1, T0 + 2), (3, T0 + 3)] {
        assert_eq!(
            partition.append(node(1, instance, late)),
            Judgement::Accepted
        );
    }
    partition.a_ring_goes_by(T0 + 6 * HOUR_MS);
    partition.restart();
    for (instance, copy) in [(1, T0), (1, T0 + 2), (2, T0 + 4 * HOUR_MS), (3, T0 + 3)] {
        assert_eq!(partition.append(node(1, instance, copy)), Judgement::Replay);
    }
}

#[test]
fn of_a_hundred_instances_of_a_key_the_newest_eight_are_known_and_the_others_share_one_value() {
    let mut partition = Partition::new(Budget::COMMIT);
    // Far off: an hour between each, from below and from above.
    let time_of = |instance: u64| {
        let hours = if instance.is_multiple_of(2) {
            instance
        } else {
            200 - instance
        };
        T0 + hours * HOUR_MS
    };
    for instance in 0..100_u32 {
        let time_ms = time_of(u64::from(instance));
        assert_eq!(
            partition.append(node(1, instance, time_ms)),
            Judgement::Accepted
        );
    }
    partition.a_ring_goes_by(T0 + 300 * HOUR_MS);
    partition.restart();
    for instance in 0..100_u32 {
        let copy = node(1, instance, time_of(u64::from(instance)));
        assert_eq!(
            partition.append(copy),
            Judgement::Replay,
            "instance {instance}"
        );
    }
    // Odd ones count down from 199: the eight newest are 1 to 15, and the fold is that of 17.
    let fold = time_of(17);
    assert_eq!(partition.append(node(1, 1000, fold)), Judgement::Replay);
    assert_eq!(
        partition.append(node(1, 1000, fold + 1)),
        Judgement::Accepted
    );
    assert_eq!(
        partition.append(node(1, 15, time_of(15) + 1)),
        Judgement::Accepted
    );
}

#[test]
fn ten_thousand_signers_fold_into_a_floor_that_lets_no_copy_pass_and_nothing_new_be_lost() {
    const SIGNERS: u32 = 10_000;
    let claims = |signer: u32, time_ms: u64| {
        let mut id = [7; 8];
        id[..4].copy_from_slice(&signer.to_be_bytes());
        let nonce = crate::nonce::Nonce::new(time_ms, 1, 0);
        Claims::of(Claim::with_nonce(KeyId(id), nonce.as_bytes(), [1; 32]))
    };
    for (budget, late) in [
        (Budget::COMMIT, Judgement::Replay),
        (Budget::WHOLE, Judgement::Accepted),
    ] {
        let mut partition = Partition::new(budget);
        for signer in 0..SIGNERS {
            let time_ms = T0 + u64::from(signer) * 1_000;
            assert_eq!(
                partition.append(claims(signer, time_ms)),
                Judgement::Accepted
            );
        }
        let end_ms = T0 + u64::from(SIGNERS) * 1_000;
        partition.a_ring_goes_by(end_ms);
        partition.restart();
        for signer in (0..SIGNERS).step_by(97) {
            let copy = claims(signer, T0 + u64::from(signer) * 1_000);
            assert_eq!(partition.append(copy), Judgement::Replay);
            let fresh = claims(signer, end_ms + 1_000);
            assert_eq!(partition.append(fresh), Judgement::Accepted);
        }
        // Genuine, of a signer that did not fit, and older than the floor: lost with the commit alone.
        assert_eq!(partition.append(claims(1, T0 + 2_000)), late);
    }
}
