//! The password we say to brokers, read again when its file changes: connections opened from then on
//! say the new one, those that are open live on until they end.

use cybermesh_transport::Sasl;

use super::{Look, Stamp};
use crate::settings::Settings;

/// The password in force, and the file it came from.
#[derive(Debug)]
pub(crate) struct PasswordFile {
    settings: Settings,
    sasl: Sasl,
    seen: Stamp,
}

impl PasswordFile {
    /// What `sasl` was made from by `settings`; `seen` is the state of the file before that.
    pub(crate) fn new(settings: Settings, sasl: Sasl, seen: Stamp) -> Self {
        Self {
            settings,
            sasl,
            seen,
        }
    }

    /// The state of the file that the settings name.
    pub(crate) fn stamp(settings: &Settings) -> Option<Stamp> {
        settings.sasl.password_file.as_deref().map(Stamp::of)
    }

    pub(super) fn look(&mut self) -> Look {
        if self.seen.still_holds() {
            return Look::Unchanged;
        }
        self.seen = self.seen.again();
        let mut problems = Vec::new();
        match self.settings.sasl(&mut problems) {
            Some(next) => {
                self.sasl.exchange(&next);
                let name = self.settings.sasl.username.clone();
                Look::Applied(name.unwrap_or_default())
            }
            None => {
                let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Look::Refused(reasons.join("; "))
            }
        }
    }
}
