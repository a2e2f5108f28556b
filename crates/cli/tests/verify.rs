//! `verify`: the contract's vectors through the binary, and what is no message.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::fmt::Write as _;

use serde_json::{Value, json};
use stage::{Ran, binary, run};
use tempfile::TempDir;

const VECTORS: &str = include_str!("../../contracts/tests/data/contracts.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

/// A store that trusts the vectors' keys as their description says.
fn trust(rule: &str) -> String {
    let mut store = "version = 1\n".to_owned();
    for (name, key) in vectors()["keys"].as_object().unwrap() {
        let rights = if name == "ai_node" {
            r#"["anomaly", "evidence", "policy"]"#
        } else if key["trusted_by_ai"] == true {
            r#"["commit", "reputation", "policy_update", "evidence_request"]"#
        } else {
            continue;
        };
        let public = key["public_hex"].as_str().unwrap();
        writeln!(
            store,
            "[[key]]\nid = \"{name}\"\npublic_key = \"{public}\"\nmay_sign = {rights}\nenvelope = \"{rule}\""
        )
        .unwrap();
    }
    store
}

fn verify(rule: &str, args: &[&str], input: &str) -> Ran {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("trust.toml");
    std::fs::write(&store, trust(rule)).unwrap();
    let mut command = binary();
    command.arg("verify").arg("--trust").arg(&store).args(args);
    run(command, input)
}

fn cases() -> Vec<Value> {
    let vectors = vectors();
    let of = |name: &str| vectors[name].as_array().unwrap().clone();
    // The one that is judged at another time is judged by the crate's own tests.
    [of("vectors"), of("mutations")]
        .concat()
        .into_iter()
        .filter(|case| case.get("now_ms").is_none())
        .collect()
}

#[test]
fn every_vector_gets_its_verdict_in_order() {
    let cases = cases();
    assert!(cases.len() > 30);
    let input: String = cases
        .iter()
        .map(|case| {
            format!("{}\n", json!({"kind": case["kind"], "topic": case["topic"], "key": null, "value": case["wire_hex"], "headers": []}))
        })
        .collect();
    let now = vectors()["clock"]["now_ms"].to_string();
    let accepting = verify("accept", &["--now", &now], &input);
    let requiring = verify("accept", &["--now", &now, "--envelope", "required"], &input);
    assert_eq!(
        (accepting.code, requiring.code),
        (Some(1), Some(1)),
        "{accepting:?}"
    );
    let (accepting, requiring) = (accepting.json(), requiring.json());
    assert_eq!(
        (accepting.len(), requiring.len()),
        (cases.len(), cases.len())
    );
    for ((case, accepting), requiring) in cases.iter().zip(accepting).zip(requiring) {
        let wanted = if case["expect"] == "reject" {
            "reject"
        } else {
            "accept"
        };
        assert_eq!(
            accepting["verdict"], wanted,
            "{}: {accepting}",
            case["name"]
        );
        if wanted == "accept" {
            assert_eq!(accepting["envelope"], "absent");
            assert_eq!(
                requiring["disposition"], "envelope-missing",
                "{}",
                case["name"]
            );
        }
        assert_eq!(requiring["verdict"], "reject", "{}", case["name"]);
    }
}

#[test]
fn what_is_no_record_is_an_error_line_and_the_next_one_is_judged() {
    let good = &cases()[0];
    let record =
        json!({"topic": "ai.anomalies.v1", "key": null, "value": good["wire_hex"], "headers": []});
    let input = format!(
        "{record}\nnot json\n{{\"topic\":\"elsewhere\",\"value\":\"00\"}}\n{{\"kind\":\"anomaly\",\"value\":\"0\"}}\n{record}\n"
    );
    let ran = verify("accept", &[], &input);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let lines = ran.json();
    let verdicts: Vec<_> = lines
        .iter()
        .map(|line| line["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["accept", "error", "error", "error", "accept"]);
    assert_eq!(lines[2]["line"], 3);
}

#[test]
fn a_null_value_is_rejected_as_no_message() {
    let ran = verify(
        "accept",
        &[],
        r#"{"kind":"commit","key":null,"value":null,"headers":[]}"#,
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.json()[0]["disposition"], "decode");
    assert_eq!(ran.json()[0]["claimed"], Value::Null);
}

#[test]
fn a_message_older_than_what_topics_keep_is_stale() {
    let good = &cases()[0];
    let record = json!({"kind": "anomaly", "key": null, "value": good["wire_hex"], "headers": []});
    let now = vectors()["clock"]["now_ms"].as_u64().unwrap() + 8 * 24 * 3_600_000;
    let ran = verify("accept", &["--now", &now.to_string()], &record.to_string());
    assert_eq!(ran.json()[0]["disposition"], "stale", "{ran:?}");
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_trust_store_that_does_not_parse_is_named() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("trust.toml");
    std::fs::write(&store, "version = 1\n[[key]]\nid = 3\n").unwrap();
    let mut command = binary();
    command.arg("verify").arg("--trust").arg(&store);
    let ran = run(command, "");
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.starts_with("error: ") && ran.stderr.contains("trust.toml"),
        "{ran:?}"
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}
