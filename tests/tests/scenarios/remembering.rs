//! What was accepted is remembered, whatever becomes of the process that accepted it: an old copy does not pass, a
//! recent one is skipped, what is new goes through.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::handler::{Context, Handlers, Verdict};
use cybermesh_bridge::state::StateDir;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{Anomaly, Draft};
use cybermesh_contracts::replay::{Binding, Budget, Snapshot};
use cybermesh_contracts::verify::Verified;
use cybermesh_tests::Stage;
use cybermesh_tests::conditions::{number, until};
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::Forgery;
use cybermesh_tests::history::Event;
use cybermesh_tests::identity::trust_file;
use cybermesh_tests::process::{Conduct, Recorder};
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{Witness, done, witness};
use cybermesh_transport::admin::{DeleteUpTo, NewTopic};
use cybermesh_transport::producer::FixedSchedule;
use cybermesh_transport::{
    Admin, Committed, OffsetToCommit, Producer, ProducerConfig, Record, TopicPartition,
};
use tokio::sync::{Semaphore, mpsc};

cybermesh_tests::scenarios! {
    both: [
        what_was_accepted_by_a_process_that_crashed_does_not_pass_again,
        what_was_accepted_by_a_process_that_was_killed_does_not_pass_again,
        what_was_accepted_by_one_member_does_not_pass_at_another,
        after_another_tool_set_an_offset_what_comes_from_there_on_is_handled_again_and_nothing_older,
        after_everything_it_accepted_was_deleted_a_copy_of_it_does_not_pass,
        after_its_offsets_are_gone_a_group_handles_all_again_and_buries_nothing,
        what_is_copied_into_another_partition_or_topic_is_buried_record_by_record,
        a_commit_that_is_copied_for_another_topic_is_foreign_and_the_log_tells_what_it_can,
        a_state_that_somebody_else_wrote_is_not_believed_where_a_signature_is_demanded,
        a_topic_made_again_brings_nothing_back_that_was_accepted,
        one_stuck_message_stops_no_other_and_what_was_handled_behind_it_is_not_handled_again,
        three_hundred_partitions_of_a_group_remember_what_they_accepted,
    ],
    devbroker_only: [
        what_is_mirrored_to_another_cluster_with_its_commit_is_judged_by_what_that_log_tells:
            "two clusters are wanted",
        a_broker_that_takes_no_state_gets_every_commit_all_the_same:
            "`offset.metadata.max.bytes` is a setting of the whole cluster, which others use",
    ],
}

const SETTINGS: [(&str, &str); 3] = [
    ("CYBERMESH_REPLAY_RING", "16"),
    // The shortest that brokers take: one that is gone without a word is missed after this long.
    ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
    ("KAFKA_HEARTBEAT_INTERVAL_MS", "500"),
];
/// More than twice the ring.
const ACCEPTED: u32 = 40;

/// Anomalies of one honest signer, in its order.
struct Signer<'a> {
    stage: &'a Stage,
    topic: String,
    audience: String,
    time_ms: i64,
    signed: u32,
}

impl<'a> Signer<'a> {
    fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            topic: stage.topic(Kind::Anomaly),
            audience: stage.own("audience"),
            time_ms: cybermesh_tests::log::now_ms(),
            signed: 0,
        }
    }

    fn next_for(&mut self, partition: i32) -> (Draft, Record) {
        let draft = draft(Kind::Anomaly);
        let forgery = Forgery {
            partition,
            // A floor binds whole milliseconds.
            time_ms: self.time_ms + i64::from(self.signed),
            ..Forgery::new(self.stage.node().signer(), &self.audience, &self.topic)
        };
        let record = forgery.record(&draft, self.signed);
        self.signed += 1;
        (draft, record)
    }

    fn next(&mut self) -> (Draft, Record) {
        self.next_for(0)
    }
}

/// The log after a process accepted everything in it and committed that.
struct Past<'a> {
    signer: Signer<'a>,
    records: Vec<Record>,
}

impl<'a> Past<'a> {
    async fn put(stage: &'a Stage) -> Self {
        let mut signer = Signer::new(stage);
        let records: Vec<Record> = (0..ACCEPTED).map(|_| signer.next().1).collect();
        stage.put(&signer.topic, records.clone()).await;
        Self { signer, records }
    }

    async fn is_committed(&self) {
        let stage = self.signer.stage;
        let group = stage.own("backend");
        let count = i64::from(ACCEPTED);
        stage
            .wait_committed(&group, &self.signer.topic, count)
            .await;
    }

    /// An old copy, a recent one, and a new message: the handlers see the last alone.
    async fn bring_back(&mut self, saw: &mut Witness) {
        let stage = self.signer.stage;
        let (new, record) = self.signer.next();
        let copies = [2, ACCEPTED - 1].map(|at| self.records[at as usize].clone());
        let records = copies.into_iter().chain([record]).collect();
        stage.put(&self.signer.topic, records).await;
        assert_eq!(saw.next().await.draft, new);
    }
}

async fn backend(stage: &Stage) -> (Bridge, Witness) {
    let (handlers, saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge_with(Role::Backend, handlers, &SETTINGS).await;
    (backend, saw)
}

/// What became of the two copies: one skipped, one buried. And nothing was wrong with what was known.
async fn judged_as_ever(stage: &Stage, backend: Bridge, mut saw: Witness) {
    let topic = stage.topic(Kind::Anomaly);
    let labels = [("topic", topic.as_str()), ("reason", "duplicate")];
    assert_eq!(number(&backend, "bridge_skipped_total", &labels), 1.0);
    for reason in ["missing", "foreign", "malformed", "ring-cut", "no-room"] {
        let alarms = number(
            &backend,
            "bridge_replay_state_alarms_total",
            &[("reason", reason)],
        );
        assert_eq!(alarms, 0.0, "{reason}");
    }
    stage.stop(backend).await;
    assert!(saw.rest().is_empty());
    assert_eq!(dispositions(stage).await, ["replay"]);
}

async fn dispositions(stage: &Stage) -> Vec<String> {
    let letters = stage.log(&stage.dead_letter_topic()).await;
    let letters = letters
        .iter()
        .map(|letter| letter.header("dlq.disposition"));
    letters.map(|found| found.unwrap().to_owned()).collect()
}

async fn what_was_accepted_by_a_process_that_crashed_does_not_pass_again(stage: Stage) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    past.is_committed().await;
    // Without a word to anybody.
    drop(first);
    let (second, mut saw) = backend(&stage).await;
    past.bring_back(&mut saw).await;
    let from = [("from", "commit")];
    assert_eq!(number(&second, "bridge_replay_starts_total", &from), 1.0);
    judged_as_ever(&stage, second, saw).await;
}

async fn what_was_accepted_by_a_process_that_was_killed_does_not_pass_again(stage: Stage) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let mut settings = stage.environment(Role::Backend);
    settings.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut killed = Recorder::start(
        env!("CARGO_BIN_EXE_recorder"),
        "killed",
        &stage.dir().join("history"),
        &settings,
        Conduct::Proper,
    );
    let is_handled = |event: &Event| matches!(event, Event::Handled { .. });
    killed.wait_for(ACCEPTED as usize, is_handled).await;
    past.is_committed().await;
    killed.kill().await;
    let (second, mut saw) = backend(&stage).await;
    past.bring_back(&mut saw).await;
    judged_as_ever(&stage, second, saw).await;
}

async fn what_was_accepted_by_one_member_does_not_pass_at_another(stage: Stage) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    let (second, mut saw) = backend(&stage).await;
    stage.stop(first).await;
    past.bring_back(&mut saw).await;
    judged_as_ever(&stage, second, saw).await;
}

async fn after_another_tool_set_an_offset_what_comes_from_there_on_is_handled_again_and_nothing_older(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    set_offset(&stage, "backend", &past.signer.topic, 30, String::new()).await;
    let (second, mut saw) = backend(&stage).await;
    let again: BTreeSet<i64> = saw.take(10).await.iter().map(|seen| seen.offset).collect();
    assert_eq!(again, (30..40).collect());
    stage
        .put(&past.signer.topic, vec![past.records[2].clone()])
        .await;
    stage
        .wait_committed(&stage.own("backend"), &past.signer.topic, 41)
        .await;
    let missing = [("reason", "missing")];
    let alarms = number(&second, "bridge_replay_state_alarms_total", &missing);
    assert_eq!(alarms, 1.0);
    stage.stop(second).await;
    assert!(saw.rest().is_empty());
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

async fn set_offset(stage: &Stage, group: &str, topic: &str, offset: i64, metadata: String) {
    let offset = OffsetToCommit {
        partition: TopicPartition::new(topic, 0),
        offset,
        leader_epoch: None,
        metadata,
    };
    let admin = Admin::new(stage.client().await);
    let set = admin
        .alter_group_offsets(&stage.own(group), vec![offset])
        .await;
    set.unwrap();
}

async fn after_everything_it_accepted_was_deleted_a_copy_of_it_does_not_pass(stage: Stage) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let topic = past.signer.topic.clone();
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    let admin = Admin::new(stage.client().await);
    let deleted = admin
        .delete_records(&TopicPartition::new(&*topic, 0), DeleteUpTo::HighWatermark)
        .await;
    assert_eq!(deleted, Ok(i64::from(ACCEPTED)));
    let (new, record) = past.signer.next();
    stage.put(&topic, vec![record]).await;
    let (second, mut saw) = backend(&stage).await;
    assert_eq!(saw.next().await.draft, new);
    let (new, record) = past.signer.next();
    // The last that was accepted was in the ring, and no state binds it.
    let copy = past.records[ACCEPTED as usize - 1].clone();
    stage.put(&topic, vec![copy, record]).await;
    assert_eq!(saw.next().await.draft, new);
    let cut = [("reason", "ring-cut")];
    let alarms = number(&second, "bridge_replay_state_alarms_total", &cut);
    assert_eq!(alarms, 1.0);
    stage.stop(second).await;
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

async fn after_its_offsets_are_gone_a_group_handles_all_again_and_buries_nothing(stage: Stage) {
    stage.make_topics(1).await;
    Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    let admin = Admin::new(stage.client().await);
    admin.delete_group(&stage.own("backend")).await.unwrap();
    let (second, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(second).await;
    assert!(dispositions(&stage).await.is_empty());
}

async fn what_is_copied_into_another_partition_or_topic_is_buried_record_by_record(stage: Stage) {
    stage.make_topics(2).await;
    let past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    let topic = &past.signer.topic;
    put_into(&stage, topic, 1, past.records.clone()).await;
    let copies = ACCEPTED as usize;
    stage.dead_letters(copies).await;
    stage.stop(first).await;
    assert!(saw.rest().is_empty());

    // Read from another topic, by a group of its own.
    let copied = stage.own("mirrored");
    stage.make_topic(&copied, 1).await;
    stage.put(&copied, past.records.clone()).await;
    let group = stage.own("mirror");
    let settings = [
        ("KAFKA_TOPIC_ANOMALY", copied.as_str()),
        ("KAFKA_CONSUMER_GROUP", group.as_str()),
    ];
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let mirror = stage.bridge_with(Role::Backend, handlers, &settings).await;
    stage.dead_letters(2 * copies).await;
    stage.stop(mirror).await;
    assert!(saw.rest().is_empty());
    let buried = dispositions(&stage).await;
    assert_eq!(buried, vec!["envelope-invalid"; 2 * copies]);
}

async fn put_into(stage: &Stage, topic: &str, partition: i32, records: Vec<Record>) {
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    for record in records {
        let room = producer
            .reserve(topic, partition, record.size_bound())
            .await;
        room.unwrap().append(record).await.unwrap();
    }
}

async fn a_commit_that_is_copied_for_another_topic_is_foreign_and_the_log_tells_what_it_can(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    // As a mirror does it: records, offsets, and the metadata of the offsets.
    let topic = &past.signer.topic;
    let committed = committed(&stage, topic).await;
    let copied = stage.own("mirrored");
    stage.make_topic(&copied, 1).await;
    stage.put(&copied, past.records.clone()).await;
    set_offset(
        &stage,
        "mirror",
        &copied,
        committed.offset,
        committed.metadata,
    )
    .await;

    let group = stage.own("mirror");
    let settings = [
        ("KAFKA_TOPIC_ANOMALY", copied.as_str()),
        ("KAFKA_CONSUMER_GROUP", group.as_str()),
        ("CYBERMESH_ACCEPT_ORIGIN_TOPICS", topic.as_str()),
    ];
    let settings = [&SETTINGS[..], &settings].concat();
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let mirror = stage.bridge_with(Role::Backend, handlers, &settings).await;
    let mut past = past;
    let (new, record) = past.signer.next();
    let copies = [2, 39].map(|at: usize| past.records[at].clone());
    let records = copies.into_iter().chain([record]).collect();
    stage.put(&copied, records).await;
    assert_eq!(saw.next().await.draft, new);
    let foreign = [("reason", "foreign")];
    let alarms = number(&mirror, "bridge_replay_state_alarms_total", &foreign);
    assert_eq!(alarms, 1.0);
    stage.stop(mirror).await;
    assert!(saw.rest().is_empty());
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

/// What the group has committed of a topic's first partition: all that was accepted, with its state.
async fn committed(stage: &Stage, topic: &str) -> Committed {
    let partition = vec![TopicPartition::new(topic, 0)];
    let admin = Admin::new(stage.client().await);
    let committed = admin.committed(&stage.own("backend"), partition).await;
    let committed = committed.unwrap().remove(0).1.unwrap();
    assert_eq!(committed.offset, i64::from(ACCEPTED));
    assert!(!committed.metadata.is_empty());
    committed
}

async fn what_is_mirrored_to_another_cluster_with_its_commit_is_judged_by_what_that_log_tells(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let records = Past::put(&stage).await.records;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    let topic = stage.topic(Kind::Anomaly);
    let was = committed(&stage, &topic).await;

    let stage = stage.on_another_cluster().await;
    stage.make_topics(1).await;
    stage.put(&topic, records.clone()).await;
    set_offset(&stage, "backend", &topic, was.offset, was.metadata).await;
    let (mirror, mut saw) = backend(&stage).await;
    let signer = Signer::new(&stage);
    let mut past = Past { signer, records };
    past.bring_back(&mut saw).await;
    let foreign = [("reason", "foreign")];
    let alarms = number(&mirror, "bridge_replay_state_alarms_total", &foreign);
    assert_eq!(alarms, 1.0);
    stage.stop(mirror).await;
    assert!(saw.rest().is_empty());
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

async fn a_state_that_somebody_else_wrote_is_not_believed_where_a_signature_is_demanded(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let [node, _] = stage.trust_entries();
    let rights = ["dead_letter", "replay_state"];
    let signing = stage.backend().trust_entry(&Kind::CONTROL, &rights);
    let trust = trust_file(stage.dir(), "signing.toml", &[node, signing]);
    let trust = trust.display().to_string();
    let settings = [&SETTINGS[..], &[("CYBERMESH_TRUST", trust.as_str())]].concat();
    let start = async || {
        let (handlers, saw) = witness(&Kind::NODE, done);
        (
            stage.bridge_with(Role::Backend, handlers, &settings).await,
            saw,
        )
    };
    let (first, mut saw) = start().await;
    saw.take(ACCEPTED as usize).await;
    stage.stop(first).await;
    let alarms = |bridge: &Bridge| {
        let reason = [("reason", "not-signed")];
        number(bridge, "bridge_replay_state_alarms_total", &reason)
    };
    // Its own is believed.
    let (second, mut saw) = start().await;
    until(|| {
        (number(&second, "bridge_replay_starts_total", &[("from", "commit")]) > 0.0).then_some(())
    })
    .await;
    assert_eq!(alarms(&second), 0.0);
    stage.stop(second).await;
    assert!(saw.rest().is_empty());
    // Whoever may commit for the group says that nothing is settled, and forgets to sign.
    let client = stage.client().await;
    let topic = past.signer.topic.clone();
    let (group, cluster_id) = (stage.own("backend"), client.cluster_id().unwrap());
    let binding = Binding {
        group: &group,
        cluster_id: &cluster_id,
        topic_id: client.topic(&topic).await.unwrap().id().unwrap(),
        partition: 0,
        offset: i64::from(ACCEPTED),
    };
    let forged = Snapshot::nothing_settled(binding.offset).seal(&binding, Budget::COMMIT, None);
    let forged = forged.unwrap().unwrap();
    set_offset(&stage, "backend", &topic, binding.offset, forged).await;
    let (third, mut saw) = start().await;
    past.bring_back(&mut saw).await;
    assert_eq!(alarms(&third), 1.0);
    stage.stop(third).await;
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

async fn a_topic_made_again_brings_nothing_back_that_was_accepted(stage: Stage) {
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let (backend, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    past.is_committed().await;
    let topic = past.signer.topic.clone();
    let admin = Admin::new(stage.client().await);
    admin.delete_topic(&topic).await.unwrap();
    let again = NewTopic::new(&topic).partitions(1).replication_factor(1);
    until_made(&admin, again).await;
    let (new, record) = past.signer.next();
    let copy = past.records[ACCEPTED as usize - 1].clone();
    stage.put(&topic, vec![copy, record]).await;
    assert_eq!(saw.next().await.draft, new);
    let began_again = [("reason", "log-began-again")];
    let alarms = number(&backend, "bridge_replay_state_alarms_total", &began_again);
    assert_eq!(alarms, 1.0);
    stage.wait_committed(&stage.own("backend"), &topic, 2).await;
    stage.stop(backend).await;
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

/// A topic that was just deleted may be there for a while.
async fn until_made(admin: &Admin, topic: NewTopic) {
    let making = async {
        while admin.create_topic(topic.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(60), making).await;
    made.expect("the topic is made again");
}

async fn a_broker_that_takes_no_state_gets_every_commit_all_the_same(stage: Stage) {
    stage.devbroker().limit_offset_metadata(30);
    stage.make_topics(1).await;
    let mut past = Past::put(&stage).await;
    let (first, mut saw) = backend(&stage).await;
    saw.take(ACCEPTED as usize).await;
    past.is_committed().await;
    let topic = past.signer.topic.clone();
    let group = stage.own("backend");
    let committed = stage.devbroker().committed(&group, &topic, 0).unwrap();
    assert_eq!(committed.metadata, "");
    let no_room = [("reason", "no-room")];
    assert!(number(&first, "bridge_replay_state_alarms_total", &no_room) >= 1.0);
    let room = number(&first, "bridge_replay_state_room_characters", &[]);
    assert_eq!(room, 0.0);
    stage.stop(first).await;
    // What the log shows is known all the same.
    let (second, mut saw) = backend(&stage).await;
    past.bring_back(&mut saw).await;
    let missing = [("reason", "missing")];
    let alarms = number(&second, "bridge_replay_state_alarms_total", &missing);
    assert_eq!(alarms, 1.0);
    stage.stop(second).await;
    assert_eq!(dispositions(&stage).await, ["replay"]);
}

const IN_FLIGHT: u32 = 3_000;

async fn one_stuck_message_stops_no_other_and_what_was_handled_behind_it_is_not_handled_again(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let mut signer = Signer::new(&stage);
    let records = (0..IN_FLIGHT).map(|_| signer.next().1).collect();
    stage.put(&signer.topic, records).await;
    let folder = stage.dir().join("state");
    let (first, mut handled, _stuck) = with_a_stuck_message(&stage, &folder).await;
    for _ in 0..IN_FLIGHT - 1 {
        handled.recv().await.unwrap();
    }
    let topic = &signer.topic;
    let group = stage.own("backend");
    stage.wait_committed(&group, topic, 1).await;
    assert_eq!(stage.committed(&group, topic, 1).await, [(0, 1)]);
    until(|| (number(&first, "bridge_oldest_unfinished_seconds", &[]) > 0.0).then_some(())).await;
    let copy = folder.join("replay").join(topic).join("0");
    // Nine bytes each, in base64.
    let whole = u64::from(IN_FLIGHT - 2) * 12;
    let is_whole = || std::fs::metadata(&copy).is_ok_and(|copy| copy.len() >= whole);
    until(|| is_whole().then_some(())).await;
    drop(first);
    until(|| StateDir::open(&folder).ok().map(drop)).await;

    let (second, mut again, stuck) = with_a_stuck_message(&stage, &folder).await;
    stuck.add_permits(1);
    stage
        .wait_committed(&group, topic, i64::from(IN_FLIGHT))
        .await;
    let before = [("topic", topic.as_str()), ("reason", "handled-before")];
    let skipped = number(&second, "bridge_skipped_total", &before);
    stage.stop(second).await;
    let mut offsets = BTreeSet::new();
    while let Ok(offset) = again.try_recv() {
        offsets.insert(offset);
    }
    // A copy that is nearly whole is as long as that.
    assert!(offsets.contains(&1) && offsets.len() < 30, "{offsets:?}");
    let total = f64::from(IN_FLIGHT) - 1.0;
    assert_eq!(
        skipped,
        total - f64::from(u32::try_from(offsets.len()).unwrap())
    );
    assert!(dispositions(&stage).await.is_empty());
}

/// A backend whose handler waits at offset 1 until it is let go, and tells which others it has done.
async fn with_a_stuck_message(
    stage: &Stage,
    folder: &Path,
) -> (Bridge, mpsc::UnboundedReceiver<i64>, Arc<Semaphore>) {
    let (tell, told) = mpsc::unbounded_channel();
    let stuck = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&stuck);
    let handlers = Handlers::new()
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
        .register(move |_: Verified<Anomaly>, context: Context| {
            let (tell, gate) = (tell.clone(), Arc::clone(&gate));
            async move {
                if context.offset() == 1 {
                    gate.acquire().await.unwrap().forget();
                }
                // Whoever listened may have gone.
                let _ = tell.send(context.offset());
                Ok(Verdict::Done)
            }
        });
    let folder = folder.display().to_string();
    let settings = [
        ("CYBERMESH_STATE_DIR", folder.as_str()),
        ("KAFKA_MAX_INFLIGHT", "5000"),
        ("CYBERMESH_HANDLER_TIMEOUT", "10m"),
    ];
    let settings = [&SETTINGS[..], &settings].concat();
    let bridge = stage.bridge_with(Role::Backend, handlers, &settings).await;
    (bridge, told, stuck)
}

const PARTITIONS: i32 = 300;

async fn three_hundred_partitions_of_a_group_remember_what_they_accepted(stage: Stage) {
    stage.make_topics(1).await;
    let topic = stage.own("wide");
    stage.make_topic(&topic, PARTITIONS).await;
    let mut signer = Signer::new(&stage);
    signer.topic.clone_from(&topic);
    let records: Vec<Record> = (0..PARTITIONS).map(|one| signer.next_for(one).1).collect();
    put_everywhere(&stage, &topic, &records).await;
    let settings = [&SETTINGS[..], &[("KAFKA_TOPIC_ANOMALY", topic.as_str())]].concat();
    let count = usize::try_from(PARTITIONS).unwrap();
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let first = stage.bridge_with(Role::Backend, handlers, &settings).await;
    saw.take(count).await;
    stage.stop(first).await;

    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let second = stage.bridge_with(Role::Backend, handlers, &settings).await;
    put_everywhere(&stage, &topic, &records).await;
    let copies = [("topic", topic.as_str()), ("reason", "duplicate")];
    let skipped = || number(&second, "bridge_skipped_total", &copies);
    until(|| (skipped() >= f64::from(PARTITIONS)).then_some(())).await;
    let from = [("from", "commit")];
    let starts = number(&second, "bridge_replay_starts_total", &from);
    assert_eq!(starts, f64::from(PARTITIONS));
    stage.stop(second).await;
    assert!(saw.rest().is_empty());

    // And as much of states as goes with one request is taken by a broker.
    let full = (0..137).map(|partition| OffsetToCommit {
        partition: TopicPartition::new(topic.as_str(), partition),
        offset: 1,
        leader_epoch: None,
        metadata: "x".repeat(3800),
    });
    let admin = Admin::new(stage.client().await);
    let set = admin
        .alter_group_offsets(&stage.own("full"), full.collect())
        .await;
    set.unwrap();
}

/// One record into each partition.
async fn put_everywhere(stage: &Stage, topic: &str, records: &[Record]) {
    // A broker that was just told to lead three hundred partitions takes its time.
    let config = ProducerConfig {
        schedule: Arc::new(FixedSchedule {
            delay: Duration::from_millis(500),
            resends: 100,
        }),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    let mut deliveries = Vec::new();
    for (partition, record) in (0..).zip(records) {
        let room = producer
            .reserve(topic, partition, record.size_bound())
            .await;
        deliveries.push(room.unwrap().append(record.clone()));
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}
