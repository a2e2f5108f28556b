//! Lines that hang together: each carries the SHA-256 of the line before it, across files.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What the first line of a trail carries.
const GENESIS: [u8; 32] = [0; 32];

/// The end of the chain: what the next line has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    /// Before the first line.
    pub(super) fn new() -> Self {
        Self(GENESIS)
    }

    /// Behind `line`, as it stands in the file without its line end, whole or torn.
    pub(super) fn behind(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// The next line, with its line end, and the chain behind it.
    pub(super) fn line(self, at_ms: u64, event: &str, fields: Value) -> (Vec<u8>, Self) {
        let mut object = Map::new();
        object.insert("at".to_owned(), at_ms.into());
        object.insert("event".to_owned(), event.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        object.insert("prev".to_owned(), hex::encode(self.0).into());
        let mut line = Value::Object(object).to_string().into_bytes();
        let next = Self::behind(&line);
        line.push(b'\n');
        (line, next)
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} does not carry the hash of the line before it")]
pub struct Broken {
    /// The line, counted from 1.
    pub line: usize,
}

/// Checks the lines of one trail, from the first line of the first file looked at on: the files'
/// contents one behind the other, oldest first. The first line is taken as it is, a torn line (cut short
/// by a crash) as well.
///
/// # Errors
/// [`Broken`] at the first line that does not follow from the one before.
pub fn check(trail: &[u8]) -> Result<(), Broken> {
    let mut before: Option<Chain> = None;
    for (index, line) in trail.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        if let (Some(expected), Ok(Value::Object(object))) =
            (before, serde_json::from_slice::<Value>(line))
            && object.get("prev").and_then(Value::as_str) != Some(&hex::encode(expected.0))
        {
            return Err(Broken { line: index + 1 });
        }
        before = Some(Chain::behind(line));
    }
    Ok(())
}
