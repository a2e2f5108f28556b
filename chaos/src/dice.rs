//! Chance that a seed decides.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to choose faults by.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of their own for each `purpose` under one seed.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mixed = purpose
            .bytes()
            .fold(seed, |state, byte| Self(state ^ u64::from(byte)).next());
        Self(mixed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these, of which there is one at least.
    pub(crate) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let length = u64::try_from(of.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(self.below(length)).unwrap_or(0);
        &of[at]
    }

    /// Between these, both included.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX);
        from + Duration::from_millis(self.below(span.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_purpose_decide_everything() {
        let rolls = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            [(); 4].map(|()| dice.next())
        };
        assert_eq!(rolls(7, "brokers"), rolls(7, "brokers"));
        assert_ne!(rolls(7, "brokers"), rolls(7, "senders"));
        assert_ne!(rolls(7, "brokers"), rolls(8, "brokers"));
    }

    #[test]
    fn what_lies_between_lies_between() {
        let mut dice = Dice::new(1, "");
        let [from, to] = [3, 5].map(Duration::from_millis);
        let drawn: std::collections::BTreeSet<_> =
            (0..100).map(|_| dice.between(from, to)).collect();
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().all(|one| (from..=to).contains(one)));
    }
}
