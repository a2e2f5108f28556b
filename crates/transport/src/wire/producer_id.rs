//! InitProducerId: an identity for idempotent producing (KIP-98).

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Asks for a producer id that nobody has; without a transactional id a broker never gives the same twice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InitProducerIdRequest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitProducerIdResponse {
    pub(crate) error_code: i16,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

impl Request for InitProducerIdRequest {
    type Response = InitProducerIdResponse;

    const API: Api = Api::InitProducerId;
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    const FLEXIBLE_FROM: i16 = 2;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        let transactional_id = None;
        writer.nullable_string(transactional_id)?;
        let transaction_timeout_ms = i32::MAX;
        writer.i32(transaction_timeout_ms);
        if version >= 3 {
            let (no_producer_id, no_epoch) = (-1, -1);
            writer.i64(no_producer_id);
            writer.i16(no_epoch);
        }
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<InitProducerIdResponse, Malformed> {
        reader.throttle_time()?;
        let response = InitProducerIdResponse {
            error_code: reader.i16()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
        };
        reader.skip_tags()?;
        Ok(response)
    }
}
