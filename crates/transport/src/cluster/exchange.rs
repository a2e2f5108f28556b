//! Exchanging certificates while a client runs.
//!
//! What no broker has accepted is not taken: the connections there are would end one after the other, and none could be
//! opened in their place.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Client;
use crate::broker::Purpose;
use crate::config::Security;
use crate::dial::dial;
use crate::error::{Class, ErrorKind, Operation, Target, TransportError};
use crate::tls::TlsConfig;

impl Client {
    /// How this client speaks TLS in connections made from now on; `None` where it speaks plaintext.
    pub fn tls(&self) -> Option<TlsConfig> {
        match self.config().security.current() {
            Security::Tls(tls) => Some(tls),
            Security::Plaintext => None,
        }
    }

    /// Exchanges the certificates, the key and the CA bundle while running.
    ///
    /// They are tried first, with all brokers at once. As soon as one accepts them every new connection uses them,
    /// and those of before end as soon as nothing is in flight over them: no request is lost. Takes at most the
    /// connect timeout. A future that is dropped before it has ended has exchanged nothing.
    ///
    /// # Errors
    /// The old ones stay in use after each of them. An error of [`Class::Fatal`] where a broker was asked:
    /// [`ErrorKind::Tls`] if no broker accepts them, or none that answers has a certificate they trust. Any other where
    /// no broker could be asked, so that nothing is known of them: try again. [`ErrorKind::Settings`] if this client
    /// speaks plaintext.
    pub async fn exchange_tls(&self, tls: TlsConfig) -> Result<(), TransportError> {
        let config = self.config();
        if matches!(config.security.current(), Security::Plaintext) {
            let kind = ErrorKind::Settings {
                what: "tls".into(),
                reason: "this client was made without TLS; make another".into(),
            };
            let target = Target::default();
            return Err(TransportError::new(Operation::Configure, target, kind));
        }
        let security = Security::Tls(tls);
        self.try_out(&security).await?;
        config.security.exchange(security);
        Ok(())
    }

    /// Whether any broker can be talked to like this; else what a person has to mend, or what may pass.
    async fn try_out(&self, security: &Security) -> Result<(), TransportError> {
        let candidates = self.candidates();
        let mut trials: FuturesUnordered<_> = candidates
            .iter()
            .map(|address| dial(address, Purpose::Control, self.config(), security))
            .collect();
        let mut worst: Option<TransportError> = None;
        while let Some(trial) = trials.next().await {
            match trial {
                Ok(_connection) => return Ok(()),
                Err(error) => {
                    let mendable = |error: &TransportError| error.class() == Class::Fatal;
                    if !worst.as_ref().is_some_and(mendable) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| super::client::no_broker(Operation::Connect)))
    }
}
