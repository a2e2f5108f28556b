//! Which handler takes which kind.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{
    Anomaly, Commit, Evidence, EvidenceRequest, Message, Policy, PolicyUpdate, Reputation,
};
use cybermesh_contracts::verify::Verified;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Context, Handler, HandlerError, Verdict};

/// A message type that a handler can be registered for: one of the seven.
pub trait Handled: TryFrom<Message, Error = Box<Message>> + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
}

macro_rules! handled {
    ($($kind:ident),*) => {
        $(impl Handled for $kind {
            const KIND: Kind = Kind::$kind;
        })*
    };
}

handled!(
    Anomaly,
    Evidence,
    Policy,
    Commit,
    Reputation,
    PolicyUpdate,
    EvidenceRequest
);

/// A handler with its message type erased.
trait Erased: Send + Sync {
    fn call(
        self: Arc<Self>,
        message: Verified<Message>,
        context: Context,
    ) -> BoxFuture<'static, Result<Verdict, HandlerError>>;
}

struct Typed<M, H> {
    handler: H,
    takes: std::marker::PhantomData<fn(M)>,
}

impl<M: Handled, H: Handler<M>> Erased for Typed<M, H> {
    fn call(
        self: Arc<Self>,
        message: Verified<Message>,
        context: Context,
    ) -> BoxFuture<'static, Result<Verdict, HandlerError>> {
        async move {
            match message.narrow::<M>() {
                Ok(message) => self.handler.handle(message, context).await,
                Err(_) => Err(HandlerError::permanent(
                    "message is not of its topic's kind",
                )),
            }
        }
        .boxed()
    }
}

/// The handlers of a subscriber, one for each kind it receives.
#[derive(Default)]
pub struct Handlers {
    by_kind: HashMap<Kind, Arc<dyn Erased>>,
    ignored: BTreeSet<Kind>,
    twice: BTreeSet<Kind>,
}

/// The handlers do not fit what the subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct HandlersError {
    /// Received, with neither a handler nor a word that they are to be ignored.
    pub missing: Vec<Kind>,
    /// With a handler or ignored, but not received.
    pub not_received: Vec<Kind>,
    /// Registered more than once, or both registered and ignored.
    pub twice: Vec<Kind>,
}

impl HandlersError {
    fn in_words(&self) -> String {
        let list = |kinds: &[Kind]| {
            let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            names.join(", ")
        };
        let mut faults = Vec::new();
        if !self.missing.is_empty() {
            let kinds = list(&self.missing);
            faults.push(format!(
                "no handler for {kinds}; register one or ignore the kind"
            ));
        }
        if !self.not_received.is_empty() {
            let kinds = list(&self.not_received);
            faults.push(format!("{kinds} not received in this role"));
        }
        if !self.twice.is_empty() {
            faults.push(format!("{} named more than once", list(&self.twice)));
        }
        faults.join("; ")
    }
}

impl Handlers {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes messages of one kind. A second handler for a kind is refused when the subscriber is built.
    #[must_use]
    pub fn register<M: Handled>(mut self, handler: impl Handler<M>) -> Self {
        let takes = std::marker::PhantomData::<fn(M)>;
        let typed = Arc::new(Typed { handler, takes });
        if self.by_kind.insert(M::KIND, typed).is_some() || self.ignored.contains(&M::KIND) {
            self.twice.insert(M::KIND);
        }
        self
    }

    /// Declares that messages of a kind are not for this process: its topic is not read.
    #[must_use]
    pub fn ignore(mut self, kind: Kind) -> Self {
        if !self.ignored.insert(kind) || self.by_kind.contains_key(&kind) {
            self.twice.insert(kind);
        }
        self
    }

    /// The kinds among `received` that have a handler.
    ///
    /// # Errors
    /// [`HandlersError`] where a kind is neither handled nor ignored, or one is named that is not received.
    pub fn handled(&self, received: &[Kind]) -> Result<Vec<Kind>, HandlersError> {
        let named: BTreeSet<Kind> = self.by_kind.keys().chain(&self.ignored).copied().collect();
        let missing = received
            .iter()
            .copied()
            .filter(|kind| !named.contains(kind))
            .collect::<Vec<_>>();
        let not_received = named
            .iter()
            .copied()
            .filter(|kind| !received.contains(kind))
            .collect::<Vec<_>>();
        let twice: Vec<Kind> = self.twice.iter().copied().collect();
        if missing.is_empty() && not_received.is_empty() && twice.is_empty() {
            let handled = received.iter().copied();
            return Ok(handled
                .filter(|kind| self.by_kind.contains_key(kind))
                .collect());
        }
        Err(HandlersError {
            missing,
            not_received,
            twice,
        })
    }
}

impl crate::inbound::judge::Handle<Verified<Message>> for Handlers {
    fn call(
        &self,
        kind: Kind,
        message: Verified<Message>,
        context: Context,
    ) -> BoxFuture<'static, Result<Verdict, HandlerError>> {
        match self.by_kind.get(&kind) {
            Some(handler) => Arc::clone(handler).call(message, context),
            None => {
                std::future::ready(Err(HandlerError::permanent("no handler for this kind"))).boxed()
            }
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("handled", &self.by_kind.keys().collect::<BTreeSet<_>>())
            .field("ignored", &self.ignored)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept<M: Handled>(handlers: Handlers) -> Handlers {
        handlers.register(|_: Verified<M>, _: Context| async { Ok(Verdict::Done) })
    }

    #[test]
    fn a_kind_with_neither_handler_nor_word_is_refused() {
        let handlers = accept::<Anomaly>(Handlers::new());
        let error = handlers.handled(&Kind::NODE).unwrap_err();
        assert_eq!(error.missing, [Kind::Evidence, Kind::Policy]);
        assert_eq!(
            error.to_string(),
            "no handler for evidence, policy; register one or ignore the kind"
        );
    }

    #[test]
    fn an_ignored_kind_is_not_read() {
        let handlers = accept::<Anomaly>(Handlers::new())
            .ignore(Kind::Evidence)
            .ignore(Kind::Policy);
        assert_eq!(handlers.handled(&Kind::NODE).unwrap(), [Kind::Anomaly]);
    }

    #[test]
    fn a_kind_that_is_not_received_and_one_named_twice_are_refused() {
        let handlers = accept::<Anomaly>(accept::<Anomaly>(Handlers::new()));
        let error = handlers.handled(&[Kind::Commit]).unwrap_err();
        assert_eq!(error.missing, [Kind::Commit]);
        assert_eq!(error.not_received, [Kind::Anomaly]);
        assert_eq!(error.twice, [Kind::Anomaly]);
    }
}
