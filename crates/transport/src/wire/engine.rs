//! The protocol engine: rskafka's `Messenger` under our requests and our primitives.
//!
//! What is taken from it is framing, correlation of pipelined requests and the choice of versions. Requests
//! and responses are written and read by [`Writer`] and [`Reader`](super::Reader); the response's bytes are
//! taken over from the engine whole, so that fetched records are never copied. Nothing outside this module
//! sees one of its types.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use rskafka::messenger::{Messenger, RequestError};
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::{ReadError, WriteError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Answer, Api, ApiVersionsRequest, Malformed, Request, Unencodable, VersionRange, Writer,
};

/// A connection's requests in flight.
///
/// Requests leave in the order in which their futures are first polled. A future dropped after that leaves
/// its answer to be thrown away when it comes.
#[derive(Debug)]
pub(crate) struct Engine<S> {
    messenger: Messenger<S>,
    versions: HashMap<Api, VersionRange>,
}

/// Why a request has no response.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// Broker and client share no version of the request; nothing was sent.
    NoCommonVersion { theirs: Option<VersionRange> },
    /// The request does not fit the protocol; nothing was sent.
    Unencodable(Unencodable),
    /// The response makes no sense.
    Malformed(String),
    /// The stream ended or failed; who owns it knows why.
    Lost(String),
    /// The broker refused to tell its versions, with this error code.
    VersionsRefused(i16),
}

impl<S> Engine<S>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    /// Takes over a fresh stream. Must be called within a Tokio runtime.
    pub(crate) fn new(stream: S, frame_limit_bytes: usize, client_id: Arc<str>) -> Self {
        Self {
            messenger: Messenger::new(stream, frame_limit_bytes, client_id),
            versions: HashMap::new(),
        }
    }

    /// Asks the broker what it speaks; to be done before any other request. Has no deadline of its own.
    pub(crate) async fn exchange_versions(&mut self) -> Result<(), EngineError> {
        const UNSUPPORTED_VERSION: i16 = 35;
        let mut newest = ApiVersionsRequest::VERSIONS.max;
        loop {
            self.speak(vec![(Api::ApiVersions, VersionRange::new(0, newest))]);
            let response = self
                .request(&ApiVersionsRequest {
                    software_name: env!("CARGO_PKG_NAME"),
                    software_version: env!("CARGO_PKG_VERSION"),
                })
                .await?
                .response;
            match response.error_code {
                0 => {
                    self.speak(response.apis);
                    return Ok(());
                }
                UNSUPPORTED_VERSION if newest > 0 => newest = 0,
                code => return Err(EngineError::VersionsRefused(code)),
            }
        }
    }

    fn speak(&mut self, apis: Vec<(Api, VersionRange)>) {
        // A range the wrong way round is no range.
        self.versions = apis
            .into_iter()
            .filter(|(_, range)| range.min <= range.max)
            .collect();
        let ranges = self
            .versions
            .iter()
            .map(|(api, range)| (api_key(*api), engine_range(*range)))
            .collect();
        self.messenger.override_version_ranges(ranges);
    }

    /// Sends a request and waits for its response. Has no deadline of its own.
    pub(crate) async fn request<R: Request>(
        &self,
        request: &R,
    ) -> Result<Answer<R::Response>, EngineError> {
        match self.messenger.request(Outgoing(request)).await {
            Ok(Incoming(answer)) => Ok(answer),
            Err(error) => Err(self.told_by_engine::<R>(error)),
        }
    }

    fn told_by_engine<R: Request>(&self, error: RequestError) -> EngineError {
        match error {
            RequestError::NoVersionMatch { .. } => EngineError::NoCommonVersion {
                theirs: self.versions.get(&R::API).copied(),
            },
            RequestError::WriteError(WriteVersionedError::WriteError(WriteError::Malformed(
                source,
            ))) => EngineError::Unencodable(
                source
                    .downcast_ref::<Unencodable>()
                    .copied()
                    .unwrap_or(Unencodable("the request could not be written")),
            ),
            RequestError::ReadVersionedError(ReadVersionedError::ReadError(error))
            | RequestError::ReadError(error) => EngineError::Malformed(match error {
                ReadError::Malformed(source) => source.to_string(),
                other => other.to_string(),
            }),
            other => EngineError::Lost(other.to_string()),
        }
    }
}

/// A request as the engine wants it.
struct Outgoing<'a, R>(&'a R);

impl<R: Request> RequestBody for Outgoing<'_, R> {
    type ResponseBody = Incoming<R>;

    const API_KEY: ApiKey = api_key(R::API);
    const API_VERSION_RANGE: ApiVersionRange = engine_range(R::VERSIONS);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(R::FLEXIBLE_FROM));
    // The header of ApiVersions responses stays as it was, for clients that do not know the version yet.
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion =
        ApiVersion(Int16(if matches!(R::API, Api::ApiVersions) {
            i16::MAX
        } else {
            R::FLEXIBLE_FROM
        }));
}

impl<R: Request> WriteVersionedType<Vec<u8>> for Outgoing<'_, R> {
    fn write_versioned(
        &self,
        out: &mut Vec<u8>,
        ApiVersion(Int16(version)): ApiVersion,
    ) -> Result<(), WriteVersionedError> {
        let mut writer = Writer::onto(std::mem::take(out), version >= R::FLEXIBLE_FROM);
        let written = self.0.encode(version, &mut writer);
        *out = writer.into_bytes();
        written.map_err(|error| WriteError::Malformed(Box::new(error)).into())
    }
}

/// A response as the engine hands it over.
struct Incoming<R: Request>(Answer<R::Response>);

impl<R: Request> ReadVersionedType<Cursor<Vec<u8>>> for Incoming<R> {
    fn read_versioned(
        frame: &mut Cursor<Vec<u8>>,
        ApiVersion(Int16(version)): ApiVersion,
    ) -> Result<Self, ReadVersionedError> {
        // The frame is taken over, not copied; the engine finds an empty one, read to its end.
        let header_bytes = usize::try_from(frame.position()).unwrap_or(usize::MAX);
        frame.set_position(0);
        let mut body = Bytes::from(std::mem::take(frame.get_mut()));
        let body = body.split_off(header_bytes.min(body.len()));
        match R::decode_body(version, body) {
            Ok(answer) => Ok(Self(answer)),
            Err(malformed) => Err(ReadError::Malformed(Box::new(InResponse {
                api: R::API,
                version,
                malformed,
            }))
            .into()),
        }
    }
}

/// Where a response makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{malformed} of a {} response, version {version}", .api.name())]
struct InResponse {
    api: Api,
    version: i16,
    malformed: Malformed,
}

const fn engine_range(range: VersionRange) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(range.min)), ApiVersion(Int16(range.max)))
}

const fn api_key(api: Api) -> ApiKey {
    match api {
        Api::Produce => ApiKey::Produce,
        Api::Fetch => ApiKey::Fetch,
        Api::ListOffsets => ApiKey::ListOffsets,
        Api::Metadata => ApiKey::Metadata,
        Api::OffsetCommit => ApiKey::OffsetCommit,
        Api::OffsetFetch => ApiKey::OffsetFetch,
        Api::FindCoordinator => ApiKey::FindCoordinator,
        Api::JoinGroup => ApiKey::JoinGroup,
        Api::Heartbeat => ApiKey::Heartbeat,
        Api::LeaveGroup => ApiKey::LeaveGroup,
        Api::SyncGroup => ApiKey::SyncGroup,
        Api::DescribeGroups => ApiKey::DescribeGroups,
        Api::ListGroups => ApiKey::ListGroups,
        Api::SaslHandshake => ApiKey::SaslHandshake,
        Api::ApiVersions => ApiKey::ApiVersions,
        Api::CreateTopics => ApiKey::CreateTopics,
        Api::DeleteTopics => ApiKey::DeleteTopics,
        Api::DeleteRecords => ApiKey::DeleteRecords,
        Api::InitProducerId => ApiKey::InitProducerId,
        Api::OffsetForLeaderEpoch => ApiKey::OffsetForLeaderEpoch,
        Api::DescribeConfigs => ApiKey::DescribeConfigs,
        Api::SaslAuthenticate => ApiKey::SaslAuthenticate,
        Api::CreatePartitions => ApiKey::CreatePartitions,
        Api::DeleteGroups => ApiKey::DeleteGroups,
        Api::IncrementalAlterConfigs => ApiKey::IncrementalAlterConfigs,
        // The engine has no name for these.
        Api::ConsumerGroupHeartbeat | Api::ConsumerGroupDescribe => {
            ApiKey::Unknown(Int16(api.key()))
        }
    }
}
