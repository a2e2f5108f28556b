//! Dead letters: what becomes of a record that is not handled, in a form people and tools can read.
//!
//! A [`Burial`] is what is buried and why; [`Burial::write`] makes the record for the dead-letter
//! topic in the first of the three [`Form`]s that fits; [`DeadLetter::parse`] reads any of them back,
//! and [`DeadLetter::verify`] tells whether a trusted process wrote it.
//!
//! Record key, in all forms, UTF-8: `group/topic/partition/offset`, by which a burial repeated after
//! a crash is told; `produce/topic/` and the lowercase hex SHA-256 of the draft for `produce-failed`.
//!
//! | form | value |
//! |---|---|
//! | `json` | a JSON object: `original_topic`, `timestamp` (s), `error`, `data` (hex, null for a null value), `partition`, `offset`, `group`, `key`, `headers`, `disposition`, `attempts`, `node` |
//! | `raw` | the original value; key in `dlq.original-key`, headers with the prefix `dlq.original.` |
//! | `reference` | a JSON object without a copy: `length`, `sha256`, `first_offset`, `last_offset`, `count` |
//!
//! The header `cm-dead-letter` is `0x01 ‖ key id ‖ signature` over `"cybermesh.dead-letter.v1" ‖ 0x00 ‖
//! u16 BE len ‖ audience ‖ u32 BE len ‖ record key ‖` the signed `dlq.*` headers ([`SIGNED_HEADERS`], in
//! that order) each as u32 BE len (0xFFFFFFFF where absent) ‖ value, `‖` the number of original headers
//! as u32 BE and each as u32 BE len ‖ name ‖ u32 BE len or 0xFFFFFFFF ‖ value, `‖` u32 BE len or 0xFFFFFFFF
//! ‖ original key ‖ SHA-256(original value). What the text leaves open is settled like this:
//!
//! - 32 zero bytes stand for the hash of a null value, as in redrives;
//! - a `reference` carries no original key and headers, so none are signed; where it stands for one
//!   record the hash is that of its value (its `sha256`), where it stands for many it is the SHA-256 of
//!   the reference's own value, whose `sha256` is the SHA-256 of all the values' SHA-256, in offset order;
//! - what the JSON forms repeat out of signed headers must agree with them, or the letter is refused.
//!
//! ```
//! use cybermesh_contracts::dead_letter::{Burial, Content, DeadLetter, Failure, Form};
//! use cybermesh_contracts::{Disposition, RecordView};
//!
//! let record = RecordView {
//!     partition: Some(0),
//!     offset: 41,
//!     ..RecordView::new("ai.anomalies.v1", Some(b"not protobuf"))
//! };
//! let failure = Failure {
//!     disposition: Disposition::Decode,
//!     reason: "not protobuf",
//!     group: Some("cybermesh-backend"),
//!     attempts: 1,
//!     first_failed_at_ms: 1_760_000_000_000,
//!     last_failed_at_ms: 1_760_000_000_000,
//!     node: None,
//! };
//! let letter = Burial::of_record(&record, &failure).write(Form::Json, 1_000_000, None)?;
//! assert_eq!(letter.key, b"cybermesh-backend/ai.anomalies.v1/0/41");
//!
//! let headers = letter.header_views();
//! let read = DeadLetter::parse(&RecordView {
//!     key: Some(&letter.key),
//!     headers: &headers,
//!     ..RecordView::new("ai.dlq", letter.value.as_deref())
//! })?;
//! assert_eq!(read.disposition(), Disposition::Decode);
//! assert!(matches!(read.content(), Content::Copy(copy) if copy.value.as_deref() == Some(b"not protobuf")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod burial;
mod error;
mod flood;
mod form;
mod labels;
mod letter;
mod read;
mod signature;
#[cfg(test)]
mod tests;

pub use self::burial::{Burial, DeadLetterRecord, Failure, Signing};
pub use self::error::{DeadLetterError, DeadLetterFault};
pub use self::flood::Flood;
pub use self::form::Form;
pub use self::labels::SIGNED_HEADERS;
pub use self::letter::{Content, Copy, DeadLetter, Origin, Reference};
