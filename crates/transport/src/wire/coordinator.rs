//! FindCoordinator: which broker coordinates a group.

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

#[derive(Debug, Clone)]
pub(crate) struct FindCoordinatorRequest {
    pub(crate) group_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FindCoordinatorResponse {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    pub(crate) node_id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
}

impl Request for FindCoordinatorRequest {
    type Response = FindCoordinatorResponse;

    const API: Api = Api::FindCoordinator;
    // From version 4 on several at once are asked for (KIP-699), which nobody here needs.
    const VERSIONS: VersionRange = VersionRange::new(1, 3);
    const FLEXIBLE_FROM: i16 = 3;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        let a_group = 0;
        writer.i8(a_group);
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<FindCoordinatorResponse, Malformed> {
        reader.throttle_time()?;
        let response = FindCoordinatorResponse {
            error_code: reader.i16()?,
            error_message: reader.nullable_string()?,
            node_id: reader.i32()?,
            host: reader.string()?,
            port: reader.i32()?,
        };
        reader.skip_tags()?;
        Ok(response)
    }
}
