//! What members of a group tell each other through the coordinator, which does not look inside.
//!
//! Subscription: version (2 bytes), topics, user data; from version 1 owned partitions, from 2 a generation, from 3 a
//! rack. Assignment: version, partitions by topic, user data. Later versions only add at the end, and a reader takes
//! of them what it knows. Source: `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json` of Kafka.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

/// The version written. Members of any age read it.
const VERSION: i16 = 3;

/// What another member sent makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of a group member is malformed")]
pub(super) struct MalformedMember(&'static str);

/// What a member wants: topics. It owns nothing when it joins, since rebalances are eager.
pub(super) fn encode_subscription(topics: &[impl AsRef<str>]) -> Option<Vec<u8>> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_len(&mut out, topics.len())?;
    for topic in topics {
        put_string(&mut out, topic.as_ref())?;
    }
    let (null_bytes, no_partitions, no_generation, null_string) = (-1_i32, 0_i32, -1_i32, -1_i16);
    out.extend_from_slice(&null_bytes.to_be_bytes());
    out.extend_from_slice(&no_partitions.to_be_bytes());
    out.extend_from_slice(&no_generation.to_be_bytes());
    out.extend_from_slice(&null_string.to_be_bytes());
    Some(out)
}

/// The topics a member wants. The rest of a subscription concerns other assignors.
pub(super) fn decode_subscription(mut bytes: Bytes) -> Result<Vec<String>, MalformedMember> {
    let read = || -> Option<Vec<String>> {
        let _version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
        let count = get_len(&mut bytes, 2)?;
        (0..count).map(|_| get_string(&mut bytes)).collect()
    };
    let mut read = read;
    read().ok_or(MalformedMember("subscription"))
}

/// What a member gets.
pub(super) fn encode_assignment(partitions: &BTreeMap<String, Vec<i32>>) -> Option<Vec<u8>> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_len(&mut out, partitions.len())?;
    for (topic, partitions) in partitions {
        put_string(&mut out, topic)?;
        put_len(&mut out, partitions.len())?;
        for partition in partitions {
            out.extend_from_slice(&partition.to_be_bytes());
        }
    }
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
        let topics = get_len(&mut bytes, 6)?;
        (0..topics)
            .map(|_| {
                let topic = get_string(&mut bytes)?;
                let count = get_len(&mut bytes, 4)?;
                let partitions: Option<Vec<i32>> = (0..count)
                    .map(|_| bytes.try_get_i32().ok().filter(|partition| *partition >= 0))
                    .collect();
                Some((topic, partitions?))
            })
            .collect()
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
        fn a_subscription_reads_back(topics: Vec<String>) {
            let bytes = encode_subscription(&topics).unwrap();
            prop_assert_eq!(decode_subscription(bytes.into()), Ok(topics));
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

    #[test]
    fn every_version_of_a_subscription_is_read() {
        // Topics ["t"] and null user data, as Java writes version 0, then with what later versions add.
        let v0 = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
        for version in 0..4 {
            let mut bytes = v0.to_vec();
            bytes[1] = version;
            bytes.extend_from_slice(&[0; 12][..usize::from(version) * 4]);
            assert_eq!(decode_subscription(bytes.into()), Ok(vec!["t".to_owned()]));
        }
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
