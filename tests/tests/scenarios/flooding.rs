//! Floods that the guard tells apart: a downstream that is away, a clock that is behind, an audience
//! that is not the senders'.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cybermesh_bridge::bridge::{Bridge, Builder};
use cybermesh_bridge::clock::WallClock;
use cybermesh_bridge::handler::{HandlerError, Verdict};
use cybermesh_bridge::inbound::{Patience, Pause, TopicPartition};
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::kind::Kind;
use cybermesh_tests::Stage;
use cybermesh_tests::conditions::{detail, number, paused, raised, ready, until};
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::Forgery;
use cybermesh_tests::identity::{Identity, trust_file};
use cybermesh_tests::log::{LoggedRecord, now_ms};
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{Witness, done, witness};
use cybermesh_transport::Record;

cybermesh_tests::scenarios! {
    both: [
        when_the_messages_of_three_keys_fail_the_partition_pauses_and_tries_until_one_passes,
        a_partition_that_stands_still_for_failing_messages_goes_on_by_command,
        the_failing_messages_of_one_key_are_buried_and_pause_nothing,
        two_signers_from_the_future_pause_everything_until_the_clock_has_caught_up,
        an_operator_may_say_that_the_clock_is_right_and_has_the_future_buried,
        envelopes_of_three_signers_for_another_audience_make_it_unready_and_pause_nothing,
    ],
}

/// Three who may sign what a node signs, and a backend that believes them.
struct Senders {
    identities: [Identity; 3],
    settings: Vec<(&'static str, String)>,
}

impl Senders {
    fn new(stage: &Stage) -> Self {
        let identities = ["one", "two", "three"].map(|name| Identity::new(stage.dir(), name));
        let [_, own] = stage.trust_entries();
        let mut entries = vec![own];
        entries.extend(
            identities
                .iter()
                .map(|who| who.trust_entry(&Kind::NODE, &[])),
        );
        let trust = trust_file(stage.dir(), "three-trust.toml", &entries);
        let settings = vec![
            ("CYBERMESH_TRUST", trust.display().to_string()),
            ("CYBERMESH_AUDIT", trail(stage).display().to_string()),
        ];
        Self {
            identities,
            settings,
        }
    }

    /// A backend that is to be started.
    fn backend(&self, stage: &Stage) -> Builder {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Bridge::builder(stage.settings(Role::Backend, &settings))
    }

    /// What the sender of this number signs for the topic of anomalies.
    fn forgery<'a>(&'a self, number: usize, audience: &'a str, topic: &'a str) -> Forgery<'a> {
        Forgery::new(self.identities[number].signer(), audience, topic)
    }
}

fn trail(stage: &Stage) -> PathBuf {
    stage.dir().join("audit.ndjson")
}

/// A downstream that can be away, and what passed it.
#[derive(Clone, Default)]
struct Downstream {
    away: Arc<AtomicBool>,
    passed: Arc<Mutex<BTreeSet<i64>>>,
}

impl Downstream {
    fn handlers(&self) -> (cybermesh_bridge::handler::Handlers, Witness) {
        let downstream = self.clone();
        witness(&Kind::NODE, move |seen| {
            if downstream.away.load(Ordering::SeqCst) {
                return Err(HandlerError::permanent("downstream is away"));
            }
            downstream.passed.lock().unwrap().insert(seen.offset);
            Ok(Verdict::Done)
        })
    }

    fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

const MESSAGES: i64 = 24;
/// The twentieth that fails trips the guard, and is not given up.
const BURIED: usize = 19;

/// Messages of the senders in turn, each in a lane of its own.
fn in_turn(stage: &Stage, senders: &Senders, keys: usize) -> Vec<Record> {
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    (0..u32::try_from(MESSAGES).unwrap())
        .map(|count| {
            let sender = senders.forgery(count as usize % keys, &audience, &topic);
            sender.record(&draft(Kind::Anomaly), count)
        })
        .collect()
}

/// A backend that stands still, since all that three keys sign fails.
async fn standing_still(
    stage: &Stage,
    downstream: &Downstream,
    try_every: Duration,
) -> (Bridge, Witness) {
    stage.make_topics(1).await;
    let senders = Senders::new(stage);
    let (handlers, saw) = downstream.handlers();
    downstream.is_away(true);
    let mut patience = Patience::default();
    patience.try_every = try_every;
    let backend = senders.backend(stage).handlers(handlers).patience(patience);
    let backend = backend.start().await.unwrap();
    ready(&backend).await;
    stage
        .put(&stage.topic(Kind::Anomaly), in_turn(stage, &senders, 3))
        .await;
    let reason = raised(&backend, &paused(stage, Kind::Anomaly)).await;
    assert!(reason.contains("handlers-fail"), "{reason}");
    guard_has_it_paused(stage, &backend, 1.0).await;
    stage.dead_letters(BURIED).await;
    (backend, saw)
}

/// Waits until the metric says so of the topic of anomalies.
async fn guard_has_it_paused(stage: &Stage, backend: &Bridge, wanted: f64) {
    let topic = stage.topic(Kind::Anomaly);
    let labels = [("topic", topic.as_str()), ("partition", "0")];
    let shown = || number(backend, "bridge_flood_guard_paused", &labels);
    until(|| (shown() == wanted).then_some(())).await;
}

/// All is done: what did not pass the downstream was buried, and that before it stood still.
async fn all_is_done(stage: &Stage, backend: Bridge, downstream: &Downstream) {
    let topic = stage.topic(Kind::Anomaly);
    stage
        .wait_committed(&stage.own("backend"), &topic, MESSAGES)
        .await;
    guard_has_it_paused(stage, &backend, 0.0).await;
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert_eq!(letters.len(), BURIED, "{letters:?}");
    let buried: BTreeSet<i64> = letters.iter().map(origin).collect();
    let passed = downstream.passed.lock().unwrap();
    assert!(buried.is_disjoint(&passed), "{buried:?} {passed:?}");
    let all: BTreeSet<i64> = buried.union(&passed).copied().collect();
    assert_eq!(all, (0..MESSAGES).collect());
}

fn origin(letter: &LoggedRecord) -> i64 {
    letter.header("dlq.origin.offset").unwrap().parse().unwrap()
}

async fn when_the_messages_of_three_keys_fail_the_partition_pauses_and_tries_until_one_passes(
    stage: Stage,
) {
    let downstream = Downstream::default();
    let often = Duration::from_millis(500);
    let (backend, mut saw) = standing_still(&stage, &downstream, often).await;
    assert!(!backend.health().is_ready());

    saw.rest();
    // More than a round, and than were left of the first attempts.
    saw.take(20).await;
    assert!(detail(&backend, &paused(&stage, Kind::Anomaly)).is_some());
    assert_eq!(
        number(&backend, "bridge_dlq_requests_total", &[]),
        BURIED as f64,
        "what was tried was given up"
    );

    downstream.is_away(false);
    ready(&backend).await;
    all_is_done(&stage, backend, &downstream).await;
}

async fn a_partition_that_stands_still_for_failing_messages_goes_on_by_command(stage: Stage) {
    let downstream = Downstream::default();
    let never = Duration::from_secs(3600);
    let (backend, _saw) = standing_still(&stage, &downstream, never).await;
    downstream.is_away(false);
    let partition = TopicPartition::new(stage.topic(Kind::Anomaly).as_str(), 0);
    let subscriber = backend.subscriber().unwrap();
    let ended = subscriber.resume(partition).await.unwrap();
    assert_eq!(ended, [Pause::Failing]);
    ready(&backend).await;
    all_is_done(&stage, backend, &downstream).await;

    // Who reads the audit trail sees that it did not go on by itself.
    let text = std::fs::read_to_string(trail(&stage)).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<_> = lines
        .filter(|line| line["topic"] == stage.topic(Kind::Anomaly) && line["offset"].is_null())
        .map(|line| {
            (
                line["event"].clone(),
                line["reason"].clone(),
                line["ended"].clone(),
            )
        })
        .collect();
    let none = serde_json::Value::Null;
    let expected = [
        ("paused".into(), "handlers-fail".into(), none.clone()),
        (
            "resume-ordered".into(),
            none.clone(),
            vec!["handlers-fail"].into(),
        ),
        ("resumed".into(), none.clone(), none),
    ];
    assert_eq!(told, expected);
}

async fn the_failing_messages_of_one_key_are_buried_and_pause_nothing(stage: Stage) {
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let senders = Senders::new(&stage);
    let downstream = Downstream::default();
    downstream.is_away(true);
    let (handlers, _saw) = downstream.handlers();
    let backend = senders.backend(&stage).handlers(handlers);
    let backend = backend.start().await.unwrap();
    stage.put(&topic, in_turn(&stage, &senders, 1)).await;
    stage
        .wait_committed(&stage.own("backend"), &topic, MESSAGES)
        .await;
    assert!(backend.health().is_ready());
    stage.stop(backend).await;
    let letters = stage.log(&stage.dead_letter_topic()).await;
    assert_eq!(letters.len(), usize::try_from(MESSAGES).unwrap());
}

/// A clock that stands where it is put.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl WallClock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

const HOUR_MS: i64 = 3_600_000;

fn unsigned(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap()
}

/// A backend whose clock is an hour behind that of two signers, and stands still for it: the first of
/// them is buried, since one signer's clock may be wrong. Behind their messages waits one of the present.
async fn behind_the_times(stage: &Stage) -> (Bridge, Witness, Arc<SetClock>) {
    stage.make_topics(1).await;
    let senders = Senders::new(stage);
    let (audience, topic) = (stage.own("audience"), stage.topic(Kind::Anomaly));
    let now = now_ms();
    let clock = Arc::new(SetClock(AtomicU64::new(unsigned(now))));
    let (handlers, saw) = witness(&Kind::NODE, done);
    let backend = senders.backend(stage).handlers(handlers);
    let backend = backend.clock(clock.clone()).start().await.unwrap();
    ready(&backend).await;
    let ahead = |number: usize, ahead_ms: i64| {
        let signed = Forgery {
            time_ms: now + ahead_ms,
            ..senders.forgery(number, &audience, &topic)
        };
        signed.record(&draft(Kind::Anomaly), 0)
    };
    let records = vec![ahead(0, HOUR_MS), ahead(1, HOUR_MS), ahead(2, 0)];
    stage.put(&topic, records).await;
    raised(&backend, &Condition::Clock).await;
    let reason = raised(&backend, &paused(stage, Kind::Anomaly)).await;
    assert!(reason.contains("clock"), "{reason}");
    // It is one clock for all partitions.
    raised(&backend, &paused(stage, Kind::Policy)).await;
    guard_has_it_paused(stage, &backend, 1.0).await;
    stage.dead_letters(1).await;
    (backend, saw, clock)
}

async fn two_signers_from_the_future_pause_everything_until_the_clock_has_caught_up(stage: Stage) {
    let (backend, mut saw, clock) = behind_the_times(&stage).await;
    assert!(saw.rest().is_empty(), "handled by a clock that is behind");
    clock
        .0
        .store(unsigned(now_ms() + HOUR_MS), Ordering::SeqCst);
    let offsets: BTreeSet<i64> = saw.take(2).await.iter().map(|seen| seen.offset).collect();
    assert_eq!(offsets, BTreeSet::from([1, 2]));
    ready(&backend).await;
    let topic = stage.topic(Kind::Anomaly);
    stage.wait_committed(&stage.own("backend"), &topic, 3).await;
    stage.stop(backend).await;
    assert_eq!(buried(&stage).await, [("future".to_owned(), 0)]);
}

async fn an_operator_may_say_that_the_clock_is_right_and_has_the_future_buried(stage: Stage) {
    let (backend, mut saw, _clock) = behind_the_times(&stage).await;
    let partition = TopicPartition::new(stage.topic(Kind::Anomaly).as_str(), 0);
    let subscriber = backend.subscriber().unwrap();
    assert_eq!(subscriber.resume(partition).await.unwrap(), [Pause::Clock]);
    assert_eq!(saw.next().await.offset, 2);
    ready(&backend).await;
    let topic = stage.topic(Kind::Anomaly);
    stage.wait_committed(&stage.own("backend"), &topic, 3).await;
    stage.stop(backend).await;
    let future = |offset| ("future".to_owned(), offset);
    assert_eq!(buried(&stage).await, [future(0), future(1)]);
}

/// The dispositions of the dead letters, by the offsets they are from.
async fn buried(stage: &Stage) -> Vec<(String, i64)> {
    let letters = stage.log(&stage.dead_letter_topic()).await;
    let mut buried: Vec<_> = letters
        .iter()
        .map(|letter| {
            let disposition = letter.header("dlq.disposition").unwrap();
            (disposition.to_owned(), origin(letter))
        })
        .collect();
    buried.sort_by_key(|(_, offset)| *offset);
    buried
}

async fn envelopes_of_three_signers_for_another_audience_make_it_unready_and_pause_nothing(
    stage: Stage,
) {
    stage.make_topics(1).await;
    let senders = Senders::new(&stage);
    let topic = stage.topic(Kind::Anomaly);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = senders.backend(&stage).handlers(handlers);
    let backend = backend.start().await.unwrap();
    ready(&backend).await;
    let elsewhere = |number| {
        let sender = senders.forgery(number, "another audience", &topic);
        sender.record(&draft(Kind::Anomaly), 0)
    };
    stage.put(&topic, vec![elsewhere(0), elsewhere(1)]).await;
    stage.dead_letters(2).await;
    stage.wait_committed(&stage.own("backend"), &topic, 2).await;
    assert!(
        backend.health().is_ready(),
        "two may be wrong by themselves"
    );

    stage.put(&topic, vec![elsewhere(2)]).await;
    raised(&backend, &Condition::Audience).await;
    let conditions = backend.health().conditions();
    assert_eq!(conditions.len(), 1, "something else holds: {conditions:?}");

    // Unready, and still at work.
    let audience = stage.own("audience");
    let honest = draft(Kind::Anomaly);
    let sender = senders.forgery(0, &audience, &topic);
    stage.put(&topic, vec![sender.record(&honest, 1)]).await;
    assert_eq!(saw.next().await.draft, honest);
    ready(&backend).await;
    stage.wait_committed(&stage.own("backend"), &topic, 4).await;
    stage.stop(backend).await;
    let invalid = |offset| ("envelope-invalid".to_owned(), offset);
    assert_eq!(buried(&stage).await, [invalid(0), invalid(1), invalid(2)]);
}
