//! Why a partition stands still.

/// Why a partition stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pause {
    /// Dead letters do not get through.
    DeadLetters,
    /// A message used up its attempts, and the settings say to pause then.
    Exhausted,
    /// The trust store names no key for the kind.
    NoKeys,
    /// The wall clock cannot be believed.
    Clock,
    /// Authentic messages fail one after the other: something behind the handlers is away. A few
    /// are tried now and then; the first that passes ends it.
    Failing,
    /// The broker does not let it be read.
    Refused,
    /// A handler of the partition's former assignment has not ended yet.
    FormerHandler,
}

impl Pause {
    /// Whether it is the flood guard that asks for it: authentic messages fail one after the other, or
    /// are refused for a reason that lies with us.
    #[must_use]
    pub const fn is_flood_guards(self) -> bool {
        matches!(self, Self::Failing | Self::Clock | Self::NoKeys)
    }

    /// The name in health and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead-letters",
            Self::Exhausted => "attempts-exhausted",
            Self::NoKeys => "no-keys",
            Self::Clock => "clock",
            Self::Failing => "handlers-fail",
            Self::Refused => "refused",
            Self::FormerHandler => "former-handler",
        }
    }
}
