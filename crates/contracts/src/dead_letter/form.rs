//! The three forms.

use std::fmt;

/// How a dead letter holds what it buries. Each falls back to the next where it does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// One JSON object, with the bytes in hex.
    #[default]
    Json,
    /// The original value untouched.
    Raw,
    /// No copy: where the origin is, its length and its hash.
    Reference,
}

impl Form {
    /// Its name in `dlq.format` and in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Reference => "reference",
        }
    }

    /// The form of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Raw, Self::Reference]
            .into_iter()
            .find(|form| form.as_str() == name)
    }

    /// What is taken where this one does not fit.
    pub(super) const fn fallback(self) -> Option<Self> {
        match self {
            Self::Json => Some(Self::Raw),
            Self::Raw => Some(Self::Reference),
            Self::Reference => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
