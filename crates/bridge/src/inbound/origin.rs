//! Where a message came from.

use std::sync::Arc;

use bytes::Bytes;
use cybermesh_contracts::record::RecordView;
pub use cybermesh_transport::TopicPartition;

/// What a header and a record cost in memory beside their bytes; counted so that a record of many
/// empty headers is not taken for a small one.
const HEADER_OVERHEAD_BYTES: usize = 64;
const RECORD_OVERHEAD_BYTES: usize = 256;

/// Name and value of a header.
pub(crate) type HeaderView<'a> = (&'a str, Option<&'a [u8]>);

/// A record as it was fetched, in memory of its own: it may outlive the fetch response it came in
/// by minutes, and must not keep all of that alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    /// On topics with log-append time.
    pub(crate) append_time_ms: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    /// What is wrong with a stretch of the log that this stands for, where it cannot be read.
    pub(crate) unreadable: Option<Arc<str>>,
}

impl Origin {
    /// The bytes of key, value and headers.
    pub(crate) fn record_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + length(value))
            .sum();
        length(&self.key) + length(&self.value) + headers
    }

    /// What the record weighs in the in-flight budget.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.record_bytes() + self.headers.len() * HEADER_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES
    }

    /// Where it came from, and nothing of what it held.
    pub(crate) fn without_content(&self) -> Self {
        Self {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            append_time_ms: self.append_time_ms,
            key: None,
            value: None,
            headers: Vec::new(),
            unreadable: None,
        }
    }

    /// Shows the record to whoever judges or buries it.
    pub(crate) fn view<T>(&self, see: impl FnOnce(&RecordView<'_>) -> T) -> T {
        see(&self.record(&self.header_views()))
    }

    /// The headers, as a record shows them.
    pub(crate) fn header_views(&self) -> Vec<HeaderView<'_>> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect()
    }

    /// The record, with its [`header_views`](Self::header_views).
    pub(crate) fn record<'a>(&'a self, headers: &'a [HeaderView<'a>]) -> RecordView<'a> {
        RecordView {
            topic: &self.topic,
            partition: Some(self.partition),
            offset: self.offset,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
            timestamp_ms: self.timestamp_ms,
            append_time_ms: self.append_time_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_headers_are_not_free() {
        let origin = Origin {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            append_time_ms: None,
            key: None,
            value: None,
            headers: vec![(String::new(), None); 1000],
            unreadable: None,
        };
        assert_eq!(origin.record_bytes(), 0);
        assert!(origin.weight_bytes() > 1000 * HEADER_OVERHEAD_BYTES);
    }
}
