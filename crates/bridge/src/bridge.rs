//! The bridge: everything a process needs, built from its settings, started and stopped as one.

mod builder;
mod error;
mod report;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cybermesh_transport::{Client, Producer};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use builder::Builder;
pub use error::StartError;
pub use report::{Counts, StopReport};

use crate::{
    clock::after,
    inbound::{Subscriber, SubscriberEnded},
    outbound::Publisher,
    reload::Reloader,
    settings::Settings,
    state::StateDir,
    telemetry::{Condition, Exposition, Health, Metrics, OpsServer, otlp::Pushing, vitals::Vitals},
    trust::Trust,
};

/// A started bridge. Stop it with [`stop`](Self::stop); a bridge that is dropped instead ends as in
/// a crash, which loses nothing that was acknowledged.
#[derive(Debug)]
pub struct Bridge {
    client: Client,
    publisher: Publisher,
    subscriber: Option<Subscriber>,
    /// Dead letters have a producer of their own: they must not wait behind a full buffer.
    dead_letters: Producer,
    trust: Option<Trust>,
    metrics: Metrics,
    exposition: Option<Exposition>,
    pushing: Option<Pushing>,
    health: Health,
    ops: Option<OpsServer>,
    reloader: Reloader,
    watching: JoinHandle<()>,
    vitals: Vitals,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
    _state: Option<Arc<StateDir>>,
}

/// The share of a stop's deadline that the way in may take; the rest is for flushing the way out.
const RECEIVING_SHARE: (u32, u32) = (2, 3);

/// What the last push of metrics may take in any case, also where all of a stop's deadline is used up.
const PUSHING: Duration = Duration::from_millis(500);

/// What a task that was told to end may take for it in any case, where all of a stop's deadline is used up.
const ENDING: Duration = Duration::from_millis(500);

/// What the audit trail may take beyond a stop's deadline: what was done at the end is to be in it.
const AUDITING: Duration = Duration::from_secs(2);

impl Bridge {
    /// Begins with settings; everything else has a default that follows from them.
    #[must_use]
    pub fn builder(settings: Settings) -> Builder {
        Builder::new(settings)
    }

    /// The way out. Cheap to clone.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The way in, where this process receives.
    #[must_use]
    pub fn subscriber(&self) -> Option<&Subscriber> {
        self.subscriber.as_ref()
    }

    /// Waits until the way in ends by itself, which it does only where the group is no longer to be
    /// had; for ever in a process that does not receive.
    pub async fn ended(&mut self) -> SubscriberEnded {
        match &mut self.subscriber {
            Some(subscriber) => subscriber.ended().await,
            None => std::future::pending().await,
        }
    }

    /// The connection to the cluster, for administration and read-backs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The trust store in force, where this process receives.
    #[must_use]
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Whether the process may be given work, and why not.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The specification's counts, both ways.
    #[must_use]
    pub fn metrics(&self) -> Counts {
        Counts {
            send: self.metrics.send_counts(),
            receive: self.metrics.receive_counts(),
        }
    }

    /// All metrics as Prometheus text; `None` where they go to a provider of the caller's.
    #[must_use]
    pub fn exposition(&self) -> Option<&Exposition> {
        self.exposition.as_ref()
    }

    /// Where `/metrics`, `/healthz` and `/readyz` are, if anywhere.
    #[must_use]
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(OpsServer::address)
    }

    /// Asks for trust store, signing key, certificates and limits to be looked at now; they are looked
    /// at every two seconds anyway.
    #[must_use]
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Waits until everything handed over for sending so far is settled one way or the other.
    pub async fn flush(&self) {
        self.publisher.flush().await;
    }

    /// Stops in order, within `deadline`: stop fetching, finish or cancel handlers, dead letters
    /// acknowledged, commit, leave the group, stop intake of sends, flush, close. Says what was left where.
    pub async fn stop(self, deadline: Duration) -> StopReport {
        let begun = Instant::now();
        let until = after(begun, deadline);
        // A stop has a deadline of its own.
        self.vitals.stop().await;
        let receiving_until = after(begun, deadline / RECEIVING_SHARE.1 * RECEIVING_SHARE.0);
        self.health
            .raise(Condition::Stopping, "an orderly stop is under way");
        let subscriber = match self.subscriber {
            Some(subscriber) => Some(subscriber.stop(receiving_until - begun).await),
            None => None,
        };
        let publisher = self.publisher.close(until).await;
        let dead_letters = self.dead_letters.close(until).await;
        self.cancel.cancel();
        // Ends by the token, also while a file does not answer.
        let _ = tokio::time::timeout_at(until.max(Instant::now() + ENDING), self.watching).await;
        if let Some(pushing) = self.pushing {
            pushing.end(until.max(Instant::now() + PUSHING)).await;
        }
        if let Some(ops) = self.ops {
            ops.stop().await;
        }
        self.health.audit().close(AUDITING).await;
        let report = StopReport {
            subscriber,
            publisher,
            dead_letters_abandoned: dead_letters.abandoned,
            took: begun.elapsed(),
        };
        if report.is_clean() {
            tracing::info!("{report}");
        } else {
            tracing::warn!("{report}");
        }
        report
    }
}
