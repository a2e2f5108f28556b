//! Pushes that fail are counted, and told of once; so is the first that succeeds again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use tokio_util::sync::CancellationToken;

/// Wraps the exporter that pushes.
#[derive(Debug)]
pub(super) struct Told<E> {
    pub(super) exporter: E,
    pub(super) failures: Arc<AtomicU64>,
    fails: AtomicBool,
    /// From then on nothing is pushed: who drops the last provider must not wait for a collector.
    cancel: CancellationToken,
}

impl<E> Told<E> {
    pub(super) fn new(exporter: E, cancel: CancellationToken) -> Self {
        Self {
            exporter,
            failures: Arc::default(),
            fails: AtomicBool::new(false),
            cancel,
        }
    }

    fn tell(&self, pushed: &OTelSdkResult) {
        match pushed {
            Ok(()) => {
                if self.fails.swap(false, Ordering::Relaxed) {
                    tracing::info!("metrics are sent by OTLP again");
                }
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if !self.fails.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "metrics are not sent by OTLP; the next are tried in their time");
                }
            }
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Told<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        let pushed = self.exporter.export(metrics).await;
        if !self.cancel.is_cancelled() {
            self.tell(&pushed);
        }
        pushed
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::error::OTelSdkError;
    use tracing::Level;

    use super::*;
    use crate::telemetry::levels::Levels;

    /// A collector that takes the pushes it is told to.
    struct Moody(Mutex<Vec<bool>>);

    impl PushMetricExporter for Moody {
        async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
            match self.0.lock().unwrap().remove(0) {
                true => Ok(()),
                false => Err(OTelSdkError::InternalFailure("status 503".into())),
            }
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    #[tokio::test]
    async fn a_collector_that_is_away_is_told_of_once_and_so_is_its_return() {
        let (levels, cancel) = (Levels::default(), CancellationToken::new());
        let _guard = tracing::subscriber::set_default(levels.clone());
        let takes = vec![true, false, false, false, true, true, false];
        let pushes = takes.len();
        let told = Told::new(Moody(Mutex::new(takes)), cancel.clone());
        for _ in 0..pushes {
            // How each ended is what is counted and told here.
            let _ = told.export(&ResourceMetrics::default()).await;
        }
        let expected = [Level::WARN, Level::INFO, Level::WARN];
        assert_eq!(levels.told(), expected);
        assert_eq!(told.failures.load(Ordering::Relaxed), 4);
        // Nothing is left to be taken: whoever asked now would panic.
        cancel.cancel();
        assert!(told.export(&ResourceMetrics::default()).await.is_ok());
    }
}
