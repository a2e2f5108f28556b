//! Reads the records of a batch, independently of any client's codec.
//!
//! [`codec`] decompresses within a limit, [`decode`] takes the records apart.

mod codec;
mod decode;
#[cfg(test)]
mod tests;

pub(crate) use decode::{Record, decode_batch};
