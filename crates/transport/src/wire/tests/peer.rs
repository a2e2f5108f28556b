//! The other implementation: the crate `kafka-protocol`, which shares no line with ours.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::*;

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(super) fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// All versions of a request.
pub(super) fn versions<R: Request>() -> std::ops::RangeInclusive<i16> {
    R::VERSIONS.min..=R::VERSIONS.max
}

/// Reads our request with the other implementation, to the last byte.
pub(super) fn read_by_peer<R: Request, P: Decodable>(request: &R, version: i16) -> P {
    let mut writer = Writer::new(version >= R::FLEXIBLE_FROM);
    request.encode(version, &mut writer).unwrap();
    let mut bytes = Bytes::from(writer.into_bytes());
    let read = P::decode(&mut bytes, version)
        .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::API.name()));
    assert!(bytes.is_empty(), "{} version {version}", R::API.name());
    read
}

/// Reads a response written by the other implementation, and any cut of it without a panic.
pub(super) fn written_by_peer<R: Request>(response: &impl Encodable, version: i16) -> R::Response {
    let mut bytes = BytesMut::new();
    response
        .encode(&mut bytes, version)
        .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::API.name()));
    let bytes = bytes.freeze();
    for cut in 0..bytes.len() {
        let outcome = R::decode_body(version, bytes.slice(..cut));
        assert!(
            outcome.is_err(),
            "{} version {version} cut at {cut}",
            R::API.name()
        );
    }
    R::decode_body(version, bytes)
        .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::API.name()))
        .response
}
