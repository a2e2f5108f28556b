//! What a member says it reads, as far as the broker looks into it.
//!
//! A consumer's metadata is `version: int16, topics: array of string, …`
//! (`ConsumerProtocolSubscription.json`); what follows does not matter here.

use super::rebalance::Group;

impl Group {
    /// Whether a member reads this topic. A member whose metadata cannot be read is taken to
    /// read every topic, as with Kafka.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.subscribes_to(topic);
        }
        let protocol = self.protocol().unwrap_or_default();
        let mut members = self.members.values();
        members.any(|member| {
            let metadata = member.metadata(protocol);
            topics(&metadata).is_none_or(|mut topics| topics.any(|name| name == topic.as_bytes()))
        })
    }
}

fn topics(metadata: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let rest = metadata.get(2..)?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let mut names = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        names.push(after.get(..length)?);
        rest = &after[length..];
    }
    Some(names.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_a_subscription_are_read_and_a_cut_one_is_none() {
        let subscription = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        let read: Vec<&[u8]> = topics(subscription).unwrap().collect();
        assert_eq!(read, [&b"a"[..], b"bc"]);
        assert!(topics(&subscription[..9]).is_none());
        assert!(topics(&[]).is_none());
    }
}
