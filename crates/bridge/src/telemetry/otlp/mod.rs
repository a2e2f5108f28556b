//! Metrics pushed by OTLP, over HTTP with protobuf, where the environment names an endpoint.
//!
//! The variables are the OpenTelemetry SDK's own. `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, or
//! `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/metrics` behind it, switches it on;
//! `OTEL_SDK_DISABLED=true` and `OTEL_METRICS_EXPORTER=none` switch it off. The SDK reads
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`,
//! `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`; we read `OTEL_METRIC_EXPORT_INTERVAL`
//! (milliseconds, 60 s), `OTEL_EXPORTER_OTLP_TIMEOUT` (milliseconds, 10 s) and, since there are no
//! system roots, `OTEL_EXPORTER_OTLP_CERTIFICATE`, which an `https` endpoint needs,
//! `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `…_CLIENT_KEY`; of all that begin with
//! `OTEL_EXPORTER_OTLP_` there is one for metrics alone that goes first. A value that cannot be used is
//! refused at start, by `environment`; so are another `OTEL_EXPORTER_OTLP_PROTOCOL` than `http/protobuf`
//! and another `OTEL_EXPORTER_OTLP_COMPRESSION` than `none`.
//!
//! `identity` is what is said of us beside them, `client` carries a push, `told` says how it ended. A push that fails is not repeated: the next one
//! carries the same sums and what came to them.

mod client;
mod environment;
mod identity;
mod told;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{MetricExporter, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::exposition::{ExpositionError, METER};
use client::Client;
pub(crate) use environment::Wanted;
use told::Told;

/// What is to be pushed, made before there is a provider to push from.
pub(super) struct Otlp {
    reader: PeriodicReader<Told<MetricExporter>>,
    failures: Arc<AtomicU64>,
    cancel: CancellationToken,
    resource: Resource,
}

impl Otlp {
    /// Begins nothing yet but the thread that will push.
    ///
    /// # Errors
    /// Where the exporter refuses, or there is no randomness to be had.
    pub(super) fn new(wanted: Wanted) -> Result<Self, ExpositionError> {
        let resource = identity::resource(wanted.instance)
            .map_err(|error| ExpositionError::new(format!("no randomness: {error}")))?;
        let cancel = CancellationToken::new();
        let client = Client {
            tls: wanted.tls,
            timeout: wanted.timeout,
            cancel: cancel.clone(),
        };
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(wanted.endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(wanted.timeout)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| ExpositionError::new(error.to_string()))?;
        let told = Told::new(exporter, cancel.clone());
        Ok(Self {
            failures: Arc::clone(&told.failures),
            reader: PeriodicReader::builder(told)
                .with_interval(wanted.interval)
                .build(),
            cancel,
            resource,
        })
    }

    /// A provider that is read by the pushing too, and what ends that.
    pub(super) fn provider(self, builder: MeterProviderBuilder) -> (SdkMeterProvider, Pushing) {
        let provider = builder
            .with_resource(self.resource)
            .with_reader(self.reader)
            .build();
        let failures = self.failures;
        provider
            .meter(METER)
            .u64_observable_counter("bridge_otlp_failures")
            .with_description("Times metrics could not be sent by OTLP")
            .with_callback(move |observer| observer.observe(failures.load(Ordering::Relaxed), &[]))
            .build();
        let pushing = Pushing {
            provider: provider.clone(),
            cancel: self.cancel,
        };
        (provider, pushing)
    }
}

/// Metrics that are pushed. Dropped without [`end`](Self::end), it pushes nothing more, as in a crash.
pub(crate) struct Pushing {
    provider: SdkMeterProvider,
    cancel: CancellationToken,
}

impl fmt::Debug for Pushing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushing").finish_non_exhaustive()
    }
}

impl Pushing {
    /// Pushes once more, and no later than `deadline`; then nothing more. Who else reads the provider may
    /// go on.
    pub(crate) async fn end(self, deadline: Instant) {
        let provider = self.provider.clone();
        // It waits for the reader's thread, which waits for the collector. A shutdown would end every
        // reader of the provider, Prometheus' too.
        let pushing = tokio::task::spawn_blocking(move || provider.force_flush());
        match timeout_at(deadline, pushing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the last metrics were not sent by OTLP");
            }
            Ok(Err(_)) => tracing::warn!("the last metrics were not sent by OTLP"),
            Err(_) => tracing::warn!("the last metrics were not sent by OTLP in time"),
        }
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
