//! What a broker asks of its clients.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Kafka's own number of iterations.
const ITERATIONS: u32 = 4096;

/// A mechanism there is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

impl Mechanism {
    pub(super) const ALL: [Self; 4] = [
        Self::Plain,
        Self::ScramSha256,
        Self::ScramSha512,
        Self::OauthBearer,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// Who a token speaks for, or why it is refused.
pub(super) type Judge = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// Whom the broker lets in by SASL. A mechanism is offered once somebody may use it; a client that
/// has not authenticated is let do nothing else.
///
/// The principal becomes `User:` and the name given.
#[derive(Clone, Default)]
#[must_use]
pub struct ServerSasl {
    passwords: BTreeMap<(Mechanism, String), String>,
    pub(super) judge: Option<Arc<Judge>>,
    pub(super) session_lifetime: Option<Duration>,
    pub(super) session_grace: Duration,
    pub(super) iterations: Option<u32>,
    pub(super) refusal: Option<String>,
    pub(super) forges_signatures: bool,
}

impl ServerSasl {
    /// Nobody, yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets somebody in by PLAIN.
    pub fn plain(self, name: &str, password: &str) -> Self {
        self.password(Mechanism::Plain, name, password)
    }

    /// Lets somebody in by SCRAM-SHA-256.
    pub fn scram_sha_256(self, name: &str, password: &str) -> Self {
        self.password(Mechanism::ScramSha256, name, password)
    }

    /// Lets somebody in by SCRAM-SHA-512.
    pub fn scram_sha_512(self, name: &str, password: &str) -> Self {
        self.password(Mechanism::ScramSha512, name, password)
    }

    /// Lets in by OAUTHBEARER whose token `judge` accepts, as the one it names; else its reason is
    /// told.
    pub fn oauth_bearer(
        mut self,
        judge: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.judge = Some(Arc::new(judge));
        self
    }

    /// Ends each session after this time (KIP-368): a request that comes later, and is not one of
    /// SASL, ends the connection. For ever otherwise.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = Some(lifetime);
        self
    }

    /// Tells clients the lifetime of a session as it is, and ends it only this much later: on a busy
    /// machine a client may be held up for longer than it leaves itself.
    pub fn session_grace(mut self, grace: Duration) -> Self {
        self.session_grace = grace;
        self
    }

    /// Asks users of SCRAM for so many iterations, 4096 otherwise.
    pub fn iterations(mut self, iterations: u32) -> Self {
        self.iterations = Some(iterations);
        self
    }

    /// Refuses passwords with these words instead of Kafka's.
    pub fn refusing_with(mut self, words: &str) -> Self {
        self.refusal = Some(words.to_owned());
        self
    }

    /// Proves to users of SCRAM nothing: the signature is that of a broker that does not know
    /// the password.
    pub fn forging_signatures(mut self) -> Self {
        self.forges_signatures = true;
        self
    }

    fn password(mut self, mechanism: Mechanism, name: &str, password: &str) -> Self {
        let key = (mechanism, name.to_owned());
        self.passwords.insert(key, password.to_owned());
        self
    }

    pub(super) fn password_of(&self, mechanism: Mechanism, name: &str) -> Option<&str> {
        let key = (mechanism, name.to_owned());
        self.passwords.get(&key).map(String::as_str)
    }

    pub(super) fn iterations_asked_for(&self) -> u32 {
        self.iterations.unwrap_or(ITERATIONS)
    }

    pub(super) fn offers(&self, mechanism: Mechanism) -> bool {
        if mechanism == Mechanism::OauthBearer {
            return self.judge.is_some();
        }
        self.passwords.keys().any(|(of, _)| *of == mechanism)
    }
}

impl fmt::Debug for ServerSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offered = Mechanism::ALL.into_iter().filter(|each| self.offers(*each));
        f.debug_struct("ServerSasl")
            .field("mechanisms", &offered.collect::<Vec<_>>())
            .field("session_lifetime", &self.session_lifetime)
            .finish_non_exhaustive()
    }
}
