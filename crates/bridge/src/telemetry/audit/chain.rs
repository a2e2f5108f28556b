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

/// Goes along the lines of a trail, oldest first, and says whether each follows from the one before. The
/// first is taken as it is; a torn line (cut short by a crash) says nothing of the one before it, and the
/// next has to follow from it.
#[derive(Debug, Default)]
pub(super) struct Follower {
    before: Option<Chain>,
    from_the_beginning: bool,
}

impl Follower {
    /// Whether the next line, without its line end, follows.
    pub(super) fn follows(&mut self, line: &[u8]) -> bool {
        if line.is_empty() {
            return true;
        }
        let follows = match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(object)) => {
                let carried = object.get("prev").and_then(Value::as_str);
                let carries = |chain: Chain| carried == Some(&hex::encode(chain.0));
                self.from_the_beginning |= self.before.is_none() && carries(Chain::new());
                self.before.is_none_or(carries)
            }
            _ => true,
        };
        self.before = Some(Chain::behind(line));
        follows
    }

    /// Whether the first line was the first of all.
    pub(super) fn saw_the_beginning(&self) -> bool {
        self.from_the_beginning
    }

    /// What the next line has to carry; `None` before the first.
    pub(super) fn end(&self) -> Option<[u8; 32]> {
        self.before.map(|chain| chain.0)
    }
}
