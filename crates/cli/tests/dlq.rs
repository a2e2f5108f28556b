//! `dlq`: dead letters listed, shown, judged, put back and discarded from a shell.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use cybermesh_devbroker::{Api, Fault};
use serde_json::Value;
use stage::{Ran, Stage};

const DRAFT: &str = r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{"secret": "hush"}}"#;

/// A stage where `messages` of a stranger, and an honest one behind them, came to the group `g`.
async fn buried(messages: usize) -> Stage {
    let stage = Stage::set().await;
    stage.keygen(&["--name", "op", "--may-sign", "dead_letter", "redrive"]);
    let known = std::fs::read_to_string(stage.path("trust.toml")).unwrap();
    stage.keygen(&["--name", "stranger"]);
    std::fs::rename(stage.path("trust.toml"), stage.path("mended.toml")).unwrap();
    std::fs::write(stage.path("trust.toml"), known).unwrap();
    let key = stage.path("stranger.key");
    let forged = ["send", "anomaly", "--key", key.to_str().unwrap()];
    let drafts = format!("{DRAFT}\n").repeat(messages);
    assert_eq!(stage.run(&forged, &drafts).await.code, Some(0));
    let sent = stage.run(&["send", "anomaly"], DRAFT).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let heard = listen(&stage, 1).await;
    assert_eq!(heard.json()[0]["offset"], messages, "{heard:?}");
    stage
}

async fn listen(stage: &Stage, count: usize) -> Ran {
    let count = count.to_string();
    let mut command = stage.command(&["listen", "--kind", "anomaly", "--group", "g", "--count"]);
    command.arg(count);
    command.env("CYBERMESH_SIGNING_KEY", stage.path("op.key"));
    let heard = stage.run_command(command, "").await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    heard
}

/// The trust store is right now.
fn mend(stage: &Stage) {
    std::fs::rename(stage.path("mended.toml"), stage.path("trust.toml")).unwrap();
}

async fn dlq(stage: &Stage, args: &[&str]) -> Ran {
    let mut command = stage.command(&["dlq"]);
    command
        .args(args)
        .env("CYBERMESH_SIGNING_KEY", stage.path("op.key"))
        .env("CYBERMESH_STATE_DIR", stage.path("desk"));
    stage.run_command(command, "").await
}

#[tokio::test]
async fn what_a_wrong_trust_file_buried_is_put_back_once_and_handled() {
    let stage = buried(3).await;
    let listed = dlq(&stage, &["list"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stdout.contains("ai.anomalies.v1:0@2"), "{listed:?}");
    assert!(listed.stdout.contains("3 dead letters"), "{listed:?}");
    assert!(!listed.stdout.contains(&hex::encode("hush")), "{listed:?}");

    let judged = dlq(&stage, &["verify"]).await;
    assert_eq!(judged.code, Some(1), "{judged:?}");
    assert!(judged.stdout.contains("unknown-key"), "{judged:?}");
    let early = dlq(&stage, &["redrive", "--yes", "--rate", "1000"]).await;
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(
        early.stdout.contains("0 put back, 0 left alone, 3 refused"),
        "{early:?}"
    );

    mend(&stage);
    let judged = dlq(&stage, &["verify"]).await;
    assert_eq!(judged.code, Some(0), "{judged:?}");
    let dry = dlq(&stage, &["redrive"]).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains("3 would be put back"), "{dry:?}");
    assert_eq!(stage.broker.log("ai.anomalies.v1").values().len(), 4);

    let done = dlq(&stage, &["redrive", "--yes", "--rate", "1000"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("3 put back"), "{done:?}");
    let again = dlq(&stage, &["redrive", "--yes", "--rate", "1000"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        again.stdout.contains("0 put back, 3 left alone"),
        "{again:?}"
    );
    assert_eq!(stage.broker.log("ai.anomalies.v1").values().len(), 7);

    let heard = listen(&stage, 3).await;
    let offsets: Vec<_> = heard
        .json()
        .iter()
        .map(|line| line["offset"].clone())
        .collect();
    assert_eq!(offsets, [4, 5, 6], "{heard:?}");
    let listed = dlq(&stage, &["list"]).await;
    assert!(
        listed.stdout.contains("0 dead letters, and 3 dealt with"),
        "{listed:?}"
    );
    let all = dlq(&stage, &["list", "--all", "--json"]).await;
    assert!(
        all.json().iter().all(|line| line["state"] == "redriven"),
        "{all:?}"
    );
}

#[tokio::test]
async fn one_is_shown_without_what_was_in_it_unless_that_is_asked_for() {
    let stage = buried(1).await;
    let shown = dlq(&stage, &["show", "0@0", "--json"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let line = &shown.json()[0];
    assert_eq!(line["signed_by"], "op");
    assert_eq!(line["disposition"], "unknown-key");
    assert_eq!(line["message"], "still there and the same");
    assert!(!shown.stdout.contains(&hex::encode("hush")), "{shown:?}");

    let by_origin = ["show", "ai.anomalies.v1:0@0", "--payload", "--json"];
    let shown = dlq(&stage, &by_origin).await;
    let original = shown.json()[0]["original"].clone();
    assert!(
        original["value"]
            .as_str()
            .unwrap()
            .contains(&hex::encode("hush"))
    );
    // As `verify` reads it.
    mend(&stage);
    let judged = stage.run(&["verify"], &original.to_string()).await;
    assert_eq!(judged.code, Some(0), "{judged:?}");
    assert_eq!(judged.json()[0]["signer"], "stranger");

    let none = dlq(&stage, &["show", "0@7"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
}

#[tokio::test]
async fn what_is_discarded_is_hidden_and_not_put_back_and_what_is_older_can_be_deleted() {
    let stage = buried(4).await;
    mend(&stage);
    let dry = dlq(&stage, &["discard", "--offsets", "0..1"]).await;
    assert!(
        dry.stdout.contains("2 dead letters would be discarded"),
        "{dry:?}"
    );
    let done = dlq(&stage, &["discard", "--offsets", "0..1", "--yes"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let listed = dlq(&stage, &["list", "--json"]).await;
    let at: Vec<Value> = listed
        .json()
        .iter()
        .map(|line| line["at"].clone())
        .collect();
    assert_eq!(at, ["0@2", "0@3"]);
    let dry = dlq(&stage, &["redrive"]).await;
    assert!(
        dry.stdout
            .contains("2 would be put back (--yes does it), 2 left alone"),
        "{dry:?}"
    );

    let before = dlq(&stage, &["discard", "--before", "0@3"]).await;
    assert!(
        before
            .stdout
            .contains("3 offsets would be deleted for good, 1 of them not dealt with"),
        "{before:?}"
    );
    let gone = dlq(&stage, &["discard", "--before", "0@3", "--yes"]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    let listed = dlq(&stage, &["list", "--all", "--json"]).await;
    assert_eq!(listed.json().len(), 1, "{listed:?}");
    assert_eq!(listed.json()[0]["at"], "0@3");
}

/// So that nothing waits for a broker that does not answer.
async fn hasty(stage: &Stage, args: &[&str]) -> Ran {
    let mut command = stage.command(&["dlq"]);
    command
        .args(args)
        .env("CYBERMESH_SIGNING_KEY", stage.path("op.key"))
        .env("CYBERMESH_STATE_DIR", stage.path("desk"))
        .env("KAFKA_MAX_RETRIES", "0");
    stage.run_command(command, "").await
}

#[tokio::test]
async fn one_that_an_earlier_unknown_keeps_back_is_not_called_absent() {
    let stage = buried(2).await;
    mend(&stage);
    for put_back in ["0@0", "0@1"] {
        let lost = Fault::drop_before_apply(Api::Produce).topic("ai.anomalies.v1");
        stage.broker.fault(lost.once());
        let ran = hasty(&stage, &["redrive", put_back, "--yes"]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(!ran.stderr.contains("no such record"), "{ran:?}");
        assert!(ran.stderr.contains("does not get through"), "{ran:?}");
    }
    let none = hasty(&stage, &["redrive", "0@7", "--yes"]).await;
    assert!(none.stderr.contains("no such record"), "{none:?}");
}

#[tokio::test]
async fn a_disk_that_fills_ends_a_run_with_the_reason_and_what_was_done() {
    const MOST: usize = 8192;
    let stage = buried(1).await;
    mend(&stage);
    let desk = stage.path("desk");
    drop(cybermesh_bridge::state::StateDir::open(&desk).unwrap());
    let journal = desk.join(cybermesh_bridge::dlq::JOURNAL_FILE);
    std::fs::write(&journal, "\n".repeat(MOST)).unwrap();
    let tool = stage.command(&[]);
    let mut command = std::process::Command::new("bash");
    command
        .args([
            "-c",
            // In blocks of 1024 bytes; without the trap the signal would end it.
            "trap '' XFSZ; ulimit -f 8; exec \"$0\" dlq redrive --yes",
        ])
        .arg(tool.get_program())
        .env_clear();
    for (name, value) in tool.get_envs() {
        command.env(name, value.unwrap());
    }
    command
        .env("CYBERMESH_SIGNING_KEY", stage.path("op.key"))
        .env("CYBERMESH_STATE_DIR", &desk);
    let ran = stage.run_command(command, "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("dead-letter-journal"), "{ran:?}");
    assert!(ran.stdout.contains("0 put back"), "{ran:?}");
    assert_eq!(stage.broker.log("ai.anomalies.v1").values().len(), 2);
}

#[tokio::test]
async fn nothing_is_put_back_without_a_journal_a_right_or_the_folder_to_itself() {
    let stage = buried(1).await;
    mend(&stage);
    let mut homeless = stage.command(&["dlq", "redrive", "--yes"]);
    homeless.env("CYBERMESH_SIGNING_KEY", stage.path("op.key"));
    let refused = stage.run_command(homeless, "").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--state"), "{refused:?}");

    let state = stage.path("desk");
    let without_right = [
        "dlq",
        "redrive",
        "--yes",
        "--state",
        state.to_str().unwrap(),
    ];
    let refused = stage.run(&without_right, "").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("may not sign redrive"),
        "{refused:?}"
    );

    let held = cybermesh_bridge::state::StateDir::open(&state).unwrap();
    let refused = dlq(&stage, &["redrive", "--yes"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--state"), "{refused:?}");
    // Who only looks needs nothing to itself.
    assert_eq!(dlq(&stage, &["redrive"]).await.code, Some(0));
    drop(held);
    assert_eq!(stage.broker.log("ai.anomalies.v1").values().len(), 2);
}
