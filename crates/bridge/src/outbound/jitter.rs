//! Randomness that a seed decides: enough to spread retries, not to keep secrets.

use std::sync::atomic::{AtomicU64, Ordering};

/// A stream of numbers (SplitMix64: Steele, Lea, Flood 2014) that several tasks may draw from.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number in `0..=most`.
    pub(crate) fn up_to(&self, most: u64) -> u64 {
        let drawn = self.draw();
        match most.checked_add(1) {
            Some(span) => {
                let scaled = (u128::from(drawn) * u128::from(span)) >> 64;
                // `scaled` is below `span`, so it fits.
                u64::try_from(scaled).unwrap_or(most)
            }
            None => drawn,
        }
    }

    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_draws_one_sequence_and_another_seed_another() {
        let draw = |seed| {
            let jitter = Jitter::new(seed);
            [0; 8].map(|_| jitter.up_to(1_000_000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn draws_are_splitmix64() {
        let jitter = Jitter::new(1_234_567);
        assert_eq!(
            [0; 5].map(|_| jitter.up_to(u64::MAX)),
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn draws_reach_both_ends_and_nothing_beyond() {
        let jitter = Jitter::new(1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            seen[usize::try_from(jitter.up_to(3)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!(jitter.up_to(0), 0);
    }
}
