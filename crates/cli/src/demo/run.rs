//! One run's account, shared by those who send and those who receive.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cybermesh_bridge::bridge::Builder;
use cybermesh_bridge::handler::{Context, Handled, HandlerError, Verdict};
use cybermesh_contracts::message::Message;
use cybermesh_contracts::verify::Verified;
use cybermesh_contracts::{Disposition, Kind};

use super::ledger::{End, Ledger, Place, Role};
use super::traffic;

/// The account of one run. Cheap to clone; all clones write to the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Run(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    ledger: Ledger,
    sending_since: HashMap<String, Instant>,
    poisonous: HashSet<String>,
    verified: BTreeMap<Kind, HashSet<Place>>,
}

impl Run {
    /// A message is about to be signed.
    pub(super) fn sending(&self, identity: String) {
        self.lock().sending_since.insert(identity, Instant::now());
    }

    /// The handler is never to take this message.
    pub(super) fn poison(&self, identity: String) {
        self.lock().poisonous.insert(identity);
    }

    /// The log has a record, which is to end like this.
    pub(super) fn sent(&self, place: Place, kind: Kind, role: Role, end: End) {
        self.lock().ledger.sent(place, kind, role, end);
    }

    /// The dead-letter topic has a record.
    pub(super) fn buried(&self, place: Place, disposition: Disposition) {
        self.lock().ledger.buried(place, disposition);
    }

    /// So many were skipped.
    pub(super) fn skipped(&self, count: u64) {
        self.lock().ledger.skipped(count);
    }

    /// Reads the ledger.
    pub(super) fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.lock().ledger)
    }

    /// How many messages of each kind reached a handler, which verified ones alone do.
    pub(super) fn verified(&self) -> BTreeMap<Kind, u64> {
        let account = self.lock();
        account
            .verified
            .iter()
            .map(|(kind, places)| (*kind, u64::try_from(places.len()).unwrap_or(u64::MAX)))
            .collect()
    }

    /// Adds the demo's handler for one kind: it writes down what it gets, and fails on poison.
    pub(super) fn handle<M: Handled + Into<Message>>(&self, builder: Builder) -> Builder {
        let run = self.clone();
        builder.handle::<M>(move |message: Verified<M>, context: Context| {
            let run = run.clone();
            async move { run.take(M::KIND, &message.into_message().into(), &context) }
        })
    }

    fn take(
        &self,
        kind: Kind,
        message: &Message,
        context: &Context,
    ) -> Result<Verdict, HandlerError> {
        let place = Place {
            topic: context.topic().to_owned(),
            partition: context.partition(),
            offset: context.offset(),
        };
        let identity = traffic::identity(message);
        let mut account = self.lock();
        account
            .verified
            .entry(kind)
            .or_default()
            .insert(place.clone());
        if account.poisonous.contains(&identity) {
            return Err(HandlerError::retriable("the case store refuses this one"));
        }
        let latency = account
            .sending_since
            .get(&identity)
            .map(Instant::elapsed)
            .unwrap_or_default();
        account.ledger.handled(place, latency);
        Ok(Verdict::Done)
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        // A panic elsewhere leaves counts behind that the report still wants.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock, Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
