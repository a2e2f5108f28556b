//! Whether the process may be given work, and why not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cybermesh_contracts::kind::Kind;

use super::{
    audit::{Audit, AuditEvent},
    progress::{Beat, Progress},
};

/// Something that makes the process unready for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Condition {
    /// Not started yet.
    Starting,
    /// The group has not told us our partitions.
    Unassigned,
    /// The cluster does not answer: the breaker is not closed.
    BreakerOpen,
    /// Our clock cannot be right.
    Clock,
    /// The trust store has no key for a kind we receive.
    KindWithoutKeys(Kind),
    /// The trust file on disk does not load; the last good one is in force.
    TrustStale,
    /// A partition is paused.
    PartitionPaused {
        /// Its topic.
        topic: String,
        /// Its number.
        partition: i32,
    },
    /// Dead letters cannot be written.
    DeadLetters,
    /// The outbox's file cannot be written or read.
    Outbox,
    /// A file of the outbox could not be read and was set aside. Holds until nobody finds it in the state folder.
    OutboxSetAside,
    /// The audit trail's file cannot be written.
    AuditTrail,
    /// A file that changed on disk (`signing-key`, `certificates`, `password`, `settings`) does not load, or its
    /// certificates are refused by the brokers, or cannot be tried on them yet; `files`: one does not answer, and none
    /// is looked at until it does. What was in force stays so.
    ReloadRefused(&'static str),
    /// Work of a partition is in flight and nothing of it gets done.
    Hung {
        /// Its topic.
        topic: String,
        /// Its number.
        partition: i32,
    },
    /// No envelope holds, whoever made it: our audience is probably not the senders'.
    Audience,
    /// An orderly stop is under way.
    Stopping,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Unassigned => f.write_str("unassigned"),
            Self::BreakerOpen => f.write_str("breaker-open"),
            Self::Clock => f.write_str("clock"),
            Self::KindWithoutKeys(kind) => write!(f, "kind-without-keys {kind}"),
            Self::TrustStale => f.write_str("trust-stale"),
            Self::PartitionPaused { topic, partition } => {
                write!(f, "partition-paused {topic}/{partition}")
            }
            Self::DeadLetters => f.write_str("dead-letters"),
            Self::Outbox => f.write_str("outbox"),
            Self::OutboxSetAside => f.write_str("outbox-set-aside"),
            Self::AuditTrail => f.write_str("audit-trail"),
            Self::ReloadRefused(what) => write!(f, "reload-refused {what}"),
            Self::Hung { topic, partition } => write!(f, "hung {topic}/{partition}"),
            Self::Audience => f.write_str("audience"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

/// The conditions that hold now. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    conditions: Mutex<BTreeMap<Condition, String>>,
    audit: Audit,
    progress: Progress,
}

impl Health {
    /// Nothing wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing wrong; changes are written to `audit`.
    #[must_use]
    pub fn audited(audit: Audit) -> Self {
        Self(Arc::new(Inner {
            conditions: Mutex::default(),
            audit,
            progress: Progress::default(),
        }))
    }

    /// Watches a task that must never stand still.
    pub(crate) fn watch(&self, task: &'static str) -> Beat {
        self.0.progress.watch(task)
    }

    /// The tasks that stand still or are gone, with details: nothing but a restart will help. Empty
    /// in a process that is alive.
    pub fn stuck(&self) -> Vec<(&'static str, String)> {
        self.0.progress.stuck(tokio::time::Instant::now())
    }

    /// Where changes are written.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Condition, String>> {
        self.0
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// `condition` holds from now on; `detail` says more, without payload or secrets. Logs the change
    /// once: as information where it belongs to an orderly start or stop, else as a warning.
    pub fn raise(&self, condition: Condition, detail: impl Into<String>) {
        let expected = matches!(condition, Condition::Starting | Condition::Stopping);
        self.note(condition, detail.into(), expected);
    }

    /// As [`raise`](Self::raise), for what is on its way to be well: nobody need be warned.
    pub(crate) fn await_end_of(&self, condition: Condition, detail: impl Into<String>) {
        self.note(condition, detail.into(), true);
    }

    fn note(&self, condition: Condition, detail: String, expected: bool) {
        let before = self.lock().insert(condition.clone(), detail.clone());
        match &condition {
            // Each change of a pause is audited, a change of its reasons as well.
            Condition::PartitionPaused { topic, partition } if before.as_ref() != Some(&detail) => {
                self.0.audit.record(&AuditEvent::Paused {
                    topic,
                    partition: *partition,
                    reason: &detail,
                });
            }
            Condition::PartitionPaused { .. } => {}
            condition if before.is_none() => self.0.audit.record(&AuditEvent::Unready {
                condition,
                detail: &detail,
                expected,
            }),
            _ => {}
        }
    }

    /// `condition` no longer holds.
    pub fn clear(&self, condition: &Condition) {
        let cleared = self.lock().remove(condition).is_some();
        if !cleared {
            return;
        }
        self.0.audit.record(&match condition {
            Condition::PartitionPaused { topic, partition } => AuditEvent::Resumed {
                topic,
                partition: *partition,
            },
            condition => AuditEvent::Cleared { condition },
        });
    }

    /// Whether the process may be given work.
    pub fn is_ready(&self) -> bool {
        self.conditions().is_empty()
    }

    /// What holds now, with details, in a fixed order.
    pub fn conditions(&self) -> Vec<(Condition, String)> {
        let mut conditions = self.lock().clone();
        if let Some(fault) = self.0.audit.fault() {
            conditions.insert(Condition::AuditTrail, fault);
        }
        conditions.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::telemetry::levels::Levels;

    #[test]
    fn an_orderly_start_and_stop_warn_nobody_and_trouble_does_once() {
        let levels = Levels::default();
        tracing::subscriber::with_default(levels.clone(), || {
            let health = Health::new();
            health.raise(Condition::Starting, "not connected yet");
            health.clear(&Condition::Starting);
            health.await_end_of(Condition::Unassigned, "not assigned yet");
            health.raise(Condition::Stopping, "an orderly stop is under way");
            health.raise(Condition::Clock, "before the build date");
            health.raise(Condition::Clock, "before the build date");
        });
        let expected = [
            Level::INFO,
            Level::INFO,
            Level::INFO,
            Level::INFO,
            Level::WARN,
        ];
        assert_eq!(levels.told(), expected);
    }

    #[tokio::test]
    async fn a_pause_and_each_change_of_its_reasons_and_its_end_are_audited() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.ndjson");
        let settings = crate::settings::Audit {
            file: Some(file.clone()),
            rotate_bytes: 1 << 20,
            keep: 1,
        };
        let clock = Arc::new(crate::clock::SystemClock);
        let audit = Audit::from_settings(&settings, clock).unwrap();
        let health = Health::audited(audit);
        let paused = Condition::PartitionPaused {
            topic: "t".into(),
            partition: 1,
        };
        health.raise(paused.clone(), "clock");
        health.raise(paused.clone(), "clock");
        health.raise(paused.clone(), "clock, dead-letters");
        health.clear(&paused);
        health.clear(&paused);
        health
            .audit()
            .close(std::time::Duration::from_secs(10))
            .await;
        let text = std::fs::read_to_string(&file).unwrap();
        let told: Vec<_> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(
                    (&line["topic"], &line["partition"]),
                    (&"t".into(), &1.into())
                );
                let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                (text("event"), text("reason"))
            })
            .collect();
        let told: Vec<_> = told
            .iter()
            .map(|(event, reason)| (&**event, &**reason))
            .collect();
        let expected = [
            ("paused", "clock"),
            ("paused", "clock, dead-letters"),
            ("resumed", ""),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_process_is_ready_again_when_the_last_condition_is_cleared() {
        let health = Health::new();
        let paused = Condition::PartitionPaused {
            topic: "t".into(),
            partition: 1,
        };
        health.raise(paused.clone(), "dead letters cannot be written");
        health.raise(Condition::Clock, "before the build date");
        health.clear(&Condition::Clock);
        assert!(!health.is_ready());
        assert_eq!(
            health.conditions(),
            [(paused.clone(), "dead letters cannot be written".to_owned())]
        );
        health.clear(&paused);
        assert!(health.is_ready());
    }
}
