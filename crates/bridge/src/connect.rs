//! From settings and files to what the transport asks for, with everything wrong said at once.

use std::{path::Path, sync::Arc};

use cybermesh_transport::{
    ClientConfig, Compression, IsolationLevel, ProducerConfig, Sasl, Security, TransportError,
    tls::{MinVersion, Pem, ProviderChoice, TlsConfig},
};

use crate::{
    keys::{read_password, read_pem},
    outbound::{gate::ClusterGate, retry::RetrySchedule},
    reload::SigningFile,
    settings::{self, Problem, SaslMechanism, Settings, TlsMinVersion, TlsProvider, table},
    trust::Trust,
};

/// The transport's word for what is read of transactions.
pub(crate) fn isolation(isolation: settings::Isolation) -> IsolationLevel {
    match isolation {
        settings::Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
        settings::Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
    }
}

impl TlsProvider {
    /// The transport's word for it.
    pub(crate) fn choice(self) -> ProviderChoice {
        match self {
            Self::Auto => ProviderChoice::Auto,
            Self::Portable => ProviderChoice::Portable,
        }
    }
}

impl Settings {
    /// What the transport needs to reach the cluster.
    pub(crate) fn client_config(&self, security: Security, sasl: Option<Sasl>) -> ClientConfig {
        let mut config = ClientConfig::new(self.kafka.brokers.clone(), security)
            .client_id(
                self.node
                    .id
                    .as_deref()
                    .map_or_else(|| "cybermesh".to_owned(), |id| format!("cybermesh-{id}")),
            )
            .connect_timeout(self.kafka.connect_timeout)
            .request_timeout(self.kafka.request_timeout)
            .metadata_max_age(self.kafka.metadata_max_age);
        if self.tls.danger_plaintext {
            config = config.danger_plaintext_beyond_loopback();
        }
        if let Some(sasl) = sasl {
            config = config.sasl(sasl);
        }
        if self.sasl.danger_plaintext {
            config = config.danger_sasl_over_plaintext();
        }
        config
    }

    /// Transport security out of the files that the settings name.
    pub(crate) fn security(&self, problems: &mut Vec<Problem>) -> Option<Security> {
        let before = problems.len();
        self.judge_connection(problems);
        if !self.tls.enabled {
            return (problems.len() == before).then_some(Security::Plaintext);
        }
        let mut pem = |spec: &table::Spec, path: &Option<std::path::PathBuf>| {
            let path = path.as_deref()?;
            match read_pem(path) {
                Ok(content) => Some(Pem::new(
                    format!("{} {}", spec.env, path.display()),
                    content.to_vec(),
                )),
                Err(reason) => {
                    problems.push(self.file_problem(spec.env, path, &reason));
                    None
                }
            }
        };
        let ca = pem(table::CA_CERT, &self.tls.ca);
        let cert = pem(table::CLIENT_CERT, &self.tls.cert);
        let key = pem(table::CLIENT_KEY, &self.tls.key);
        if problems.len() > before {
            return None;
        }
        let mut builder = TlsConfig::builder(ca?)
            .provider(self.tls.provider.choice())
            .min_version(match self.tls.min_version {
                TlsMinVersion::V1_2 => MinVersion::Tls12,
                TlsMinVersion::V1_3 => MinVersion::Tls13,
            });
        if let (Some(cert), Some(key)) = (cert, key) {
            builder = builder.client_certificate(cert, key);
        }
        if let Some(name) = &self.tls.server_name {
            builder = builder.server_name(name);
        }
        match builder.build() {
            Ok(tls) => Some(Security::Tls(tls)),
            Err(error) => {
                problems.push(Problem {
                    name: "TLS".to_owned(),
                    source: self.source_of(table::CA_CERT.env),
                    reason: error.to_string(),
                    accepts: String::new(),
                });
                None
            }
        }
    }

    /// Who we are by name and password, where that is configured; the password read from its file if it is in one.
    pub(crate) fn sasl(&self, problems: &mut Vec<Problem>) -> Option<Sasl> {
        let sasl = &self.sasl;
        let make = match sasl.mechanism? {
            SaslMechanism::Plain => Sasl::plain,
            SaslMechanism::ScramSha256 => Sasl::scram_sha_256,
            SaslMechanism::ScramSha512 => Sasl::scram_sha_512,
        };
        let password = match (&sasl.password, &sasl.password_file) {
            (Some(password), _) => password.clone(),
            (None, Some(path)) => self.or_problem(
                read_password(path),
                table::SASL_PASSWORD_FILE,
                path,
                problems,
            )?,
            // Judged when the settings were read.
            (None, None) => return None,
        };
        let made: Result<Sasl, TransportError> =
            make(sasl.username.as_deref().unwrap_or_default(), password);
        made.map_err(|error| {
            problems.push(Problem {
                name: "SASL".to_owned(),
                source: self.source_of(table::SASL_MECHANISM.env),
                reason: error.to_string(),
                accepts: String::new(),
            });
        })
        .ok()
    }

    /// Our signing key, where one is configured.
    pub(crate) fn signing(&self, problems: &mut Vec<Problem>) -> Option<SigningFile> {
        let path = self.keys.signing.as_deref()?;
        self.or_problem(SigningFile::read(path), table::SIGNING_KEY, path, problems)
    }

    /// The trust store, where one is configured.
    pub(crate) fn trust(&self, problems: &mut Vec<Problem>) -> Option<Trust> {
        let path = self.keys.trust.as_deref()?;
        self.or_problem(Trust::read(path), table::TRUST, path, problems)
    }

    /// A problem with something that is not set, and has to be.
    pub(crate) fn missing(&self, spec: &table::Spec, needed_for: &str) -> Problem {
        Problem {
            name: spec.env.to_owned(),
            source: self.source_of(spec.env),
            reason: format!("unset, and required {needed_for}"),
            accepts: spec.accepts.to_owned(),
        }
    }

    fn or_problem<T>(
        &self,
        read: Result<T, String>,
        spec: &table::Spec,
        path: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(reason) => {
                problems.push(self.file_problem(spec.env, path, &reason));
                None
            }
        }
    }

    /// How a producer behaves by these settings.
    pub(crate) fn producer_config(
        &self,
        schedule: Arc<dyn cybermesh_transport::ResendSchedule>,
        gate: &ClusterGate,
    ) -> ProducerConfig {
        ProducerConfig {
            linger: self.send.linger,
            batch_bytes: self.send.batch_bytes,
            buffer_bytes: self.send.buffer_bytes,
            compression: match self.send.compression {
                settings::Compression::None => Compression::None,
                settings::Compression::Gzip => Compression::Gzip,
                settings::Compression::Snappy => Compression::Snappy,
                settings::Compression::Lz4 => Compression::Lz4,
            },
            max_in_flight: 5,
            delivery_timeout: self.send.deadline,
            schedule,
            gate: Arc::new(gate.clone()),
            ..ProducerConfig::default()
        }
    }

    /// The schedule of resends.
    pub(crate) fn retry_schedule(&self, seed: u64) -> RetrySchedule {
        RetrySchedule::new(self.send.backoff, self.send.max_retries, seed)
    }
}
