//! `replay reset`: an operator has a group handle again what it handled.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use stage::{Ran, Stage};

const TOPIC: &str = "ai.anomalies.v1";
const DRAFT: &str = concat!(
    r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{"n": 1}}"#,
    "\n"
);

/// Messages in the log, all of them heard and committed by the group `g`.
async fn heard(stage: &Stage, messages: usize) {
    let sent = stage
        .run(&["send", "anomaly"], &DRAFT.repeat(messages))
        .await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(listen(stage, messages).await, offsets(0, messages));
}

fn offsets(from: usize, to: usize) -> Vec<usize> {
    (from..to).collect()
}

/// The offsets that a member of the group `g` is given.
async fn listen(stage: &Stage, count: usize) -> Vec<usize> {
    let count = count.to_string();
    let args = [
        "listen", "--kind", "anomaly", "--group", "g", "--count", &count,
    ];
    let heard = stage.run(&args, "").await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    let offset =
        |line: &serde_json::Value| usize::try_from(line["offset"].as_u64().unwrap()).unwrap();
    heard.json().iter().map(offset).collect()
}

async fn reset(stage: &Stage, more: &[&str]) -> Ran {
    let args = ["replay", "reset", "--group", "g", "--topic", TOPIC];
    stage.run(&[&args, more].concat(), "").await
}

fn committed(stage: &Stage) -> i64 {
    stage.broker.committed("g", TOPIC, 0).unwrap().offset
}

#[tokio::test]
async fn without_yes_it_says_what_it_would_do_and_does_nothing() {
    let stage = Stage::set().await;
    heard(&stage, 3).await;
    let before = stage.broker.committed("g", TOPIC, 0);
    let ran = reset(&stage, &["--to", "offset:1"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, format!("{TOPIC}[0]  3 -> 1  of 3\n"));
    assert!(ran.stderr.contains("nothing was changed"), "{ran:?}");
    assert_eq!(stage.broker.committed("g", TOPIC, 0), before);
}

#[tokio::test]
async fn with_yes_everything_from_there_on_is_handled_again_and_nothing_is_buried() {
    let stage = Stage::set().await;
    heard(&stage, 4).await;
    for (to, first) in [("offset:1", 1), ("earliest", 0), ("time:0", 0)] {
        let ran = reset(&stage, &["--to", to, "--yes"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(listen(&stage, 4 - first).await, offsets(first, 4), "{to}");
    }
    let ran = reset(&stage, &["--to", "offset:1", "--yes"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = reset(&stage, &["--to", "latest", "--yes"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(committed(&stage), 4);
    assert!(stage.broker.log("ai.dlq").is_empty());
}

#[tokio::test]
async fn a_group_with_members_is_left_alone_with_exit_code_1() {
    let stage = Stage::set().await;
    heard(&stage, 1).await;
    let args = ["listen", "--kind", "anomaly", "--group", "g"];
    let mut member = tokio::process::Command::from(stage.command(&args))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let joined = stage.broker.wait_until(|broker| {
        broker
            .group("g")
            .is_some_and(|group| !group.members.is_empty())
    });
    joined.await;
    let ran = reset(&stage, &["--to", "earliest", "--yes"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("1 members"), "{ran:?}");
    assert_eq!(committed(&stage), 1);
    member.kill().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_changed() {
    let stage = Stage::set().await;
    heard(&stage, 2).await;
    for (args, code, said) in [
        (&["--to", "offset:9", "--yes"][..], 1, "offsets from 0 to 2"),
        (
            &["--to", "latest", "--partition", "3", "--yes"],
            2,
            "--partition 3",
        ),
        (&["--to", "noon", "--yes"], 2, "time:UNIX_MS"),
        (&["--topic", "none", "--to", "latest", "--yes"], 3, "none"),
    ] {
        let ran = reset(&stage, args).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert_eq!(committed(&stage), 2);
    }
}

#[tokio::test]
async fn where_a_signature_is_demanded_only_a_key_of_that_right_may_reset() {
    let stage = Stage::set().await;
    heard(&stage, 2).await;
    stage.keygen(&["--name", "states", "--may-sign", "replay_state"]);
    let ran = reset(&stage, &["--to", "earliest", "--yes"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("replay_state"), "{ran:?}");
    assert_eq!(committed(&stage), 2);
    let key = stage.path("states.key").display().to_string();
    let signing = format!("keys.signing={key}");
    let ran = reset(&stage, &["--set", &signing, "--to", "earliest", "--yes"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(listen(&stage, 2).await, [0, 1]);
}

#[tokio::test]
async fn the_copies_in_the_state_folder_go_and_one_that_is_in_use_stops_it() {
    let stage = Stage::set().await;
    heard(&stage, 2).await;
    let folder = stage.path("state");
    let copy = folder.join("replay").join(TOPIC).join("0");
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    std::fs::write(&copy, "a copy").unwrap();
    let held = std::fs::File::create(folder.join("lock")).unwrap();
    held.lock().unwrap();
    let setting = format!("node.state_dir={}", folder.display());
    let args = ["--set", &setting, "--to", "earliest", "--yes"];
    let ran = reset(&stage, &args).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(committed(&stage), 2);
    assert!(copy.exists());
    drop(held);
    let ran = reset(&stage, &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!copy.exists());
    assert_eq!(committed(&stage), 0);
}
