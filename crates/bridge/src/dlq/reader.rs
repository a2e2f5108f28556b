//! Reads a topic from somewhere to where it ended when reading began, and single records.
//!
//! The end is fixed at the start: whoever reads while messages are buried would otherwise never be done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cybermesh_transport::consumer::FoundOffset;
use cybermesh_transport::{
    Class, Client, ErrorCode, Event, FetchConfig, FetchedRecord, IsolationLevel, OffsetSpec,
    Position as From, Reader, StartPolicy, TopicPartition, TransportError,
};
use tokio::time::{Instant, timeout_at};

use super::desk::Desk;
use super::entry::Position;

/// Why a topic could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cluster could not be reached, or refused us.
    #[error(transparent)]
    Cluster(#[from] TransportError),
    /// Nothing came for so long.
    #[error("nothing was read of {topic} for {waited:?}")]
    Silent {
        /// Of which topic.
        topic: String,
        /// For how long.
        waited: Duration,
    },
}

/// From where a topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// From the oldest records there are.
    #[default]
    Earliest,
    /// From the first record of this time or a later one, Unix milliseconds.
    Time(i64),
    /// In every partition from this offset.
    Offset(i64),
}

/// Records of one topic up to where it ended when this was made, each with its partition. Those of a
/// partition come in order.
#[derive(Debug)]
pub(super) struct Scan {
    reader: Reader,
    topic: String,
    /// The partitions that are not read to their end, with it.
    open: BTreeMap<i32, i64>,
    ready: VecDeque<(i32, FetchedRecord)>,
    patience: Duration,
    failed: Option<TransportError>,
}

impl Scan {
    /// Reads every partition of `topic`.
    ///
    /// # Errors
    /// There is no such topic, or it may not be read.
    pub(super) async fn topic(desk: &Desk, topic: &str, begin: Begin) -> Result<Self, ReadError> {
        let (client, isolation) = (desk.client(), desk.isolation());
        let count = client.partition_count(topic).await?;
        let partitions: Vec<_> = (0..count)
            .map(|partition| TopicPartition::new(topic, partition))
            .collect();
        let first = match begin {
            Begin::Time(ms) => OffsetSpec::AtTime(ms.max(0)),
            Begin::Earliest | Begin::Offset(_) => OffsetSpec::Earliest,
        };
        let starts = offsets(client, isolation, &partitions, first).await?;
        let from = |partition: &TopicPartition| {
            let found = starts.get(partition).copied().flatten()?;
            Some(match begin {
                Begin::Offset(offset) => found.max(offset),
                Begin::Earliest | Begin::Time(_) => found,
            })
        };
        let wanted = partitions
            .iter()
            // Where no record is as late as that, there is nothing to read.
            .filter_map(|partition| Some((partition.clone(), from(partition)?)));
        Self::of(desk, topic, wanted.collect(), None).await
    }

    /// Reads these partitions of `topic`, each from this offset, or the first that is still there, to its
    /// end, or to the record before `until`.
    ///
    /// # Errors
    /// As [`topic`](Self::topic).
    pub(super) async fn of(
        desk: &Desk,
        topic: &str,
        from: Vec<(TopicPartition, i64)>,
        until: Option<i64>,
    ) -> Result<Self, ReadError> {
        Self::isolated(desk, topic, from, until, desk.isolation()).await
    }

    /// Reads these partitions of `topic`, each from this offset, to its end; also what a transaction that is still open
    /// holds back, or that was aborted.
    ///
    /// # Errors
    /// As [`topic`](Self::topic).
    pub(super) async fn uncommitted(
        desk: &Desk,
        topic: &str,
        from: Vec<(TopicPartition, i64)>,
    ) -> Result<Self, ReadError> {
        Self::isolated(desk, topic, from, None, IsolationLevel::ReadUncommitted).await
    }

    async fn isolated(
        desk: &Desk,
        topic: &str,
        from: Vec<(TopicPartition, i64)>,
        until: Option<i64>,
        isolation: IsolationLevel,
    ) -> Result<Self, ReadError> {
        let client = desk.client();
        let config = FetchConfig {
            isolation,
            ..FetchConfig::default()
        };
        let partitions: Vec<_> = from
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        let firsts = offsets(client, isolation, &partitions, OffsetSpec::Earliest).await?;
        let ends = offsets(client, isolation, &partitions, OffsetSpec::Latest).await?;
        let offset = |found: &BTreeMap<TopicPartition, Option<i64>>, partition: &TopicPartition| {
            found.get(partition).copied().flatten().unwrap_or(0)
        };
        let reader = Reader::new(client.clone(), config, StartPolicy::Earliest);
        let mut open = BTreeMap::new();
        for (partition, from) in from {
            let from = from.max(offset(&firsts, &partition));
            let end = offset(&ends, &partition);
            let end = until.map_or(end, |until| until.min(end));
            // From where nothing is to come, nothing would be heard.
            if from < end {
                open.insert(partition.partition, end);
                reader.begin(&partition, From::Offset(from));
            }
        }
        Ok(Self {
            reader,
            topic: topic.to_owned(),
            open,
            ready: VecDeque::new(),
            patience: desk.settings().kafka.request_timeout,
            failed: None,
        })
    }

    /// The next record and its partition; `None` when all was read.
    ///
    /// # Errors
    /// [`ReadError`]; also where nothing comes for longer than a request may take.
    pub(super) async fn next(&mut self) -> Result<Option<(i32, FetchedRecord)>, ReadError> {
        let mut deadline = Instant::now() + self.patience;
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.open.is_empty() {
                return Ok(None);
            }
            match timeout_at(deadline, self.reader.next()).await {
                Ok(Some(event)) => {
                    // It goes on, though there may be many in a row that have no record for us: whoever may write to
                    // a topic can abort what they wrote, or write what cannot be read.
                    if matches!(event, Event::Records(_) | Event::Corrupt { .. }) {
                        deadline = Instant::now() + self.patience;
                    }
                    self.take(event)?;
                }
                Ok(None) => self.open.clear(),
                Err(_) => return Err(self.silent()),
            }
        }
    }

    /// Up to before which offset this partition is read; nothing where there is nothing to read.
    pub(super) fn end_of(&self, partition: i32) -> Option<i64> {
        self.open.get(&partition).copied()
    }

    fn silent(&mut self) -> ReadError {
        match self.failed.take() {
            Some(error) => error.into(),
            None => ReadError::Silent {
                topic: self.topic.clone(),
                waited: self.patience,
            },
        }
    }

    /// Goes on behind what cannot be read, as receivers do: whoever may write to a topic can write that.
    fn pass_over(&mut self, partition: &TopicPartition, to: i64) {
        match self.open.get(&partition.partition) {
            Some(end) if to < *end => self.reader.begin(partition, From::Offset(to)),
            Some(_) => {
                self.open.remove(&partition.partition);
                self.reader.end(partition);
            }
            None => {}
        }
    }

    fn take(&mut self, event: Event) -> Result<(), ReadError> {
        match event {
            Event::Records(batch) => {
                let partition = batch.partition.partition;
                let Some(end) = self.open.get(&partition).copied() else {
                    return Ok(());
                };
                let records = batch.records.into_iter();
                self.ready.extend(
                    records
                        .filter(|record| record.offset < end)
                        .map(|record| (partition, record)),
                );
                if batch.next_offset >= end {
                    self.open.remove(&partition);
                    self.reader.end(&batch.partition);
                }
            }
            Event::Corrupt { partition, fault } => {
                tracing::warn!(%partition, offset = fault.offset, resume_at = fault.resume_at,
                    reason = %fault.reason, "a stretch of the log cannot be read; it is passed over");
                self.pass_over(
                    &partition,
                    fault.resume_at.max(fault.offset.saturating_add(1)),
                );
            }
            Event::Failed(error) if error.class() == Class::Fatal => return Err(error.into()),
            // It is tried again; said where nothing else comes.
            Event::Failed(error) => self.failed = Some(error),
            _ => {}
        }
        Ok(())
    }
}

/// Offsets of partitions; none where no record is as late as asked for.
async fn offsets(
    client: &Client,
    isolation: IsolationLevel,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Option<i64>>, TransportError> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec));
    let found = client.list_offsets(isolation, wanted).await?;
    let offset = |found: Option<FoundOffset>| found.map(|found| found.offset);
    Ok(found
        .into_iter()
        .map(|(partition, found)| (partition, offset(found)))
        .collect())
}

/// Where a partition ends now, open transactions and all.
pub(super) async fn end_of(desk: &Desk, partition: &TopicPartition) -> Result<i64, TransportError> {
    edge_of(desk, partition, OffsetSpec::Latest).await
}

/// Where a partition begins now.
pub(super) async fn begin_of(
    desk: &Desk,
    partition: &TopicPartition,
) -> Result<i64, TransportError> {
    edge_of(desk, partition, OffsetSpec::Earliest).await
}

async fn edge_of(
    desk: &Desk,
    partition: &TopicPartition,
    edge: OffsetSpec,
) -> Result<i64, TransportError> {
    let of = std::slice::from_ref(partition);
    let found = offsets(desk.client(), IsolationLevel::ReadUncommitted, of, edge).await?;
    Ok(found.get(partition).copied().flatten().unwrap_or(0))
}

/// The record at this place; `None` where there is none any more, or not yet.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn record_at(
    desk: &Desk,
    topic: &str,
    at: Position,
) -> Result<Option<FetchedRecord>, ReadError> {
    let records = records_between(desk, topic, at, at.offset, (1, u64::MAX)).await?;
    Ok(records.into_iter().flatten().next())
}

/// Whether there is such a partition.
///
/// # Errors
/// The cluster could not be asked.
pub(super) async fn partition_exists(
    desk: &Desk,
    topic: &str,
    partition: i32,
) -> Result<bool, TransportError> {
    match desk.client().partition_count(topic).await {
        Ok(count) => Ok((0..count).contains(&partition)),
        Err(error) if error.error_code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The records from this place up to the last offset, as many as are there; `None` where they are more
/// than so many, or take more than so many bytes.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn records_between(
    desk: &Desk,
    topic: &str,
    from: Position,
    last: i64,
    (most, most_bytes): (usize, u64),
) -> Result<Option<Vec<FetchedRecord>>, ReadError> {
    let partition = TopicPartition::new(topic, from.partition);
    if !partition_exists(desk, topic, from.partition).await? {
        return Ok(Some(Vec::new()));
    }
    let begun = vec![(partition, from.offset)];
    let mut scan = Scan::of(desk, topic, begun, Some(last.saturating_add(1))).await?;
    let (mut records, mut bytes) = (Vec::new(), 0_u64);
    while let Some((_, record)) = scan.next().await? {
        bytes = bytes.saturating_add(bytes_of(&record));
        if records.len() == most || bytes > most_bytes {
            return Ok(None);
        }
        records.push(record);
    }
    Ok(Some(records))
}

/// What a record takes of memory, about.
fn bytes_of(record: &FetchedRecord) -> u64 {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter();
    let headers =
        headers.map(|header| size_of_val(header) + header.name.len() + length(&header.value));
    let all =
        size_of_val(record) + length(&record.key) + length(&record.value) + headers.sum::<usize>();
    u64::try_from(all).unwrap_or(u64::MAX)
}
