//! What is needed to look after dead letters: a connection, whom to believe, and who we are.

use std::sync::Arc;

use cybermesh_contracts::rejection::WindowFault;
use cybermesh_contracts::sign::Signer;
use cybermesh_contracts::trust::{Right, TrustStore};
use cybermesh_contracts::verify::{RedriveFor, Verifier};
use cybermesh_transport::{Client, ErrorCode, IsolationLevel, TransportError};

use super::entry::{Entry, Position};
use super::reader::{Begin, ReadError, Scan, record_at};
use crate::bridge::StartError;
use crate::connect::isolation;
use crate::keys::SigningKey;
use crate::settings::{Settings, SettingsError, table};

/// A connection to the cluster, the trust store and the signing key of the settings. Cheap to clone.
///
/// It receives, sends and locks nothing by itself. The trust store is the one that was there when it
/// was opened: all that one run does is judged alike.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    client: Client,
    trust: Arc<TrustStore>,
    signing: Option<SigningKey>,
    verifier: Verifier,
    audiences: Vec<String>,
}

/// Why we may not redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRight {
    /// There is no signing key.
    #[error("CYBERMESH_SIGNING_KEY is unset: a redrive is signed by a key of ours")]
    NoKey,
    /// The trust store does not name our key.
    #[error("our key does not stand in our own trust store, where it must have the right redrive")]
    NotNamed,
    /// The trust store has it revoked.
    #[error("our key is revoked in our own trust store")]
    Revoked,
    /// It does not count now.
    #[error("our key in our own trust store: {0}")]
    Window(WindowFault),
    /// It may sign other things.
    #[error("our key may not sign redrive: its may_sign in our own trust store does not say so")]
    NotAuthorised,
}

impl Desk {
    /// Reads the files that the settings name, and connects. The signing key may be missing: then
    /// nothing can be redriven.
    ///
    /// # Errors
    /// [`StartError`]; of settings and files everything that is wrong at once, before anything is connected.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        let mut problems = Vec::new();
        let security = settings.security(&mut problems);
        let sasl = settings.sasl(&mut problems);
        let signing = settings.signing(&mut problems);
        let trust = settings.trust(&mut problems);
        if settings.keys.trust.is_none() {
            let needed_for = "to say which dead letters may be believed";
            problems.push(settings.missing(table::TRUST, needed_for));
        }
        let (Some(security), Some(trust), true) = (security, trust, problems.is_empty()) else {
            return Err(SettingsError::new(problems).into());
        };
        let client = Client::connect(settings.client_config(security, sasl)).await?;
        let audiences = match settings.verify.accept_audiences.as_slice() {
            [] => vec![settings.node.audience.clone()],
            accepted => accepted.to_vec(),
        };
        Ok(Self(Arc::new(Inner {
            // What is put back is judged without the header that puts it back.
            verifier: settings.verifier(RedriveFor::NoGroup),
            trust: trust.current(),
            signing: signing.map(|file| file.key().clone()),
            client,
            audiences,
            settings,
        })))
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Whom we believe.
    #[must_use]
    pub fn trust(&self) -> &TrustStore {
        &self.0.trust
    }

    /// The dead-letter topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.settings.topics.dlq
    }

    /// The id of the dead-letter topic, in hex; empty where the cluster tells none.
    ///
    /// # Errors
    /// There is no such topic, or the cluster cannot be asked.
    pub async fn topic_id(&self) -> Result<String, TransportError> {
        self.id_there(self.topic()).await
    }

    /// The id of a topic that is there, in hex; empty where the cluster tells none.
    pub(super) async fn id_there(&self, topic: &str) -> Result<String, TransportError> {
        let topic = self.client().topic(topic).await?;
        Ok(topic.id().map(hex::encode).unwrap_or_default())
    }

    /// The id of the topic of messages, in hex; empty where there is none, by these settings or at all, or the cluster
    /// tells none.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn id_of(&self, topic: &str) -> Result<String, TransportError> {
        // Whoever may write a dead letter could name any number of others.
        if self.settings().topics.kind_of(topic).is_none() {
            return Ok(String::new());
        }
        match self.id_there(topic).await {
            Err(error) if error.error_code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                Ok(String::new())
            }
            id => id,
        }
    }

    /// The record of the dead-letter topic at this place, where there is one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entry(&self, at: Position) -> Result<Option<Entry>, ReadError> {
        let record = record_at(self, self.topic(), at).await?;
        Ok(record.map(|record| Entry::of(self, at.partition, record)))
    }

    /// All records of the dead-letter topic from `begin` to where it ends now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entries(&self, begin: Begin) -> Result<Entries, ReadError> {
        let scan = Scan::topic(self, self.topic(), begin).await?;
        Ok(Entries {
            desk: self.clone(),
            scan,
        })
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    pub(super) fn audiences(&self) -> &[String] {
        &self.0.audiences
    }

    pub(super) fn isolation(&self) -> IsolationLevel {
        isolation(self.0.settings.receive.isolation)
    }

    /// Our key, where it may sign redrives now. A process may sign something when its own key stands in its
    /// own trust store with that right.
    ///
    /// # Errors
    /// [`NoRight`].
    pub fn redriver(&self, now_ms: i64) -> Result<Arc<dyn Signer>, NoRight> {
        let signing = self.0.signing.as_ref().ok_or(NoRight::NoKey)?;
        let signer = signing.current();
        let key = self
            .trust()
            .key(&signer.public_key())
            .ok_or(NoRight::NotNamed)?;
        if key.is_revoked() {
            return Err(NoRight::Revoked);
        }
        key.window().covers(now_ms, None).map_err(NoRight::Window)?;
        if !key.may(Right::Redrive) {
            return Err(NoRight::NotAuthorised);
        }
        Ok(signer)
    }
}

/// Records of the dead-letter topic, each read and judged by itself.
#[derive(Debug)]
pub struct Entries {
    desk: Desk,
    scan: Scan,
}

impl Entries {
    /// The next one; `None` when all were read. Those of a partition come in order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        let next = self.scan.next().await?;
        Ok(next.map(|(partition, record)| Entry::of(&self.desk, partition, record)))
    }
}
