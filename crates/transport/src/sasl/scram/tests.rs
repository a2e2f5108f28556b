use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn client(hash: Hash) -> Scram {
    Scram::with_nonce(hash, "user", "pencil".into(), CLIENT_NONCE.to_owned())
}

fn spoken(hash: Hash) -> (String, Expected) {
    let (message, expected) = client(hash).last(SERVER_FIRST.as_bytes()).unwrap();
    (String::from_utf8(message.to_vec()).unwrap(), expected)
}

/// What comes of the server's first message.
fn refused(server_first: &str) -> SaslFailure {
    client(Hash::Sha256)
        .last(server_first.as_bytes())
        .unwrap_err()
}

#[test]
fn the_exchange_with_sha_256_is_that_of_the_rfc() {
    // RFC 7677, section 3.
    let first = client(Hash::Sha256).first();
    assert_eq!(*first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let (last, expected) = spoken(Hash::Sha256);
    assert_eq!(
        last,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    expected
        .check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        .unwrap();
}

#[test]
fn the_exchange_with_sha_512_is_what_pythons_hashlib_makes_of_the_same() {
    let (last, expected) = spoken(Hash::Sha512);
    let proof =
        "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    assert!(last.ends_with(&format!(",p={proof}")), "{last}");
    expected
        .check(b"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==")
        .unwrap();
}

#[test]
fn a_name_with_a_comma_or_an_equals_sign_does_not_break_out_of_the_message() {
    let client = Scram::with_nonce(Hash::Sha256, "a=b,r=x", "p".into(), CLIENT_NONCE.to_owned());
    let expected = format!("n,,n=a=3Db=2Cr=3Dx,r={CLIENT_NONCE}");
    assert_eq!(*client.first(), expected.into_bytes());
}

#[test]
fn every_client_has_a_nonce_of_its_own() {
    let nonce = || {
        Scram::new(Hash::Sha256, "user", "pencil".into())
            .unwrap()
            .nonce
    };
    let (one, other) = (nonce(), nonce());
    assert_ne!(one, other);
    assert_eq!(one.len(), 32);
    assert!(!one.contains(','));
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let (_, expected) = spoken(Hash::Sha256);
    for signature in [
        // One bit less than the right one.
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=",
        // The right one cut short, and none at all.
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl9",
        "v=",
    ] {
        let refused = expected.check(signature.as_bytes());
        assert_eq!(
            refused,
            Err(SaslFailure::WrongServerSignature),
            "{signature}"
        );
    }
    for message in [
        "",
        "ok",
        "v=***",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ] {
        let refused = expected.check(message.as_bytes()).unwrap_err();
        assert!(
            matches!(refused, SaslFailure::Malformed { .. }),
            "{message}"
        );
    }
}

#[test]
fn an_error_the_server_names_in_its_last_message_is_handed_on() {
    let (_, expected) = spoken(Hash::Sha256);
    let message = Some("invalid-proof".into());
    assert_eq!(
        expected.check(b"e=invalid-proof"),
        Err(SaslFailure::Refused { message })
    );
}

#[test]
fn a_server_that_asks_for_too_few_or_too_many_iterations_is_refused_before_the_work() {
    let asking = |iterations: &str| SERVER_FIRST.replace("4096", iterations);
    for (iterations, asked) in [
        ("1", 1),
        ("4095", 4095),
        ("131073", 131_073),
        ("2147483648", 1 << 31),
        ("99999999999999999999999", u64::MAX),
    ] {
        let expected = SaslFailure::Iterations {
            asked,
            fewest: 4096,
            most: 131_072,
        };
        assert_eq!(refused(&asking(iterations)), expected);
    }
    for no_number in ["", "-4096", "+4096", "4096x"] {
        let refused = refused(&asking(no_number));
        assert!(
            matches!(refused, SaslFailure::Malformed { .. }),
            "{no_number}"
        );
    }
    assert!(Challenge::parse(asking("131072").as_bytes(), CLIENT_NONCE).is_ok());
}

#[test]
fn a_first_message_that_is_none_is_refused() {
    let nonce = format!("r={CLIENT_NONCE}x");
    for message in [
        String::new(),
        "e=other-error".to_owned(),
        // An extension that has to be understood.
        format!("m=new,{SERVER_FIRST}"),
        // A nonce that is not ours, ours with nothing added, ours with what is not printable.
        "r=other,s=c2FsdA==,i=4096".to_owned(),
        format!("r={CLIENT_NONCE},s=c2FsdA==,i=4096"),
        format!("{nonce}\u{7f},s=c2FsdA==,i=4096"),
        format!("{nonce},s=,i=4096"),
        format!("{nonce},s=?,i=4096"),
        format!("{nonce},i=4096,s=c2FsdA=="),
        format!("{nonce},s=c2FsdA=="),
        format!("{nonce},s={},i=4096", "A".repeat(4096)),
    ] {
        let refused = refused(&message);
        assert!(
            matches!(refused, SaslFailure::Malformed { .. }),
            "{message}: {refused}"
        );
    }
}

/// Made once: the iterations take their time.
static EXPECTED: LazyLock<Expected> = LazyLock::new(|| spoken(Hash::Sha256).1);

proptest! {
    #[test]
    fn no_bytes_of_a_server_make_a_client_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(client(Hash::Sha256).last(&bytes).is_err());
        prop_assert!(EXPECTED.check(&bytes).is_err());
    }
}
