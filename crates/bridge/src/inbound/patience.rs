//! How long trouble on the way in is watched before something is done about it.

use std::time::Duration;

/// How long trouble on the way in is watched before something is done about it. The defaults are what
/// is promised; a program with other needs, or a test with less time, may bring its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How often a few messages are tried while a partition stands still because they fail one after
    /// the other. Default 30 s.
    pub try_every: Duration,
    /// How long the last stable offset may stand still below the high watermark before it is said
    /// aloud that an open transaction hides what comes after it. Default 60 s.
    pub held_back_for: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            try_every: Duration::from_secs(30),
            held_back_for: Duration::from_secs(60),
        }
    }
}
