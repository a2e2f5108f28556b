//! Which partition a key goes to: the choice every Kafka client makes by default.
//!
//! Java's `DefaultPartitioner` hashes the key with a 32-bit MurmurHash2 (seed `0x9747b28c`), clears
//! the sign bit and takes the remainder. The Python and Go services and the Kafka tools do the same,
//! so a key lands in the same partition whoever produces it.

use std::num::NonZeroU32;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;
const SIGN_BIT_CLEAR: u32 = 0x7fff_ffff;

/// The partition of `key` in a topic of `partitions` partitions, as Kafka's default partitioner has it.
///
/// Partitions are `i32` on Kafka's wire; the answer is never negative.
///
/// ```
/// use std::num::NonZeroU32;
/// use cybermesh_contracts::partition::partition_for_key;
///
/// let six = NonZeroU32::new(6).expect("six is not zero");
/// assert_eq!(partition_for_key(b"foobar", six), 0);
/// ```
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: NonZeroU32) -> i32 {
    partition_for_hash(murmur2(key), partitions)
}

/// The same of a key of which only its [`murmur2`] is at hand.
#[must_use]
pub fn partition_for_hash(hash: u32, partitions: NonZeroU32) -> i32 {
    ((hash & SIGN_BIT_CLEAR) % partitions).cast_signed()
}

/// MurmurHash2 of `key`, bit for bit what `org.apache.kafka.common.utils.Utils.murmur2` returns.
///
/// Java's `int` is this number read as signed; all of its arithmetic wraps.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    // Java's arrays end at 2^31 - 1 bytes and so does every Kafka key; the hash only mixes the length in.
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, tail) = key.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        mixed = mixed.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !tail.is_empty() {
        for (index, byte) in (0u32..).zip(tail) {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn every_key_has_a_partition_of_the_topic(
            key in proptest::collection::vec(any::<u8>(), 0..80),
            partitions in 1u32..=100_000,
        ) {
            let partitions = NonZeroU32::new(partitions).expect("at least one");
            let partition = partition_for_key(&key, partitions);
            prop_assert!(partition >= 0 && partition.cast_unsigned() < partitions.get());
        }
    }
}
