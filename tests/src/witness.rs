//! Handlers that tell the test what they were given, and answer what the test says.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::handler::{Context, Handled, HandlerError, Handlers, Verdict};
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{
    Anomaly, AnomalyDraft, Commit, CommitDraft, Draft, Evidence, EvidenceDraft, EvidenceRequest,
    EvidenceRequestDraft, Policy, PolicyDraft, PolicyUpdate, PolicyUpdateDraft, Reputation,
    ReputationDraft,
};
use cybermesh_contracts::verify::Verified;
use tokio::sync::mpsc;

/// Longer than anything takes, on a busy machine too.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// What a handler was given.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The message without its seal: the draft it was made of.
    pub draft: Draft,
    /// The signer's name in the trust store.
    pub signer: String,
    /// Where it was read.
    pub topic: String,
    /// Where it was read.
    pub partition: i32,
    /// Where it was read.
    pub offset: i64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What a handler answers, asked at each attempt.
pub type Answer = Result<Verdict, HandlerError>;

/// The handlers' end.
#[derive(Clone)]
struct Teller {
    seen: mpsc::UnboundedSender<Seen>,
    answer: Arc<dyn Fn(&Seen) -> Answer + Send + Sync>,
}

/// The test's end.
#[derive(Debug)]
pub struct Witness {
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// Handlers for `kinds` that answer what `answer` says, and the test's end of them.
pub fn witness(
    kinds: &[Kind],
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Handlers, Witness) {
    let (sender, seen) = mpsc::unbounded_channel();
    let teller = Teller {
        seen: sender,
        answer: Arc::new(answer),
    };
    let handlers = kinds
        .iter()
        .fold(Handlers::new(), |handlers, kind| match kind {
            Kind::Anomaly => register::<Anomaly>(handlers, &teller),
            Kind::Evidence => register::<Evidence>(handlers, &teller),
            Kind::Policy => register::<Policy>(handlers, &teller),
            Kind::Commit => register::<Commit>(handlers, &teller),
            Kind::Reputation => register::<Reputation>(handlers, &teller),
            Kind::PolicyUpdate => register::<PolicyUpdate>(handlers, &teller),
            Kind::EvidenceRequest => register::<EvidenceRequest>(handlers, &teller),
        });
    (handlers, Witness { seen })
}

/// Every message is done.
///
/// # Errors
/// Never.
pub fn done(_: &Seen) -> Answer {
    Ok(Verdict::Done)
}

fn register<M: Handled + Unsealed>(handlers: Handlers, teller: &Teller) -> Handlers {
    let teller = teller.clone();
    handlers.register::<M>(move |message: Verified<M>, context: Context| {
        let teller = teller.clone();
        async move {
            let seen = Seen {
                draft: message.message().draft(),
                signer: message.signer().id.to_string(),
                topic: context.topic().to_owned(),
                partition: context.partition(),
                offset: context.offset(),
                attempt: context.attempt(),
            };
            // The test may have seen enough and be gone.
            let _ = teller.seen.send(seen.clone());
            (teller.answer)(&seen)
        }
    })
}

impl Witness {
    /// The next message that a handler is given.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> Seen {
        let seen = tokio::time::timeout(SEEN_WITHIN, self.seen.recv()).await;
        seen.expect("a handler is given a message")
            .expect("the handlers are there")
    }

    /// The next `count` of them, in the order they came.
    ///
    /// # Panics
    /// When fewer come.
    pub async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(count);
        while seen.len() < count {
            seen.push(self.next().await);
        }
        seen
    }

    /// What came and was not asked for.
    pub fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

/// A message without what signing added.
trait Unsealed {
    fn draft(&self) -> Draft;
}

macro_rules! unsealed {
    ($($message:ident: $draft:ident),* $(,)?) => {
        $(impl Unsealed for $message {
            fn draft(&self) -> Draft {
                $draft::as_it_stands(self.to_event()).into()
            }
        })*
    };
}

unsealed!(
    Anomaly: AnomalyDraft,
    Evidence: EvidenceDraft,
    Policy: PolicyDraft,
    Commit: CommitDraft,
    Reputation: ReputationDraft,
    PolicyUpdate: PolicyUpdateDraft,
    EvidenceRequest: EvidenceRequestDraft,
);
