//! ApiVersions: which requests a broker speaks (KIP-35, KIP-511).

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Asks for the versions a broker speaks.
#[derive(Debug, Clone)]
pub(crate) struct ApiVersionsRequest {
    pub(crate) software_name: &'static str,
    pub(crate) software_version: &'static str,
}

/// The versions a broker speaks, those of requests this client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiVersionsResponse {
    pub(crate) error_code: i16,
    pub(crate) apis: Vec<(Api, VersionRange)>,
}

/// The broker does not know the version we asked in, and has answered in version 0.
const UNSUPPORTED_VERSION: i16 = 35;

impl Request for ApiVersionsRequest {
    type Response = ApiVersionsResponse;

    const API: Api = Api::ApiVersions;
    const VERSIONS: VersionRange = VersionRange::new(0, 3);
    const FLEXIBLE_FROM: i16 = 3;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        if version >= 3 {
            writer.string(self.software_name)?;
            writer.string(self.software_version)?;
            writer.tags();
        }
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<ApiVersionsResponse, Malformed> {
        let error_code = reader.i16()?;
        if error_code == UNSUPPORTED_VERSION && version > 0 {
            // The rest is in version 0 and of no interest; the caller asks again in version 0.
            reader.drain();
            return Ok(ApiVersionsResponse {
                error_code,
                apis: Vec::new(),
            });
        }
        let apis = reader.array(|reader| {
            let key = reader.i16()?;
            let range = VersionRange::new(reader.i16()?, reader.i16()?);
            reader.skip_tags()?;
            Ok((key, range))
        })?;
        if version >= 1 {
            reader.throttle_time()?;
        }
        // Tags of version 3 tell the features of the cluster's brokers.
        reader.skip_tags()?;
        let apis = apis
            .into_iter()
            .filter_map(|(key, range)| Some((Api::from_key(key)?, range)))
            .collect();
        Ok(ApiVersionsResponse { error_code, apis })
    }
}
