//! Name and password for SASL, given by environment.

mod stage;

use cybermesh_devbroker::ServerSasl;
use stage::{Stage, binary, run};

const DRAFT: &str = r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{"n": 1}}"#;

const NAME: [(&str, &str); 2] = [
    ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),
    ("KAFKA_SASL_USERNAME", "node-1"),
];

#[test]
fn config_says_that_a_password_is_set_and_not_which() {
    let row = |set: &[(&str, &str)]| {
        let mut command = binary();
        command.arg("config").envs(set.iter().copied());
        let ran = run(command, "");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        let mut lines = ran.stdout.lines();
        let line = lines.find(|line| line.starts_with("KAFKA_SASL_PASSWORD "));
        let words = line.unwrap().split_whitespace().collect::<Vec<_>>();
        words[..2].join(" ")
    };
    assert_eq!(row(&[]), "KAFKA_SASL_PASSWORD unset");
    let set = [&NAME[..], &[("KAFKA_SASL_PASSWORD", "hunter2")]].concat();
    assert_eq!(row(&set), "KAFKA_SASL_PASSWORD set");
}

#[tokio::test]
async fn a_name_and_a_password_let_a_message_out_and_a_wrong_one_is_exit_code_3() {
    let stage = Stage::set().await;
    let sasl = ServerSasl::new().scram_sha_256("node-1", "hunter2");
    stage.broker.set_sasl(sasl);
    let send = async |password: &str| {
        let mut command = stage.command(&["send", "anomaly"]);
        command.envs(NAME).env("KAFKA_SASL_PASSWORD", password);
        stage.run_command(command, DRAFT).await
    };
    let sent = send("hunter2").await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.json()[0]["result"], "logged");

    let refused = send("hunter3").await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stderr.contains("refused the credentials"),
        "{refused:?}"
    );
    assert!(!refused.stderr.contains("hunter3"), "{refused:?}");
    assert_eq!(stage.broker.log("ai.anomalies.v1").len(), 1);
}
