//! What the binary says to a shell: keys, settings, failures and exit codes.

mod stage;

use serde_json::Value;
use stage::{Stage, binary, mode, run};
use tempfile::TempDir;

#[test]
fn keygen_writes_a_private_pair_once_and_prints_its_entry() {
    let folder = TempDir::new().unwrap();
    let keygen = || {
        let mut command = binary();
        command
            .args(["keygen", "--name", "n", "--out"])
            .arg(folder.path());
        run(command, "")
    };
    let made = keygen();
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout
            .starts_with("[[key]]\nid = \"n\"\npublic_key = \""),
        "{made:?}"
    );
    assert!(
        made.stdout
            .contains(r#"may_sign = ["anomaly", "evidence", "policy"]"#)
    );
    let private = folder.path().join("n.key");
    assert_eq!(mode(&private), 0o600);
    let pem = std::fs::read_to_string(&private).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(
        std::fs::read_to_string(folder.path().join("n.pem"))
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----")
    );
    let again = keygen();
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("never overwritten"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&private).unwrap(), pem);
}

#[test]
fn a_pair_is_made_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("n.pem"), "taken").unwrap();
    let mut command = binary();
    command
        .args(["keygen", "--name", "n", "--out"])
        .arg(folder.path());
    assert_eq!(run(command, "").code, Some(2));
    assert!(!folder.path().join("n.key").exists());
}

#[test]
fn all_wrong_settings_are_told_at_once_a_line_each() {
    let mut command = binary();
    command
        .arg("config")
        .env("KAFKA_LINGER_MS", "soon")
        .env("KAFKA_COMPRESSION", "zip")
        .env("CYBERMESH_ROLE", "client");
    let ran = run(command, "");
    assert_eq!(ran.code, Some(2));
    let lines: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    for name in ["KAFKA_LINGER_MS", "KAFKA_COMPRESSION", "CYBERMESH_ROLE"] {
        assert!(
            lines
                .iter()
                .any(|line| line.contains(name) && line.contains("give ")),
            "{ran:?}"
        );
    }
}

#[test]
fn config_says_where_each_value_came_from_and_warns_of_misspelt_names() {
    let mut command = binary();
    command
        .args(["config", "--set", "kafka.group=ops"])
        .env("KAFKA_BOOTSTRAP_SERVERS", "b1:9093")
        .env("KAFKA_LINGERMS", "5");
    let ran = run(command, "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = |name: &str| {
        let line = ran
            .stdout
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        row("KAFKA_BROKERS"),
        "KAFKA_BROKERS b1:9093 environment KAFKA_BOOTSTRAP_SERVERS"
    );
    assert_eq!(
        row("KAFKA_CONSUMER_GROUP"),
        "KAFKA_CONSUMER_GROUP ops command line"
    );
    assert!(
        ran.stderr.contains("did you mean KAFKA_LINGER_MS?"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_cluster_that_can_not_be_reached_is_exit_code_3_and_one_line() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["send", "anomaly"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    command.env("KAFKA_BROKERS", closed.to_string());
    let ran = stage.run_command(command, "").await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(
        ran.stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        1,
        "{ran:?}"
    );
    assert!(ran.stderr.contains(&closed.to_string()), "{ran:?}");
}

#[tokio::test]
async fn listening_without_a_trust_store_says_what_to_give() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["listen"]);
    command.env_remove("CYBERMESH_TRUST");
    let ran = stage.run_command(command, "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("CYBERMESH_TRUST"), "{ran:?}");
}

#[test]
fn the_demo_ends_well_and_shows_no_progress_in_a_pipe() {
    let mut command = binary();
    command.args(["demo", "--messages", "20", "--json"]);
    let ran = run(command, "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["kinds"].as_array().unwrap().len(), 7);
    let ended: std::collections::BTreeSet<String> = report["special"]
        .as_array()
        .unwrap()
        .iter()
        .map(|special| special["ended"]["disposition"].as_str().unwrap().to_owned())
        .collect();
    let wanted = [
        "attempts-exhausted",
        "decode",
        "duplicate",
        "oversize",
        "replay",
        "signature-invalid",
        "unknown-key",
    ];
    assert_eq!(ended.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn the_version_tells_target_provider_and_processor() {
    let mut command = binary();
    command.arg("--version");
    let ran = run(command, "");
    assert_eq!(ran.code, Some(0));
    for word in ["target: ", "tls provider: ", "cpu features: "] {
        assert!(ran.stdout.contains(word), "{ran:?}");
    }
}

#[test]
fn completions_name_every_subcommand() {
    let mut command = binary();
    command.args(["completions", "bash"]);
    let ran = run(command, "");
    for name in ["demo", "keygen", "send", "listen", "verify", "config"] {
        assert!(ran.stdout.contains(name));
    }
}
