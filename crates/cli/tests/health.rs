//! What a probe learns from `health`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::net::SocketAddr;

use cybermesh_bridge::telemetry::{Condition, Health, OpsServer};
use stage::{Ran, binary, run};

async fn server(health: &Health) -> OpsServer {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    OpsServer::start(any, None, health.clone()).await.unwrap()
}

async fn ask(address: SocketAddr, arguments: &'static [&str]) -> Ran {
    let asking = move || {
        let mut command = binary();
        command.arg("health").args(arguments);
        command.env("CYBERMESH_LISTEN", address.to_string());
        run(command, "")
    };
    tokio::task::spawn_blocking(asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_process_answers_0_and_an_unready_one_1_with_its_reasons() {
    let health = Health::new();
    let server = server(&health).await;
    let ready = ask(server.address(), &[]).await;
    assert_eq!((ready.code, ready.stdout.trim()), (Some(0), "ready"));
    health.raise(Condition::BreakerOpen, "the cluster does not answer");
    let unready = ask(server.address(), &[]).await;
    assert_eq!(unready.code, Some(1), "{unready:?}");
    assert!(
        unready
            .stderr
            .contains("breaker-open: the cluster does not answer"),
        "{unready:?}"
    );
    let alive = ask(server.address(), &["--live"]).await;
    assert_eq!((alive.code, alive.stdout.trim()), (Some(0), "alive"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_it_is_3_and_where_nothing_is_to_ask_2() {
    let server = server(&Health::new()).await;
    let address = server.address();
    server.stop().await;
    assert_eq!(ask(address, &[]).await.code, Some(3));
    let mut command = binary();
    command.arg("health");
    let unset = run(command, "");
    assert_eq!(unset.code, Some(2), "{unset:?}");
    assert!(unset.stderr.contains("CYBERMESH_LISTEN"), "{unset:?}");
}
