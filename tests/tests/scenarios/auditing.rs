//! The audit trail read back: everything that is audited happens to one process, and stands there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::handler::Verdict;
use cybermesh_bridge::outbound::breaker::BreakerConfig;
use cybermesh_bridge::telemetry::Condition;
use cybermesh_bridge::telemetry::audit::{TrailFault, check_files};
use cybermesh_contracts::kind::Kind;
use cybermesh_tests::Stage;
use cybermesh_tests::conditions::{detail, paused, raised, ready, until};
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::{Forgery, record};
use cybermesh_tests::identity::{Identity, trust_file};
use cybermesh_tests::link::Link;
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::witness;
use cybermesh_transport::Record;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

cybermesh_tests::scenarios! {
    both: [
        all_that_is_audited_stands_in_the_trail_once_and_the_trail_is_whole,
    ],
}

const GARBAGE: &[u8] = b"\xff what a flood is made of";
const FLOOD: usize = 60;

/// The audit trail on disk.
struct Trail(PathBuf);

impl Trail {
    /// Its files, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let mut full: BTreeMap<u64, PathBuf> = BTreeMap::new();
        for entry in fs::read_dir(self.0.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let number = path
                .extension()
                .and_then(|number| number.to_str()?.parse().ok());
            if let Some(number) = number {
                full.insert(number, path);
            }
        }
        full.into_values().chain([self.0.clone()]).collect()
    }

    fn text(&self) -> String {
        let files = self.files().into_iter();
        files
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Its whole lines.
    fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(serde_json::from_str::<Value>);
        lines.filter_map(Result::ok).collect()
    }

    fn of(&self, event: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// Waits until there are so many of an event.
    async fn wait_for(&self, event: &str, count: usize) {
        until(|| (self.of(event).len() >= count).then_some(())).await;
    }
}

/// The stage of this test: who signs, who is trusted, and where the trail is.
struct Play<'a> {
    stage: &'a Stage,
    trail: Trail,
    stranger: Identity,
    trust: PathBuf,
}

impl Play<'_> {
    fn topic(&self) -> String {
        self.stage.topic(Kind::Anomaly)
    }

    /// Writes the trust store anew.
    fn trust(&self, entries: &[String]) {
        let next = trust_file(self.stage.dir(), "next-trust.toml", entries);
        fs::rename(next, &self.trust).unwrap();
    }

    /// The bridge under audit, over a way that can fall silent.
    async fn backend(&self, link: &Link<'_>) -> Bridge {
        let (handlers, _) = witness(&Kind::NODE, |_| Ok(Verdict::reject("not wanted here")));
        let (bootstrap, trail) = (link.bootstrap(), self.trail.0.display().to_string());
        let trust = self.trust.display().to_string();
        let settings = self.stage.settings(
            Role::Backend,
            &[
                ("KAFKA_BROKERS", &bootstrap),
                ("KAFKA_REQUEST_TIMEOUT_MS", "1000"),
                ("KAFKA_CONNECT_TIMEOUT_MS", "1000"),
                ("KAFKA_MAX_RETRIES", "100"),
                ("CYBERMESH_TRUST", &trust),
                ("CYBERMESH_AUDIT", &trail),
                ("CYBERMESH_AUDIT_ROTATE_BYTES", "4096"),
                ("CYBERMESH_AUDIT_KEEP", "1000"),
                ("CYBERMESH_DLQ_RATE", "5@1/s"),
            ],
        );
        let mut breaker = BreakerConfig::default();
        breaker.run = 2;
        breaker.open_for = Duration::from_millis(300);
        breaker.open_for_most = breaker.open_for;
        let builder = Bridge::builder(settings)
            .handlers(handlers)
            .breaker(breaker);
        let bridge = builder.start().await.unwrap();
        ready(&bridge).await;
        bridge
    }

    /// A message of somebody unknown, one that its handler does not want, and a flood of garbage.
    async fn bad_messages(&self) -> Vec<Record> {
        let (audience, topic) = (self.stage.own("audience"), self.topic());
        let as_stranger = Forgery::new(self.stranger.signer(), &audience, &topic);
        let as_node = Forgery::new(self.stage.node().signer(), &audience, &topic);
        let garbage = record("k", Some(Bytes::from_static(GARBAGE)), Vec::new());
        let mut records = vec![
            as_stranger.record(&draft(Kind::Anomaly), 0),
            as_node.record(&draft(Kind::Anomaly), 0),
        ];
        records.extend(vec![garbage; FLOOD]);
        self.stage.put(&topic, records.clone()).await;
        let all = i64::try_from(records.len()).unwrap();
        let group = self.stage.own("backend");
        self.stage.wait_committed(&group, &topic, all).await;
        records
    }

    /// Somebody else comes into the trust store; then nobody may sign anomalies, until the node may again.
    async fn changes_of_trust(&self, backend: &Bridge) {
        let [node, own] = self.stage.trust_entries();
        let stranger = self.stranger.trust_entry(&[Kind::Policy], &[]);
        self.trust(&[node.clone(), own.clone(), stranger.clone()]);
        self.trail.wait_for("trust", 1).await;
        let less = [Kind::Evidence, Kind::Policy];
        let less = self.stage.node().trust_entry(&less, &["dead_letter"]);
        self.trust(&[less, own.clone(), stranger.clone()]);
        let reason = raised(backend, &paused(self.stage, Kind::Anomaly)).await;
        assert_eq!(reason, "no-keys");
        self.trust(&[node, own, stranger]);
        ready(backend).await;
    }

    /// The backend's signing key becomes another one.
    async fn exchange_of_the_signing_key(&self) -> Identity {
        let next = Identity::new(self.stage.dir(), "next-backend");
        fs::rename(next.key_file(), self.stage.backend().key_file()).unwrap();
        self.trail.wait_for("reloaded", 1).await;
        next
    }
}

/// Nobody answers for a while, and there is something to send.
async fn outage(link: &Link<'_>, backend: &Bridge) {
    link.fall_silent();
    let publisher = backend.publisher().clone();
    let sending = tokio::spawn(async move { publisher.send(draft(Kind::Commit)).await });
    raised(backend, &Condition::BreakerOpen).await;
    link.speak();
    until(|| {
        detail(backend, &Condition::BreakerOpen)
            .is_none()
            .then_some(())
    })
    .await;
    sending.await.unwrap().unwrap();
    ready(backend).await;
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

async fn all_that_is_audited_stands_in_the_trail_once_and_the_trail_is_whole(stage: Stage) {
    stage.make_topics(1).await;
    let folder = stage.dir().join("audit");
    fs::create_dir(&folder).unwrap();
    let play = Play {
        trail: Trail(folder.join("audit.ndjson")),
        stranger: Identity::new(stage.dir(), "stranger"),
        trust: trust_file(stage.dir(), "audited-trust.toml", &stage.trust_entries()),
        stage: &stage,
    };
    let link = Link::new(&stage).await;
    let backend = play.backend(&link).await;
    let records = play.bad_messages().await;
    play.changes_of_trust(&backend).await;
    let key = play.exchange_of_the_signing_key().await;
    outage(&link, &backend).await;
    stage.stop(backend).await;

    let trail = &play.trail;
    rejections_are_there(&play, &records);
    trust_is_there(trail);
    let [reloaded] = &trail.of("reloaded")[..] else {
        panic!("{:?}", trail.of("reloaded"));
    };
    assert_eq!(reloaded["what"], "signing-key");
    assert_eq!(reloaded["identity"], key.public_key().to_hex());
    breaker_is_there(trail);
    pauses_are_there(&play);
    the_trail_is_whole(trail);
    a_changed_line_and_one_that_was_cut_out_are_found(trail);
}

/// Each message that was given up is named, alone or in a sum, and none twice.
fn rejections_are_there(play: &Play<'_>, records: &[Record]) {
    let alone = play.trail.of("rejected");
    let mut named = Vec::new();
    for line in &alone {
        let offset = usize::try_from(line["offset"].as_u64().unwrap()).unwrap();
        let value = records[offset].value.as_ref().unwrap();
        assert_eq!(line["sha256"], hex::encode(sha256(value)), "{line}");
        let claimed = |who: &Identity| Value::from(who.public_key().to_hex());
        let (disposition, claimed, attempts) = match offset {
            0 => ("unknown-key", claimed(&play.stranger), 0),
            1 => ("handler-rejected", claimed(play.stage.node()), 1),
            _ => ("decode", Value::Null, 0),
        };
        assert_eq!(line["disposition"], disposition, "{line}");
        assert_eq!(line["claimed"], claimed, "{line}");
        assert_eq!(line["attempts"], attempts, "{line}");
        assert!(!line["reason"].as_str().unwrap().is_empty(), "{line}");
        named.push(offset);
    }
    let sums = play.trail.of("rejected-many");
    assert!(!sums.is_empty(), "no flood was summed up");
    for line in &sums {
        let of = |name: &str| usize::try_from(line[name].as_u64().unwrap()).unwrap();
        let (first, last, count) = (of("first_offset"), of("last_offset"), of("count"));
        assert_eq!(last + 1 - first, count, "{line}");
        assert_eq!(line["disposition"], "decode", "{line}");
        let hashes = sha256(GARBAGE).repeat(count);
        assert_eq!(line["sha256"], hex::encode(sha256(&hashes)), "{line}");
        named.extend(first..=last);
    }
    for line in alone.iter().chain(&sums) {
        assert_eq!(line["topic"], play.topic(), "{line}");
        assert_eq!(line["partition"], 0, "{line}");
    }
    named.sort_unstable();
    assert_eq!(named, (0..records.len()).collect::<Vec<_>>());
    let text = play.trail.text();
    assert!(!text.contains("what a flood is made of"));
    assert!(!text.contains(&hex::encode(GARBAGE)));
}

fn trust_is_there(trail: &Trail) {
    let changes = trail.of("trust");
    let [added, taken, given] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(added["added"], serde_json::json!(["stranger"]));
    assert_eq!(taken["altered"], serde_json::json!(["node"]));
    assert_eq!(taken["kinds_closed"], serde_json::json!(["anomaly"]));
    assert_eq!(given["altered"], serde_json::json!(["node"]));
    assert_eq!(given["kinds_opened"], serde_json::json!(["anomaly"]));
}

/// It opens first, closes last, and each state follows from the one before.
fn breaker_is_there(trail: &Trail) {
    let states: Vec<String> = trail
        .of("breaker")
        .iter()
        .map(|line| line["to"].as_str().unwrap().to_owned())
        .collect();
    let states: Vec<&str> = states.iter().map(String::as_str).collect();
    assert!(
        states.starts_with(&["open", "half-open"]) && states.ends_with(&["half-open", "closed"]),
        "{states:?}"
    );
    let follows = |pair: &[&str]| {
        matches!(
            pair,
            ["open", "half-open"] | ["half-open", "open" | "closed"]
        )
    };
    assert!(states.windows(2).all(follows), "{states:?}");
}

fn pauses_are_there(play: &Play<'_>) {
    let mut pauses = play.trail.lines();
    pauses.retain(|line| line["topic"] == play.topic() && line.get("offset").is_none());
    pauses.retain(|line| line["event"] != "rejected-many");
    let [paused, resumed] = &pauses[..] else {
        panic!("{pauses:?}");
    };
    assert_eq!(
        (&paused["event"], &paused["reason"]),
        (&"paused".into(), &"no-keys".into())
    );
    assert_eq!(resumed["event"], "resumed");
    for line in [paused, resumed] {
        assert_eq!(line["partition"], 0);
    }
}

fn the_trail_is_whole(trail: &Trail) {
    let files = trail.files();
    assert!(files.len() > 1, "it was never rotated: {files:?}");
    for file in &files {
        let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
    let whole = check_files(&trail.0).unwrap();
    assert_eq!(whole.files, files.len());
    assert_eq!(whole.lines, u64::try_from(trail.lines().len()).unwrap());
    assert!(whole.from_the_beginning);
    let times: Vec<u64> = trail
        .lines()
        .iter()
        .map(|line| line["at"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
}

fn a_changed_line_and_one_that_was_cut_out_are_found(trail: &Trail) {
    let full = &trail.files()[0];
    let text = fs::read_to_string(full).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cut = [&lines[..1], &lines[2..]].concat().concat();
    assert_eq!(broken_at(trail, full, &cut), 2);
    let offset = "\"offset\":0,";
    let changed = text.replacen(offset, "\"offset\":7,", 1);
    assert_ne!(changed, text);
    let at = lines.iter().position(|line| line.contains(offset)).unwrap();
    assert_eq!(broken_at(trail, full, &changed), at + 2);
    fs::write(full, &text).unwrap();
    check_files(&trail.0).unwrap();
}

/// The line of `file` at which the chain is found broken when the file holds `text`.
fn broken_at(trail: &Trail, file: &Path, text: &str) -> usize {
    fs::write(file, text).unwrap();
    match check_files(&trail.0) {
        Err(TrailFault::Broken { path, line }) if path == file => usize::try_from(line).unwrap(),
        other => panic!("{other:?}"),
    }
}
