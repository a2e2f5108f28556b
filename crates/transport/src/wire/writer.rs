//! Writes protocol primitives.

use thiserror::Error;

/// Why a request cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct Unencodable(pub(crate) &'static str);

type Written = Result<(), Unencodable>;

/// Collects the body of one request; `flexible` as in [`Reader`](super::Reader).
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    flexible: bool,
}

impl Writer {
    #[cfg(test)]
    pub(crate) fn new(flexible: bool) -> Self {
        Self::onto(Vec::new(), flexible)
    }

    /// Writes behind what `out` holds already.
    pub(crate) fn onto(out: Vec<u8>, flexible: bool) -> Self {
        Self { out, flexible }
    }

    /// Makes room for so many more bytes, exactly.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.out.reserve_exact(bytes);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: &[u8; 16]) {
        self.out.extend_from_slice(value);
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = (value & 0x7f).to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.out.push(low);
                return;
            }
            self.out.push(low | 0x80);
        }
    }

    pub(crate) fn string(&mut self, text: &str) -> Written {
        self.nullable_string(Some(text))
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> Written {
        const TOO_LONG: Unencodable = Unencodable("a string is longer than 32767 bytes");
        // The compact form could hold more, but brokers refuse it.
        let length = match text {
            Some(text) => Some(i16::try_from(text.len()).map_err(|_| TOO_LONG)?),
            None => None,
        };
        if self.flexible {
            self.compact_length(text.map(str::len), TOO_LONG)?;
        } else {
            self.i16(length.unwrap_or(-1));
        }
        self.out
            .extend_from_slice(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Written {
        self.nullable_bytes(Some(bytes))
    }

    pub(crate) fn nullable_bytes(&mut self, bytes: Option<&[u8]>) -> Written {
        self.length(
            bytes.map(<[u8]>::len),
            Unencodable("bytes are longer than 2147483647"),
        )?;
        self.out.extend_from_slice(bytes.unwrap_or_default());
        Ok(())
    }

    pub(crate) fn array<T>(
        &mut self,
        elements: &[T],
        element: impl FnMut(&mut Self, &T) -> Written,
    ) -> Written {
        self.nullable_array(Some(elements), element)
    }

    pub(crate) fn nullable_array<T>(
        &mut self,
        elements: Option<&[T]>,
        mut element: impl FnMut(&mut Self, &T) -> Written,
    ) -> Written {
        self.length(
            elements.map(<[T]>::len),
            Unencodable("an array has more than 2147483647 elements"),
        )?;
        for each in elements.unwrap_or_default() {
            element(self, each)?;
        }
        Ok(())
    }

    /// The end of a structure without tagged fields; nothing where the version has none.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.out.push(0);
        }
    }

    fn length(&mut self, length: Option<usize>, too_long: Unencodable) -> Written {
        if self.flexible {
            return self.compact_length(length, too_long);
        }
        let length = match length {
            Some(length) => i32::try_from(length).map_err(|_| too_long)?,
            None => -1,
        };
        self.i32(length);
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>, too_long: Unencodable) -> Written {
        let length = match length {
            Some(length) => u32::try_from(length)
                .ok()
                .and_then(|length| length.checked_add(1))
                .ok_or(too_long)?,
            None => 0,
        };
        self.uvarint(length);
        Ok(())
    }
}
