//! Reads protocol primitives from one frame, bounded by what is left of it.

use std::time::Duration;

use bytes::{Buf, Bytes};
use thiserror::Error;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} at byte {at}")]
pub(crate) struct Malformed {
    /// Position in the body, behind the response header.
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// A cursor over the body of one response.
///
/// With `flexible` set, strings, bytes and arrays have the compact lengths of KIP-482 and structures end in
/// tagged fields.
#[derive(Debug)]
pub(crate) struct Reader {
    left: Bytes,
    total: usize,
    flexible: bool,
    /// What elements of arrays may still take up.
    elements_left_bytes: usize,
    throttle_ms: i32,
}

/// Memory for the elements of arrays, as a multiple of the message: in what brokers really say they take up three times
/// their bytes, but elements can be made that take up thirty times theirs.
const ELEMENTS_FACTOR: usize = 8;
/// So much more is for any message, however small.
const ELEMENTS_FREE_BYTES: usize = 64 * 1024;

type Read<T> = Result<T, Malformed>;

impl Reader {
    pub(crate) fn new(body: Bytes, flexible: bool) -> Self {
        Self {
            total: body.len(),
            elements_left_bytes: body
                .len()
                .saturating_mul(ELEMENTS_FACTOR)
                .saturating_add(ELEMENTS_FREE_BYTES),
            left: body,
            flexible,
            throttle_ms: 0,
        }
    }

    /// A reader of the same encoding over bytes found within, such as a tagged field.
    pub(crate) fn within(&self, body: Bytes) -> Self {
        Self::new(body, self.flexible)
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            at: self.total - self.left.len(),
            what,
        }
    }

    fn need(&self, length: usize, what: &'static str) -> Read<()> {
        if self.left.len() < length {
            return Err(self.malformed(what));
        }
        Ok(())
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        Ok(self.i8()? != 0)
    }

    pub(crate) fn i8(&mut self) -> Read<i8> {
        self.need(1, "the message ends within an integer")?;
        Ok(self.left.get_i8())
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        self.need(2, "the message ends within an integer")?;
        Ok(self.left.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.need(4, "the message ends within an integer")?;
        Ok(self.left.get_i32())
    }

    /// How long the broker asks us to rest (KIP-219): told apart from the message, since it is for the connection.
    pub(crate) fn throttle_time(&mut self) -> Read<()> {
        self.throttle_ms = self.i32()?;
        Ok(())
    }

    /// The throttle time that was read; none where there was none, or one that makes no sense.
    pub(crate) fn throttle(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.throttle_ms).unwrap_or(0))
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.need(8, "the message ends within an integer")?;
        Ok(self.left.get_i64())
    }

    pub(crate) fn uuid(&mut self) -> Read<[u8; 16]> {
        self.need(16, "the message ends within a uuid")?;
        let mut uuid = [0; 16];
        self.left.copy_to_slice(&mut uuid);
        Ok(uuid)
    }

    /// An unsigned variable-length integer of at most 32 bits.
    pub(crate) fn uvarint(&mut self) -> Read<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1, "the message ends within a variable-length integer")?;
            let byte = self.left.get_u8();
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a variable-length integer is longer than 32 bits"))
    }

    pub(crate) fn string(&mut self) -> Read<String> {
        self.nullable_string()?
            .ok_or_else(|| self.malformed("a string is null that may not be"))
    }

    pub(crate) fn nullable_string(&mut self) -> Read<Option<String>> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(
                    usize::try_from(length)
                        .map_err(|_| self.malformed("a string has a negative length"))?,
                ),
            }
        };
        let Some(length) = length else {
            return Ok(None);
        };
        self.need(length, "a string is longer than the message")?;
        let text = std::str::from_utf8(&self.left[..length])
            .map_err(|_| self.malformed("a string is not UTF-8"))?
            .to_owned();
        self.left.advance(length);
        Ok(Some(text))
    }

    pub(crate) fn bytes(&mut self) -> Read<Bytes> {
        self.nullable_bytes()?
            .ok_or_else(|| self.malformed("bytes are null that may not be"))
    }

    /// Bytes, shared with the frame and not copied.
    pub(crate) fn nullable_bytes(&mut self) -> Read<Option<Bytes>> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            self.fixed_length("bytes have a negative length")?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        self.need(length, "bytes are longer than the message")?;
        Ok(Some(self.left.split_to(length)))
    }

    /// An array whose elements take at least one byte each.
    pub(crate) fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.nullable_array(element)?
            .ok_or_else(|| self.malformed("an array is null that may not be"))
    }

    /// An array or null. No more is set aside for it than the frame can hold elements.
    pub(crate) fn nullable_array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            self.fixed_length("an array has a negative length")?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        self.need(
            length,
            "an array has more elements than the message has bytes",
        )?;
        // Grown as elements prove to be there: a count alone buys no memory.
        let mut elements = Vec::with_capacity(length.min(64));
        for _ in 0..length {
            self.elements_left_bytes = self
                .elements_left_bytes
                .checked_sub(size_of::<T>())
                .ok_or_else(|| self.malformed("the arrays are out of proportion to the message"))?;
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Passes over the tagged fields at the end of a structure; nothing where the version has none.
    pub(crate) fn skip_tags(&mut self) -> Read<()> {
        self.tags(|_, _| Ok(()))
    }

    /// Hands each tagged field at the end of a structure to `field`; nothing where the version has none.
    pub(crate) fn tags(&mut self, mut field: impl FnMut(u32, Self) -> Read<()>) -> Read<()> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint()?;
        for _ in 0..count {
            let tag = self.uvarint()?;
            let length = self.unsigned_length()?;
            self.need(length, "a tagged field is longer than the message")?;
            let body = self.left.split_to(length);
            field(tag, self.within(body))?;
        }
        Ok(())
    }

    /// Passes over all that is left.
    pub(crate) fn drain(&mut self) {
        self.left.clear();
    }

    /// Claims that nothing is left.
    pub(crate) fn end(&self) -> Read<()> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("bytes are left behind the message"))
        }
    }

    fn unsigned_length(&mut self) -> Read<usize> {
        usize::try_from(self.uvarint()?).map_err(|_| self.malformed("a length is too large"))
    }

    fn compact_length(&mut self) -> Read<Option<usize>> {
        Ok(self.unsigned_length()?.checked_sub(1))
    }

    fn fixed_length(&mut self, negative: &'static str) -> Read<Option<usize>> {
        match self.i32()? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| self.malformed(negative)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;
    use proptest::prelude::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes), flexible)
    }

    #[test]
    fn a_compact_length_of_zero_is_null_and_never_an_underflow() {
        assert_eq!(reader(&[0], true).nullable_bytes(), Ok(None));
        assert!(reader(&[0], true).bytes().is_err());
        assert!(reader(&[0], true).string().is_err());
        assert!(reader(&[0], true).array(Reader::i8).is_err());
    }

    #[test]
    fn an_array_cannot_claim_more_elements_than_there_are_bytes() {
        let error = reader(&[0x7f, 0xff, 0xff, 0xff, 1, 2], false)
            .array(Reader::i8)
            .unwrap_err();
        assert!(error.what.contains("more elements"));
    }

    #[test]
    fn many_elements_of_next_to_no_bytes_do_not_fill_the_memory() {
        const ELEMENTS: usize = 1 << 20;
        let mut writer = Writer::new(true);
        writer
            .array(&vec![""; ELEMENTS], |writer, text| writer.string(text))
            .unwrap();
        let bytes = Bytes::from(writer.into_bytes());
        let error = Reader::new(bytes, true).array(Reader::string).unwrap_err();
        assert!(error.what.contains("out of proportion"));
        assert!(error.at < ELEMENTS / 2, "{}", error.at);
    }

    #[test]
    fn a_variable_length_integer_beyond_32_bits_is_refused() {
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).uvarint(),
            Ok(u32::MAX)
        );
        assert!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x10], true)
                .uvarint()
                .is_err()
        );
        assert!(reader(&[0x80; 8], true).uvarint().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            flexible: bool,
            text in proptest::option::of(".{0,40}"),
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
            numbers in proptest::collection::vec(any::<i32>(), 0..200),
            varint: u32,
        ) {
            let mut writer = Writer::new(flexible);
            writer.nullable_string(text.as_deref()).unwrap();
            writer.nullable_bytes(data.as_deref()).unwrap();
            writer.array(&numbers, |writer, number| { writer.i32(*number); Ok(()) }).unwrap();
            writer.uvarint(varint);
            writer.tags();
            let mut reader = Reader::new(writer.into_bytes().into(), flexible);
            prop_assert_eq!(reader.nullable_string().unwrap(), text);
            prop_assert_eq!(reader.nullable_bytes().unwrap(), data.map(Bytes::from));
            prop_assert_eq!(reader.array(Reader::i32).unwrap(), numbers);
            prop_assert_eq!(reader.uvarint().unwrap(), varint);
            reader.skip_tags().unwrap();
            reader.end().unwrap();
        }
    }
}
