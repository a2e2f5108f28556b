//! The certificate authority and what it issues.

use std::fmt;
use std::net::IpAddr;

use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::key::KeyPair;
use super::{Identity, PkiError};

/// How far from now certificates begin and end where nothing else is asked for. The day before
/// now covers clocks that differ between the processes of a test.
const SLACK: Duration = Duration::days(1);
const LIFETIME: Duration = Duration::days(30);

/// A certificate authority with a key of its own, valid for 30 days.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// Makes a new authority; two of the same name have different keys and do not trust each
    /// other's certificates.
    ///
    /// # Errors
    /// Only where the name cannot be encoded in a certificate.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate();
        let mut params = base_params(common_name, &key);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(|source| PkiError::Certificate {
                subject: common_name.to_owned(),
                source,
            })?;
        Ok(Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate, PEM: what the peers of its leaves put in their CA bundle.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Begins a server certificate, named by the DNS names and addresses given next.
    pub fn server(&self) -> LeafBuilder<'_> {
        LeafBuilder::new(self, "broker", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Begins a client certificate with this common name.
    pub fn client(&self, common_name: &str) -> LeafBuilder<'_> {
        LeafBuilder::new(self, common_name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate to be issued; see [`Authority::server`] and [`Authority::client`].
#[derive(Debug)]
#[must_use]
pub struct LeafBuilder<'a> {
    authority: &'a Authority,
    common_name: String,
    purpose: ExtendedKeyUsagePurpose,
    names: Vec<Name>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

#[derive(Debug)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

impl<'a> LeafBuilder<'a> {
    fn new(authority: &'a Authority, common_name: &str, purpose: ExtendedKeyUsagePurpose) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            authority,
            common_name: common_name.to_owned(),
            purpose,
            names: Vec::new(),
            not_before: now - SLACK,
            not_after: now + LIFETIME,
        }
    }

    /// Sets the subject's common name (servers: `broker` otherwise).
    pub fn common_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.common_name);
        self
    }

    /// Adds a DNS name to the subject alternative names.
    pub fn dns(mut self, name: &str) -> Self {
        self.names.push(Name::Dns(name.to_owned()));
        self
    }

    /// Adds an address to the subject alternative names.
    pub fn ip(mut self, address: impl Into<IpAddr>) -> Self {
        self.names.push(Name::Ip(address.into()));
        self
    }

    /// Sets the first and last moment of validity.
    pub fn valid(mut self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// Makes the certificate one that ended an hour ago.
    pub fn expired(self) -> Self {
        let now = OffsetDateTime::now_utc();
        self.valid(now - LIFETIME, now - Duration::hours(1))
    }

    /// Makes the certificate one that begins in a day.
    pub fn not_yet_valid(self) -> Self {
        let now = OffsetDateTime::now_utc();
        self.valid(now + SLACK, now + LIFETIME)
    }

    /// Makes the key and signs the certificate.
    ///
    /// # Errors
    /// Where a name cannot be encoded (a DNS name that is not ASCII).
    pub fn issue(self) -> Result<Identity, PkiError> {
        let key = KeyPair::generate();
        let at = |source| PkiError::Certificate {
            subject: self.common_name.clone(),
            source,
        };
        let mut params = base_params(&self.common_name, &key);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.purpose.clone()];
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        for name in &self.names {
            params.subject_alt_names.push(match name {
                Name::Ip(address) => SanType::IpAddress(*address),
                Name::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(at)?),
            });
        }
        let certificate = params.signed_by(&key, &self.authority.issuer).map_err(at)?;
        Ok(Identity::new(
            self.common_name.clone(),
            format!("{}{}", certificate.pem(), self.authority.pem),
            key.pkcs8_pem()?,
            certificate.der().clone(),
            key.pkcs8_der()?,
        ))
    }
}

fn base_params(common_name: &str, key: &KeyPair) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = now - SLACK;
    params.not_after = now + LIFETIME;
    params.serial_number = Some(random_serial());
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.identifier());
    params
}

/// A positive serial of 16 octets (RFC 5280 section 4.1.2.2 allows 20).
fn random_serial() -> SerialNumber {
    let mut serial = [0_u8; 16];
    OsRng.fill_bytes(&mut serial);
    serial[0] = (serial[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&serial)
}
