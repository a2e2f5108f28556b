//! Walks a request by its schema, before memory is taken for any of its counts.
//!
//! The message library allocates arrays by the count on the wire. A frame that passes here holds
//! every element it announces, and not more elements than [`MAX_ELEMENTS`], so what decoding
//! takes is a small multiple of that number.

use thiserror::Error;

use super::schema::{Shape, Struct};

/// Array elements and tagged fields in one request, all levels together.
const MAX_ELEMENTS: usize = 100_000;

/// Why a request was not decoded.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("request ends in the middle of a field")]
    Truncated,
    #[error("{0} bytes follow the end of the request")]
    Trailing(usize),
    #[error("length or count below -1")]
    NegativeLength,
    #[error("variable-length integer longer than 32 bits")]
    LongVarint,
    #[error("more than {MAX_ELEMENTS} array elements in one request")]
    TooManyElements,
    #[error("tagged field of another length than it announces")]
    TagLength,
}

/// Checks that `body` is exactly one structure of this schema.
pub(super) fn check(
    body: &[u8],
    schema: &Struct,
    version: i16,
    flexible: bool,
) -> Result<(), Refusal> {
    let mut walker = Walker {
        rest: body,
        version,
        flexible,
        elements: 0,
    };
    walker.structure(schema)?;
    match walker.rest.len() {
        0 => Ok(()),
        trailing => Err(Refusal::Trailing(trailing)),
    }
}

struct Walker<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walker<'_> {
    fn structure(&mut self, schema: &Struct) -> Result<(), Refusal> {
        for field in schema.fields {
            if (field.from..=field.to).contains(&self.version) {
                self.shape(field.shape)?;
            }
        }
        if self.flexible && !schema.is_bare() {
            self.tags(schema)?;
        }
        Ok(())
    }

    fn shape(&mut self, shape: Shape) -> Result<(), Refusal> {
        match shape {
            Shape::Fixed(bytes) => self.skip(bytes),
            Shape::Text => {
                let length = if self.flexible {
                    self.compact_length()?
                } else {
                    self.int16_length()?
                };
                self.skip(length)
            }
            Shape::Bytes => {
                let length = self.count()?;
                self.skip(length)
            }
            Shape::List(item) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.shape(*item)?;
                }
                Ok(())
            }
            Shape::Structs(schema) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.structure(schema)?;
                }
                Ok(())
            }
        }
    }

    fn tags(&mut self, schema: &Struct) -> Result<(), Refusal> {
        for _ in 0..self.varint()? {
            self.element()?;
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| Refusal::Truncated)?;
            match schema.tags.iter().find(|(known, _)| *known == tag) {
                Some((_, inner)) => {
                    let before = self.rest.len();
                    self.structure(inner)?;
                    if before - self.rest.len() != size {
                        return Err(Refusal::TagLength);
                    }
                }
                None => self.skip(size)?,
            }
        }
        Ok(())
    }

    fn element(&mut self) -> Result<(), Refusal> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Refusal::TooManyElements);
        }
        Ok(())
    }

    /// An array count or byte length; null counts as empty.
    fn count(&mut self) -> Result<usize, Refusal> {
        if self.flexible {
            self.compact_length()
        } else {
            non_negative(i32::from_be_bytes(self.take()?))
        }
    }

    fn int16_length(&mut self) -> Result<usize, Refusal> {
        non_negative(i16::from_be_bytes(self.take()?).into())
    }

    fn compact_length(&mut self) -> Result<usize, Refusal> {
        let length = self.varint()?.saturating_sub(1);
        usize::try_from(length).map_err(|_| Refusal::Truncated)
    }

    fn varint(&mut self) -> Result<u32, Refusal> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            if shift == 28 && byte > 0x0f {
                return Err(Refusal::LongVarint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.rest = self.rest.get(bytes..).ok_or(Refusal::Truncated)?;
        Ok(())
    }
}

fn non_negative(length: i32) -> Result<usize, Refusal> {
    match length {
        -1 => Ok(0),
        _ => usize::try_from(length).map_err(|_| Refusal::NegativeLength),
    }
}
