//! From bytes on a connection to a request, and back.
//!
//! [`frame`] cuts the stream into frames of bounded length, [`guard`] walks a frame by the
//! [`schema`] of its request before the message library may decode it (that library takes memory
//! by the counts the wire names), [`request`] joins them.

mod frame;
mod guard;
mod request;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use frame::{read_frame, write_frame, write_half_a_frame};
pub(crate) use request::{Body, Malformed, Request, encode_response, parse_request};
