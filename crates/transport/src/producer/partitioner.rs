//! Which partition a record goes to, as Java's producer has it by default (KIP-480, KIP-794).
//!
//! A key decides by its murmur2, so that equal keys meet in one partition whoever sends them. Records without a key stay
//! on one partition for a batch's worth of bytes and then move to the next, so that batches fill although there are many
//! partitions; partitions without a leader are passed over while others have one. Unlike Java's, the choice does not
//! look at how quickly each partition drains (`partitioner.adaptive.partitioning.enable`).

use std::{collections::HashMap, num::NonZeroU32};

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;
const SIGN_BIT_CLEAR: u32 = 0x7fff_ffff;

/// The partition of `key` in a topic of `partitions` partitions: what every Kafka client chooses by default.
///
/// ```
/// use std::num::NonZeroU32;
/// use cybermesh_transport::producer::partition_for_key;
///
/// let six = NonZeroU32::new(6).expect("six is not zero");
/// assert_eq!(partition_for_key(b"foobar", six), 0);
/// ```
pub fn partition_for_key(key: &[u8], partitions: NonZeroU32) -> i32 {
    ((murmur2(key) & SIGN_BIT_CLEAR) % partitions).cast_signed()
}

/// MurmurHash2 as `org.apache.kafka.common.utils.Utils.murmur2` has it; Java's `int` is this read as signed.
fn murmur2(key: &[u8]) -> u32 {
    let mix = |word: u32| {
        let mixed = word.wrapping_mul(MULTIPLIER);
        (mixed ^ (mixed >> SHIFT)).wrapping_mul(MULTIPLIER)
    };
    // No key is longer than Java's arrays; the hash only mixes the length in.
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        hash.wrapping_mul(MULTIPLIER) ^ mix(u32::from_le_bytes(*word))
    });
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// Where records without a key go at present, by topic.
#[derive(Debug)]
pub(super) struct Sticky {
    batch_bytes: usize,
    topics: HashMap<String, Stuck>,
}

#[derive(Debug, Clone, Copy)]
struct Stuck {
    partition: usize,
    bytes: usize,
}

impl Sticky {
    /// Moves on after `batch_bytes`.
    pub(super) fn new(batch_bytes: usize) -> Self {
        Self {
            batch_bytes,
            topics: HashMap::new(),
        }
    }

    /// The partition of the next record, which takes `bytes`. `led` tells for each partition of the topic whether it
    /// has a leader.
    pub(super) fn choose(&mut self, topic: &str, led: &[bool], bytes: usize) -> i32 {
        let stuck = match self.topics.get(topic) {
            // Not all producers of a program begin with the same one.
            None => Stuck {
                partition: following(led, start(led.len())),
                bytes: 0,
            },
            Some(stuck)
                if stuck.bytes.saturating_add(bytes) > self.batch_bytes
                    || !led.get(stuck.partition).is_some_and(|is_led| *is_led) =>
            {
                Stuck {
                    partition: following(led, stuck.partition + 1),
                    bytes: 0,
                }
            }
            Some(stuck) => *stuck,
        };
        let next = Stuck {
            bytes: stuck.bytes.saturating_add(bytes),
            ..stuck
        };
        match self.topics.get_mut(topic) {
            Some(stuck) => *stuck = next,
            None => {
                self.topics.insert(topic.to_owned(), next);
            }
        }
        i32::try_from(next.partition).unwrap_or(0)
    }
}

/// The first partition with a leader from `from` on, round the end; `from` itself where none has one.
fn following(led: &[bool], from: usize) -> usize {
    let count = led.len().max(1);
    (0..count)
        .map(|step| (from + step) % count)
        .find(|partition| led.get(*partition).is_some_and(|is_led| *is_led))
        .unwrap_or(from % count)
}

fn start(count: usize) -> usize {
    // Without randomness every producer starts at the same partition, and nothing else is lost.
    let random = crate::host::random_u64().unwrap_or(0);
    usize::try_from(random % u64::try_from(count.max(1)).unwrap_or(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_those_of_apache_kafkas_own_test() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ];
        for (key, java) in cases {
            assert_eq!(murmur2(key).cast_signed(), java, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_partition_of_the_topic(key: Vec<u8>, partitions in 1_u32..=100_000) {
            let partition = partition_for_key(&key, NonZeroU32::new(partitions).unwrap());
            prop_assert!((0..partitions.cast_signed()).contains(&partition));
        }

        #[test]
        fn without_a_key_no_partition_without_a_leader_is_chosen_while_another_has_one(
            leds in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..6), 1..40),
            bytes in 1_usize..60
        ) {
            let mut sticky = Sticky::new(100);
            for led in leds {
                let chosen = usize::try_from(sticky.choose("t", &led, bytes)).unwrap();
                prop_assert!(chosen < led.len());
                prop_assert!(led[chosen] || led.iter().all(|led| !led));
            }
        }

        #[test]
        fn without_a_key_a_partition_gets_a_batchs_worth_and_all_get_as_much(
            sizes in prop::collection::vec(1_usize..=100, 1..200), partitions in 1_usize..5
        ) {
            let mut sticky = Sticky::new(100);
            let led = vec![true; partitions];
            let mut runs: Vec<(i32, usize)> = Vec::new();
            for bytes in &sizes {
                let chosen = sticky.choose("t", &led, *bytes);
                match runs.last_mut() {
                    Some(run) if run.0 == chosen && run.1 + bytes <= 100 => run.1 += bytes,
                    _ => runs.push((chosen, *bytes)),
                }
            }
            for pair in runs.windows(2) {
                let next = (usize::try_from(pair[0].0).unwrap() + 1) % partitions;
                prop_assert_eq!(usize::try_from(pair[1].0).unwrap(), next);
            }
        }
    }

    #[test]
    fn topics_stick_on_their_own() {
        let mut sticky = Sticky::new(100);
        let led = [true; 8];
        let (a, b) = (sticky.choose("a", &led, 60), sticky.choose("b", &led, 60));
        assert_eq!(sticky.choose("a", &led, 40), a);
        assert_eq!(sticky.choose("b", &led, 41), (b + 1) % 8);
    }

    #[test]
    fn a_record_larger_than_a_batch_moves_on_each_time() {
        let mut sticky = Sticky::new(100);
        let first = sticky.choose("t", &[true; 3], 500);
        assert_eq!(sticky.choose("t", &[true; 3], 500), (first + 1) % 3);
    }
}
