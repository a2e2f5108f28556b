//! SaslHandshake and SaslAuthenticate: who the client is (KIP-43, KIP-152, KIP-368).

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Says by which mechanism the client will authenticate. From version 1 on its messages travel in
/// [`SaslAuthenticateRequest`]; in version 0 they travelled without any frame, which no broker needs since Kafka 1.0.
#[derive(Debug, Clone)]
pub(crate) struct SaslHandshakeRequest {
    pub(crate) mechanism: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaslHandshakeResponse {
    pub(crate) error_code: i16,
    /// What the broker offers.
    pub(crate) mechanisms: Vec<String>,
}

impl Request for SaslHandshakeRequest {
    type Response = SaslHandshakeResponse;

    const API: Api = Api::SaslHandshake;
    const VERSIONS: VersionRange = VersionRange::new(1, 1);
    const FLEXIBLE_FROM: i16 = i16::MAX;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(self.mechanism)
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<SaslHandshakeResponse, Malformed> {
        Ok(SaslHandshakeResponse {
            error_code: reader.i16()?,
            mechanisms: reader.array(Reader::string)?,
        })
    }
}

/// One message of the mechanism.
pub(crate) struct SaslAuthenticateRequest {
    pub(crate) message: Zeroizing<Vec<u8>>,
}

/// Without the message: a password may be in it.
impl std::fmt::Debug for SaslAuthenticateRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslAuthenticateRequest")
            .field("message_bytes", &self.message.len())
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaslAuthenticateResponse {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    /// The broker's message.
    pub(crate) message: Bytes,
    /// After this time the broker ends the connection; 0 where it does not, or does not say so.
    pub(crate) session_lifetime_ms: i64,
}

impl Request for SaslAuthenticateRequest {
    type Response = SaslAuthenticateResponse;

    const API: Api = Api::SaslAuthenticate;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.bytes(&self.message)?;
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<SaslAuthenticateResponse, Malformed> {
        let response = SaslAuthenticateResponse {
            error_code: reader.i16()?,
            error_message: reader.nullable_string()?,
            message: reader.bytes()?,
            session_lifetime_ms: if version >= 1 { reader.i64()? } else { 0 },
        };
        reader.skip_tags()?;
        Ok(response)
    }
}
