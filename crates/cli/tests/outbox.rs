//! `outbox`, and `send` with a state folder while the cluster is away.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "stage/process.rs"]
mod process;
mod stage;

use std::collections::BTreeSet;
use std::process::Command;

use process::{Home, Process};
use rustix::process::Signal;
use serde_json::Value;
use stage::{Ran, Stage};
use tokio::io::AsyncWriteExt as _;

const TOPIC: &str = "ai.anomalies.v1";

fn draft(number: usize) -> String {
    format!(
        r#"{{"type":"scan","source":"edge","severity":3,"confidence":1,"model_version":"v1","payload":{{"n":{number}}}}}"#
    ) + "\n"
}

fn drafts(numbers: std::ops::Range<usize>) -> String {
    numbers.map(draft).collect()
}

fn command(stage: &Stage, args: &[&str]) -> Command {
    let mut command = stage.command(args);
    command
        .env("CYBERMESH_STATE_DIR", stage.path("state"))
        .env("KAFKA_DELIVERY_TIMEOUT_MS", "3000")
        .env("KAFKA_CONNECT_TIMEOUT_MS", "1000")
        .env("KAFKA_RETRY_BACKOFF_MS", "50")
        .env("KAFKA_MAX_RETRIES", "0")
        .env("CYBERMESH_RATE_LIMIT_ANOMALY", "off");
    command
}

async fn run(stage: &Stage, args: &[&str], input: &str) -> Ran {
    stage.run_command(command(stage, args), input).await
}

/// The sequences that were told as spooled.
fn spooled(receipts: &[Value]) -> Vec<u64> {
    let spooled = |receipt: &&Value| receipt["result"] == "spooled";
    receipts
        .iter()
        .filter(spooled)
        .map(|receipt| receipt["sequence"].as_u64().unwrap())
        .collect()
}

fn sequences(listed: &Ran) -> Vec<u64> {
    let sequence = |entry: &Value| entry["sequence"].as_u64().unwrap();
    listed.json().iter().map(sequence).collect()
}

fn numbers(stage: &Stage) -> Vec<u64> {
    let number = |value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        let digits = text.split("\"n\":").nth(1).unwrap();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap();
        digits[..end].parse::<u64>().unwrap()
    };
    let values = stage.broker.log(TOPIC).values();
    values.iter().map(|value| number(value)).collect()
}

#[tokio::test]
async fn what_is_spooled_is_listed_shown_dropped_and_drained() {
    let stage = Stage::set().await;
    stage.broker.go_down().await;
    let sent = run(&stage, &["send", "anomaly"], &drafts(0..4)).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let told = spooled(&sent.json());
    assert_eq!(told.len(), 4, "{sent:?}");

    let listed = run(&stage, &["outbox", "list", "--json"], "").await;
    assert_eq!(sequences(&listed), told);
    let first = &listed.json()[0];
    assert_eq!(
        (&first["state"], &first["kind"]),
        (&"draft".into(), &"anomaly".into())
    );
    assert_eq!(first["topic"], TOPIC);
    let lines = run(&stage, &["outbox", "list"], "").await;
    assert_eq!(lines.stdout.lines().count(), 4);
    assert!(!lines.stdout.contains("\"n\""), "{lines:?}");

    let shown = run(&stage, &["outbox", "show", &told[1].to_string()], "").await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let payload = hex::decode(shown["message"]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["n"], 1);
    assert!(shown["message"].get("signature").is_none());
    let nothing = run(&stage, &["outbox", "show", "4711"], "").await;
    assert_eq!(nothing.code, Some(1));

    let dropping = ["outbox", "drop", &told[1].to_string()];
    let would = run(&stage, &dropping, "").await;
    assert_eq!(would.code, Some(0));
    assert!(would.stdout.starts_with("would drop"), "{would:?}");
    assert_eq!(
        sequences(&run(&stage, &["outbox", "list", "--json"], "").await),
        told
    );
    let others = ["outbox", "drop", "--all", "--kind", "policy", "--yes"];
    assert_eq!(run(&stage, &others, "").await.stdout, "");
    let dropped = run(&stage, &[&dropping[..], &["--yes"]].concat(), "").await;
    assert_eq!((dropped.code, dropped.stdout.lines().count()), (Some(0), 1));
    assert_eq!(run(&stage, &["outbox", "drop"], "").await.code, Some(2));

    let away = run(&stage, &["outbox", "drain"], "").await;
    assert_eq!(away.code, Some(3), "{away:?}");
    stage.broker.come_up().await.unwrap();
    let drained = run(&stage, &["outbox", "drain"], "").await;
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(drained.stdout, "3 sent, 0 left\n");
    assert_eq!(numbers(&stage), [0, 2, 3]);
    assert_eq!(run(&stage, &["outbox", "list"], "").await.stdout, "");
}

#[tokio::test]
async fn what_an_earlier_run_left_goes_before_what_this_one_sends() {
    let stage = Stage::set().await;
    stage.broker.go_down().await;
    let sent = run(&stage, &["send", "anomaly"], &drafts(0..20)).await;
    assert_eq!(spooled(&sent.json()).len(), 20, "{sent:?}");
    stage.broker.come_up().await.unwrap();
    let sent = run(&stage, &["send", "anomaly"], &drafts(20..25)).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(numbers(&stage), (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_folder_that_a_process_holds_is_named() {
    let stage = Stage::set().await;
    let mut sender = Process::start(
        &command(&stage, &["send", "anomaly"]),
        &Home::Service,
        stage.path("stderr"),
    );
    let stdin = sender.stdin.as_mut().unwrap();
    stdin.write_all(draft(0).as_bytes()).await.unwrap();
    assert_eq!(sender.line().await["result"], "logged");
    for args in [&["outbox", "list"][..], &["outbox", "drain"]] {
        let refused = run(&stage, args, "").await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let folder = stage.path("state");
        assert!(
            refused.stderr.contains(folder.to_str().unwrap())
                && refused.stderr.contains("in use by another process"),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_nothing_that_was_told_as_spooled_is_missing() {
    let stage = Stage::set().await;
    stage.broker.go_down().await;
    let mut told = BTreeSet::new();
    let mut number = 0;
    // Killed after so many receipts, in the middle of what follows them.
    for receipts in [1, 7, 40, 3, 90, 25] {
        let mut sender = Process::start(
            &command(&stage, &["send", "anomaly"]),
            &Home::Service,
            stage.path("stderr"),
        );
        let mut stdin = sender.stdin.take().unwrap();
        let lines = drafts(number..number + 2_000);
        number += 2_000;
        let feeding = tokio::spawn(async move {
            // It is killed while it reads.
            drop(stdin.write_all(lines.as_bytes()).await);
        });
        for _ in 0..receipts {
            let receipt = sender.line().await;
            assert_eq!(receipt["result"], "spooled", "{receipt}");
            assert!(
                told.insert(receipt["sequence"].as_u64().unwrap()),
                "{receipt} told twice"
            );
        }
        sender.signal(Signal::KILL);
        // What it had printed by then was told too.
        for receipt in sender.all_whole_lines().await {
            assert!(
                told.insert(receipt["sequence"].as_u64().unwrap()),
                "{receipt} told twice"
            );
        }
        sender.ended().await;
        feeding.await.unwrap();
    }
    let kept: BTreeSet<u64> = sequences(&run(&stage, &["outbox", "list", "--json"], "").await)
        .into_iter()
        .collect();
    let missing: Vec<_> = told.difference(&kept).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", told.len());

    stage.broker.come_up().await.unwrap();
    let drained = run(&stage, &["outbox", "drain"], "").await;
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let logged = numbers(&stage);
    assert_eq!(logged.len(), kept.len());
    assert!(logged.is_sorted(), "{logged:?}");
}
