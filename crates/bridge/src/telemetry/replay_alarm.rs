//! What is known about the order of a partition's messages, and why it is less than it should be.

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
    /// The log now starts after the first message that the state asks for: what could not be read back
    /// is taken for settled.
    RingCut,
    /// A broker refused commits for the size of their states: they are cut to half of it, or go without.
    NoRoom,
    /// A state could not be signed, and its commit went without.
    CannotSign,
    /// The copy of a state was not written to the state folder.
    CopyNotKept,
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
            Self::RingCut => "ring-cut",
            Self::NoRoom => "no-room",
            Self::CannotSign => "cannot-sign",
            Self::CopyNotKept => "copy-not-kept",
        }
    }
}

/// What an assigned partition went on from; each is one value of the label `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayStart {
    /// What this process still had of it.
    Memory,
    /// The copy in the state folder.
    Copy,
    /// The state beside the committed offset.
    Commit,
    /// No state: what the log shows of the last offsets.
    ReadBack,
    /// Nothing, at the log's first offset.
    LogStart,
}

impl ReplayStart {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Copy => "copy",
            Self::Commit => "commit",
            Self::ReadBack => "read-back",
            Self::LogStart => "log-start",
        }
    }
}

impl From<StateRefused> for ReplayAlarm {
    fn from(refused: StateRefused) -> Self {
        Self::Refused(refused)
    }
}
