//! From a record and what went wrong to a record for the dead-letter topic.

use std::borrow::Cow;

use super::body::{JsonBody, ReferenceBody, seconds, to_json};
use super::error::DeadLetterError;
use super::flood::{Flood, length};
use super::form::Form;
use super::labels::{self, Labels, SIGNED_HEADERS};
use super::letter::Origin;
use super::signature::{self, Signed};
use crate::headers::{self, Header, TRACEPARENT};
use crate::record::RecordView;
use crate::redrive::{Terms, value_hash};
use crate::rejection::Disposition;
use crate::sign::Signer;

/// The longest `dlq.reason`, bytes.
const MAX_REASON_BYTES: usize = 512;
/// A `traceparent` of version 00 has 55 characters; what is much longer is none, and is not carried
/// where no copy of the headers is.
const MAX_TRACEPARENT_BYTES: usize = 128;
/// What Kafka's record format adds to a header at most, and to a record: lengths as varints.
const HEADER_OVERHEAD_BYTES: usize = 10;
const RECORD_OVERHEAD_BYTES: usize = 64;

/// What went wrong, where and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Its name.
    pub disposition: Disposition,
    /// In words, without payload or secrets. Cut to 512 bytes; control characters become spaces.
    pub reason: &'a str,
    /// The consumer group that gave it up; none for `produce-failed`.
    pub group: Option<&'a str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Unix milliseconds.
    pub first_failed_at_ms: i64,
    /// Unix milliseconds; also the time of the burial.
    pub last_failed_at_ms: i64,
    /// Which process gave it up.
    pub node: Option<&'a str>,
}

/// Whose signature a dead letter carries, where the process may sign `dead_letter`.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The key.
    pub signer: &'a dyn Signer,
    /// The environment's name, as in envelopes.
    pub audience: &'a str,
}

/// Something to be buried.
#[derive(Clone, Debug)]
pub struct Burial<'a> {
    failure: &'a Failure<'a>,
    disposition: Disposition,
    origin: Origin,
    redrive_count: u8,
    content: Buried<'a>,
}

#[derive(Clone, Debug)]
enum Buried<'a> {
    One {
        key: Option<&'a [u8]>,
        headers: Vec<(&'a str, Option<&'a [u8]>)>,
        value: Option<&'a [u8]>,
    },
    Many(&'a Flood),
}

/// A record for the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// The form that was found to fit.
    pub form: Form,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value; null where a null value is buried in form `raw`.
    pub value: Option<Vec<u8>>,
    /// The record's headers, in order.
    pub headers: Vec<Header>,
}

impl DeadLetterRecord {
    /// The headers as a [`RecordView`] has them.
    #[must_use]
    pub fn header_views(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref()))
            .collect()
    }

    /// What it takes in a batch at most.
    fn bytes(&self) -> usize {
        let value = self.value.as_deref().unwrap_or_default();
        headers::record_bytes(Some(&self.key), &self.headers, value)
            + self.headers.len() * HEADER_OVERHEAD_BYTES
            + RECORD_OVERHEAD_BYTES
    }
}

impl<'a> Burial<'a> {
    /// A record as it was fetched.
    #[must_use]
    pub fn of_record(record: &RecordView<'a>, failure: &'a Failure<'a>) -> Self {
        let origin = Origin {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: Some(record.offset),
            timestamp_ms: Some(record.timestamp_ms),
        };
        Self::of_one(origin, record, failure, 0, record.headers.to_vec())
    }

    /// A redriven record whose `cm-redrive` was verified and which fails again: it keeps the origin of
    /// the first time (whose timestamp the header does not tell), counts on, and drops `cm-redrive`.
    #[must_use]
    pub fn of_redriven(record: &RecordView<'a>, redrive: &Terms, failure: &'a Failure<'a>) -> Self {
        let origin = Origin {
            topic: record.topic.to_owned(),
            partition: Some(redrive.origin_partition),
            offset: Some(redrive.origin_offset),
            timestamp_ms: None,
        };
        let headers = record
            .headers
            .iter()
            .copied()
            .filter(|(name, _)| *name != headers::REDRIVE)
            .collect();
        Self::of_one(origin, record, failure, redrive.count, headers)
    }

    /// A draft that could not be produced: the protobuf without time, hash, nonce, producer id and
    /// signature fields, never a signed message that somebody could inject. The disposition is
    /// `produce-failed` and there is no group, whatever `failure` says.
    #[must_use]
    pub fn of_draft(
        topic: &str,
        partition: Option<i32>,
        key: Option<&'a [u8]>,
        headers: &'a [Header],
        draft: &'a [u8],
        failure: &'a Failure<'a>,
    ) -> Self {
        let headers = headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref()))
            .collect();
        Self {
            failure,
            disposition: Disposition::ProduceFailed,
            origin: Origin {
                topic: topic.to_owned(),
                partition,
                offset: None,
                timestamp_ms: None,
            },
            redrive_count: 0,
            content: Buried::One {
                key,
                headers,
                value: Some(draft),
            },
        }
    }

    /// Many records in one reference.
    #[must_use]
    pub fn of_flood(flood: &'a Flood, failure: &'a Failure<'a>) -> Self {
        Self {
            failure,
            disposition: failure.disposition,
            origin: flood.origin().clone(),
            redrive_count: 0,
            content: Buried::Many(flood),
        }
    }

    fn of_one(
        origin: Origin,
        record: &RecordView<'a>,
        failure: &'a Failure<'a>,
        redrive_count: u8,
        headers: Vec<(&'a str, Option<&'a [u8]>)>,
    ) -> Self {
        Self {
            failure,
            disposition: failure.disposition,
            origin,
            redrive_count,
            content: Buried::One {
                key: record.key,
                headers,
                value: record.value,
            },
        }
    }

    /// Makes the record, in form `preferred` or the first of its fallbacks with which key, headers and
    /// value together take at most `limit` bytes in a batch.
    ///
    /// # Errors
    /// [`DeadLetterError`]: not even a reference fits, or it cannot be signed.
    pub fn write(
        &self,
        preferred: Form,
        limit: usize,
        signing: Option<Signing<'_>>,
    ) -> Result<DeadLetterRecord, DeadLetterError> {
        let mut form = match self.content {
            Buried::One { .. } => preferred,
            Buried::Many(_) => Form::Reference,
        };
        loop {
            let is_hopeless = self.least_bytes(form) > limit;
            match form.fallback() {
                Some(fallback) if is_hopeless => form = fallback,
                fallback => {
                    let record = self.write_as(form, signing)?;
                    match fallback {
                        _ if record.bytes() <= limit => return Ok(record),
                        Some(fallback) => form = fallback,
                        None => {
                            let bytes = record.bytes();
                            return Err(DeadLetterError::TooLarge { bytes, limit });
                        }
                    }
                }
            }
        }
    }

    /// What the copy alone takes in this form, so that a copy which cannot fit is not made.
    fn least_bytes(&self, form: Form) -> usize {
        let Buried::One {
            key,
            headers,
            value,
        } = &self.content
        else {
            return 0;
        };
        let copied = headers
            .iter()
            .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
            .fold(0, usize::saturating_add)
            .saturating_add(key.map_or(0, <[u8]>::len))
            .saturating_add(value.map_or(0, <[u8]>::len));
        match form {
            Form::Json | Form::Raw => copied,
            Form::Reference => 0,
        }
    }

    fn write_as(
        &self,
        form: Form,
        signing: Option<Signing<'_>>,
    ) -> Result<DeadLetterRecord, DeadLetterError> {
        let key = self.record_key();
        let value = self.value(form);
        let labels = self.labels(form);
        let mut headers: Vec<Header> = SIGNED_HEADERS
            .iter()
            .zip(&labels)
            .filter_map(|(name, value)| Some(Header::new(*name, value.as_deref()?)))
            .collect();
        headers.extend(self.aliases());
        headers.extend(self.traceparent());
        if let Some(signing) = signing {
            let signed = self.signed(form, &key, value.as_deref(), &labels);
            let bytes = signed
                .bytes(signing.audience)
                .ok_or(DeadLetterError::Unsignable)?;
            let signature = signing.signer.sign(&bytes)?;
            let mut seal = vec![signature::VERSION];
            seal.extend_from_slice(signing.signer.public_key().key_id().as_bytes());
            seal.extend_from_slice(signature.as_bytes());
            headers.push(Header::new(headers::DEAD_LETTER, seal));
        }
        headers.extend(self.originals(form));
        Ok(DeadLetterRecord {
            form,
            key,
            value,
            headers,
        })
    }

    fn record_key(&self) -> Vec<u8> {
        let hash = match &self.content {
            Buried::One { value, .. } => value_hash(*value),
            Buried::Many(_) => [0; 32],
        };
        self.origin
            .record_key(self.disposition, self.group(), &hash)
    }

    fn group(&self) -> Option<&'a str> {
        match self.disposition {
            Disposition::ProduceFailed => None,
            _ => self.failure.group,
        }
    }

    fn reason(&self) -> Cow<'a, str> {
        let reason = self.failure.reason;
        let reason = match reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)) {
            Some(cut) => cut,
            None => reason,
        };
        if reason.contains(char::is_control) {
            // A control character is at least as long as the space that takes its place.
            Cow::Owned(reason.replace(char::is_control, " "))
        } else {
            Cow::Borrowed(reason)
        }
    }

    fn labels(&self, form: Form) -> Labels<Vec<u8>> {
        let number = |number: Option<i64>| number.map(|number| number.to_string().into_bytes());
        let failure = self.failure;
        [
            Some(form.as_str().into()),
            Some(self.disposition.as_str().into()),
            Some(self.reason().into_owned().into_bytes()),
            Some(self.origin.topic.clone().into_bytes()),
            number(self.origin.partition.map(i64::from)),
            number(self.origin.offset),
            number(self.origin.timestamp_ms),
            self.group().map(Vec::from),
            number(Some(i64::from(failure.attempts))),
            number(Some(failure.first_failed_at_ms)),
            number(Some(failure.last_failed_at_ms)),
            failure.node.map(Vec::from),
            number(Some(i64::from(self.redrive_count))),
        ]
    }

    fn aliases(&self) -> impl Iterator<Item = Header> {
        let topic = Header::new(labels::ALIAS_TOPIC, self.origin.topic.as_bytes());
        let partition = self
            .origin
            .partition
            .map(|partition| Header::new(labels::ALIAS_PARTITION, partition.to_be_bytes()));
        let offset = self
            .origin
            .offset
            .map(|offset| Header::new(labels::ALIAS_OFFSET, offset.to_be_bytes()));
        [Some(topic), partition, offset].into_iter().flatten()
    }

    fn traceparent(&self) -> Option<Header> {
        let Buried::One { headers, .. } = &self.content else {
            return None;
        };
        let (_, value) = headers.iter().find(|(name, _)| *name == TRACEPARENT)?;
        let value = value.filter(|value| value.len() <= MAX_TRACEPARENT_BYTES)?;
        Some(Header::new(TRACEPARENT, value))
    }

    /// The copies that form `raw` keeps in headers.
    fn originals(&self, form: Form) -> Vec<Header> {
        let (Form::Raw, Buried::One { key, headers, .. }) = (form, &self.content) else {
            return Vec::new();
        };
        let key = key.map(|key| Header::new(labels::ORIGINAL_KEY, key));
        let headers = headers.iter().map(|(name, value)| Header {
            name: format!("{}{name}", labels::ORIGINAL_PREFIX),
            value: value.map(Vec::from),
        });
        key.into_iter().chain(headers).collect()
    }

    fn value(&self, form: Form) -> Option<Vec<u8>> {
        match (form, &self.content) {
            (Form::Raw, Buried::One { value, .. }) => value.map(Vec::from),
            (
                Form::Json,
                Buried::One {
                    key,
                    headers,
                    value,
                },
            ) => Some(to_json(&JsonBody {
                original_topic: self.origin.topic.as_str().into(),
                timestamp: seconds(self.failure.last_failed_at_ms),
                error: self.reason(),
                data: value.map(hex::encode),
                partition: self.origin.partition,
                offset: self.origin.offset,
                group: self.group().map(Cow::Borrowed),
                key: key.map(hex::encode),
                headers: headers
                    .iter()
                    .map(|(name, value)| (Cow::Borrowed(*name), value.map(hex::encode)))
                    .collect(),
                disposition: self.disposition.as_str().into(),
                attempts: self.failure.attempts,
                node: self.failure.node.map(Cow::Borrowed),
            })),
            (Form::Reference, Buried::One { value, .. }) => Some(to_json(&ReferenceBody {
                length: length(value.unwrap_or_default()),
                sha256: hex::encode(value_hash(*value)),
                first_offset: self.origin.offset,
                last_offset: self.origin.offset,
                count: 1,
            })),
            (_, Buried::Many(flood)) => Some(to_json(&flood.body())),
        }
    }

    fn signed<'s>(
        &'s self,
        form: Form,
        record_key: &'s [u8],
        body: Option<&[u8]>,
        labels: &'s Labels<Vec<u8>>,
    ) -> Signed<'s> {
        let (headers, key, value_hash) = match (form, &self.content) {
            (
                Form::Json | Form::Raw,
                Buried::One {
                    key,
                    headers,
                    value,
                },
            ) => (headers.clone(), *key, value_hash(*value)),
            (Form::Reference, Buried::One { value, .. }) => (Vec::new(), None, value_hash(*value)),
            (_, Buried::Many(flood)) if flood.count() == 1 => (Vec::new(), None, flood.sha256()),
            (_, Buried::Many(_)) => (Vec::new(), None, value_hash(body)),
        };
        Signed {
            record_key,
            labels: labels.each_ref().map(Option::as_deref),
            original_headers: headers,
            original_key: key,
            value_hash,
        }
    }
}
