//! What can be seen of a running bridge from outside, held against the design's table.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../stage/events.rs"]
mod events;
mod exposition;
mod forge;
#[path = "../stage/mod.rs"]
mod stage;
mod table;

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cybermesh_bridge::{
    Bridge, SendError, SendOptions,
    bridge::Builder,
    handler::{Context, HandlerError, Verdict},
    outbound::breaker::BreakerConfig,
    telemetry::Condition,
};
use cybermesh_contracts::{
    kind::Kind,
    message::{Anomaly, PolicyDraft},
    sign::Signer,
    verify::Verified,
};
use cybermesh_devbroker::{Api, ErrorCode, Fault};
use cybermesh_transport::{
    Admin, Client, OffsetToCommit, Producer, ProducerConfig, Record, TopicPartition,
};
use events::Events;
use exposition::Scrape;
use forge::{Forger, MARK, marked};
use stage::{Stage, anomaly_with, commit, get, now_ms, private, signer, soon};

const STOP: Duration = Duration::from_secs(10);
const GROUP: &str = "cybermesh-backend";
const DEAD: &str = "ai.dlq";
/// Where the forged messages go, and where so many fail that it pauses.
const FORGED: i32 = 0;
const FAILING: i32 = 1;

/// Three keys that may sign anomalies until 2040; ours may sign dead letters too.
fn trust_file(forgers: &[Forger]) -> String {
    let key = |id: &str, public_key: String| {
        format!(
            "[[key]]\nid = \"{id}\"\npublic_key = \"{public_key}\"\nnot_after = 2040-01-01T00:00:00Z\n\
             may_sign = [\"anomaly\", \"dead_letter\"]\n"
        )
    };
    let own = key("own", signer().public_key().to_hex());
    let others = (0..)
        .zip(forgers)
        .map(|(number, forger)| key(&format!("node-{number}"), forger.public_key_hex()));
    format!("version = 1\n{own}{}", others.collect::<String>())
}

/// Does what an anomaly's type begins with.
async fn act(
    message: Verified<Anomaly>,
    context: Context,
    fails: bool,
) -> Result<Verdict, HandlerError> {
    let behaviour = message.message().anomaly_type().split(' ').next();
    match behaviour.unwrap() {
        "reject" => Ok(Verdict::reject("not wanted")),
        "fail" if fails => Err(HandlerError::permanent("downstream is away")),
        "again" if context.attempt() == 1 => Ok(Verdict::retry_after(Duration::ZERO)),
        "late" => std::future::pending().await,
        "skip" => Ok(Verdict::skip("nothing to do")),
        "panic" => panic!("as the message says"),
        _ => Ok(Verdict::Done),
    }
}

struct World {
    stage: Stage,
    fails: Arc<AtomicBool>,
}

impl World {
    fn bridge(&self) -> Builder {
        let path = |name: &str| {
            self.stage
                .files
                .path()
                .join(name)
                .to_str()
                .unwrap()
                .to_owned()
        };
        let (trust, audit) = (path("trust.toml"), path("audit.log"));
        let settings = self.stage.settings(&[
            ("role", "backend"),
            ("CYBERMESH_LISTEN", "127.0.0.1:0"),
            ("CYBERMESH_TRUST", &trust),
            ("CYBERMESH_AUDIT", &audit),
            ("CYBERMESH_HANDLER_TIMEOUT", "200ms"),
            ("CYBERMESH_HANDLER_ATTEMPTS", "2"),
            ("CYBERMESH_RATE_LIMIT_POLICY", "1@1"),
            ("KAFKA_CONNECT_TIMEOUT_MS", "1000"),
            ("KAFKA_MAX_RETRIES", "100"),
        ]);
        let fails = Arc::clone(&self.fails);
        let mut breaker = BreakerConfig::default();
        breaker.run = 2;
        breaker.open_for = Duration::from_millis(100);
        breaker.open_for_most = breaker.open_for;
        Bridge::builder(settings)
            .sends(Kind::ALL)
            .receives([Kind::Anomaly])
            .handle(move |message, context| act(message, context, fails.load(Ordering::Relaxed)))
            .breaker(breaker)
            .seed(1)
    }

    /// Waits until everything there is was handled, and that is committed.
    async fn through(&self) {
        let topic = Kind::Anomaly.default_topic();
        soon(self.stage.broker.wait_until(|broker| {
            (0..3).all(|partition| {
                let end = broker.partition_log(topic, partition).len();
                let committed = broker.committed(GROUP, topic, partition);
                let committed = committed.map_or(0, |committed| committed.offset);
                usize::try_from(committed).unwrap() == end
            })
        }))
        .await;
    }
}

/// Commits the same offsets as another tool would: the next process finds no replay state beside them.
async fn forget_states(client: Client, world: &World) {
    let topic = Kind::Anomaly.default_topic();
    let bare = (0..3).filter_map(|partition| {
        Some(OffsetToCommit {
            partition: TopicPartition::new(topic, partition),
            offset: world
                .stage
                .broker
                .committed(GROUP, topic, partition)?
                .offset,
            leader_epoch: None,
            metadata: String::new(),
        })
    });
    let admin = Admin::new(client);
    let forgotten = admin.alter_group_offsets(GROUP, bare.collect()).await;
    forgotten.unwrap();
}

async fn append(producer: &Producer, partition: i32, record: Record) {
    let topic = Kind::Anomaly.default_topic();
    let room = producer.reserve(topic, partition, record.size_bound());
    soon(room.await.unwrap().append(record)).await.unwrap();
}

async fn scrape(address: SocketAddr) -> (String, Scrape) {
    let answer = get(address, "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (body.to_owned(), Scrape::parse(body))
}

/// Scrapes until this holds.
async fn shown(address: SocketAddr, holds: impl Fn(&Scrape) -> bool) {
    soon(async {
        while !holds(&scrape(address).await.1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn unready(bridge: &Bridge, condition: Condition, holds: bool) {
    soon(async {
        while bridge
            .health()
            .conditions()
            .iter()
            .any(|(held, _)| *held == condition)
            != holds
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Sends that succeed, fail at every stage, and are sent again.
async fn send_all(bridge: &Bridge, world: &World) {
    let publisher = bridge.publisher();
    let topic = Kind::Anomaly.default_topic();
    let resent = Fault::error(Api::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    world.stage.broker.fault(resent.topic(topic).once());
    let marked_header = SendOptions::new().header(MARK, MARK).key(MARK);
    let sent = publisher.send_with(marked("done"), marked_header);
    soon(sent).await.unwrap();
    soon(publisher.send(commit(1))).await.unwrap();
    let at_once = || SendOptions::new().deadline(Duration::from_millis(1));
    let mut refused = 0;
    for _ in 0..3 {
        let policy = PolicyDraft::builder(uuid::Uuid::new_v4().to_string())
            .action(MARK)
            .rule(MARK)
            .trace_id([1; 16])
            .event_time_ms(now_ms())
            .params(format!(r#"{{"{MARK}":"{MARK}"}}"#))
            .build()
            .unwrap();
        let sent = soon(publisher.send_with(policy, at_once())).await;
        refused += usize::from(matches!(sent, Err(SendError::RateLimited { .. })));
    }
    assert!(refused > 0);
    let too_large = anomaly_with(&format!(r#"{{"{MARK}":"{}"}}"#, MARK.repeat(30_000)));
    let own_header = SendOptions::new().header("cm-envelope", MARK);
    let key_too_large = SendOptions::new().key(vec![b'k'; 900_000]);
    soon(publisher.send_with(too_large.clone(), key_too_large))
        .await
        .unwrap_err();
    soon(publisher.send_with(marked("done"), own_header))
        .await
        .unwrap_err();
    let refused = Fault::error(Api::Produce, ErrorCode::INVALID_RECORD);
    world.stage.broker.fault(refused.topic(topic).once());
    soon(publisher.send(marked("done"))).await.unwrap_err();
}

/// A flood of messages that fail, of three keys: the guard pauses, and goes on when told to.
async fn fail_until_paused(
    bridge: &Bridge,
    world: &World,
    forgers: &mut [Forger],
    producer: &Producer,
) {
    world.fails.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        for forger in &mut *forgers {
            append(producer, FAILING, forger.record(FAILING, "fail")).await;
        }
    }
    let address = bridge.ops_address().unwrap();
    let failing = FAILING.to_string();
    let labels = [
        ("topic", Kind::Anomaly.default_topic()),
        ("partition", &*failing),
    ];
    let paused = |scrape: &Scrape| scrape.sum("bridge_flood_guard_paused", &labels) == 1.0;
    shown(address, paused).await;
    world.fails.store(false, Ordering::Relaxed);
    let partition = TopicPartition::new(Kind::Anomaly.default_topic(), FAILING);
    bridge
        .subscriber()
        .unwrap()
        .resume(partition)
        .await
        .unwrap();
    shown(address, |scrape| !paused(scrape)).await;
}

async fn spoil_the_trust_file(bridge: &Bridge, world: &World, good: &str) {
    let file = world.stage.files.path().join("trust.toml");
    for (content, is_stale) in [("version = 1\n[[key]]\n", true), (good, false)] {
        private(&file, content);
        bridge.reloader().reload();
        unready(bridge, Condition::TrustStale, is_stale).await;
    }
}

async fn lose_the_cluster_for_a_while(bridge: &Bridge, world: &World) {
    world.stage.broker.go_down().await;
    let waiting = bridge.publisher().send(marked("done"));
    let back = async {
        unready(bridge, Condition::BreakerOpen, true).await;
        world.stage.broker.come_up().await.unwrap();
    };
    let (sent, ()) = soon(async { tokio::join!(waiting, back) }).await;
    sent.unwrap();
    unready(bridge, Condition::BreakerOpen, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_table_is_shown_as_it_says_and_nothing_shown_logged_or_audited_is_content()
 {
    let events = Events::listen();
    let world = World {
        stage: Stage::set().await,
        fails: Arc::default(),
    };
    let mut forgers: Vec<Forger> = (1..=3).map(Forger::new).collect();
    let trust = trust_file(&forgers);
    private(&world.stage.files.path().join("trust.toml"), &trust);

    let first = world.bridge().start().await.unwrap();
    soon(first.publisher().send(marked("done"))).await.unwrap();
    world.through().await;
    let client = first.client().clone();
    first.stop(STOP).await;
    forget_states(client, &world).await;

    let bridge = world.bridge().start().await.unwrap();
    let address = bridge.ops_address().unwrap();
    let producer = Producer::new(bridge.client().clone(), ProducerConfig::default());
    let denied = Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    world.stage.broker.fault(denied.topic(DEAD).once());
    send_all(&bridge, &world).await;
    for behaviour in ["done", "again", "late", "skip", "reject", "panic"] {
        let record = forgers[0].record(FORGED, behaviour);
        append(&producer, FORGED, record).await;
    }
    let copied = forgers[0].record(FORGED, "done");
    append(&producer, FORGED, copied.clone()).await;
    append(&producer, FORGED, copied).await;
    let week_ago = now_ms() - 8 * 24 * 3_600_000;
    append(
        &producer,
        FORGED,
        forgers[0].record_at(FORGED, "done", week_ago),
    )
    .await;
    let mut stranger = Forger::new(9);
    for forger in [&mut forgers[0], &mut stranger] {
        for record in forger.bent(FORGED) {
            append(&producer, FORGED, record).await;
        }
    }
    fail_until_paused(&bridge, &world, &mut forgers, &producer).await;
    spoil_the_trust_file(&bridge, &world, &trust).await;
    world.through().await;
    lose_the_cluster_for_a_while(&bridge, &world).await;
    world.through().await;
    unready(&bridge, Condition::Unassigned, false).await;
    // Gauges of partitions are written once a while.
    shown(address, |scrape| scrape.of("bridge_watermark").count() == 3).await;

    let (text, scraped) = scrape(address).await;
    assert_eq!(table::differences(&scraped), Vec::<String>::new(), "{text}");
    // 2040-01-01T00:00:00Z, of every key by its name in the trust store.
    for id in ["own", "node-0", "node-1", "node-2"] {
        let expires = scraped.sum("bridge_key_expiry_seconds", &[("id", id)]);
        assert_eq!(expires, 2_208_988_800.0, "{id}");
    }
    let alarms = |reason| scraped.sum("bridge_replay_state_alarms_total", &[("reason", reason)]);
    assert!(alarms("missing") > 0.0, "{text}");
    let broker = world.stage.broker.address();
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let processed = [
        ("messaging_consumer_group_name", GROUP),
        ("server_address", &host),
        ("server_port", &port),
    ];
    for (error_type, least) in [
        ("retry", 1.0),
        ("timeout", 2.0),
        ("panic", 2.0),
        ("permanent", 10.0),
        ("rejected", 1.0),
    ] {
        let mut labels = processed.to_vec();
        labels.push(("error_type", error_type));
        let ended = scraped.sum("messaging_process_duration_seconds_count", &labels);
        assert!(ended >= least, "{error_type}: {ended}");
    }
    let ready = get(address, "/readyz").await;
    producer.close(tokio::time::Instant::now() + STOP).await;
    bridge.stop(STOP).await;

    let audit = fs::read_to_string(world.stage.files.path().join("audit.log")).unwrap();
    for (disposition, least) in [
        ("signature-invalid", 1),
        ("unknown-key", 10),
        ("decode", 2),
        ("envelope-invalid", 2),
    ] {
        let found = audit
            .lines()
            .filter(|line| line.contains(disposition))
            .count();
        assert!(found >= least, "{disposition}: {found} in\n{audit}");
    }
    let mark_in_hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mark_as_bytes = format!("{:?}", MARK.as_bytes());
    let mark_as_bytes = mark_as_bytes.trim_matches(['[', ']']);
    let is_marked = |text: &str| {
        text.contains(MARK) || text.contains(&mark_in_hex) || text.contains(mark_as_bytes)
    };
    for (place, shown) in [("/metrics", &text), ("/readyz", &ready), ("audit", &audit)] {
        assert!(!is_marked(shown), "{place}: {shown}");
    }
    let logged = events.lines();
    assert!(logged.len() > 100, "{}", logged.len());
    let marked: Vec<_> = logged.iter().filter(|(_, line)| is_marked(line)).collect();
    assert!(marked.is_empty(), "{marked:#?}");
}
