//! The parts of a dead letter, each read by itself.

use super::body::{JsonBody, ReferenceBody};
use super::error::DeadLetterFault;
use super::form::Form;
use super::labels::{self, Labels, SIGNED_HEADERS};
use super::letter::{Content, Copy, Reference};
use super::signature;
use crate::headers::{self, Header};
use crate::record::RecordView;
use crate::sign::{KeyId, Signature};

pub(super) const UNIX_MS: &str = "Unix milliseconds";

pub(super) fn integer<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

pub(super) fn natural<N: std::str::FromStr + PartialOrd + Default>(text: &str) -> Option<N> {
    integer(text).filter(|number| *number >= N::default())
}

/// A name that a topic can have, by Kafka's rule.
pub(super) fn topic(text: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_topic = (1..=249).contains(&text.len()) && text.bytes().all(is_allowed);
    is_topic.then(|| text.to_owned())
}

/// The only header of this name, where there is one.
fn single<'a>(
    record: &RecordView<'a>,
    name: &'static str,
) -> Result<Option<&'a [u8]>, DeadLetterFault> {
    let mut values = record.headers_named(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(DeadLetterFault::Repeated { name });
    }
    let accepted = "a value";
    value
        .map(Some)
        .ok_or(DeadLetterFault::Header { name, accepted })
}

pub(super) fn read_labels(record: &RecordView<'_>) -> Result<Labels<Vec<u8>>, DeadLetterFault> {
    let mut labels = Labels::default();
    for (label, name) in labels.iter_mut().zip(SIGNED_HEADERS) {
        *label = single(record, name)?.map(Vec::from);
    }
    Ok(labels)
}

pub(super) fn optional<T>(
    labels: &Labels<Vec<u8>>,
    name: &'static str,
    accepted: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, DeadLetterFault> {
    let label = SIGNED_HEADERS
        .iter()
        .position(|label| *label == name)
        .and_then(|at| labels.get(at)?.as_deref());
    let Some(label) = label else { return Ok(None) };
    std::str::from_utf8(label)
        .ok()
        .and_then(read)
        .map(Some)
        .ok_or(DeadLetterFault::Header { name, accepted })
}

pub(super) fn required<T>(
    labels: &Labels<Vec<u8>>,
    name: &'static str,
    accepted: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, DeadLetterFault> {
    optional(labels, name, accepted, read)?.ok_or(DeadLetterFault::Absent { name })
}

pub(super) fn read_seal(
    record: &RecordView<'_>,
) -> Result<Option<(KeyId, Signature)>, DeadLetterFault> {
    let Some(seal) = single(record, headers::DEAD_LETTER)? else {
        return Ok(None);
    };
    let malformed = DeadLetterFault::SignatureMalformed;
    if seal.len() != signature::HEADER_BYTES {
        return Err(malformed);
    }
    let Some((&[signature::VERSION], rest)) = seal.split_first_chunk() else {
        return Err(malformed);
    };
    let Some((key_id, rest)) = rest.split_first_chunk() else {
        return Err(malformed);
    };
    let signature = rest.try_into().map_err(|_| malformed)?;
    Ok(Some((KeyId(*key_id), Signature(signature))))
}

pub(super) fn read_raw(record: &RecordView<'_>) -> Result<Copy, DeadLetterFault> {
    let headers = record.headers.iter().filter_map(|(name, value)| {
        Some(Header {
            name: name.strip_prefix(labels::ORIGINAL_PREFIX)?.to_owned(),
            value: value.map(Vec::from),
        })
    });
    Ok(Copy {
        key: single(record, labels::ORIGINAL_KEY)?.map(Vec::from),
        headers: headers.collect(),
        value: record.value.map(Vec::from),
    })
}

pub(super) fn json_body<'a>(record: &RecordView<'a>) -> Result<JsonBody<'a>, DeadLetterFault> {
    serde_json::from_slice(record.value.unwrap_or_default())
        .map_err(|_| DeadLetterFault::Body { form: Form::Json })
}

pub(super) fn read_json(record: &RecordView<'_>) -> Result<Content, DeadLetterFault> {
    copy_of(json_body(record)?)
        .map(Content::Copy)
        .map_err(|_| DeadLetterFault::Body { form: Form::Json })
}

fn copy_of(body: JsonBody<'_>) -> Result<Copy, hex::FromHexError> {
    let bytes = |text: Option<String>| text.map(hex::decode).transpose();
    let mut headers = Vec::new();
    for (name, value) in body.headers {
        headers.push(Header {
            name: name.into_owned(),
            value: bytes(value)?,
        });
    }
    Ok(Copy {
        key: bytes(body.key)?,
        headers,
        value: bytes(body.data)?,
    })
}

pub(super) fn read_reference(record: &RecordView<'_>) -> Result<Content, DeadLetterFault> {
    let malformed = DeadLetterFault::Body {
        form: Form::Reference,
    };
    let body: ReferenceBody =
        serde_json::from_slice(record.value.unwrap_or_default()).map_err(|_| malformed.clone())?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&body.sha256, &mut sha256).map_err(|_| malformed)?;
    Ok(Content::Reference(Reference {
        length: body.length,
        sha256,
        first_offset: body.first_offset,
        last_offset: body.last_offset,
        count: body.count,
    }))
}
