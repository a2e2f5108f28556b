//! Rate limits, read again when the settings file changes. Nothing else of it takes effect before a
//! restart; what else was changed is named, so that nobody believes it has.

use super::{Look, Stamp};
use crate::{
    outbound::Publisher,
    settings::{Entry, Settings},
};

/// Keys of this section apply at once.
const SECTION: &str = "limits.";

/// The limits in force, and the file that may say others.
#[derive(Debug)]
pub(crate) struct LimitsFile {
    settings: Settings,
    publisher: Publisher,
    seen: Stamp,
}

impl LimitsFile {
    /// The file of `settings`, where they have one.
    pub(crate) fn of(settings: &Settings, publisher: &Publisher) -> Option<Self> {
        Some(Self {
            seen: settings.file_stamp()?.clone(),
            settings: settings.clone(),
            publisher: publisher.clone(),
        })
    }

    pub(super) fn look(&mut self) -> Look {
        if self.seen.still_holds() {
            return Look::Unchanged;
        }
        let next = match self.settings.reread() {
            Ok(next) => next,
            Err(error) => {
                self.seen = self.seen.again();
                let reasons: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
                return Look::Refused(reasons.join("; "));
            }
        };
        if let Some(stamp) = next.file_stamp() {
            self.seen = stamp.clone();
        }
        let changed = changed(&self.settings, &next);
        let (limits, others): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|entry| entry.key.starts_with(SECTION));
        if !others.is_empty() {
            let keys: Vec<_> = others.iter().map(|entry| entry.key).collect();
            tracing::warn!(
                keys = keys.join(", "),
                "changed in the settings file; takes effect with a restart"
            );
        }
        self.publisher.set_limits(&next.limits);
        let said = match limits.as_slice() {
            [] => "no limit changed".to_owned(),
            changed => {
                let said = changed.iter().map(|entry| {
                    format!(
                        "{} = {}",
                        entry.key,
                        entry.value.as_deref().unwrap_or("unset")
                    )
                });
                said.collect::<Vec<_>>().join(", ")
            }
        };
        // The others stay what they are in this process, and are named again at the next change.
        self.settings.take_limits(&next);
        Look::Applied(said)
    }
}

/// The entries of `next` whose value is another in `before`.
fn changed<'a>(before: &Settings, next: &'a Settings) -> Vec<&'a Entry> {
    let differs = |entry: &&Entry| {
        before
            .entries()
            .iter()
            .find(|old| old.env == entry.env)
            .is_none_or(|old| old.value != entry.value)
    };
    next.entries().iter().filter(differs).collect()
}
