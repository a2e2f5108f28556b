//! Ids that nobody chose.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Random ids, or the same ones in every run with the same seed.
#[derive(Debug, Default)]
pub(crate) struct Ids(Option<(u64, AtomicU64)>);

impl Ids {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Some((seed, AtomicU64::new(0))))
    }

    pub(crate) fn next(&self) -> Uuid {
        match &self.0 {
            None => Uuid::new_v4(),
            Some((seed, given)) => {
                let count = given.fetch_add(1, Ordering::Relaxed);
                Uuid::from_u64_pair(mixed(*seed, count), mixed(!*seed, count))
            }
        }
    }
}

/// SplitMix64, which spreads numbers that follow one another.
fn mixed(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_again_and_each_once() {
        let ids = |seed| {
            let ids = Ids::seeded(seed);
            [(); 8].map(|()| ids.next())
        };
        assert_eq!(ids(1), ids(1));
        let all: std::collections::BTreeSet<_> = ids(1).into_iter().chain(ids(2)).collect();
        assert_eq!(all.len(), 16);
    }
}
