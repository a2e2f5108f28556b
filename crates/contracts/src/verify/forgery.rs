//! That nothing but verification makes a [`Verified`](super::Verified): programs that the compiler
//! refuses. Each stands behind one that it takes and that differs in the forbidden step alone, so
//! none is refused for another reason; nightly compilers hold the error's code against it too.

/// By its fields.
///
/// ```
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(message: Message, other: Verified<Message>) -> Verified<Message> {
///     drop(message);
///     other
/// }
/// ```
///
/// ```compile_fail,E0451
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(message: Message, other: Verified<Message>) -> Verified<Message> {
///     Verified { message, ..other }
/// }
/// ```
struct Literal;

/// By the constructor that verification uses.
///
/// ```
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// let _ = Verified::<Message>::message;
/// ```
///
/// ```compile_fail,E0624
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// let _ = Verified::<Message>::new;
/// ```
struct Constructor;

/// By conversion: a message comes out of a `Verified`, and does not go in.
///
/// ```
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(verified: Verified<Message>) -> Message {
///     verified.into_message()
/// }
/// ```
///
/// ```compile_fail,E0277
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(message: Message) -> Verified<Message> {
///     message.into()
/// }
/// ```
struct Conversion;

/// By changing one that was verified.
///
/// ```
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(verified: &mut Verified<Message>, message: Message) -> bool {
///     *verified.message() == message
/// }
/// ```
///
/// ```compile_fail,E0594
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// fn forge(verified: &mut Verified<Message>, message: Message) {
///     *verified.message() = message;
/// }
/// ```
struct Mutation;

/// By reading one back: what was stored is verified anew.
///
/// ```
/// use cybermesh_contracts::proto::AnomalyEvent;
/// let _ = serde_json::from_str::<AnomalyEvent>("{}");
/// ```
///
/// ```compile_fail,E0277
/// use cybermesh_contracts::{message::Message, verify::Verified};
/// let _ = serde_json::from_str::<Verified<Message>>("{}");
/// ```
struct Deserialization;

/// By the way for tests, which the feature `test-util` alone opens.
///
/// ```
/// use cybermesh_contracts::verify::Verified;
/// ```
///
#[cfg_attr(feature = "test-util", doc = "```")]
#[cfg_attr(not(feature = "test-util"), doc = "```compile_fail,E0432")]
/// use cybermesh_contracts::verify::test_util::verified;
/// ```
struct TestUtil;
