//! The entry points of the fuzz targets, on bytes that are likelier than random ones to get far.

#[path = "../../../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is also a crate, of which these are the public items"
)]
mod entries;

use cybermesh_contracts::Kind;
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..400)
}

/// Protobuf of fields 1 to 19 with wire types that mostly fit.
fn protobuf() -> impl Strategy<Value = Vec<u8>> {
    let varint = prop_oneof![0..130u64, any::<u64>()].prop_map(|mut value| {
        let mut bytes = Vec::new();
        loop {
            let byte = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            bytes.push(byte | if value > 0 { 0x80 } else { 0 });
            if value == 0 {
                return bytes;
            }
        }
    });
    let text = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(vec![7; 32]),
        Just(b"3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d".to_vec()),
        Just(b"{\"severity\":1,\"confidence\":0.5}".to_vec()),
        proptest::sample::select(vec!["anomaly", "add", "block", "challenge", "Ed25519"])
            .prop_map(|name| name.as_bytes().to_vec()),
    ]
    .prop_map(|text| [vec![u8::try_from(text.len()).unwrap_or(0)], text].concat());
    let field = (
        1..20u8,
        prop_oneof![
            4 => varint.prop_map(|body| (0u8, body)),
            1 => any::<[u8; 8]>().prop_map(|body| (1, body.to_vec())),
            6 => text.prop_map(|body| (2, body)),
            1 => any::<[u8; 4]>().prop_map(|body| (5, body.to_vec())),
        ],
    )
        .prop_map(|(number, (wire, body))| {
            let tag = u16::from(number) << 3 | u16::from(wire);
            let mut bytes = match u8::try_from(tag) {
                Ok(tag) if tag < 0x80 => vec![tag],
                _ => vec![
                    u8::try_from(tag & 0x7f).unwrap_or(0) | 0x80,
                    u8::try_from(tag >> 7).unwrap_or(0),
                ],
            };
            bytes.extend(body);
            bytes
        });
    vec(field, 0..20).prop_map(|fields| fields.concat())
}

/// Text out of the words that a format is made of.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    vec(proptest::sample::select(words), 0..40).prop_map(|words| words.concat().into_bytes())
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0061",
    "\\ud800",
    "\\udc00",
    " ",
    "\n",
    "0",
    "1",
    "-",
    ".",
    "e",
    "E",
    "+",
    "true",
    "null",
    "\"severity\":1",
    "\"confidence\":0",
    "\"a\"",
    "\u{e9}",
    "\u{0}",
];

const TOML: &[&str] = &[
    "version = 1\n",
    "count = 1\n",
    "[[key]]\n",
    "id = \"a\"\n",
    "id = \"b\"\n",
    "public_key = \"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"\n",
    "public_key = \"29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7\"\n",
    "public_key_file = \"a.pem\"\n",
    "may_sign = [\"commit\", \"redrive\"]\n",
    "may_sign = []\n",
    "envelope = \"accept\"\n",
    "revoked = true\n",
    "not_before = 2026-01-01T00:00:00Z\n",
    "not_after = 2027-01-01T00:00:00Z\n",
    "producer_id = \"00\"\n",
    "{\"validators\":[",
    "{\"node_id\":\"a\"}",
    "]}",
];

const DEAD_LETTER: &[&str] = &[
    "json",
    "raw",
    "reference",
    "decode",
    "0",
    "-1",
    "41",
    "a/b/0/41",
    "{",
    "}",
    "\"data\":null",
];

proptest! {
    #[test]
    fn no_value_makes_a_message_panic(value in prop_oneof![bytes(), protobuf()]) {
        for kind in Kind::ALL {
            entries::message(kind, &value);
        }
    }

    #[test]
    fn no_header_makes_an_envelope_panic(header in bytes(), right_length in vec(any::<u8>(), 77)) {
        entries::envelope(&header);
        entries::envelope(&[&[1], &right_length[1..]].concat());
    }

    #[test]
    fn no_header_makes_a_redrive_panic(header in bytes(), right_length in vec(any::<u8>(), 118)) {
        entries::redrive(&header);
        entries::redrive(&[&[1], &right_length[1..]].concat());
    }

    #[test]
    fn no_record_makes_a_dead_letter_panic(record in bytes(), parts in vec(words(DEAD_LETTER), 0..18)) {
        entries::dead_letter(&record);
        entries::dead_letter(&parts.join(&0xff));
    }

    #[test]
    fn no_metadata_makes_the_replay_state_panic(metadata in bytes(), small in vec(0..20u8, 0..120)) {
        entries::replay_metadata(&metadata);
        entries::replay_metadata(&small);
    }

    #[test]
    fn no_file_makes_a_trust_store_panic(file in prop_oneof![bytes(), words(TOML), words(JSON)]) {
        entries::trust_store(&file);
    }

    #[test]
    fn no_payload_makes_the_json_reader_panic(payload in prop_oneof![bytes(), words(JSON)]) {
        entries::json(&payload);
        entries::json(&[b"{\"severity\":1,\"confidence\":0,\"x\":", payload.as_slice(), b"}"].concat());
    }

    #[test]
    fn what_was_handled_is_read_as_it_is_written(file in vec(any::<u8>(), 0..60)) {
        use base64::Engine as _;
        entries::handled(&file);
        entries::handled(base64::prelude::BASE64_STANDARD.encode(&file).as_bytes());
    }

    #[test]
    fn no_file_makes_the_nonce_state_panic(file in vec(any::<u8>(), 0..30)) {
        entries::nonce_state(&file);
    }
}

#[test]
fn what_only_a_strict_reader_accepts_is_accepted() {
    let deep = ["[".repeat(127), "]".repeat(127)].concat();
    for beyond in [deep.as_str(), "\"\\ud800\"", "1e999"] {
        let payload = format!("{{\"severity\":1,\"confidence\":0,\"x\":{beyond}}}");
        entries::json(payload.as_bytes());
    }
}

#[test]
fn nesting_as_deep_as_bytes_allow_is_refused_without_a_stack_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = [open.repeat(100_000), "1".into(), close.repeat(100_000)].concat();
        entries::json(deep.as_bytes());
        entries::json(open.repeat(200_000).as_bytes());
    }
}
