//! What a client does is told to whoever listens.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::sync::{Arc, Mutex};

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault};
use cybermesh_transport::hooks::{
    BatchRead, BatchWritten, Connecting, Disconnected, Hooks, Rebalanced, Requested,
};
use cybermesh_transport::{
    Address, Client, ClientConfig, Consumer, ConsumerConfig, Event, Position, Producer, Security,
};
use support::*;
use tokio::sync::watch;

/// Writes down what it is told, in words.
#[derive(Debug, Default)]
struct Notes(watch::Sender<Vec<String>>);

impl Notes {
    fn note(&self, what: String) {
        self.0.send_modify(|notes| notes.push(what));
    }

    fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    fn count(&self, what: &str) -> usize {
        let notes = self.0.borrow();
        notes.iter().filter(|note| *note == what).count()
    }
}

impl Hooks for Notes {
    fn connecting(&self, connecting: &Connecting<'_>) {
        let Connecting {
            purpose, outcome, ..
        } = connecting;
        self.note(format!("connecting {purpose:?}: {}", outcome.is_ok()));
    }

    fn disconnected(
        &self,
        Disconnected {
            purpose, reason, ..
        }: &Disconnected<'_>,
    ) {
        self.note(format!("disconnected {purpose:?}: {reason}"));
    }

    fn requested(&self, requested: &Requested<'_>) {
        let answered = requested.outcome.is_ok() && requested.answer_bytes > 0;
        self.note(format!("{} answered: {answered}", requested.api));
    }

    fn batch_written(&self, batch: &BatchWritten<'_>) {
        assert!(batch.bytes > 0);
        let outcome = batch.outcome.map_err(|error| error.error_code());
        self.note(format!(
            "wrote {} to {}: {outcome:?}",
            batch.records, batch.partition.partition
        ));
    }

    fn batch_read(&self, batch: &BatchRead<'_>) {
        self.note(format!(
            "read {} up to {}",
            batch.records, batch.next_offset
        ));
    }

    fn rebalanced(&self, group: &str, rebalanced: &Rebalanced<'_>) {
        let (what, partitions) = match rebalanced {
            Rebalanced::Assigned { partitions, .. } => ("assigned", partitions),
            Rebalanced::Revoked { partitions } => ("revoked", partitions),
            Rebalanced::Lost { partitions, .. } => ("lost", partitions),
            _ => return,
        };
        self.note(format!("{group}: {what} {}", partitions.len()));
    }
}

async fn client_with(broker: &DevBroker, hooks: Arc<dyn Hooks>) -> Client {
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let config = ClientConfig::new(bootstrap, Security::Plaintext).hooks(hooks);
    Client::connect(config).await.unwrap()
}

#[tokio::test]
async fn connections_requests_batches_and_rebalances_are_told_as_they_happen() {
    let broker = broker("t", 2).await;
    broker.fault(Fault::error(Api::Produce, Answer::NOT_LEADER_OR_FOLLOWER).once());
    let notes = Arc::new(Notes::default());
    let client = client_with(&broker, Arc::<Notes>::clone(&notes)).await;
    assert!(notes.has("connecting Control: true"));
    assert!(notes.has("Metadata answered: true"));
    let producer = Producer::new(client.clone(), eager(5));
    within(send(&producer, "t", 1, "a").await).await.unwrap();
    assert!(notes.has("wrote 1 to 1: Err(Some(NotLeaderOrFollower))"));
    assert!(notes.has("wrote 1 to 1: Ok(())"));
    assert_eq!(notes.count("Produce answered: true"), 2);
    let consumer = Consumer::join(client, ConsumerConfig::new("g", ["t"]))
        .await
        .unwrap();
    loop {
        match within(consumer.next()).await.unwrap() {
            Event::Assigned { partitions, .. } => {
                for one in &partitions {
                    consumer.begin(&one.partition, Position::Earliest);
                }
            }
            Event::Records(batch) if !batch.records.is_empty() => break,
            _ => {}
        }
    }
    assert!(notes.has("g: assigned 2"));
    assert!(notes.has("read 1 up to 1"));
    drop(producer);
    broker.disconnect_clients().await;
    let mut notes = notes.0.subscribe();
    let ended = notes.wait_for(|notes| {
        let ended = |note: &String| note.starts_with("disconnected Produce: ");
        notes.iter().any(ended)
    });
    within(ended).await.unwrap();
}

/// Breaks whenever it is told something.
#[derive(Debug)]
struct Breaks;

impl Hooks for Breaks {
    fn requested(&self, _: &Requested<'_>) {
        panic!("a hook that breaks");
    }

    fn batch_written(&self, _: &BatchWritten<'_>) {
        panic!("a hook that breaks");
    }
}

#[tokio::test]
async fn a_hook_that_panics_harms_nothing() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client_with(&broker, Arc::new(Breaks)).await, eager(5));
    for number in 0..3 {
        let delivery = send(&producer, "t", 0, "a").await;
        assert_eq!(within(delivery).await.unwrap().offset, Some(number));
    }
}

/// Asks the producer whenever a batch of it was written.
#[derive(Debug, Default)]
struct Asks {
    producer: Mutex<Option<Producer>>,
    told: Mutex<Vec<usize>>,
}

impl Hooks for Asks {
    fn batch_written(&self, _: &BatchWritten<'_>) {
        let producer = self.producer.lock().unwrap();
        let stats = producer.as_ref().map(Producer::stats);
        let told = stats.map(|stats| stats.buffered_records);
        self.told.lock().unwrap().extend(told);
    }
}

#[tokio::test]
async fn a_hook_may_ask_the_producer_that_calls_it() {
    let broker = broker("t", 1).await;
    let asks = Arc::new(Asks::default());
    let client = client_with(&broker, Arc::<Asks>::clone(&asks)).await;
    let producer = Producer::new(client, eager(5));
    *asks.producer.lock().unwrap() = Some(producer.clone());
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    assert_eq!(*asks.told.lock().unwrap(), [1]);
    *asks.producer.lock().unwrap() = None;
}
