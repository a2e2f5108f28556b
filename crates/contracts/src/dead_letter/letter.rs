//! A dead letter that was read, and whether it may be believed.

use std::sync::Arc;

use super::body::{JsonBody, seconds};
use super::error::DeadLetterFault;
use super::form::Form;
use super::labels::{self, Labels};
use super::read::{
    UNIX_MS, integer, json_body, natural, optional, read_json, read_labels, read_raw,
    read_reference, read_seal, required, topic,
};
use super::signature::Signed;
use crate::headers::Header;
use crate::record::RecordView;
use crate::redrive::value_hash;
use crate::rejection::Disposition;
use crate::sign::{KeyId, Signature, VerifyingKey};
use crate::trust::{Right, TrustStore, TrustedKey};

/// Where a buried record came from, the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition; none for a draft that had not got one.
    pub partition: Option<i32>,
    /// The offset, the first one of several; none for a draft.
    pub offset: Option<i64>,
    /// The record's timestamp, Unix milliseconds; none for a draft, and for what was redriven before.
    pub timestamp_ms: Option<i64>,
}

impl Origin {
    /// The dead letter's key. `value_hash` is looked at for drafts alone.
    pub(super) fn record_key(
        &self,
        disposition: Disposition,
        group: Option<&str>,
        value_hash: &[u8; 32],
    ) -> Vec<u8> {
        let topic = &self.topic;
        if disposition == Disposition::ProduceFailed {
            return format!("produce/{topic}/{}", hex::encode(value_hash)).into_bytes();
        }
        let group = group.unwrap_or_default();
        let partition = self.partition.map(|partition| partition.to_string());
        let offset = self.offset.map(|offset| offset.to_string());
        let partition = partition.unwrap_or_default();
        let offset = offset.unwrap_or_default();
        format!("{group}/{topic}/{partition}/{offset}").into_bytes()
    }
}

/// What a dead letter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A copy of the original.
    Copy(Copy),
    /// Where the original is, or was.
    Reference(Reference),
}

/// The original's key, headers and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original headers, in order.
    pub headers: Vec<Header>,
    /// The original value; for `produce-failed` the draft.
    pub value: Option<Vec<u8>>,
}

/// What is said of originals that were not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Bytes of the value, or of all the values.
    pub length: u64,
    /// SHA-256 of the value (zeros for a null one), or of the SHA-256 of all the values.
    pub sha256: [u8; 32],
    /// The first offset; none for a draft.
    pub first_offset: Option<i64>,
    /// The last offset; none for a draft.
    pub last_offset: Option<i64>,
    /// How many records it stands for.
    pub count: u64,
}

/// A dead letter, read. Nothing of it is believed before [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    form: Form,
    disposition: Disposition,
    reason: String,
    origin: Origin,
    group: Option<String>,
    attempts: u32,
    first_failed_at_ms: i64,
    last_failed_at_ms: i64,
    node: Option<String>,
    redrive_count: u8,
    content: Content,
    record_key: Vec<u8>,
    labels: Labels<Vec<u8>>,
    value_hash: [u8; 32],
    seal: Option<(KeyId, Signature)>,
}

impl DeadLetter {
    /// Reads a record of the dead-letter topic, whatever its form.
    ///
    /// # Errors
    /// [`DeadLetterFault`]: it is no dead letter of ours, or contradicts itself.
    pub fn parse(record: &RecordView<'_>) -> Result<Self, DeadLetterFault> {
        let labels = read_labels(record)?;
        let form = required(&labels, labels::FORMAT, "json, raw or reference", |text| {
            Form::from_name(text)
        })?;
        let disposition = required(&labels, labels::DISPOSITION, "a disposition", |text| {
            Disposition::from_name(text).filter(|disposition| disposition.buried())
        })?;
        let text = |text: &str| Some(text.to_owned());
        let origin = Origin {
            topic: required(&labels, labels::ORIGIN_TOPIC, "a topic", topic)?,
            partition: optional(&labels, labels::ORIGIN_PARTITION, "a partition", natural)?,
            offset: optional(&labels, labels::ORIGIN_OFFSET, "an offset", natural)?,
            timestamp_ms: optional(&labels, labels::ORIGIN_TIMESTAMP, UNIX_MS, integer)?,
        };
        let content = match form {
            Form::Json => read_json(record),
            Form::Raw => read_raw(record).map(Content::Copy),
            Form::Reference => read_reference(record),
        };
        let mut letter = Self {
            form,
            disposition,
            reason: required(&labels, labels::REASON, "text", text)?,
            group: optional(&labels, labels::GROUP, "a group", text)?,
            attempts: required(&labels, labels::ATTEMPTS, "a count", integer)?,
            first_failed_at_ms: required(&labels, labels::FIRST_FAILED_AT, UNIX_MS, integer)?,
            last_failed_at_ms: required(&labels, labels::LAST_FAILED_AT, UNIX_MS, integer)?,
            node: optional(&labels, labels::NODE, "text", text)?,
            redrive_count: required(&labels, labels::REDRIVE_COUNT, "a count to 255", integer)?,
            content: content?,
            record_key: record.key.map(Vec::from).unwrap_or_default(),
            value_hash: [0; 32],
            seal: read_seal(record)?,
            origin,
            labels,
        };
        letter.value_hash = letter.signed_value_hash(record.value);
        letter.agrees(record)?;
        Ok(letter)
    }

    /// Whose signature it claims to carry.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        self.seal.map(|(key_id, _)| key_id)
    }

    /// The trusted key that signed this letter in one of the accepted audiences: one that may sign
    /// `dead_letter`, is not revoked, and whose window covers the burial.
    ///
    /// # Errors
    /// [`DeadLetterFault`]: it is not signed, or not by such a key.
    pub fn verify<'t>(
        &self,
        trust: &'t TrustStore,
        audiences: &[impl AsRef<str>],
    ) -> Result<&'t TrustedKey, DeadLetterFault> {
        let (key_id, _) = self.seal.ok_or(DeadLetterFault::NotSigned)?;
        let key = trust
            .key_by_id(&key_id)
            .ok_or(DeadLetterFault::UnknownKey)?;
        let id = || Arc::clone(key.shared_id());
        if key.is_revoked() {
            return Err(DeadLetterFault::KeyRevoked { id: id() });
        }
        key.window()
            .covers(self.last_failed_at_ms, None)
            .map_err(|fault| DeadLetterFault::KeyExpired { id: id(), fault })?;
        if !key.may(Right::DeadLetter) {
            return Err(DeadLetterFault::KeyNotAuthorised { id: id() });
        }
        self.verify_with(key.verifying_key(), audiences)?;
        Ok(key)
    }

    /// Whether `key`, whatever it may do, signed this letter in one of the accepted audiences.
    ///
    /// # Errors
    /// [`DeadLetterFault::NotSigned`] or [`DeadLetterFault::SignatureInvalid`].
    pub fn verify_with(
        &self,
        key: &VerifyingKey,
        audiences: &[impl AsRef<str>],
    ) -> Result<(), DeadLetterFault> {
        let (key_id, signature) = self.seal.ok_or(DeadLetterFault::NotSigned)?;
        let signed = self.signed();
        let holds = key.public_key().key_id() == key_id
            && audiences
                .iter()
                .filter_map(|audience| signed.bytes(audience.as_ref()))
                .any(|bytes| key.verifies(&bytes, &signature));
        if holds {
            Ok(())
        } else {
            Err(DeadLetterFault::SignatureInvalid)
        }
    }

    /// The form it was written in.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Under what name it was buried.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// Why, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where it came from, the first time.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The consumer group that gave it up.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// How often it was tried.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn first_failed_at_ms(&self) -> i64 {
        self.first_failed_at_ms
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn last_failed_at_ms(&self) -> i64 {
        self.last_failed_at_ms
    }

    /// Which process gave it up.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// How often it was redriven before.
    #[must_use]
    pub const fn redrive_count(&self) -> u8 {
        self.redrive_count
    }

    /// What it holds.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// What it holds, taken out.
    #[must_use]
    pub fn into_content(self) -> Content {
        self.content
    }

    fn signed(&self) -> Signed<'_> {
        let (original_headers, original_key) = match &self.content {
            Content::Copy(copy) => (
                copy.headers
                    .iter()
                    .map(|header| (header.name.as_str(), header.value.as_deref()))
                    .collect(),
                copy.key.as_deref(),
            ),
            Content::Reference(_) => (Vec::new(), None),
        };
        Signed {
            record_key: &self.record_key,
            labels: self.labels.each_ref().map(Option::as_deref),
            original_headers,
            original_key,
            value_hash: self.value_hash,
        }
    }

    fn signed_value_hash(&self, body: Option<&[u8]>) -> [u8; 32] {
        match &self.content {
            Content::Copy(copy) => value_hash(copy.value.as_deref()),
            Content::Reference(reference) if reference.count == 1 => reference.sha256,
            Content::Reference(_) => value_hash(body),
        }
    }

    /// Whether key and value say what the signed headers say.
    fn agrees(&self, record: &RecordView<'_>) -> Result<(), DeadLetterFault> {
        let key = self
            .origin
            .record_key(self.disposition, self.group(), &self.value_hash);
        if self.record_key != key {
            return Err(DeadLetterFault::Key);
        }
        match self.form {
            Form::Raw => Ok(()),
            Form::Json => self.agrees_with_json(&json_body(record)?),
            Form::Reference => self.agrees_with_reference(),
        }
    }

    fn agrees_with_json(&self, body: &JsonBody<'_>) -> Result<(), DeadLetterFault> {
        let members = [
            ("original_topic", body.original_topic == self.origin.topic),
            (
                "timestamp",
                body.timestamp == seconds(self.last_failed_at_ms),
            ),
            ("error", body.error == self.reason),
            ("partition", body.partition == self.origin.partition),
            ("offset", body.offset == self.origin.offset),
            ("group", body.group.as_deref() == self.group()),
            ("disposition", body.disposition == self.disposition.as_str()),
            ("attempts", body.attempts == self.attempts),
            ("node", body.node.as_deref() == self.node()),
        ];
        match members.into_iter().find(|(_, agrees)| !agrees) {
            Some((field, _)) => Err(DeadLetterFault::Differs { field }),
            None => Ok(()),
        }
    }

    fn agrees_with_reference(&self) -> Result<(), DeadLetterFault> {
        let Content::Reference(reference) = &self.content else {
            return Ok(());
        };
        if reference.first_offset != self.origin.offset {
            return Err(DeadLetterFault::Differs {
                field: "first_offset",
            });
        }
        let span = match (reference.first_offset, reference.last_offset) {
            (None, None) => Some(0),
            (Some(first), Some(last)) => u64::try_from(last.saturating_sub(first)).ok(),
            (Some(_), None) | (None, Some(_)) => None,
        };
        let span = span.ok_or(DeadLetterFault::Differs {
            field: "last_offset",
        })?;
        let is_possible = match reference.count {
            0 => false,
            1 => span == 0,
            count => count - 1 <= span,
        };
        if is_possible {
            Ok(())
        } else {
            Err(DeadLetterFault::Differs { field: "count" })
        }
    }
}
