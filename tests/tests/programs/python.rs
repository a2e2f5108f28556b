//! librdkafka, by way of Python's confluent-kafka.

use tokio::process::Command;

use crate::support::{World, handed_in, run};

/// What the script prints when it has come through.
const DONE: &str = "all is well";

async fn come_through(world: &World) {
    let mut command = Command::new(handed_in("TESTS_PYTHON"));
    command
        .args(["-c", include_str!("librdkafka.py")])
        .args(world.librdkafka_settings());
    let output = run(command, "").await;
    assert_eq!(output.trim(), DONE);
    assert_eq!(world.broker.topics(), Vec::<String>::new());
}

mod devbroker {
    use super::*;
    use crate::support::Speech;

    #[tokio::test]
    #[ignore = "needs Python's confluent-kafka, which `cargo xtask test` brings"]
    async fn librdkafka_creates_produces_consumes_in_a_group_and_deletes() {
        come_through(&World::new(Speech::Plaintext).await).await;
    }

    #[tokio::test]
    #[ignore = "needs Python's confluent-kafka, which `cargo xtask test` brings"]
    async fn librdkafka_does_the_same_over_mutual_tls() {
        come_through(&World::new(Speech::MutualTls).await).await;
    }
}
