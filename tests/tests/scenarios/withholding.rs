//! Transactions of somebody else that stay open, and hide what comes after them.

use std::time::Duration;

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::inbound::Patience;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Draft;
use cybermesh_devbroker::TransactionEnd;
use cybermesh_tests::Stage;
use cybermesh_tests::conditions::{number, ready, until};
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::Forgery;
use cybermesh_tests::stage::Role;
use cybermesh_tests::transaction::Transactions;
use cybermesh_tests::witness::{done, witness};
use cybermesh_transport::Record;

cybermesh_tests::scenarios! {
    both: [
        what_comes_behind_an_open_transaction_waits_is_said_aloud_and_goes_on_when_it_ends,
        who_reads_what_is_not_committed_waits_for_no_transaction,
    ],
}

/// An honest message, and the record of it that is the next of its signer.
struct Honest<'a> {
    stage: &'a Stage,
    topic: &'a str,
    sent: u32,
}

impl Honest<'_> {
    fn next(&mut self) -> (Draft, Record) {
        let audience = self.stage.own("audience");
        let draft = draft(Kind::Anomaly);
        let sender = Forgery::new(self.stage.node().signer(), &audience, self.topic);
        let record = sender.record(&draft, self.sent);
        self.sent += 1;
        (draft, record)
    }

    /// Puts one into the log, outside of any transaction.
    async fn put(&mut self) -> Draft {
        let (draft, record) = self.next();
        self.stage.put(self.topic, vec![record]).await;
        draft
    }
}

async fn what_comes_behind_an_open_transaction_waits_is_said_aloud_and_goes_on_when_it_ends(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let topic = &stage.topic(Kind::Anomaly);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let mut patience = Patience::default();
    patience.held_back_for = Duration::from_secs(1);
    let builder = Bridge::builder(stage.settings(Role::Backend, &[]));
    let builder = builder.handlers(handlers).patience(patience);
    let backend = builder.start().await.unwrap();
    let alarms = || {
        number(
            &backend,
            "bridge_held_back_alarms_total",
            &[("topic", topic)],
        )
    };
    let said = async |times: f64| until(|| (alarms() >= times).then_some(())).await;
    let mut honest = Honest {
        stage: &stage,
        topic,
        sent: 0,
    };
    let before = honest.put().await;
    assert_eq!(saw.next().await.draft, before);

    let mut transactions = Transactions::new(&stage, topic);
    transactions.open_with(&honest.next().1).await;
    let behind = honest.put().await;
    said(1.0).await;
    assert!(saw.rest().is_empty(), "handled, though nothing is decided");
    ready(&backend).await;
    transactions.end(TransactionEnd::Abort).await;
    // And not what was aborted.
    assert_eq!(saw.next().await.draft, behind);

    let (committed, record) = honest.next();
    transactions.open_with(&record).await;
    let behind = honest.put().await;
    said(2.0).await;
    assert!(saw.rest().is_empty(), "handled, though nothing is decided");
    transactions.end(TransactionEnd::Commit).await;
    let seen = saw.take(2).await;
    for draft in [committed, behind] {
        assert!(seen.iter().any(|seen| seen.draft == draft), "{seen:?}");
    }
    // Five messages and two markers.
    stage.wait_committed(&stage.own("backend"), topic, 7).await;
    assert_eq!(alarms(), 2.0, "each is said once");
    stage.stop(backend).await;
    assert!(saw.rest().is_empty());
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert!(letters.is_empty(), "{letters:?}");
}

async fn who_reads_what_is_not_committed_waits_for_no_transaction(stage: Stage) {
    stage.make_topics(1).await;
    let topic = &stage.topic(Kind::Anomaly);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let settings = [("KAFKA_ISOLATION", "read_uncommitted")];
    let backend = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let mut honest = Honest {
        stage: &stage,
        topic,
        sent: 0,
    };
    let mut transactions = Transactions::new(&stage, topic);
    let (open, record) = honest.next();
    transactions.open_with(&record).await;
    let behind = honest.put().await;
    let seen = saw.take(2).await;
    for draft in [open, behind] {
        assert!(seen.iter().any(|seen| seen.draft == draft), "{seen:?}");
    }
    transactions.end(TransactionEnd::Commit).await;
    stage.wait_committed(&stage.own("backend"), topic, 3).await;
    stage.stop(backend).await;
}
