//! PLAIN (RFC 4616): name and password, as they are.

use zeroize::Zeroizing;

use super::Secret;

/// The one message there is: no other identity is asked for.
pub(super) fn message(username: &str, password: &Secret) -> Zeroizing<Vec<u8>> {
    let password = password.expose();
    let mut message = Zeroizing::new(Vec::with_capacity(username.len() + password.len() + 2));
    for part in [username, password] {
        message.push(0);
        message.extend_from_slice(part.as_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_rfc() {
        // RFC 4616, section 4.
        let message = message("tim", &"tanstaaftanstaaf".into());
        assert_eq!(*message, b"\0tim\0tanstaaftanstaaf");
    }
}
