//! What hostile frames meet.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Encodable as _, Request, StrBytes};
use proptest::prelude::*;

use super::{Malformed, parse_request};
use crate::api::Api;

fn header(api: Api, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("client")))
        .encode(&mut frame, api.request_header_version(version))
        .unwrap();
    frame
}

fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    let mut frame = header(Api::from_key(R::KEY).unwrap(), version);
    request.encode(&mut frame, version).unwrap();
    frame.freeze()
}

fn refusal(frame: BytesMut) -> String {
    parse_request(frame.freeze()).unwrap_err().to_string()
}

#[test]
fn a_count_that_the_frame_does_not_hold_is_refused_before_memory_is_taken() {
    // Two billion topics, in both encodings.
    let mut classic = header(Api::Metadata, 1);
    classic.put_i32(i32::MAX);
    assert!(refusal(classic).contains("ends in the middle"));
    let mut compact = header(Api::Metadata, 12);
    compact.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(refusal(compact).contains("ends in the middle"));
}

#[test]
fn more_elements_than_a_request_may_hold_are_refused() {
    let mut frame = header(Api::DescribeGroups, 0);
    frame.put_i32(200_000);
    frame.put_bytes(0, 400_000);
    assert!(refusal(frame).contains("more than 100000"));
}

#[test]
fn a_tag_that_lies_about_its_length_is_refused() {
    // Fetch's tag 0 is the cluster id, which the message library reads without looking at the
    // announced length.
    let request = m::FetchRequest::default().with_cluster_id(Some(StrBytes::from_static_str("c")));
    let honest = frame(12, &request);
    assert!(parse_request(honest.clone()).is_ok());
    let mut lying = BytesMut::from(honest.as_ref());
    let at = lying.len() - 3;
    assert_eq!(lying[at - 1..], [0, 2, 2, b'c'], "tag, length, string");
    lying[at] = 1;
    assert!(refusal(lying).contains("another length"));
}

#[test]
fn what_follows_a_request_and_negative_lengths_are_refused() {
    let mut longer = BytesMut::from(frame(3, &m::ApiVersionsRequest::default()).as_ref());
    longer.put_u8(0);
    assert!(refusal(longer).contains("1 bytes follow"));
    let mut negative = header(Api::Metadata, 1);
    negative.put_i32(-2);
    assert!(refusal(negative).contains("below -1"));
}

#[test]
fn an_unknown_api_and_a_version_not_offered_are_told_apart() {
    let mut unknown = BytesMut::new();
    unknown.put_i16(999);
    unknown.put_bytes(0, 8);
    assert!(matches!(
        parse_request(unknown.freeze()),
        Err(Malformed::UnknownApi(999))
    ));
    let mut newer = BytesMut::new();
    newer.put_i16(Api::Fetch.key());
    newer.put_i16(99);
    newer.put_i32(7);
    assert!(matches!(
        parse_request(newer.freeze()),
        Err(Malformed::UnsupportedVersion {
            correlation_id: 7,
            ..
        })
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        key in prop::sample::select(Api::all().map(Api::key).collect::<Vec<_>>()),
        version in 0_i16..20,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_u8(0);
        frame.put_slice(&body);
        let _ = parse_request(frame.freeze());
    }

    #[test]
    fn one_changed_byte_of_a_good_request_never_makes_the_parser_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        version in 4_i16..=18,
    ) {
        let mut topic = m::fetch_request::FetchTopic::default()
            .with_partitions(vec![m::fetch_request::FetchPartition::default(); 3]);
        if version >= 13 {
            topic.topic_id = uuid::Uuid::from_bytes([7; 16]);
        }
        let request = m::FetchRequest::default().with_topics(vec![topic; 2]);
        let mut frame = BytesMut::from(frame(version, &request).as_ref());
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = parse_request(frame.freeze());
    }
}
