//! Which cryptography TLS runs on.
//!
//! Graviola is fast and partly verified, but panics on a processor without its instructions, so it is asked
//! for only where they are there. The portable provider is young and unaudited: taken only when asked for,
//! and built in only with the feature `portable-crypto`.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::error::{ErrorKind, Operation, Target, TransportError};

/// Which cryptography TLS runs on.
#[derive(Debug, Clone, Default)]
pub enum ProviderChoice {
    /// Graviola; an error on processors it does not support.
    #[default]
    Auto,
    /// `rustls-rustcrypto`, which runs anywhere. Young and unaudited; refuses RSA client keys. An error
    /// unless this crate was built with the feature `portable-crypto`.
    Portable,
    /// The caller's own.
    Custom(Arc<CryptoProvider>),
}

/// Whether this processor can run Graviola.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSupport {
    architecture: &'static str,
    present: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl CpuSupport {
    /// Looks at the processor this runs on.
    pub fn detect() -> Self {
        let (present, missing) = needed_features()
            .into_iter()
            .partition::<Vec<_>, _>(|(_, there)| *there);
        let names = |features: Vec<(&'static str, bool)>| {
            features.into_iter().map(|(name, _)| name).collect()
        };
        Self {
            architecture: std::env::consts::ARCH,
            present: names(present),
            missing: names(missing),
        }
    }

    /// The instruction sets Graviola needs that are there.
    pub fn present(&self) -> &[&'static str] {
        &self.present
    }

    /// Whether nothing is missing.
    pub fn is_sufficient(&self) -> bool {
        self.missing.is_empty()
    }

    /// The instruction sets that are missing; `["x86-64 or aarch64"]` on other architectures.
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }
}

impl fmt::Display for CpuSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sufficient() {
            write!(f, "{}: all there", self.architecture)
        } else {
            write!(f, "{}: no {}", self.architecture, self.missing.join(", "))
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn needed_features() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;

    vec![
        ("aes", has!("aes")),
        ("pclmulqdq", has!("pclmulqdq")),
        ("adx", has!("adx")),
        ("avx", has!("avx")),
        ("avx2", has!("avx2")),
        ("bmi1", has!("bmi1")),
        ("bmi2", has!("bmi2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn needed_features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected as has;

    vec![
        ("neon", has!("neon")),
        ("aes", has!("aes")),
        ("pmull", has!("pmull")),
        ("sha2", has!("sha2")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn needed_features() -> Vec<(&'static str, bool)> {
    vec![("x86-64 or aarch64", false)]
}

/// A provider that can run here.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) name: &'static str,
    /// Whether private-key operations with RSA are safe with it.
    pub(super) may_hold_rsa_key: bool,
}

impl ProviderChoice {
    pub(super) fn provider(&self, cpu: &CpuSupport) -> Result<Provider, TransportError> {
        match self {
            Self::Auto if cpu.is_sufficient() => Ok(Provider {
                crypto: Arc::new(rustls_graviola::default_provider()),
                name: "graviola",
                may_hold_rsa_key: true,
            }),
            Self::Auto => Err(unavailable(format!(
                "this processor lacks instructions that the TLS provider graviola needs ({cpu}); {PORTABLE_WAY_OUT}"
            ))),
            Self::Portable => portable(),
            Self::Custom(crypto) => Ok(Provider {
                crypto: Arc::clone(crypto),
                name: "custom",
                may_hold_rsa_key: true,
            }),
        }
    }
}

#[cfg(feature = "portable-crypto")]
const PORTABLE_WAY_OUT: &str =
    "use another machine, or choose the portable provider, which is young and unaudited";

#[cfg(not(feature = "portable-crypto"))]
const PORTABLE_WAY_OUT: &str = "use another machine, or build with the feature portable-crypto and choose \
     the portable provider, which is young and unaudited";

#[cfg(feature = "portable-crypto")]
fn portable() -> Result<Provider, TransportError> {
    tracing::warn!("tls runs on the portable provider, which is young and unaudited");
    Ok(Provider {
        crypto: Arc::new(rustls_rustcrypto::provider()),
        name: "portable",
        // Its RSA leaks the key through timing (RUSTSEC-2023-0071).
        may_hold_rsa_key: false,
    })
}

#[cfg(not(feature = "portable-crypto"))]
fn portable() -> Result<Provider, TransportError> {
    Err(unavailable(
        "the portable provider was asked for, but this program was built without the feature portable-crypto"
            .to_owned(),
    ))
}

fn unavailable(reason: String) -> TransportError {
    TransportError::new(
        Operation::Configure,
        Target::default(),
        ErrorKind::Settings {
            what: "tls provider".into(),
            reason: reason.into(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_the_instructions_is_told_what_is_missing_and_the_way_out() {
        let cpu = CpuSupport {
            architecture: "x86_64",
            present: Vec::new(),
            missing: vec!["adx", "avx2"],
        };
        let error = ProviderChoice::Auto.provider(&cpu).unwrap_err().to_string();
        assert!(error.contains("no adx, avx2"), "{error}");
        assert!(error.contains("portable"), "{error}");
    }

    #[cfg(not(feature = "portable-crypto"))]
    #[test]
    fn the_portable_provider_is_refused_where_it_is_not_built_in() {
        let error = ProviderChoice::Portable
            .provider(&CpuSupport::detect())
            .unwrap_err();
        assert!(error.to_string().contains("portable-crypto"));
    }

    #[cfg(feature = "portable-crypto")]
    #[test]
    fn the_portable_provider_runs_on_any_processor() {
        let cpu = CpuSupport {
            architecture: "x86_64",
            present: Vec::new(),
            missing: vec!["adx"],
        };
        let provider = ProviderChoice::Portable.provider(&cpu).unwrap();
        assert!(!provider.may_hold_rsa_key);
    }
}
