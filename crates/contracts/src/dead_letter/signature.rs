//! What a dead letter's signature is over.

use super::labels::Labels;

pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 1 + 8 + 64;
const DOMAIN: &[u8] = b"cybermesh.dead-letter.v1\0";
const ABSENT: [u8; 4] = [0xff; 4];

/// Everything that is signed but the audience.
pub(super) struct Signed<'a> {
    pub(super) record_key: &'a [u8],
    pub(super) labels: Labels<&'a [u8]>,
    pub(super) original_headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(super) original_key: Option<&'a [u8]>,
    pub(super) value_hash: [u8; 32],
}

impl Signed<'_> {
    /// The bytes under the signature; nothing where a length does not fit its field.
    pub(super) fn bytes(&self, audience: &str) -> Option<Vec<u8>> {
        let mut out = DOMAIN.to_vec();
        out.extend_from_slice(&u16::try_from(audience.len()).ok()?.to_be_bytes());
        out.extend_from_slice(audience.as_bytes());
        put(&mut out, Some(self.record_key))?;
        for label in self.labels {
            put(&mut out, label)?;
        }
        let headers = u32::try_from(self.original_headers.len()).ok()?;
        out.extend_from_slice(&headers.to_be_bytes());
        for (name, value) in &self.original_headers {
            put(&mut out, Some(name.as_bytes()))?;
            put(&mut out, *value)?;
        }
        put(&mut out, self.original_key)?;
        out.extend_from_slice(&self.value_hash);
        Some(out)
    }
}

fn put(out: &mut Vec<u8>, part: Option<&[u8]>) -> Option<()> {
    let Some(part) = part else {
        out.extend_from_slice(&ABSENT);
        return Some(());
    };
    let length = u32::try_from(part.len()).ok()?.to_be_bytes();
    if length == ABSENT {
        return None;
    }
    out.extend_from_slice(&length);
    out.extend_from_slice(part);
    Some(())
}
