//! What is audited: each message that is rejected, and each change of what is believed or done.

use std::fmt::Display;

use cybermesh_contracts::{rejection::Disposition, sign::PublicKey, trust::TrustChanges};
use serde_json::{Value, json};

use crate::inbound::Pause;
use crate::telemetry::Condition;

/// Names listed of one kind of change at most; a count says how many there were.
const LISTED: usize = 64;

/// One audited event. None carries a message's content, a key's secret, or anything a message says
/// of itself but who claims to have signed it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AuditEvent<'a> {
    /// A message was given up.
    Rejected {
        /// Its topic.
        topic: &'a str,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// What became of it.
        disposition: Disposition,
        /// Why, for people.
        reason: &'a str,
        /// How often a handler was called.
        attempts: u32,
        /// Who claims to have signed it, where that could be read.
        claimed: Option<PublicKey>,
        /// SHA-256 of its value.
        sha256: [u8; 32],
    },
    /// Many messages were given up, too many for an event each.
    RejectedMany {
        /// Their topic.
        topic: &'a str,
        /// Their partition.
        partition: i32,
        /// The offset of the first of them.
        first_offset: i64,
        /// The offset of the last.
        last_offset: i64,
        /// How many they are.
        count: u64,
        /// What became of most of them.
        disposition: Disposition,
        /// How many ended how.
        reason: &'a str,
        /// SHA-256 of the SHA-256 of their values, in offset order.
        sha256: [u8; 32],
    },
    /// The process is not ready, or no longer for one reason alone. Of a partition that stands still
    /// [`Paused`](Self::Paused) says so.
    Unready {
        /// The condition that holds from now on.
        condition: &'a Condition,
        /// More about it.
        detail: &'a str,
        /// Whether it belongs to an orderly start or stop.
        expected: bool,
    },
    /// A condition no longer holds.
    Cleared {
        /// The condition.
        condition: &'a Condition,
    },
    /// The circuit breaker changed its state.
    Breaker {
        /// The new state.
        to: &'static str,
    },
    /// A partition was paused, or is for other reasons than before.
    Paused {
        /// Its topic.
        topic: &'a str,
        /// Its number.
        partition: i32,
        /// Why.
        reason: &'a str,
    },
    /// A paused partition goes on, here or with whoever reads it next.
    Resumed {
        /// Its topic.
        topic: &'a str,
        /// Its number.
        partition: i32,
    },
    /// An operator had a partition go on.
    ResumeOrdered {
        /// Its topic.
        topic: &'a str,
        /// Its number.
        partition: i32,
        /// The pauses that this ended.
        ended: &'a [Pause],
    },
    /// Another trust store is in force.
    Trust(&'a TrustChanges),
    /// Another file (a key, a certificate, limits) is in force; `what` names it, `identity` says which
    /// it is now: a public key, a certificate's hash, the new limits.
    Reloaded {
        /// What kind of thing.
        what: &'static str,
        /// Which one it is now; public.
        identity: &'a str,
    },
    /// A file that changed does not load, or no broker accepts its certificates; what was in force stays so.
    ReloadRefused {
        /// What kind of thing.
        what: &'static str,
        /// Why.
        reason: &'a str,
    },
}

impl AuditEvent<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::RejectedMany { .. } => "rejected-many",
            Self::Unready { .. } => "unready",
            Self::Cleared { .. } => "cleared",
            Self::Breaker { .. } => "breaker",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::ResumeOrdered { .. } => "resume-ordered",
            Self::Trust(_) => "trust",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadRefused { .. } => "reload-refused",
        }
    }

    pub(super) fn fields(&self) -> Value {
        match self {
            Self::Rejected {
                topic,
                partition,
                offset,
                disposition,
                reason,
                attempts,
                claimed,
                sha256,
            } => json!({
                "topic": topic, "partition": partition, "offset": offset,
                "disposition": disposition.as_str(), "reason": reason, "attempts": attempts,
                "claimed": claimed.map(|key| key.to_hex()), "sha256": hex::encode(sha256),
            }),
            Self::RejectedMany {
                topic,
                partition,
                first_offset,
                last_offset,
                count,
                disposition,
                reason,
                sha256,
            } => json!({
                "topic": topic, "partition": partition, "first_offset": first_offset,
                "last_offset": last_offset, "count": count, "disposition": disposition.as_str(),
                "reason": reason, "sha256": hex::encode(sha256),
            }),
            Self::Unready {
                condition, detail, ..
            } => json!({ "condition": condition.to_string(), "detail": detail }),
            Self::Cleared { condition } => json!({ "condition": condition.to_string() }),
            Self::Breaker { to } => json!({ "to": to }),
            Self::Paused {
                topic,
                partition,
                reason,
            } => json!({ "topic": topic, "partition": partition, "reason": reason }),
            Self::Resumed { topic, partition } => json!({ "topic": topic, "partition": partition }),
            Self::ResumeOrdered {
                topic,
                partition,
                ended,
            } => {
                let ended: Vec<_> = ended.iter().map(|pause| pause.as_str()).collect();
                json!({ "topic": topic, "partition": partition, "ended": ended })
            }
            Self::Trust(changes) => json!({
                "added": listed(&changes.added), "vanished": listed(&changes.vanished),
                "removed": listed(&changes.removed), "revoked": listed(&changes.revoked),
                "altered": listed(&changes.altered),
                "kinds_closed": listed(&changes.kinds_closed), "kinds_opened": listed(&changes.kinds_opened),
            }),
            Self::Reloaded { what, identity } => json!({ "what": what, "identity": identity }),
            Self::ReloadRefused { what, reason } => json!({ "what": what, "reason": reason }),
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Rejected {
                topic,
                partition,
                offset,
                disposition,
                reason,
                attempts,
                claimed,
                sha256,
            } => {
                let claimed = claimed.map(|key| key.to_hex()).unwrap_or_default();
                let sha256 = hex::encode(sha256);
                tracing::warn!(target: "audit", %topic, partition, offset, %disposition, %reason, attempts, %claimed, %sha256, "rejected");
            }
            Self::RejectedMany {
                topic,
                partition,
                first_offset,
                last_offset,
                count,
                disposition,
                reason,
                sha256,
            } => {
                let sha256 = hex::encode(sha256);
                tracing::warn!(target: "audit", %topic, partition, first_offset, last_offset, count, %disposition, %reason, %sha256, "rejected many");
            }
            Self::Unready {
                condition,
                detail,
                expected: true,
            } => tracing::info!(target: "audit", %condition, detail, "not ready"),
            Self::Unready {
                condition,
                detail,
                expected: false,
            } => tracing::warn!(target: "audit", %condition, detail, "not ready"),
            Self::Cleared { condition } => {
                tracing::info!(target: "audit", %condition, "no longer holds");
            }
            Self::Breaker { to: "open" } => {
                tracing::warn!(target: "audit", to = "open", "circuit breaker");
            }
            Self::Breaker { to } => tracing::info!(target: "audit", to, "circuit breaker"),
            Self::Paused {
                topic,
                partition,
                reason,
            } => tracing::warn!(target: "audit", topic, partition, reason, "partition paused"),
            Self::Resumed { topic, partition } => {
                tracing::info!(target: "audit", topic, partition, "partition goes on");
            }
            Self::ResumeOrdered {
                topic,
                partition,
                ended,
            } => {
                tracing::info!(target: "audit", topic, partition, ?ended, "partition told to go on");
            }
            Self::Trust(changes) => {
                if !changes.vanished.is_empty() {
                    tracing::warn!(target: "audit", keys = ?changes.vanished, "keys vanished from the trust store without being revoked");
                }
                tracing::info!(
                    target: "audit",
                    added = ?changes.added, removed = ?changes.removed, revoked = ?changes.revoked, altered = ?changes.altered,
                    kinds_closed = ?changes.kinds_closed, kinds_opened = ?changes.kinds_opened,
                    "trust store reloaded"
                );
            }
            Self::Reloaded { what, identity } => {
                tracing::info!(target: "audit", what, identity, "reloaded");
            }
            Self::ReloadRefused { what, reason } => {
                tracing::error!(target: "audit", what, reason, "not reloaded; what was in force stays so");
            }
        }
    }
}

fn listed<T: Display>(names: &[T]) -> Value {
    let shown: Vec<String> = names.iter().take(LISTED).map(ToString::to_string).collect();
    if names.len() > LISTED {
        json!({ "count": names.len(), "first": shown })
    } else {
        json!(shown)
    }
}
