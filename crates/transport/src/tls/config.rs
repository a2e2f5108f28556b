//! The configuration of TLS, valid by construction.

use std::sync::Arc;
use std::{fmt, io};

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};

use super::pem::Pem;
use super::provider::{CpuSupport, Provider, ProviderChoice};
use crate::error::{ErrorKind, Operation, Target, TlsFailure, TransportError};

/// The oldest version of TLS that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How TLS is spoken to brokers. Cheap to clone.
///
/// ```no_run
/// use cybermesh_transport::tls::{Pem, TlsConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pem = |path: &str| std::io::Result::Ok(Pem::new(path, std::fs::read(path)?));
/// let tls = TlsConfig::builder(pem("ca.pem")?)
///     .client_certificate(pem("node-7.pem")?, pem("node-7-key.pem")?)
///     .build()?;
/// # let _ = tls; Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    rustls: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    has_client_certificate: bool,
    provider: &'static str,
    client_certificate_expires_at_unix_s: Option<i64>,
    authorities_expire_at_unix_s: Option<i64>,
}

impl TlsConfig {
    /// Starts from the CA bundle: the certificates that brokers' certificates must come from. There are no
    /// others, system roots are not consulted.
    pub fn builder(ca: Pem) -> TlsConfigBuilder {
        TlsConfigBuilder {
            ca,
            client: None,
            provider: ProviderChoice::Auto,
            min_version: MinVersion::default(),
            server_name: None,
        }
    }

    /// Takes a caller's own configuration as it is: its roots, its provider, its verifier.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        let has_client_certificate = config.client_auth_cert_resolver.has_certs();
        Self {
            rustls: config,
            server_name: None,
            has_client_certificate,
            provider: "custom",
            client_certificate_expires_at_unix_s: None,
            authorities_expire_at_unix_s: None,
        }
    }

    /// Expects this name in brokers' certificates instead of the host they are called by.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if it is no DNS name or IP address.
    pub fn with_server_name(mut self, name: &str) -> Result<Self, TransportError> {
        self.server_name = Some(parse_server_name(name)?);
        Ok(self)
    }

    /// Whether a client certificate is configured.
    pub fn has_client_certificate(&self) -> bool {
        self.has_client_certificate
    }

    /// The provider in use: `graviola`, `portable` or `custom`.
    pub fn provider_name(&self) -> &'static str {
        self.provider
    }

    /// When the client certificate expires, in seconds since 1970; `None` without one, or with a caller's
    /// own configuration.
    pub fn client_certificate_expires_at_unix_s(&self) -> Option<i64> {
        self.client_certificate_expires_at_unix_s
    }

    /// When the first of the authorities expires, in seconds since 1970; `None` with a caller's own
    /// configuration.
    pub fn authorities_expire_at_unix_s(&self) -> Option<i64> {
        self.authorities_expire_at_unix_s
    }

    /// TLS over a connection to `host` that is not Kafka's, with this configuration's authorities and
    /// certificate, and whatever server name it expects.
    ///
    /// # Errors
    /// What the handshake failed with. There is no deadline.
    pub async fn handshake<S>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let name = self
            .server_name_for(host)
            .map_err(|failure| io::Error::new(io::ErrorKind::InvalidInput, failure.to_string()))?;
        tokio_rustls::TlsConnector::from(self.rustls())
            .connect(name, stream)
            .await
    }

    pub(crate) fn rustls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.rustls)
    }

    /// The name to look for in the certificate of a broker called by `host`.
    pub(crate) fn server_name_for(&self, host: &str) -> Result<ServerName<'static>, TlsFailure> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        ServerName::try_from(host)
            .map(|name| name.to_owned())
            .map_err(|_| TlsFailure::Other {
                reason: format!("{host:?} is not a name a certificate can be for").into(),
            })
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("provider", &self.provider_name())
            .field("server_name", &self.server_name)
            .field("has_client_certificate", &self.has_client_certificate())
            .finish_non_exhaustive()
    }
}

/// Collects what [`TlsConfig`] is made of.
#[derive(Debug, Clone)]
pub struct TlsConfigBuilder {
    ca: Pem,
    client: Option<(Pem, Pem)>,
    provider: ProviderChoice,
    min_version: MinVersion,
    server_name: Option<String>,
}

impl TlsConfigBuilder {
    /// Shows brokers this certificate: the chain, own certificate first, and its private key (PKCS#8, SEC1
    /// or PKCS#1).
    pub fn client_certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.client = Some((chain, key));
        self
    }

    /// Which cryptography to run on; [`ProviderChoice::Auto`] by default.
    pub fn provider(mut self, choice: ProviderChoice) -> Self {
        self.provider = choice;
        self
    }

    /// The oldest version accepted; TLS 1.2 by default.
    pub fn min_version(mut self, version: MinVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Expects this name in brokers' certificates instead of the host they are called by.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Checks everything and makes the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the PEM text and what is wrong with it, that certificate and key do
    /// not belong together, or that the provider cannot run here.
    pub fn build(self) -> Result<TlsConfig, TransportError> {
        let Provider {
            crypto,
            name: provider,
            may_hold_rsa_key,
        } = self.provider.provider(&CpuSupport::detect())?;
        let roots = roots(&self.ca)?;
        let authorities_expire_at_unix_s = self.ca.certificates()?.iter().filter_map(expiry).min();
        let versions: &[&rustls::SupportedProtocolVersion] = match self.min_version {
            MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(versions)
            .map_err(|error| wrong("tls provider", error.to_string()))?
            .with_root_certificates(roots);
        let has_client_certificate = self.client.is_some();
        let mut client_certificate_expires_at_unix_s = None;
        let mut rustls = match &self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let certified = certified_key(chain, key, &crypto, may_hold_rsa_key)?;
                client_certificate_expires_at_unix_s = certified.cert.first().and_then(expiry);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        // A resumed session would not show the certificate that is configured now.
        rustls.resumption = rustls::client::Resumption::disabled();
        Ok(TlsConfig {
            rustls: Arc::new(rustls),
            server_name: self
                .server_name
                .as_deref()
                .map(parse_server_name)
                .transpose()?,
            has_client_certificate,
            provider,
            client_certificate_expires_at_unix_s,
            authorities_expire_at_unix_s,
        })
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn roots(ca: &Pem) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in ca.certificates()?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            ca.wrong(format!(
                "certificate {} cannot be an authority: {error}",
                index + 1
            ))
        })?;
    }
    Ok(roots)
}

fn certified_key(
    chain: &Pem,
    key: &Pem,
    crypto: &CryptoProvider,
    may_hold_rsa_key: bool,
) -> Result<CertifiedKey, TransportError> {
    let certificates = chain.certificates()?;
    let private_key = key.private_key()?;
    let signing_key = crypto
        .key_provider
        .load_private_key(private_key)
        .map_err(|error| key.wrong(format!("the private key cannot be used: {error}")))?;
    if !may_hold_rsa_key && signing_key.algorithm() == rustls::SignatureAlgorithm::RSA {
        return Err(key.wrong(
            "RSA client keys are refused with the portable provider, whose RSA leaks them through timing; use an ECDSA or Ed25519 key",
        ));
    }
    let certified = CertifiedKey::new(certificates, signing_key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown))
            if signs_for_certificate(&certified, crypto) =>
        {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(chain.wrong(format!(
            "the certificate does not belong to the private key in {}; its first certificate must be this client's own",
            key.source()
        ))),
        Err(error) => Err(chain.wrong(format!("the certificate cannot be used: {error}"))),
    }
}

/// Whether what the key signs is verified by the certificate: for providers that cannot tell the public key of
/// a private one, where rustls would check nothing.
fn signs_for_certificate(certified: &CertifiedKey, crypto: &CryptoProvider) -> bool {
    const MESSAGE: &[u8] = b"does this key belong to this certificate?";
    let Some((_, certificate)) = certified
        .cert
        .first()
        .and_then(|own| x509_parser::parse_x509_certificate(own).ok())
    else {
        return false;
    };
    let public_key = &certificate.public_key().subject_public_key.data;
    let verifiers = crypto.signature_verification_algorithms.mapping;
    let schemes: Vec<_> = verifiers.iter().map(|(scheme, _)| *scheme).collect();
    let Some(signer) = certified.key.choose_scheme(&schemes) else {
        return false;
    };
    let Ok(signature) = signer.sign(MESSAGE) else {
        return false;
    };
    verifiers
        .iter()
        .filter(|(scheme, _)| *scheme == signer.scheme())
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| {
            algorithm
                .verify_signature(public_key, MESSAGE, &signature)
                .is_ok()
        })
}

fn parse_server_name(name: &str) -> Result<ServerName<'static>, TransportError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        wrong(
            "tls server name",
            format!("{name:?} is no DNS name or IP address"),
        )
    })
}

fn wrong(what: &str, reason: String) -> TransportError {
    TransportError::new(
        Operation::Configure,
        Target::default(),
        ErrorKind::Settings {
            what: what.into(),
            reason: reason.into(),
        },
    )
}
