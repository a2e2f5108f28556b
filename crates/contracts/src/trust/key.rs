//! One key that is believed, and how far.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kind::Kind;
use crate::rejection::WindowFault;
use crate::sign::{PublicKey, PublicKeyError, VerifyingKey};

/// Something a key may be allowed to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Messages of this kind.
    Kind(Kind),
    /// Dead letters.
    DeadLetter,
    /// Redrives.
    Redrive,
    /// The replay state in offset commits.
    ReplayState,
}

impl Right {
    /// The name in the trust store's `may_sign`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.as_str(),
            Self::DeadLetter => "dead_letter",
            Self::Redrive => "redrive",
            Self::ReplayState => "replay_state",
        }
    }

    /// The right of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let others = [Self::DeadLetter, Self::Redrive, Self::ReplayState];
        let kinds = Kind::ALL.into_iter().map(Self::Kind);
        kinds.chain(others).find(|right| right.as_str() == name)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is asked of a key's envelopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EnvelopeRule {
    /// There must be one, and it must hold.
    #[default]
    Required,
    /// Where there is one it must hold; for signers that send none.
    Accept,
    /// It is not looked at.
    Off,
}

impl EnvelopeRule {
    /// The name in the trust store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Accept => "accept",
            Self::Off => "off",
        }
    }

    /// The rule of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Required, Self::Accept, Self::Off]
            .into_iter()
            .find(|rule| rule.as_str() == name)
    }
}

/// When a key counts, Unix milliseconds, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// From when on; without it, from ever.
    pub not_before_ms: Option<i64>,
    /// Until when; without it, for ever.
    pub not_after_ms: Option<i64>,
}

impl Window {
    /// Whether something signed at `signed_ms` lies in the window, and, where the clock counts, whether
    /// the window did not close longer ago than messages may be old.
    ///
    /// # Errors
    /// [`WindowFault`], saying on which side.
    pub fn covers(
        &self,
        signed_ms: i64,
        clock: Option<(i64, Duration)>,
    ) -> Result<(), WindowFault> {
        if self
            .not_before_ms
            .is_some_and(|not_before_ms| signed_ms < not_before_ms)
        {
            return Err(WindowFault::NotYet);
        }
        let Some(not_after_ms) = self.not_after_ms else {
            return Ok(());
        };
        if signed_ms > not_after_ms {
            return Err(WindowFault::Expired);
        }
        match clock {
            Some((now_ms, max_age)) => {
                let max_age_ms = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
                if now_ms > not_after_ms.saturating_add(max_age_ms) {
                    Err(WindowFault::LongExpired)
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        }
    }
}

/// A key that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    id: Arc<str>,
    key: VerifyingKey,
    rights: Vec<Right>,
    envelope: EnvelopeRule,
    window: Window,
    revoked: bool,
    producer_id: Option<[u8; 32]>,
}

impl TrustedKey {
    /// A key with its name and rights; envelopes required, no window, not revoked.
    ///
    /// # Errors
    /// [`PublicKeyError`] for a key that is weak, not of prime order or not canonical.
    pub fn new(
        id: impl Into<Arc<str>>,
        key: PublicKey,
        rights: impl IntoIterator<Item = Right>,
    ) -> Result<Self, PublicKeyError> {
        Ok(Self {
            id: id.into(),
            key: VerifyingKey::try_from(key)?,
            rights: rights.into_iter().collect(),
            envelope: EnvelopeRule::default(),
            window: Window::default(),
            revoked: false,
            producer_id: None,
        })
    }

    /// The same key with this envelope rule.
    #[must_use]
    pub const fn with_envelope(mut self, rule: EnvelopeRule) -> Self {
        self.envelope = rule;
        self
    }

    /// The same key, counting in this window alone.
    #[must_use]
    pub const fn with_window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// The same key, withdrawn.
    #[must_use]
    pub const fn revoked(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// The same key, for a signer whose producer id is another than the key.
    #[must_use]
    pub const fn with_producer_id(mut self, producer_id: [u8; 32]) -> Self {
        self.producer_id = Some(producer_id);
        self
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, shared.
    #[must_use]
    pub const fn shared_id(&self) -> &Arc<str> {
        &self.id
    }

    /// The key itself.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The key, to verify with.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether it may sign this.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// What is asked of its envelopes.
    #[must_use]
    pub const fn envelope_rule(&self) -> EnvelopeRule {
        self.envelope
    }

    /// When it counts.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// Whether it was withdrawn.
    #[must_use]
    pub const fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// The producer id that its messages carry: the key, unless the store names another.
    #[must_use]
    pub fn producer_id(&self) -> [u8; 32] {
        self.producer_id.unwrap_or(self.key.public_key().0)
    }
}
