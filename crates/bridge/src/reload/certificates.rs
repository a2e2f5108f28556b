//! Our certificate, its key and the authorities, read again when a file of them changes: connections
//! opened from then on use the new ones, those that are open live on until they end.

use std::path::PathBuf;

use cybermesh_transport::{Security, tls::TlsConfig};

use super::{Look, Stamp};
use crate::settings::Settings;

/// The certificates in force, and the files they came from.
#[derive(Debug)]
pub(crate) struct Certificates {
    settings: Settings,
    tls: TlsConfig,
    seen: Vec<Stamp>,
}

impl Certificates {
    /// What `tls` was made from by `settings`; `seen` is the state of the files before that.
    pub(crate) fn new(settings: Settings, tls: TlsConfig, seen: Vec<Stamp>) -> Self {
        Self {
            settings,
            tls,
            seen,
        }
    }

    /// The files that the settings name.
    pub(crate) fn stamps(settings: &Settings) -> Vec<Stamp> {
        files(settings).map(|path| Stamp::of(path)).collect()
    }

    pub(super) fn look(&mut self) -> Look {
        if self.seen.iter().all(Stamp::still_holds) {
            return Look::Unchanged;
        }
        self.seen = Self::stamps(&self.settings);
        let mut problems = Vec::new();
        match self.settings.security(&mut problems) {
            Some(Security::Tls(next)) => {
                self.tls.exchange(&next);
                let names: Vec<_> = files(&self.settings)
                    .map(|path| path.display().to_string())
                    .collect();
                Look::Applied(names.join(", "))
            }
            _ => {
                let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Look::Refused(reasons.join("; "))
            }
        }
    }

    /// When each file's certificate expires, in seconds since 1970; of the authorities the first.
    pub(super) fn expiries(&self) -> Vec<(String, i64)> {
        let of = |path: &Option<PathBuf>, expiry: Option<i64>| {
            Some((path.as_ref()?.display().to_string(), expiry?))
        };
        let files = &self.settings.tls;
        let expiries = [
            of(&files.ca, self.tls.authorities_expire_at_unix_s()),
            of(&files.cert, self.tls.client_certificate_expires_at_unix_s()),
        ];
        expiries.into_iter().flatten().collect()
    }
}

fn files(settings: &Settings) -> impl Iterator<Item = &PathBuf> {
    let tls = &settings.tls;
    [&tls.ca, &tls.cert, &tls.key].into_iter().flatten()
}
