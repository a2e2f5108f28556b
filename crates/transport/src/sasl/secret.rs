//! Text that is shown to nobody.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A password or a token: wiped from memory when the last copy is given up, and never shown.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Keeps this text. The memory of a `String` is taken over; what is borrowed is copied, and the original is the
    /// caller's to wipe.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text`, with this secret in it made unreadable.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        if self.expose().is_empty() {
            return text.to_owned();
        }
        text.replace(self.expose(), "…")
    }
}

/// Takes as long for equal texts as for those of the same length that differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.expose().as_bytes(), other.expose().as_bytes());
        let differences = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
        ours.len() == theirs.len() && differences == 0
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_by_their_text_and_shown_by_none_of_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret, Secret::from("hunter2".to_owned()));
        for other in ["hunter", "hunter3", "Hunter2", ""] {
            assert_ne!(secret, Secret::new(other));
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.hidden_in("no hunter2, hunter2!"), "no …, …!");
        assert_eq!(Secret::new("").hidden_in("nothing"), "nothing");
    }
}
