//! A Kafka record as the contract sees it: borrowed, whatever client read it.

/// One record as fetched, or as archived.
///
/// Headers keep their order and duplicates: a signed header that stands twice is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition it was read from; `None` for an archived record of unknown partition, where
    /// the envelope's own is taken.
    pub partition: Option<i32>,
    /// Its offset in that partition.
    pub offset: i64,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; a null value is no message.
    pub value: Option<&'a [u8]>,
    /// Name and value of each header, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The record's timestamp, Unix milliseconds, as Kafka gives it (the producer's word on
    /// topics with create time).
    pub timestamp_ms: i64,
    /// When the broker appended it, Unix milliseconds; on topics with log-append time alone.
    pub append_time_ms: Option<i64>,
}

impl<'a> RecordView<'a> {
    /// A record with a topic and a value, and nothing else known of it.
    #[must_use]
    pub const fn new(topic: &'a str, value: Option<&'a [u8]>) -> Self {
        Self {
            topic,
            partition: None,
            offset: 0,
            key: None,
            value,
            headers: &[],
            timestamp_ms: 0,
            append_time_ms: None,
        }
    }

    /// Every header of this name, in order.
    pub fn headers_named<'s>(
        &'s self,
        name: &'s str,
    ) -> impl Iterator<Item = Option<&'a [u8]>> + 's {
        self.headers
            .iter()
            .filter(move |(header, _)| *header == name)
            .map(|(_, value)| *value)
    }
}
