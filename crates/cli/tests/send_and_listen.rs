//! `send` and `listen` over a broker with mutual TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use serde_json::{Value, json};
use stage::Stage;

const DRAFTS: &str = concat!(
    r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{"n": 1}}"#,
    "\n",
    r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","paylaod":{"n": 2}}"#,
    "\n\n",
    r#"{"type":"scan","source":"edge","severity":3,"confidence":1,"model_version":"v1","payload":{"n": 3}}"#,
    "\n",
);

fn payload(line: &Value) -> Value {
    let hex = line["payload"].as_str().unwrap();
    serde_json::from_slice(&hex::decode(hex).unwrap()).unwrap()
}

#[tokio::test]
async fn every_draft_has_a_receipt_and_what_was_logged_is_heard() {
    let stage = Stage::set().await;
    let sent = stage.run(&["send", "anomaly"], DRAFTS).await;
    assert_eq!(sent.code, Some(1), "{sent:?}");
    let receipts = sent.json();
    let at = |offset: i64, line: u64| json!({"line": line, "result": "logged", "topic": "ai.anomalies.v1", "partition": 0, "offset": offset, "reason": null});
    assert_eq!(receipts[0], at(0, 1));
    assert_eq!(receipts[1]["line"], 2);
    assert_eq!(receipts[1]["result"], "invalid");
    assert!(
        receipts[1]["reason"]
            .as_str()
            .unwrap()
            .contains("\"paylaod\"")
    );
    assert_eq!(receipts[2], at(1, 4));

    let heard = stage
        .run(&["listen", "--kind", "anomaly", "--count", "2"], "")
        .await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    let lines = heard.json();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["topic"], "ai.anomalies.v1");
    assert_eq!(
        (&lines[0]["partition"], &lines[0]["offset"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(lines[0]["signer"], "node-1");
    assert_eq!(payload(&lines[0])["n"], 1);
    assert_eq!(payload(&lines[1])["n"], 3);
    assert_eq!(stage.broker.log("ai.dlq").values(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_group_goes_on_where_it_stopped_and_buries_what_does_not_verify() {
    let stage = Stage::set().await;
    let three = DRAFTS.lines().next().unwrap().to_owned() + "\n";
    assert_eq!(
        stage.run(&["send", "anomaly"], &three.repeat(3)).await.code,
        Some(0)
    );
    stage.keygen(&["--name", "stranger"]);
    let trust = std::fs::read_to_string(stage.path("trust.toml")).unwrap();
    let known = trust
        .split("[[key]]\nid = \"stranger\"")
        .next()
        .unwrap()
        .to_owned();
    std::fs::write(stage.path("trust.toml"), known).unwrap();
    let key = stage.path("stranger.key");
    let forged = ["send", "anomaly", "--key", key.to_str().unwrap()];
    assert_eq!(stage.run(&forged, &three).await.code, Some(0));
    assert_eq!(stage.run(&["send", "anomaly"], &three).await.code, Some(0));

    let group = |count: &'static str| {
        [
            "listen", "--kind", "anomaly", "--group", "g", "--count", count,
        ]
    };
    let first = stage.run(&group("2"), "").await;
    assert_eq!(first.code, Some(0), "{first:?}");
    let offsets = |ran: &stage::Ran| -> Vec<i64> {
        ran.json()
            .iter()
            .map(|line| line["offset"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(offsets(&first), [0, 1]);
    let rest = stage.run(&group("2"), "").await;
    assert_eq!(rest.code, Some(0), "{rest:?}");
    assert_eq!(offsets(&rest), [2, 4]);
    let letters = stage.broker.log("ai.dlq").values();
    assert_eq!(letters.len(), 1);
    let letter: Value = serde_json::from_slice(&letters[0]).unwrap();
    assert_eq!(letter["disposition"], "unknown-key");
    assert_eq!(letter["offset"], 3);
}

#[tokio::test]
async fn without_a_group_what_is_rejected_is_told_and_nothing_is_written() {
    let stage = Stage::set().await;
    let one = DRAFTS.lines().next().unwrap().to_owned() + "\n";
    assert_eq!(stage.run(&["send", "anomaly"], &one).await.code, Some(0));
    // Another environment's receiver: the envelope is not meant for it.
    let mut foreign = stage.command(&["send", "anomaly"]);
    foreign.env("CYBERMESH_AUDIENCE", "staging");
    assert_eq!(stage.run_command(foreign, &one).await.code, Some(0));
    assert_eq!(stage.run(&["send", "anomaly"], &one).await.code, Some(0));
    let heard = stage.run(&["listen", "--count", "2"], "").await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    assert_eq!(heard.json().len(), 2);
    assert!(
        heard
            .stderr
            .contains("ai.anomalies.v1[0]@1: envelope-invalid"),
        "{heard:?}"
    );
    assert_eq!(stage.broker.log("ai.dlq").values(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn every_control_kind_is_sent_by_a_backend_key_and_heard() {
    let stage = Stage::set().await;
    stage.keygen(&["--name", "backend-1", "--role", "backend"]);
    let hash = "ab".repeat(32);
    let id = "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d";
    for (kind, draft) in [
        (
            "commit",
            json!({"height": 1, "block_hash": hash, "state_root": hash}),
        ),
        (
            "reputation",
            json!({"ai_message_id": id, "ai_producer_id": hash, "message_type": "anomaly", "score": -5}),
        ),
        (
            "policy_update",
            json!({"action": "add", "rule_type": "block", "rule_data": {"cidr": "192.0.2.0/24"}}),
        ),
        (
            "evidence_request",
            json!({"request_type": "challenge", "challenge_data": "00ff"}),
        ),
    ] {
        let key = stage.path("backend-1.key");
        let args = ["send", kind, "--key", key.to_str().unwrap()];
        let sent = stage.run(&args, &draft.to_string()).await;
        assert_eq!(sent.code, Some(0), "{kind}: {sent:?}");
        let heard = stage
            .run(&["listen", "--kind", kind, "--count", "1"], "")
            .await;
        assert_eq!(heard.code, Some(0), "{kind}: {heard:?}");
        assert_eq!(heard.json()[0]["kind"], kind);
        assert_eq!(heard.json()[0]["signer"], "backend-1");
    }
}

#[tokio::test]
async fn drafts_are_logged_in_the_order_of_their_lines() {
    let stage = Stage::set().await;
    let line = DRAFTS.lines().next().unwrap();
    let drafts: String = (0..300)
        .map(|n| line.replace("{\"n\": 1}", &format!("{{\"n\": {n}}}")) + "\n")
        .collect();
    let sent = stage.run(&["send", "anomaly"], &drafts).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let offsets: Vec<i64> = sent
        .json()
        .iter()
        .map(|receipt| receipt["offset"].as_i64().unwrap())
        .collect();
    assert_eq!(offsets, (0..300).collect::<Vec<_>>());
    let heard = stage
        .run(&["listen", "--kind", "anomaly", "--count", "300"], "")
        .await;
    let order: Vec<i64> = heard
        .json()
        .iter()
        .map(|line| payload(line)["n"].as_i64().unwrap())
        .collect();
    assert_eq!(order, (0..300).collect::<Vec<_>>());
}
