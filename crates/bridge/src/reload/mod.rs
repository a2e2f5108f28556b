//! Files that are read again while the process runs: trust store, signing key, certificates, password, limits.
//!
//! Each is looked at now and then, and at once when [`Reloader::reload`] is called. A file that does not
//! load, or whose certificates no broker accepts, leaves in force what was, and log, metrics and health say so until
//! it does. A look that is not answered (a file on a disk that has gone away) is waited for, and said in health until it
//! is; a stop does not wait for it. `signing`, `certificates`, `password` and `limits` say what a new file changes; the trust store has a module of its own
//! ([`crate::trust`]).

mod certificates;
mod limits;
mod password;
mod signing;
mod stamp;
mod standing;

use std::{pin::Pin, sync::Arc, time::Duration};

use cybermesh_transport::{TransportError, host};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use certificates::Certificates;
use certificates::Trial;
pub(crate) use limits::LimitsFile;
pub(crate) use password::PasswordFile;
pub(crate) use signing::SigningFile;
pub(crate) use stamp::Stamp;

use crate::{
    telemetry::{AuditEvent, Beat, Condition, Health, Metrics},
    trust::{Reload, Trust},
};

/// What certificates, their key and the authorities are called in log, metrics and health.
const CERTIFICATES: &str = "certificates";

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What all files together are called in log and health.
const FILES: &str = "files";

/// A look that has taken so long is said to stand: files of this size are read in no time.
const LOOK_STANDS_AFTER: Duration = Duration::from_secs(10);

/// Asks a running bridge to look at its files now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reloader(Arc<Notify>);

impl Reloader {
    /// Looks at every file at once; what changed is read, and certificates that were refused are tried again.
    /// Returns before that is done.
    pub fn reload(&self) {
        self.0.notify_one();
    }
}

/// What looking at files brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// They are as they were, or say the same.
    Unchanged,
    /// What they say is in force; this names it, and is public.
    Applied(String),
    /// They do not load, or what they say is refused, for this reason.
    Refused(String),
    /// What they say is not in force yet, for this reason.
    Postponed(String),
}

/// Certificates being tried on the brokers.
type Trying = Pin<Box<dyn Future<Output = Result<(), TransportError>> + Send>>;

/// Ends when what is being tried has; never where nothing is.
async fn tried(trying: &mut Option<Trying>) -> Result<(), TransportError> {
    match trying {
        Some(trial) => {
            let ended = trial.await;
            *trying = None;
            ended
        }
        None => std::future::pending().await,
    }
}

/// Everything that is read again.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) trust: Option<Trust>,
    pub(crate) signing: Option<SigningFile>,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) password: Option<PasswordFile>,
    pub(crate) limits: Option<LimitsFile>,
}

struct Looked {
    watched: Watched,
    trust: Reload,
    others: [(&'static str, Look); 4],
}

impl Watched {
    /// Looks at all files. Blocks on the disk.
    fn look(mut self) -> Looked {
        let trust = self.trust.as_ref().map_or(Reload::Unchanged, Trust::reload);
        let signing = self.signing.as_mut().map(SigningFile::look);
        let certificates = self.certificates.as_mut().map(Certificates::look);
        let password = self.password.as_mut().map(PasswordFile::look);
        let limits = self.limits.as_mut().map(LimitsFile::look);
        let others = [
            ("signing-key", signing),
            (CERTIFICATES, certificates),
            ("password", password),
            ("settings", limits),
        ];
        Looked {
            watched: self,
            trust,
            others: others.map(|(what, look)| (what, look.unwrap_or(Look::Unchanged))),
        }
    }

    /// Looks now and then, and when asked, until cancelled; tells log, metrics and health.
    pub(crate) async fn watch(
        mut self,
        asked: Reloader,
        metrics: Metrics,
        health: Health,
        cancel: CancellationToken,
    ) {
        self.show(&metrics);
        let beat = health.watch(FILES);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trying: Option<Trying> = None;
        loop {
            let asked = tokio::select! {
                () = cancel.cancelled() => return,
                () = asked.0.notified() => true,
                _ = looks.tick() => false,
                // Beside the looks: a cluster that keeps silent must not hold up word of a key that was withdrawn.
                ended = tried(&mut trying) => {
                    if let Some(certificates) = &mut self.certificates {
                        tell(CERTIFICATES, certificates.tried(ended, Instant::now()), &metrics, &health);
                        self.show(&metrics);
                    }
                    continue;
                }
            };
            let looking = host::spawn_blocking(move || self.look());
            let looked = tokio::select! {
                // What is asked of the disk cannot be taken back; whoever stops does not wait for its answer.
                () = cancel.cancelled() => return,
                looked = answered(looking, &beat, &health) => looked,
            };
            let looked = match looked {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => return beat.gone(),
                // The runtime is going away.
                Err(_cancelled) => return,
            };
            self = looked.watched;
            tell_trust(looked.trust, &metrics, &health);
            for (what, look) in looked.others {
                tell(what, look, &metrics, &health);
            }
            match self
                .certificates
                .as_mut()
                .map(|files| files.trial(asked, Instant::now()))
            {
                Some(Trial::Begin(client, tls)) => {
                    trying = Some(Box::pin(async move { client.exchange_tls(tls).await }));
                }
                Some(Trial::Off) => trying = None,
                Some(Trial::AsItIs) | None => {}
            }
            self.show(&metrics);
        }
    }

    fn show(&self, metrics: &Metrics) {
        if let Some(trust) = &self.trust {
            let store = trust.current();
            metrics.trust_keys(store.keys().count());
            metrics.key_expiries(
                store.keys().filter_map(|key| {
                    Some((key.id().to_owned(), key.window().not_after_ms? / 1_000))
                }),
            );
        }
        if let Some(certificates) = &self.certificates {
            metrics.certificate_expiries(certificates.expiries());
        }
    }
}

/// Waits for a look, however long it takes: a disk that does not answer is no reason for a restart. Health says so
/// meanwhile, as nothing that is withdrawn in a file is seen.
async fn answered<T>(looking: impl Future<Output = T>, beat: &Beat, health: &Health) -> T {
    let mut looking = std::pin::pin!(beat.during(looking));
    if let Ok(looked) = tokio::time::timeout(LOOK_STANDS_AFTER, &mut looking).await {
        return looked;
    }
    let reason = format!(
        "not read for {} s: a file does not answer; what was in force stays so",
        LOOK_STANDS_AFTER.as_secs()
    );
    tracing::warn!(reason, "files are not looked at any more");
    health.raise(Condition::ReloadRefused(FILES), reason);
    let looked = looking.await;
    health.clear(&Condition::ReloadRefused(FILES));
    looked
}

fn tell_trust(reload: Reload, metrics: &Metrics, health: &Health) {
    match reload {
        Reload::Unchanged => {}
        Reload::Applied(changes) => {
            health.clear(&Condition::TrustStale);
            if !changes.is_empty() {
                health.audit().record(&AuditEvent::Trust(&changes));
            }
        }
        Reload::Refused(reason) => {
            metrics.trust_reload_failed();
            health.audit().record(&AuditEvent::ReloadRefused {
                what: "trust",
                reason: &reason,
            });
            health.raise(Condition::TrustStale, reason);
        }
    }
}

fn tell(what: &'static str, look: Look, metrics: &Metrics, health: &Health) {
    match look {
        Look::Unchanged => {}
        Look::Applied(identity) => {
            health.clear(&Condition::ReloadRefused(what));
            health.audit().record(&AuditEvent::Reloaded {
                what,
                identity: &identity,
            });
        }
        Look::Refused(reason) => {
            metrics.reload_failed(what);
            health.audit().record(&AuditEvent::ReloadRefused {
                what,
                reason: &reason,
            });
            health.raise(Condition::ReloadRefused(what), reason);
        }
        Look::Postponed(reason) => {
            tracing::warn!(what, reason, "not reloaded yet; what was in force stays so");
            health.raise(Condition::ReloadRefused(what), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_not_answered_is_said_until_it_is_and_nothing_is_stuck() {
        let health = Health::new();
        let beat = health.watch(FILES);
        let (answer, looking) = oneshot::channel();
        let mut looked = std::pin::pin!(answered(looking, &beat, &health));
        let short = LOOK_STANDS_AFTER - Duration::from_millis(1);
        assert!(tokio::time::timeout(short, &mut looked).await.is_err());
        assert!(health.is_ready());
        let long = Duration::from_secs(300);
        assert!(tokio::time::timeout(long, &mut looked).await.is_err());
        let conditions = health.conditions();
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].0, Condition::ReloadRefused(FILES));
        assert_eq!(health.stuck(), []);
        answer.send(7).unwrap();
        assert_eq!(looked.await, Ok(7));
        assert!(health.is_ready());
    }
}
