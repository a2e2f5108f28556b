//! Puts a bridge together and starts it.

use std::sync::Arc;

use cybermesh_contracts::{
    dead_letter::Form,
    kind::Kind,
    sign::Signer,
    trust::{Right, TrustStore},
};
use cybermesh_transport::{Client, Producer, ResendSchedule, Sasl, Security, host};
use tokio_util::sync::CancellationToken;

use super::{Bridge, StartError};
use crate::{
    clock::{SystemClock, WallClock},
    dlq::{DeadLetterConfig, DeadLetterSigning, DeadLetters},
    handler::{Handled, Handler, Handlers},
    inbound::{Patience, StateSigning, Subscriber, SubscriberParts},
    keys::SigningKey,
    outbound::{
        Publisher,
        breaker::BreakerConfig,
        gate::ClusterGate,
        nonces::{NonceFault, Nonces},
        outbox::{DiskFault, HoldWhatIsKept, InStateDir, Outbox, Storage},
        publisher::Parts,
        retry::RetrySchedule,
    },
    reload::{Certificates, LimitsFile, PasswordFile, Reloader, SigningFile, Stamp, Watched},
    settings::{DeadLetterFormat, Problem, Settings, SettingsError, table},
    state::StateDir,
    telemetry::{Audit, Condition, Exposition, Health, Metrics, OpsServer, otlp, vitals::Vitals},
    trust::Trust,
};

/// What dead letters may take of memory, in bytes: a handful of the largest.
const DEAD_LETTER_BUFFER_BYTES: usize = 8 << 20;

/// Collects what a bridge is made of. What is not given follows from the settings.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    security: Option<Security>,
    sasl: Option<Sasl>,
    signer: Option<Arc<dyn Signer>>,
    trust: Option<TrustStore>,
    nonces: Option<Nonces>,
    breaker: BreakerConfig,
    patience: Patience,
    clock: Arc<dyn WallClock>,
    metrics: Option<Metrics>,
    seed: Option<u64>,
    /// Of the outbox, where it is not in the state folder.
    storage: Option<Box<dyn Storage>>,
    sends: Vec<Kind>,
    receives: Vec<Kind>,
    handlers: Handlers,
}

/// What was read from files, or brought by the caller.
struct Material {
    security: Security,
    /// The state of the files that security was made from, where it was made from files.
    certificates: Option<Vec<Stamp>>,
    sasl: Option<Sasl>,
    password: Option<PasswordFile>,
    signer: Option<SigningKey>,
    signing: Option<SigningFile>,
    trust: Option<Trust>,
    /// How metrics are to be pushed, where they are ours and are to be.
    pushed: Option<otlp::Wanted>,
}

impl Builder {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            sends: settings.role.sends().to_vec(),
            receives: settings.role.receives().to_vec(),
            settings,
            security: None,
            sasl: None,
            signer: None,
            trust: None,
            nonces: None,
            breaker: BreakerConfig::default(),
            patience: Patience::default(),
            clock: Arc::new(SystemClock),
            metrics: None,
            seed: None,
            storage: None,
            handlers: Handlers::new(),
        }
    }

    /// Transport security of the caller's, instead of the files that the settings name.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = Some(security);
        self
    }

    /// Who we are to brokers that go by SASL, instead of the name and password of the settings; the way for tokens
    /// (`Sasl::oauth_bearer`).
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Who signs: a token or an enclave, instead of the key file. It is called on the runtime's
    /// threads, one message of a partition at a time, and holds up that partition while it signs.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// A trust store of the caller's, instead of the file. It does not change.
    #[must_use]
    pub fn trust(mut self, trust: TrustStore) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Nonces of the caller's, instead of those of the state folder, or of a random instance.
    #[must_use]
    pub fn nonces(mut self, nonces: Nonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// What trips the breaker.
    #[must_use]
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.breaker = config;
        self
    }

    /// How long trouble on the way in is watched before something is done about it.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Who tells the time of day.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Metrics in a provider of the caller's, instead of our own with its Prometheus text.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The seed of all jitter, for runs that can be repeated.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[cfg(test)]
    pub(crate) fn storage(mut self, storage: Box<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// The kinds this process sends, instead of its role's; none needs no signing key.
    #[must_use]
    pub fn sends(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.sends = kinds.into_iter().collect();
        self
    }

    /// The kinds this process receives, instead of its role's; none needs no trust store.
    #[must_use]
    pub fn receives(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.receives = kinds.into_iter().collect();
        self
    }

    /// Handles the messages of one kind. Every kind received needs a handler, or [`ignore`](Self::ignore).
    #[must_use]
    pub fn handle<M: Handled>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers = self.handlers.register(handler);
        self
    }

    /// Declares that messages of a kind are not for this process: its topic is not read.
    #[must_use]
    pub fn ignore(mut self, kind: Kind) -> Self {
        self.handlers = self.handlers.ignore(kind);
        self
    }

    /// All handlers at once, instead of those named so far.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.handlers = handlers;
        self
    }

    /// Reads files, connects, and starts everything.
    ///
    /// # Errors
    /// [`StartError`]; of settings and files everything that is wrong at once, before anything is connected.
    pub async fn start(mut self) -> Result<Bridge, StartError> {
        for note in self.settings.notes() {
            tracing::warn!("{note}");
        }
        self.handlers.handled(&self.receives)?;
        let Material {
            security,
            certificates,
            sasl,
            password,
            signer,
            signing,
            trust,
            pushed,
        } = self.material()?;
        let (metrics, exposition, pushing) = match self.metrics.take() {
            Some(metrics) => (metrics, None, None),
            None => {
                let (exposition, pushing) = Exposition::pushed(pushed)?;
                (exposition.metrics(), Some(exposition), pushing)
            }
        };
        let audit = Audit::from_settings(&self.settings.audit, Arc::clone(&self.clock))?;
        let health = Health::audited(audit);
        health.raise(Condition::Starting, "not connected yet");
        let ops = match self.settings.ops.listen {
            Some(address) => {
                Some(OpsServer::start(address, exposition.clone(), health.clone()).await?)
            }
            None => None,
        };
        let (state, nonces) = self.nonces_and_state().await?;
        let outbox = self.outbox(state.as_ref(), &metrics, &health).await?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => host::random_u64().map_err(NonceFault::Randomness)?,
        };

        let client = Client::unconnected(self.settings.client_config(security, sasl));
        match client.reach().await {
            Ok(()) => self.learn_topics(&client).await,
            // What is sent meanwhile is kept. Who receives has nothing to do without a cluster.
            Err(error)
                if error.is_unreachable() && outbox.is_some() && self.receives.is_empty() =>
            {
                tracing::warn!(%error, "the cluster is not there; what is to be sent goes to the outbox");
            }
            Err(error) => return Err(error.into()),
        }
        let gate = ClusterGate::new(self.breaker, seed, metrics.clone(), health.clone());
        let schedule: Arc<dyn ResendSchedule> = Arc::new(CountedResends {
            schedule: self.settings.retry_schedule(seed),
            metrics: metrics.clone(),
        });
        let mut config = self.settings.producer_config(schedule, &gate);
        let mut letters_config = config.clone();
        if outbox.is_some() {
            config.hold = Arc::new(HoldWhatIsKept);
        }
        letters_config.buffer_bytes = letters_config.buffer_bytes.min(DEAD_LETTER_BUFFER_BYTES);
        let letters_producer = Producer::new(client.clone(), letters_config);
        let letters =
            self.dead_letters(&client, &letters_producer, signer.as_ref(), trust.as_ref());
        let letters = match &state {
            Some(state) => letters.spilling_into(Arc::clone(state), metrics.clone()),
            None => letters,
        };
        let state_signing = may_sign(Right::ReplayState, signer.as_ref(), trust.as_ref());
        let state_signing = StateSigning {
            signer: Box::new(state_signing),
        };
        let producer = Producer::new(client.clone(), config);
        let watched = [
            ("publisher", producer.clone()),
            ("dead-letters", letters_producer.clone()),
        ];
        let vitals = Vitals::watch(watched, &health);
        let publisher = Publisher::new(
            &self.settings,
            Parts {
                client: client.clone(),
                producer,
                gate,
                signer,
                nonces,
                clock: Arc::clone(&self.clock),
                metrics: metrics.clone(),
                health: health.clone(),
                kinds: self.sends.clone(),
                dead_letters: Some(letters.clone()),
                outbox,
                buffer_bytes: self.settings.send.buffer_bytes,
                seed,
            },
        );
        let subscriber = match &trust {
            Some(trust) if !self.receives.is_empty() => {
                let parts = SubscriberParts {
                    client: client.clone(),
                    dead_letters: letters,
                    trust: trust.subscribe(),
                    state_signing,
                    state: state.clone(),
                    clock: Arc::clone(&self.clock),
                    metrics: metrics.clone(),
                    health: health.clone(),
                    receives: self.receives,
                    handlers: self.handlers,
                    patience: self.patience,
                };
                Some(Subscriber::start(&self.settings, parts).await?)
            }
            _ => None,
        };
        let cancel = CancellationToken::new();
        let reloader = Reloader::default();
        let watched = Watched {
            trust: trust.clone().filter(Trust::has_file),
            signing,
            certificates: certificates
                .map(|seen| Certificates::new(self.settings.clone(), client.clone(), seen)),
            password,
            limits: LimitsFile::of(&self.settings, &publisher),
        };
        if let Some(trust) = &trust {
            metrics.trust_keys(trust.current().keys().count());
        }
        let watching = host::spawn(watched.watch(
            reloader.clone(),
            metrics.clone(),
            health.clone(),
            cancel.clone(),
        ));
        health.clear(&Condition::Starting);
        Ok(Bridge {
            client,
            publisher,
            subscriber,
            dead_letters: letters_producer,
            trust,
            metrics,
            exposition,
            pushing,
            health,
            ops,
            reloader,
            watching,
            vitals,
            _cancel_on_drop: cancel.clone().drop_guard(),
            cancel,
            _state: state,
        })
    }

    /// Learns the partitions of what is sent, so that the first sends go in the order they were begun. What
    /// cannot be learnt is told to whoever sends it.
    async fn learn_topics(&self, client: &Client) {
        let topics = self.sends.iter().map(|kind| self.settings.topics.of(*kind));
        let learning = topics.map(|topic| client.topic(topic));
        for error in futures_util::future::join_all(learning)
            .await
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::warn!(%error, "messages to this topic cannot be sent for now");
        }
    }

    /// Reads every file before anything is said about the first that is wrong.
    fn material(&mut self) -> Result<Material, SettingsError> {
        let settings = &self.settings;
        let mut problems: Vec<Problem> = Vec::new();
        // Stamped before they are read.
        let seen = Certificates::stamps(settings);
        let own = self.security.take();
        let (security, certificates) = match own {
            Some(security) => (Some(security), None),
            None => {
                let security = settings.security(&mut problems);
                let is_tls = matches!(security, Some(Security::Tls(_)));
                (security, is_tls.then_some(seen))
            }
        };
        let (sasl, password) = match self.sasl.take() {
            Some(sasl) => (Some(sasl), None),
            None => {
                let seen = PasswordFile::stamp(settings);
                let sasl = settings.sasl(&mut problems);
                let password = sasl
                    .as_ref()
                    .zip(seen)
                    .map(|(sasl, seen)| PasswordFile::new(settings.clone(), sasl.clone(), seen));
                (sasl, password)
            }
        };
        let (signer, signing) = match self.signer.take() {
            Some(signer) => (Some(SigningKey::new(signer)), None),
            None => {
                let signing = settings.signing(&mut problems);
                (signing.as_ref().map(|file| file.key().clone()), signing)
            }
        };
        let trust = self
            .trust
            .take()
            .map(Trust::fixed)
            .or_else(|| settings.trust(&mut problems));
        if signer.is_none() && settings.keys.signing.is_none() && !self.sends.is_empty() {
            problems.push(settings.missing(table::SIGNING_KEY, "to send"));
        }
        match &trust {
            None if settings.keys.trust.is_none() && !self.receives.is_empty() => {
                problems.push(settings.missing(table::TRUST, "to receive"));
            }
            Some(trust) => self.judge_trust(trust, &mut problems),
            None => {}
        }
        let pushed = match self.metrics {
            Some(_) => None,
            None => otlp::Wanted::from_env(
                settings.tls.provider.choice(),
                settings.node.id.as_deref(),
                &mut problems,
            ),
        };
        match security {
            Some(security) if problems.is_empty() => Ok(Material {
                security,
                certificates,
                sasl,
                password,
                signer,
                signing,
                trust,
                pushed,
            }),
            _ => Err(SettingsError::new(problems)),
        }
    }

    /// A process does not start with a store that is empty, or names no key for a kind it receives.
    fn judge_trust(&self, trust: &Trust, problems: &mut Vec<Problem>) {
        let store = trust.current();
        let reason = match store.kinds_without_keys(&self.receives).as_slice() {
            _ if self.receives.is_empty() => return,
            _ if store.is_empty() => "it names no key".to_owned(),
            [] => return,
            kinds => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
                format!("it names no key that may sign {}", names.join(", "))
            }
        };
        let path = self
            .settings
            .keys
            .trust
            .clone()
            .unwrap_or_else(|| "given by the program".into());
        problems.push(self.settings.file_problem(table::TRUST.env, &path, &reason));
    }

    async fn nonces_and_state(&mut self) -> Result<(Option<Arc<StateDir>>, Nonces), StartError> {
        let state = match self.settings.node.state_dir.clone() {
            None => None,
            Some(path) => {
                let opened = host::spawn_blocking(move || StateDir::open(path)).await;
                Some(Arc::new(opened.map_err(|_| NonceFault::Cancelled)??))
            }
        };
        let nonces = match (self.nonces.take(), &state) {
            (Some(nonces), _) => nonces,
            (None, Some(state)) => Nonces::kept_in(Arc::clone(state))?,
            (None, None) => Nonces::ephemeral()?,
        };
        Ok((state, nonces))
    }

    async fn outbox(
        &mut self,
        state: Option<&Arc<StateDir>>,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Option<Arc<Outbox>>, StartError> {
        let (Some(state), true) = (state, self.settings.outbox.enabled) else {
            return Ok(None);
        };
        let storage: Box<dyn Storage> = match self.storage.take() {
            Some(storage) => storage,
            None => Box::new(InStateDir(Arc::clone(state))),
        };
        let settings = self.settings.outbox.clone();
        let (clock, metrics) = (Arc::clone(&self.clock), metrics.clone());
        let health = health.clone();
        let opening = move || Outbox::open(storage, &settings, clock, metrics, health);
        let opened = host::spawn_blocking(opening).await;
        let opened = opened.unwrap_or(Err(DiskFault::Closed));
        let folder = state.path().to_owned();
        match opened {
            Ok(outbox) => Ok(Some(Arc::new(outbox))),
            Err(fault) => Err(StartError::Outbox { folder, fault }),
        }
    }

    fn dead_letters(
        &self,
        client: &Client,
        producer: &Producer,
        signer: Option<&SigningKey>,
        trust: Option<&Trust>,
    ) -> DeadLetters {
        let config = DeadLetterConfig {
            topic: Arc::from(self.settings.topics.dlq.as_str()),
            form: match self.settings.dead_letter_format {
                DeadLetterFormat::Json => Form::Json,
                DeadLetterFormat::Raw => Form::Raw,
                DeadLetterFormat::Reference => Form::Reference,
            },
            group: Some(self.settings.kafka.group.clone()),
            node: self.settings.node.id.clone(),
            audience: self.settings.node.audience.clone(),
        };
        let signing = signer.zip(trust).map(|(signer, trust)| DeadLetterSigning {
            signer: Box::new(may_sign(Right::DeadLetter, Some(signer), Some(trust))),
        });
        DeadLetters::new(client.clone(), producer.clone(), config, signing)
    }
}

/// A process may sign something when its own key stands in its own trust store with that right.
fn may_sign(
    right: Right,
    signer: Option<&SigningKey>,
    trust: Option<&Trust>,
) -> impl Fn() -> Option<Arc<dyn Signer>> + Send + Sync + use<> {
    let both = signer.cloned().zip(trust.cloned());
    move || {
        let (signer, trust) = both.as_ref()?;
        let (signer, store) = (signer.current(), trust.current());
        store
            .key(&signer.public_key())
            .is_some_and(|key| !key.is_revoked() && key.may(right))
            .then_some(signer)
    }
}

/// The schedule, counting what it grants.
#[derive(Debug)]
struct CountedResends {
    schedule: RetrySchedule,
    metrics: Metrics,
}

impl ResendSchedule for CountedResends {
    fn next(&self, resend: u32) -> Option<std::time::Duration> {
        let wait = self.schedule.wait(resend);
        if wait.is_some() {
            self.metrics.retried();
        }
        wait
    }
}
