//! What makes a type a request.

use std::time::Duration;

use bytes::Bytes;

use super::{Api, Malformed, Reader, Unencodable, Writer};

/// The lowest and the highest version of a request, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionRange {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl VersionRange {
    pub(crate) const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// A response, and what is said beside it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) response: T,
    /// For how long nothing more is to be sent over the connection (KIP-219). Brokers from 2.0 on answer first and
    /// then turn a deaf ear; older ones wait before they answer, and are rested for once more.
    pub(crate) throttle: Duration,
    /// The size of the body.
    pub(crate) bytes: usize,
}

/// A request and its response, in all versions this client speaks.
pub(crate) trait Request: Send + Sync + 'static {
    type Response: Send + 'static;

    const API: Api;
    /// What this client can write and read.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields (KIP-482); may lie beyond `VERSIONS`.
    const FLEXIBLE_FROM: i16;

    /// Writes the body; `version` lies within `VERSIONS`.
    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable>;

    /// Reads the body of a response; must not panic or take unbounded memory whatever the bytes are.
    fn decode(version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed>;

    /// Reads the whole body of a response.
    fn decode_body(version: i16, body: Bytes) -> Result<Answer<Self::Response>, Malformed> {
        let bytes = body.len();
        let mut reader = Reader::new(body, version >= Self::FLEXIBLE_FROM);
        let response = Self::decode(version, &mut reader)?;
        reader.end()?;
        Ok(Answer {
            response,
            throttle: reader.throttle(),
            bytes,
        })
    }
}
