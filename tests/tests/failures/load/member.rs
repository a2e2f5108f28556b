//! Who reads while brokers fail, as a member of a group.

use super::*;

/// Reads what it is given, commits it, and ends at the end of the log once the writer has ended.
pub(super) struct Member {
    consumer: Consumer,
    next_offsets: BTreeMap<i32, i64>,
    read: Vec<Read>,
    topic: String,
    seen: Arc<Seen>,
    stopped: watch::Receiver<Stopped>,
}

impl Member {
    pub(super) async fn join(
        client: Client,
        stage: &Stage,
        topic: &str,
        seen: Arc<Seen>,
        stopped: watch::Receiver<Stopped>,
    ) -> Self {
        let config = ConsumerConfig {
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            ..ConsumerConfig::new(Load::group(stage), [topic])
        };
        Self {
            consumer: Consumer::join(client, config).await.expect("a member"),
            next_offsets: BTreeMap::new(),
            read: Vec::new(),
            topic: topic.to_owned(),
            seen,
            stopped,
        }
    }

    pub(super) async fn run(mut self) -> Vec<Read> {
        let mut commits = interval(Duration::from_millis(500));
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.consumer.next() => self.take(event.expect("a member")).await,
                _ = commits.tick() => {
                    self.commit().await;
                    if self.log_has_ended() && self.is_at_the_end() {
                        break;
                    }
                }
            }
        }
        let left = self.consumer.leave(Instant::now() + PATIENCE).await;
        left.expect("to leave");
        while within(self.consumer.next()).await.is_some() {}
        self.read
    }

    fn log_has_ended(&self) -> bool {
        *self.stopped.borrow() == Stopped::Growing
    }

    /// Whether all that is held was read as far as it goes, and all that was written to it.
    fn is_at_the_end(&self) -> bool {
        let written = self.seen.written.borrow();
        let read = self.seen.read.borrow();
        let progress = self.consumer.progress();
        (0..self.seen.partitions()).all(|one| read.get(&one) >= written.get(&one))
            && progress.iter().all(|one| one.lag == Some(0))
    }

    async fn commit(&mut self) {
        if self.seen.commits_nothing.load(Ordering::Relaxed) {
            return;
        }
        let offsets = self
            .next_offsets
            .iter()
            .map(|(partition, offset)| OffsetToCommit {
                partition: TopicPartition::new(self.topic.as_str(), *partition),
                offset: *offset,
                leader_epoch: None,
                metadata: String::new(),
            });
        // What is not committed is read again; a coordinator that is away is part of what is tried.
        if let Err(error) = within(self.consumer.commit(offsets.collect())).await {
            assert_ne!(error.class(), Class::Fatal, "{error}");
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Assigned { partitions, .. } => {
                self.next_offsets.clear();
                for one in &partitions {
                    let start = one.start.expect("by policy");
                    self.consumer.begin(&one.partition, start);
                }
            }
            Event::Revoked { partitions } => {
                self.commit().await;
                self.next_offsets.clear();
                self.consumer.release(partitions);
            }
            Event::Lost { .. } => self.next_offsets.clear(),
            // A topic made again; whoever began where the old one ended finds the new one shorter.
            Event::Reset {
                partition,
                to: 0,
                cause: ResetCause::TopicRecreated | ResetCause::OutOfRange,
                ..
            } => {
                self.next_offsets.remove(&partition.partition);
            }
            Event::Records(batch) => {
                let partition = batch.partition.partition;
                for record in &batch.records {
                    let number = number(record.value.as_ref().expect("a value"));
                    self.read.push((partition, record.offset, number));
                    self.seen.note(&self.seen.read, (partition, number));
                }
                self.next_offsets.insert(partition, batch.next_offset);
            }
            Event::Failed(error) if error.class() != Class::Fatal => {}
            other => panic!("{other:?}"),
        }
    }
}
