//! What is to be written about a message that was given up.

use std::borrow::Cow;
use std::sync::Arc;

use cybermesh_contracts::redrive::Terms;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::PublicKey;

use super::origin::Origin;

/// One message on its way to the dead-letter topic, with what is known about its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Burial {
    pub(crate) origin: Arc<Origin>,
    pub(crate) disposition: Disposition,
    /// For people; neither secrets nor payload.
    pub(crate) reason: Cow<'static, str>,
    /// Who claims to have signed it, where it could be read.
    pub(crate) claimed: Option<PublicKey>,
    /// Its verified redrive, where it was redriven: its first origin is kept.
    pub(crate) redrive: Option<Terms>,
    /// How often a handler was called.
    pub(crate) attempts: u32,
    /// Unix milliseconds.
    pub(crate) first_failed_ms: i64,
    /// Unix milliseconds.
    pub(crate) last_failed_ms: i64,
}

impl Burial {
    /// Of a message that no handler saw.
    pub(crate) fn rejected(
        origin: Arc<Origin>,
        disposition: Disposition,
        reason: Cow<'static, str>,
        claimed: Option<PublicKey>,
        wall_ms: i64,
    ) -> Self {
        Self {
            origin,
            disposition,
            reason,
            claimed,
            redrive: None,
            attempts: 0,
            first_failed_ms: wall_ms,
            last_failed_ms: wall_ms,
        }
    }
}
