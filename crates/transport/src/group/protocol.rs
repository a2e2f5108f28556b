//! What members of a group tell each other through the coordinator, which does not look inside.
//!
//! Subscription: version (2 bytes), topics, user data; from version 1 owned partitions (KIP-429), from 2 a generation
//! (KIP-792), from 3 a rack. Assignment: version, partitions by topic, user data. Later versions only add at the end, and a reader takes
//! of them what it knows. Source: `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json` of Kafka.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

/// The version written. Members of any age read it.
const VERSION: i16 = 3;

/// What another member sent makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of a group member is malformed")]
pub(super) struct MalformedMember(&'static str);

/// What a member wants and what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<String>,
    /// What it holds and does not mean to give up, partitions by topic (KIP-429). Nothing where rebalances are eager.
    pub(super) owned: BTreeMap<String, Vec<i32>>,
    /// The generation it holds that in; −1 in none (KIP-792).
    pub(super) generation: i32,
}

/// Writes a subscription. The generation goes into the user data too where `in_user_data` says so: there Java's
/// `CooperativeStickyAssignor` kept it before version 2.
pub(super) fn encode_subscription(
    subscription: &Subscription,
    in_user_data: bool,
) -> Option<Vec<u8>> {
    let generation = subscription.generation.to_be_bytes();
    let mut out = VERSION.to_be_bytes().to_vec();
    put_len(&mut out, subscription.topics.len())?;
    for topic in &subscription.topics {
        put_string(&mut out, topic)?;
    }
    if in_user_data {
        put_len(&mut out, generation.len())?;
        out.extend_from_slice(&generation);
    } else {
        let null_bytes = -1_i32;
        out.extend_from_slice(&null_bytes.to_be_bytes());
    }
    put_partitions(&mut out, &subscription.owned)?;
    out.extend_from_slice(&generation);
    let no_rack = -1_i16;
    out.extend_from_slice(&no_rack.to_be_bytes());
    Some(out)
}

/// What a member wants and has. The generation is looked for in the user data where it is not told in its own place, as
/// Java does.
pub(super) fn decode_subscription(mut bytes: Bytes) -> Result<Subscription, MalformedMember> {
    let mut read = || -> Option<Subscription> {
        let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
        let count = get_len(&mut bytes, 2)?;
        let topics: Option<Vec<String>> = (0..count).map(|_| get_string(&mut bytes)).collect();
        let user_data = get_nullable_bytes(&mut bytes)?;
        // There are clients that write a later version's number and stop where an earlier one ends.
        let owned = if version >= 1 && !bytes.is_empty() {
            get_partitions(&mut bytes)?
        } else {
            Vec::new()
        };
        let told = if version >= 2 && !bytes.is_empty() {
            bytes.try_get_i32().ok()?
        } else {
            -1
        };
        let in_user_data = || user_data.and_then(|mut bytes| bytes.try_get_i32().ok());
        let generation = (told >= 0).then_some(told).or_else(in_user_data);
        let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partitions) in owned {
            by_topic.entry(topic).or_default().extend(partitions);
        }
        Some(Subscription {
            topics: topics?,
            owned: by_topic,
            generation: generation.unwrap_or(-1).max(-1),
        })
    };
    read().ok_or(MalformedMember("subscription"))
}

/// What a member gets.
pub(super) fn encode_assignment(partitions: &BTreeMap<String, Vec<i32>>) -> Option<Vec<u8>> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_partitions(&mut out, partitions)?;
    let null_bytes = -1_i32;
    out.extend_from_slice(&null_bytes.to_be_bytes());
    Some(out)
}

/// What this member got, in the order given. No bytes at all mean nothing.
pub(super) fn decode_assignment(
    mut bytes: Bytes,
) -> Result<Vec<(String, Vec<i32>)>, MalformedMember> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut read = || -> Option<Vec<(String, Vec<i32>)>> {
        let _version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
        get_partitions(&mut bytes)
    };
    read().ok_or(MalformedMember("assignment"))
}

fn put_len(out: &mut Vec<u8>, len: usize) -> Option<()> {
    out.extend_from_slice(&i32::try_from(len).ok()?.to_be_bytes());
    Some(())
}

fn put_string(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&i16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn put_partitions(out: &mut Vec<u8>, by_topic: &BTreeMap<String, Vec<i32>>) -> Option<()> {
    put_len(out, by_topic.len())?;
    for (topic, partitions) in by_topic {
        put_string(out, topic)?;
        put_len(out, partitions.len())?;
        for partition in partitions {
            out.extend_from_slice(&partition.to_be_bytes());
        }
    }
    Some(())
}

fn get_partitions(bytes: &mut Bytes) -> Option<Vec<(String, Vec<i32>)>> {
    let topics = get_len(bytes, 6)?;
    (0..topics)
        .map(|_| {
            let topic = get_string(bytes)?;
            let count = get_len(bytes, 4)?;
            let partitions: Option<Vec<i32>> = (0..count)
                .map(|_| bytes.try_get_i32().ok().filter(|partition| *partition >= 0))
                .collect();
            Some((topic, partitions?))
        })
        .collect()
}

/// Null is −1 as a length.
fn get_nullable_bytes(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let len = bytes.try_get_i32().ok()?;
    if len == -1 {
        return Some(None);
    }
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= bytes.len())?;
    Some(Some(bytes.split_to(len)))
}

/// A number of elements that can still follow, each of at least `at_least` bytes.
fn get_len(bytes: &mut Bytes, at_least: usize) -> Option<usize> {
    let len = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    (len <= bytes.len() / at_least).then_some(len)
}

fn get_string(bytes: &mut Bytes) -> Option<String> {
    let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    if len > bytes.len() {
        return None;
    }
    String::from_utf8(bytes.split_to(len).into()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_subscription_reads_back(
            topics: Vec<String>, owned: BTreeMap<String, Vec<u16>>, generation in -1..i32::MAX, in_user_data: bool
        ) {
            let owned = owned.into_iter()
                .map(|(topic, partitions)| (topic, partitions.into_iter().map(i32::from).collect())).collect();
            let subscription = Subscription { topics, owned, generation };
            let bytes = encode_subscription(&subscription, in_user_data).unwrap();
            prop_assert_eq!(decode_subscription(bytes.into()), Ok(subscription));
        }

        #[test]
        fn an_assignment_reads_back(partitions: BTreeMap<String, Vec<u16>>) {
            let partitions: BTreeMap<_, Vec<i32>> = partitions.into_iter()
                .map(|(topic, partitions)| (topic, partitions.into_iter().map(i32::from).collect())).collect();
            let bytes = encode_assignment(&partitions).unwrap();
            prop_assert_eq!(decode_assignment(bytes.into()), Ok(partitions.into_iter().collect()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode_subscription(bytes.clone().into());
            let _ = decode_assignment(bytes.into());
        }
    }

    /// As Java's `ConsumerProtocol.serializeSubscription` writes them: topics `["t"]`, user data, then what each
    /// version adds.
    fn javas(version: u8, user_data: &[u8], added: &[u8]) -> Bytes {
        let topics = [0, version, 0, 0, 0, 1, 0, 1, b't'];
        Bytes::from([&topics[..], user_data, added].concat())
    }

    #[test]
    fn every_version_of_a_subscription_is_read() {
        const NULL: [u8; 4] = [0xff; 4];
        const OWNED: [u8; 15] = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7];
        let in_user_data = [0, 0, 0, 4, 0, 0, 0, 9];
        let read = |version, user_data: &[u8], added: &[u8]| {
            let read = decode_subscription(javas(version, user_data, added)).unwrap();
            assert_eq!(read.topics, ["t"]);
            (read.owned.get("t").cloned(), read.generation)
        };
        let owned = Some(vec![7]);
        assert_eq!(read(0, &NULL, &[]), (None, -1));
        assert_eq!(read(0, &in_user_data, &[]), (None, 9));
        assert_eq!(read(3, &in_user_data, &[]), (None, 9));
        assert_eq!(read(1, &NULL, &OWNED), (owned.clone(), -1));
        assert_eq!(read(1, &in_user_data, &OWNED), (owned.clone(), 9));
        let generation = [&OWNED[..], &[0, 0, 0, 11]].concat();
        assert_eq!(read(2, &in_user_data, &generation), (owned.clone(), 11));
        let none = [&OWNED[..], &NULL].concat();
        assert_eq!(read(2, &in_user_data, &none), (owned.clone(), 9));
        let rack = [&generation[..], &[0, 1, b'r']].concat();
        assert_eq!(read(3, &NULL, &rack), (owned.clone(), 11));
        let more = [&rack[..], &[1, 2, 3]].concat();
        assert_eq!(read(4, &NULL, &more), (owned, 11));
    }

    #[test]
    fn a_subscription_is_written_as_javas_cooperative_sticky_assignor_writes_it() {
        let subscription = Subscription {
            topics: vec!["t".into()],
            owned: BTreeMap::from([("t".into(), vec![7])]),
            generation: 11,
        };
        let added = [
            0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 11, 0xff, 0xff,
        ];
        let written = encode_subscription(&subscription, true).unwrap();
        assert_eq!(written, javas(3, &[0, 0, 0, 4, 0, 0, 0, 11], &added));
        let written = encode_subscription(&subscription, false).unwrap();
        assert_eq!(written, javas(3, &[0xff; 4], &added));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_memory_is_taken() {
        let bytes = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, b't'];
        assert_eq!(
            decode_subscription(Bytes::copy_from_slice(&bytes)),
            Err(MalformedMember("subscription"))
        );
        assert_eq!(
            decode_assignment(Bytes::copy_from_slice(&bytes)),
            Err(MalformedMember("assignment"))
        );
    }
}
