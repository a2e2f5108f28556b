//! That nothing but verification makes a `Verified`, which the compiler sees to.

#[test]
fn a_verified_message_cannot_be_forged() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/forgery/*.rs");
    // With the feature there is a way, which is what it is for.
    #[cfg(not(feature = "test-util"))]
    cases.compile_fail("tests/forgery/gated/*.rs");
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
