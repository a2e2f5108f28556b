//! What was handled beyond the committed watermark, so that a restart need not handle it again.
//!
//! One message that is not done holds the watermark back while thousands behind it are. Their offsets
//! do not travel with the commit: its encoding is read by others and has no field for them. They stand in
//! the state folder's copy alone, which is bound to the committed offset. Each is known by its offset and
//! by a mark of its content, so that nothing else that comes to stand at an offset (a log that was cut
//! and written anew) is taken for done.
//!
//! | field | bytes |
//! |---|---|
//! | per message, ascending: offset − that of the one before, of the first − the committed one | varint |
//! | … mark: first 8 bytes of the claim's digest | 8 |
//!
//! All of it in base64 (RFC 4648, padded).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::claim::{Claim, Claims};
use super::snapshot::take;
use super::varint;

/// First bytes of a claim's digest: enough to tell what stands at an offset from what stood there.
pub(super) type Mark = [u8; 8];

pub(super) fn mark(claim: &Claim) -> Mark {
    let [a, b, c, d, e, f, g, h, ..] = claim.digest;
    [a, b, c, d, e, f, g, h]
}

/// Messages at or above a committed offset that were handled.
///
/// Made by [`PartitionReplay::handled_from`](super::PartitionReplay::handled_from).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled(BTreeSet<(i64, Mark)>);

impl Handled {
    /// How many are remembered, the lowest offsets first; what lies beyond is handled again. A copy
    /// takes some 240 KB at most for them.
    pub const MOST: usize = 16_384;

    pub(super) fn of(accepted: impl Iterator<Item = (i64, Mark)>) -> Self {
        Self(accepted.take(Self::MOST).collect())
    }

    /// Whether the message at `offset` is one of them.
    #[must_use]
    pub fn contains(&self, offset: i64, claims: &Claims) -> bool {
        self.has(offset, &claims.judged)
    }

    pub(super) fn has(&self, offset: i64, claim: &Claim) -> bool {
        self.0.contains(&(offset, mark(claim)))
    }

    /// These and those of `other`; of more than are remembered the first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        while self.0.len() > Self::MOST {
            self.0.pop_last();
        }
        self
    }

    /// Lets go of those below `offset`.
    pub fn forget_below(&mut self, offset: i64) {
        self.0 = self.0.split_off(&(offset, [0; 8]));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As text, relative to the committed offset.
    #[must_use]
    pub fn encode(&self, committed: i64) -> String {
        let mut bytes = Vec::new();
        let mut last = committed;
        for (offset, mark) in self.0.range((committed, [0; 8])..) {
            varint::put(&mut bytes, offset.abs_diff(last));
            bytes.extend_from_slice(mark);
            last = *offset;
        }
        BASE64.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote; nothing where the text is anything else.
    #[must_use]
    pub fn decode(text: &str, committed: i64) -> Option<Self> {
        let bytes = BASE64.decode(text).ok()?;
        let mut rest = bytes.as_slice();
        let mut handled = BTreeSet::new();
        let mut last = committed;
        while !rest.is_empty() {
            let distance = i64::try_from(varint::take(&mut rest)?).ok()?;
            last = last.checked_add(distance)?;
            if !handled.insert((last, take(&mut rest)?)) || handled.len() > Self::MOST {
                return None;
            }
        }
        Some(Self(handled))
    }
}
