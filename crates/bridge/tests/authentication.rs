//! A bridge that says by name, password or token who it is, over a broker that asks for it.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{fs, future::Future, pin::Pin, sync::Arc, time::Duration};

use cybermesh_bridge::{Bridge, bridge::StartError, telemetry::Condition};
use cybermesh_contracts::kind::Kind;
use cybermesh_devbroker::ServerSasl;
use cybermesh_transport::{
    ErrorKind, Sasl,
    error::SaslFailure,
    sasl::{Token, TokenError, TokenSource},
};
use stage::{Stage, anomaly, private, soon};

const STOP: Duration = Duration::from_secs(10);
const PASSWORD: Condition = Condition::ReloadRefused("password");

/// Puts a file in the place of another, whole, as a rotation does.
fn put(path: &std::path::Path, content: &str) {
    let fresh = path.with_extension("fresh");
    private(&fresh, content);
    fs::rename(fresh, path).unwrap();
}

/// A broker that lets in by this password only.
async fn asking(password: &str) -> Stage {
    let stage = Stage::set().await;
    let sasl = ServerSasl::new().scram_sha_512("node-1", password);
    stage.broker.set_sasl(sasl);
    stage
}

fn named(more: [(&'static str, String); 1]) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
        ("sasl.username", "node-1".to_owned()),
    ];
    settings.extend(more);
    settings
}

async fn start(stage: &Stage, more: [(&'static str, String); 1]) -> Result<Bridge, StartError> {
    let settings = named(more);
    let borrowed = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let settings: Vec<_> = borrowed.collect();
    soon(stage.sender(&settings).start()).await
}

fn is_known(stage: &Stage) -> bool {
    let connections = stage.broker.connections();
    connections.iter().all(|one| one.principal == "User:node-1")
}

#[tokio::test]
async fn a_bridge_with_a_name_and_a_password_is_known_by_them_and_sends() {
    let stage = asking("hunter2").await;
    let bridge = start(&stage, [("sasl.password", "hunter2".to_owned())]).await;
    let bridge = bridge.unwrap();
    bridge.publisher().send(anomaly()).await.unwrap();
    assert!(is_known(&stage));
    assert_eq!(stage.broker.log(Kind::Anomaly.default_topic()).len(), 1);
    assert!(!format!("{bridge:?}").contains("hunter2"));
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_bridge_with_a_wrong_password_does_not_start_and_says_why_without_saying_it() {
    let stage = asking("hunter2").await;
    let refused = start(&stage, [("sasl.password", "hunter3".to_owned())]).await;
    let error = refused.unwrap_err();
    let StartError::Connect(cause) = &error else {
        panic!("{error:?}");
    };
    let told = matches!(cause.kind(), ErrorKind::Sasl(SaslFailure::Refused { .. }));
    assert!(told, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter3"));
}

#[tokio::test]
async fn a_password_is_read_again_when_its_file_changes_and_a_bad_file_leaves_the_old_one() {
    let stage = asking("hunter2").await;
    let file = stage.files.path().join("password");
    private(&file, "hunter2\n");
    let path = file.to_str().unwrap().to_owned();
    let bridge = start(&stage, [("sasl.password_file", path)]).await.unwrap();
    bridge.publisher().send(anomaly()).await.unwrap();

    put(&file, "\n");
    bridge.reloader().reload();
    let is_held = || {
        let conditions = bridge.health().conditions();
        conditions.iter().any(|(held, _)| *held == PASSWORD)
    };
    soon(async {
        while !is_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    stage.broker.disconnect_clients().await;
    bridge.publisher().send(anomaly()).await.unwrap();

    put(&file, "the next one\n");
    bridge.reloader().reload();
    soon(async {
        while is_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let sasl = ServerSasl::new().scram_sha_512("node-1", "the next one");
    stage.broker.set_sasl(sasl);
    stage.broker.disconnect_clients().await;
    bridge.publisher().send(anomaly()).await.unwrap();
    assert!(is_known(&stage));
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn files_and_passwords_that_cannot_be_used_are_told_with_everything_else() {
    let stage = asking("hunter2").await;
    let missing = stage.files.path().join("nowhere").display().to_string();
    let error = start(&stage, [("sasl.password_file", missing)]).await;
    let told = error.unwrap_err().to_string();
    assert!(told.contains("KAFKA_SASL_PASSWORD_FILE"), "{told}");
    assert!(told.contains("no such file"), "{told}");
    // A soft hyphen, which SASLprep would leave out.
    let error = start(&stage, [("sasl.password", "hunter2\u{ad}".to_owned())]).await;
    let told = error.unwrap_err().to_string();
    assert!(
        told.contains("SASLprep") && !told.contains("hunter2"),
        "{told}"
    );
}

#[derive(Debug)]
struct Tokens;

impl TokenSource for Tokens {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        Box::pin(async { Ok(Token::new("a.token")) })
    }
}

#[tokio::test]
async fn a_bridge_shows_the_tokens_that_a_program_gives_it() {
    let stage = Stage::set().await;
    let judge = |token: &str| match token {
        "a.token" => Ok("node-1".to_owned()),
        _ => Err("unknown".to_owned()),
    };
    stage.broker.set_sasl(ServerSasl::new().oauth_bearer(judge));
    let bridge = stage.sender(&[]).sasl(Sasl::oauth_bearer(Arc::new(Tokens)));
    let bridge = soon(bridge.start()).await.unwrap();
    bridge.publisher().send(anomaly()).await.unwrap();
    assert!(is_known(&stage));
    bridge.stop(STOP).await;
}
