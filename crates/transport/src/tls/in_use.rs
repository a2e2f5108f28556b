//! The material new connections are protected with, which may be exchanged while a client runs.

use tokio::sync::watch;

use crate::config::Security;

/// What protects the next connection. Copying it makes one of its own, so that clients made from one configuration do
/// not exchange each other's certificates.
#[derive(Debug)]
pub(crate) struct SecurityInUse(watch::Sender<Security>);

impl SecurityInUse {
    pub(crate) fn new(security: Security) -> Self {
        Self(watch::Sender::new(security))
    }

    pub(crate) fn current(&self) -> Security {
        self.0.borrow().clone()
    }

    /// From now on this: connections opened under the one before end as soon as nothing is in flight over them.
    pub(crate) fn exchange(&self, security: Security) {
        self.0.send_replace(security);
    }

    /// What is in use, and word of each exchange.
    pub(crate) fn watch(&self) -> watch::Receiver<Security> {
        self.0.subscribe()
    }
}

impl Clone for SecurityInUse {
    fn clone(&self) -> Self {
        Self::new(self.current())
    }
}
