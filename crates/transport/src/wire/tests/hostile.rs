//! No bytes make a parser panic, and no few bytes make it take much memory.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Reads the bytes as every response in every version, of which none has more than twenty.
fn read_as_everything(bytes: &Bytes) {
    for api in Api::ALL {
        for version in 0..20 {
            reads_as(api, version, bytes.clone());
        }
    }
}

/// Small numbers and lengths make it further into a message than even chance does.
fn plausible_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => Just(0u8),
        4 => 1u8..4,
        1 => any::<u8>(),
        1 => Just(0xffu8),
    ];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_as_everything(&bytes.into());
    }

    #[test]
    fn no_plausible_bytes_make_a_parser_panic(bytes in plausible_bytes()) {
        read_as_everything(&bytes.into());
    }
}

#[test]
fn a_count_of_two_thousand_million_in_a_frame_of_a_few_bytes_is_refused_before_memory_is_taken() {
    // A metadata response whose first array, the brokers, claims as many as an i32 can.
    let mut body = vec![0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff];
    body.resize(40, 0);
    let malformed = MetadataRequest::decode_body(8, body.into()).unwrap_err();
    assert_eq!(malformed.at, 8);
    assert!(malformed.what.contains("more elements"));
}

#[test]
fn bytes_left_behind_a_message_are_refused() {
    let body = Bytes::from_static(&[0, 0, 0, 0, 0, 27, 9]);
    let malformed = HeartbeatRequest::decode_body(1, body).unwrap_err();
    assert_eq!(malformed.at, 6);
}
