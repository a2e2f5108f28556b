//! Zigzag varints, and a cursor over [`Bytes`] that never reads past what is left.

use bytes::{Buf, Bytes};

/// Appends `value` as a zigzag varint of one to ten bytes.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Bytes that are taken from the front; each method is `None` where too little is left or the form is wrong.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    rest: Bytes,
}

impl Cursor {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.rest.len()).then(|| self.rest.split_to(len))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.rest.try_get_u8().ok()
    }

    /// A zigzag varint of at most ten bytes that fits an `i64`.
    pub(super) fn varlong(&mut self) -> Option<i64> {
        let mut raw = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            raw |= bits << shift;
            if byte & 0x80 == 0 {
                return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        None
    }

    /// A zigzag varint that fits an `i32`.
    pub(super) fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    /// A length-prefixed byte string; the inner `None` is null (length −1).
    pub(super) fn nullable_bytes(&mut self) -> Option<Option<Bytes>> {
        match self.varint()? {
            -1 => Some(None),
            len => self.take(usize::try_from(len).ok()?).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_as_written(value: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert!(out.len() <= 10);
            let mut cursor = Cursor::new(out.into());
            prop_assert_eq!(cursor.varlong(), Some(value));
            prop_assert_eq!(cursor.remaining(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(bytes.into());
            while cursor.nullable_bytes().is_some() && cursor.remaining() > 0 {}
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut out = Vec::new();
        put(&mut out, i64::from(i32::MAX));
        out.extend_from_slice(b"short");
        assert_eq!(Cursor::new(out.into()).nullable_bytes(), None);
    }
}
