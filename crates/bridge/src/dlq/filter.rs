//! Which dead letters are meant.

use std::ops::RangeInclusive;

use cybermesh_contracts::rejection::Disposition;

use super::desk::Desk;
use super::entry::{Entry, Position};
use super::original::copy_of;

/// Whose message was buried: a key by its name in the trust store, or by its key id in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy(pub String);

/// What is asked of a dead letter; what is empty or absent asks nothing. A record that is no dead letter
/// meets only what can be said of any record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One record of the dead-letter topic.
    pub at: Option<Position>,
    /// At this offset or a later one, in every partition of the dead-letter topic.
    pub from_offset: Option<i64>,
    /// Under one of these names.
    pub dispositions: Vec<Disposition>,
    /// Of a message in this topic.
    pub topic: Option<String>,
    /// Of a message in this partition.
    pub partition: Option<i32>,
    /// Of a message at one of these offsets; a summary that stands for one of them as well.
    pub offsets: Option<RangeInclusive<i64>>,
    /// Of a message that claims to be signed by this key. Where the dead letter has no copy, that cannot be told.
    pub signer: Option<SignedBy>,
    /// Given up by this consumer group.
    pub group: Option<String>,
    /// Written then or later, Unix milliseconds by the record's timestamp.
    pub since_ms: Option<i64>,
    /// Written before, Unix milliseconds by the record's timestamp.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Whether `entry` is meant.
    #[must_use]
    pub fn matches(&self, desk: &Desk, entry: &Entry) -> bool {
        self.matches_record(entry) && self.matches_letter(desk, entry)
    }

    fn matches_record(&self, entry: &Entry) -> bool {
        self.at.is_none_or(|at| at == entry.at)
            && self.from_offset.is_none_or(|from| entry.at.offset >= from)
            && self
                .since_ms
                .is_none_or(|since| entry.timestamp_ms >= since)
            && self.until_ms.is_none_or(|until| entry.timestamp_ms < until)
    }

    fn matches_letter(&self, desk: &Desk, entry: &Entry) -> bool {
        let asks = !self.dispositions.is_empty()
            || self.topic.is_some()
            || self.partition.is_some()
            || self.offsets.is_some()
            || self.signer.is_some()
            || self.group.is_some();
        let Some(letter) = entry.letter() else {
            return !asks;
        };
        let origin = letter.origin();
        let offsets = || match letter.content() {
            cybermesh_contracts::dead_letter::Content::Reference(reference) => {
                reference.first_offset.zip(reference.last_offset)
            }
            cybermesh_contracts::dead_letter::Content::Copy(_) => origin.offset.zip(origin.offset),
        };
        let in_range = |range: &RangeInclusive<i64>| {
            offsets().is_some_and(|(first, last)| first <= *range.end() && last >= *range.start())
        };
        (self.dispositions.is_empty() || self.dispositions.contains(&letter.disposition()))
            && self
                .topic
                .as_ref()
                .is_none_or(|topic| *topic == origin.topic)
            && self
                .partition
                .is_none_or(|partition| origin.partition == Some(partition))
            && self.offsets.as_ref().is_none_or(in_range)
            && self
                .group
                .as_deref()
                .is_none_or(|group| letter.group() == Some(group))
            && self
                .signer
                .as_ref()
                .is_none_or(|signer| signer.is_of(desk, entry))
    }
}

impl SignedBy {
    fn is_of(&self, desk: &Desk, entry: &Entry) -> bool {
        let Some(letter) = entry.letter() else {
            return false;
        };
        let claimed =
            copy_of(letter).and_then(|original| original.claimed(desk, &letter.origin().topic));
        let Some(claimed) = claimed else { return false };
        let named = desk.trust().key(&claimed).map(|key| key.id().to_owned());
        named.as_deref() == Some(self.0.as_str())
            || claimed.key_id().to_string().eq_ignore_ascii_case(&self.0)
    }
}
