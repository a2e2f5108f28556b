//! That `Verified` messages are to be had without a trust store by the feature `test-util` alone, which
//! is off unless asked for. (That nothing else makes them is for the compiler to say: see the
//! documentation tests of `verify`.)

#[test]
fn no_feature_is_on_by_default() {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    let names: Vec<_> = features.keys().map(String::as_str).collect();
    assert_eq!(names, ["test-util"]);
}

#[cfg(feature = "test-util")]
mod support;

#[cfg(feature = "test-util")]
#[test]
fn tests_of_handlers_get_verified_messages_of_drafts() {
    use cybermesh_contracts::Kind;
    use cybermesh_contracts::verify::test_util::verified;

    for kind in Kind::ALL {
        let draft = support::draft(kind);
        let message = verified(&draft, &support::signer(), support::stamp());
        assert_eq!(message.map(|message| message.kind()).ok(), Some(kind));
    }
}
