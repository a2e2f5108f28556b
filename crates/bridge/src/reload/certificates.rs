//! Our certificate, its key and the authorities, read again when a file of them changes.
//!
//! What the files say is tried on the brokers before it is taken, as [`Client::exchange_tls`] does it: for the one
//! client that everything in a bridge sends and receives through, so that all of it goes over or nothing does. What a
//! broker refuses is not taken; what was in force stays so meanwhile. [`Standing`] says when it is tried again.

use std::path::PathBuf;

use cybermesh_transport::{Client, Security, TransportError, tls::TlsConfig};
use tokio::time::Instant;

use super::{
    Look, Stamp,
    standing::{Standing, is_refusal},
};
use crate::settings::Settings;

/// The certificates in force, and the files that may say others.
#[derive(Debug)]
pub(crate) struct Certificates {
    settings: Settings,
    client: Client,
    seen: Vec<Stamp>,
    candidate: Option<Candidate>,
}

/// What the files say and is not in force yet.
#[derive(Debug)]
struct Candidate {
    tls: TlsConfig,
    standing: Standing,
}

/// What to do about trying a candidate.
#[derive(Debug)]
pub(super) enum Trial {
    /// There is nothing to try; what is being tried is no longer what the files say.
    Off,
    /// Go on as it is.
    AsItIs,
    /// Try this, instead of what is being tried.
    Begin(Client, TlsConfig),
}

impl Certificates {
    /// What `client` was made with by `settings`; `seen` is the state of the files before that.
    pub(crate) fn new(settings: Settings, client: Client, seen: Vec<Stamp>) -> Self {
        Self {
            settings,
            client,
            seen,
            candidate: None,
        }
    }

    /// The files that the settings name.
    pub(crate) fn stamps(settings: &Settings) -> Vec<Stamp> {
        files(settings).map(|path| Stamp::of(path)).collect()
    }

    /// Reads what has changed; what loads is a candidate from then on.
    pub(super) fn look(&mut self) -> Look {
        if self.seen.iter().all(Stamp::still_holds) {
            return Look::Unchanged;
        }
        self.seen = Self::stamps(&self.settings);
        let mut problems = Vec::new();
        self.candidate = match self.settings.security(&mut problems) {
            Some(Security::Tls(tls)) => Some(Candidate {
                tls,
                standing: Standing::new(Instant::now()),
            }),
            _ => None,
        };
        if self.candidate.is_some() {
            return Look::Unchanged;
        }
        let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Look::Refused(reasons.join("; "))
    }

    /// What is to be tried at `now`; `asked` tries again at once what was refused.
    pub(super) fn trial(&mut self, asked: bool, now: Instant) -> Trial {
        let Some(candidate) = &mut self.candidate else {
            return Trial::Off;
        };
        if candidate.standing.begin(asked, now) {
            Trial::Begin(self.client.clone(), candidate.tls.clone())
        } else {
            Trial::AsItIs
        }
    }

    /// How the trial ended, at `now`.
    pub(super) fn tried(&mut self, ended: Result<(), TransportError>, now: Instant) -> Look {
        let names: Vec<_> = files(&self.settings)
            .map(|path| path.display().to_string())
            .collect();
        let names = names.join(", ");
        let Some(candidate) = &mut self.candidate else {
            return Look::Unchanged;
        };
        match ended {
            Ok(()) => {
                self.candidate = None;
                Look::Applied(names)
            }
            Err(error) if !candidate.standing.failed(&error, now) => Look::Unchanged,
            Err(error) if is_refusal(&error) => {
                Look::Refused(format!("{names}: no broker goes along with them: {error}"))
            }
            Err(error) => Look::Postponed(format!(
                "{names}: no broker could be asked about them, which is tried until one can: {error}"
            )),
        }
    }

    /// When each certificate in force expires, in seconds since 1970, by its file; of the authorities the first.
    pub(super) fn expiries(&self) -> Vec<(String, i64)> {
        let Some(tls) = self.client.tls() else {
            return Vec::new();
        };
        let of = |path: &Option<PathBuf>, expiry: Option<i64>| {
            Some((path.as_ref()?.display().to_string(), expiry?))
        };
        let files = &self.settings.tls;
        let expiries = [
            of(&files.ca, tls.authorities_expire_at_unix_s()),
            of(&files.cert, tls.client_certificate_expires_at_unix_s()),
        ];
        expiries.into_iter().flatten().collect()
    }
}

fn files(settings: &Settings) -> impl Iterator<Item = &PathBuf> {
    let tls = &settings.tls;
    [&tls.ca, &tls.cert, &tls.key].into_iter().flatten()
}
