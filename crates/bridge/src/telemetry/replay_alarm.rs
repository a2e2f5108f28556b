//! Why what is known about the order of a partition's messages is less than it should be.

use cybermesh_contracts::replay::StateRefused;

/// Something is wrong with the replay state of a partition; each is one value of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayAlarm {
    /// The state stored with the committed offset is not used, or there is none. Copies of messages
    /// below that offset pass once more.
    Refused(StateRefused),
    /// The topic was deleted and made again, or its log was cut: what was accepted before stays
    /// accepted, and reading begins below it.
    LogBeganAgain,
}

impl ReplayAlarm {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(StateRefused::Missing) => "missing",
            Self::Refused(StateRefused::Malformed) => "malformed",
            Self::Refused(StateRefused::Foreign) => "foreign",
            Self::Refused(StateRefused::NotSigned) => "not-signed",
            Self::Refused(StateRefused::SignatureInvalid) => "signature-invalid",
            Self::LogBeganAgain => "log-began-again",
        }
    }
}

impl From<StateRefused> for ReplayAlarm {
    fn from(refused: StateRefused) -> Self {
        Self::Refused(refused)
    }
}
