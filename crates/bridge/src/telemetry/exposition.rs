//! Metrics as Prometheus text.

use std::fmt;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

use super::metrics::Metrics;

/// Metrics as Prometheus text, from a provider of their own: nothing process-wide is installed.
#[derive(Clone)]
pub struct Exposition {
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

/// The metrics text could not be made.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be exported: {0}")]
pub struct ExpositionError(String);

impl Exposition {
    /// A provider with a Prometheus exporter.
    ///
    /// # Errors
    /// Where the exporter refuses to register.
    pub fn new() -> Result<Self, ExpositionError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| ExpositionError(error.to_string()))?;
        let provider = SdkMeterProvider::builder()
            .with_resource(Resource::builder_empty().build())
            .with_reader(exporter)
            .build();
        Ok(Self { registry, provider })
    }

    /// Metrics that are shown here.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(&self.provider.meter("cybermesh-bridge"))
    }

    /// All metrics in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// Where a family cannot be encoded.
    pub fn text(&self) -> Result<String, ExpositionError> {
        let mut text = String::new();
        prometheus::TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .map_err(|error| ExpositionError(error.to_string()))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
