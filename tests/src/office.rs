//! Whoever looks after a stage's dead letters: an operator with a key of their own.

use std::path::PathBuf;
use std::sync::Arc;

use cybermesh_bridge::clock::{SystemClock, WallClock};
use cybermesh_bridge::dlq::{
    Asked, Batch, Desk, Fate, Filter, Journal, Ledger, Position, Recovered, Redriver, Refusal,
    Told, Totals,
};
use cybermesh_bridge::state::StateDir;
use cybermesh_contracts::kind::Kind;
use cybermesh_transport::{IsolationLevel, OffsetSpec, TopicPartition};

use crate::identity::{Identity, trust_file};
use crate::stage::{Role, Stage};

/// Fast enough for a test not to wait.
const PER_SECOND: u32 = 1000;

/// An operator, whom the receivers of a stage believe redrives.
#[derive(Debug)]
pub struct Office {
    operator: Identity,
    trust: PathBuf,
    state: PathBuf,
    more: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// What became of redrives of unknown outcome.
    pub recovered: Vec<Recovered>,
    /// What became of each dead letter.
    pub told: Vec<Told>,
    /// How many ended how.
    pub totals: Totals,
    /// Whether it ended early.
    pub is_halted: bool,
}

impl Run {
    /// Why the only one was not put back.
    ///
    /// # Panics
    /// When it is not the only one, or was put back.
    pub fn refusal(&self) -> &Refusal {
        match self.told.as_slice() {
            [
                Told {
                    fate: Fate::Left(refusal),
                    ..
                },
            ] => refusal,
            told => panic!("one refusal expected: {told:?}"),
        }
    }
}

impl Office {
    /// An operator of this stage. The trust store names node and backend as the stage's own does, who may
    /// sign `senders` besides, and the operator.
    pub fn new(stage: &Stage, senders: &[&Identity]) -> Self {
        let operator = Identity::new(stage.dir(), "operator");
        let mut office = Self {
            operator,
            trust: PathBuf::new(),
            state: stage.dir().join("desk"),
            more: Vec::new(),
        };
        let mut entries = stage.trust_entries().to_vec();
        entries.extend(senders.iter().map(|who| who.trust_entry(&Kind::NODE, &[])));
        office.believe(stage, entries);
        office
    }

    /// Replaces the trust store of everybody with these entries and the operator's.
    pub fn believe(&mut self, stage: &Stage, mut entries: Vec<String>) {
        entries.push(self.operator.trust_entry(&[], &["redrive"]));
        self.trust = trust_file(stage.dir(), "office-trust.toml", &entries);
    }

    /// Settings of a receiver that goes by this office's trust store.
    pub fn settings(&self) -> [(&'static str, String); 1] {
        [("CYBERMESH_TRUST", self.trust.display().to_string())]
    }

    /// A setting of the operator's.
    pub fn set(&mut self, name: &str, value: &str) {
        self.more.push((name.to_owned(), value.to_owned()));
    }

    /// A desk with the operator's key.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn desk(&self, stage: &Stage) -> Desk {
        let key = self.operator.key_file().display().to_string();
        let trust = self.trust.display().to_string();
        let mut more = vec![
            ("CYBERMESH_SIGNING_KEY", key.as_str()),
            ("CYBERMESH_TRUST", trust.as_str()),
        ];
        let own = self
            .more
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        more.extend(own);
        Desk::open(stage.settings(Role::Backend, &more))
            .await
            .expect("a desk")
    }

    /// What the journal of this office comes to.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn desk_journal(&self) -> Ledger {
        Journal::glance(&self.state).expect("a journal")
    }

    /// Whoever puts back, with the journal of this office.
    ///
    /// # Panics
    /// When there is none.
    pub fn redriver(&self, desk: &Desk) -> Redriver {
        self.redriver_by(desk, Arc::new(SystemClock))
    }

    fn redriver_by(&self, desk: &Desk, clock: Arc<dyn WallClock>) -> Redriver {
        let state = Arc::new(StateDir::open(&self.state).expect("the operator's folder"));
        Redriver::open(desk.clone(), state, clock).expect("a redriver")
    }

    /// What a run would go through; nothing is done yet.
    ///
    /// # Panics
    /// When the topic cannot be read.
    pub async fn batch(&self, stage: &Stage, filter: Filter, asked: Asked) -> Batch {
        self.batch_by(stage, Arc::new(SystemClock), filter, asked)
            .await
    }

    /// The same by another clock.
    ///
    /// # Panics
    /// As [`batch`](Self::batch).
    pub async fn batch_by(
        &self,
        stage: &Stage,
        clock: Arc<dyn WallClock>,
        filter: Filter,
        asked: Asked,
    ) -> Batch {
        let ledger = self.desk_journal();
        let desk = self.desk(stage).await;
        let batch = Batch::select(desk, clock, &filter, asked, ledger).await;
        batch.expect("the dead-letter topic")
    }

    /// Puts back what is meant.
    ///
    /// # Panics
    /// When it cannot be gone through.
    pub async fn redrive(&self, stage: &Stage, filter: Filter, asked: Asked) -> Run {
        let batch = self.batch(stage, filter, asked).await;
        self.run(stage, batch).await
    }

    /// Puts back all that may be in bulk.
    pub async fn redrive_all(&self, stage: &Stage) -> Run {
        self.redrive(stage, Filter::default(), Asked::default())
            .await
    }

    /// Puts back one dead letter.
    pub async fn redrive_one(&self, stage: &Stage, offset: i64) -> Run {
        let filter = Filter {
            at: Some(Position {
                partition: 0,
                offset,
            }),
            ..Filter::default()
        };
        self.redrive(stage, filter, Asked::default()).await
    }

    /// Does what `batch` goes through.
    ///
    /// # Panics
    /// When it cannot be gone through.
    pub async fn run(&self, stage: &Stage, batch: Batch) -> Run {
        self.run_by(stage, Arc::new(SystemClock), batch).await
    }

    /// The same by another clock.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_by(&self, stage: &Stage, clock: Arc<dyn WallClock>, mut batch: Batch) -> Run {
        let redriver = self.redriver_by(&self.desk(stage).await, clock);
        let recovered = batch.doing(redriver, PER_SECOND).await.expect("a recovery");
        let mut told = Vec::new();
        while let Some(one) = batch.next().await.expect("a run") {
            told.push(one);
        }
        Run {
            recovered: recovered.into_iter().map(|(_, end)| end).collect(),
            told,
            totals: batch.totals(),
            is_halted: batch.is_halted(),
        }
    }
}

impl Stage {
    /// The offset that the next record of the first partition of `topic` gets.
    ///
    /// # Panics
    /// When it cannot be asked for.
    pub async fn end(&self, topic: &str) -> i64 {
        let partition = TopicPartition::new(topic, 0);
        let wanted = [(partition.clone(), OffsetSpec::Latest)];
        let client = self.client().await;
        let found = client.list_offsets(IsolationLevel::ReadCommitted, wanted);
        let found = found.await.expect("offsets");
        found[&partition].expect("an offset").offset
    }
}
