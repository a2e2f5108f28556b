//! Exchanging certificates while a client runs.
//!
//! What no broker accepts is not taken: the connections there are would end one after the other, and none could be
//! opened in their place.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Client;
use crate::broker::Purpose;
use crate::config::Security;
use crate::dial::dial;
use crate::error::{ErrorKind, Operation, Target, TransportError};
use crate::tls::TlsConfig;

impl Client {
    /// Exchanges the certificates, the key and the CA bundle while running.
    ///
    /// They are tried first, with all brokers at once. As soon as one accepts them every new connection uses them,
    /// and those of before end as soon as nothing is in flight over them: no request is lost. They are taken
    /// untried when no broker can be reached at all. Takes at most the connect timeout.
    ///
    /// # Errors
    /// [`ErrorKind::Tls`] if no broker accepts them, or none that answers has a certificate they trust: the old ones
    /// stay in use. [`ErrorKind::Settings`] if this client speaks plaintext.
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
        match self.try_out(&security).await {
            Ok(()) => {}
            Err(refused) if matches!(refused.kind(), ErrorKind::Tls(why) if !why.may_pass()) => {
                tracing::warn!(error = %refused, "the new certificates are of no use; going on with the old ones");
                return Err(refused);
            }
            Err(unreachable) => {
                tracing::warn!(error = %unreachable, "the new certificates could not be tried");
            }
        }
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
                    if worst.is_none() || matches!(error.kind(), ErrorKind::Tls(_)) {
                        worst = Some(error);
                    }
                }
            }
        }
        worst.map_or(Ok(()), Err)
    }
}
