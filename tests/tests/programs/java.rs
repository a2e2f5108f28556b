//! Kafka's own tools and console clients.

use tokio::process::Command;

use crate::support::{World, handed_in, run};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";

/// Runs one of Kafka's tools, which take their settings by `--command-config`.
async fn tool(world: &World, class: &str, args: &str) -> String {
    let mut command = java(world, class);
    command.arg("--command-config").arg(world.java_settings());
    command.args(args.split_whitespace());
    run(command, "").await
}

async fn produce(world: &World, topic: &str, lines: &[String]) {
    let mut command = java(world, "org.apache.kafka.tools.ConsoleProducer");
    command.arg("--producer.config").arg(world.java_settings());
    command.args(["--topic", topic, "--property", "parse.key=true"]);
    run(command, &format!("{}\n", lines.join("\n"))).await;
}

/// Reads so many records; sorted, as partitions are read in no certain order.
async fn consume(world: &World, topic: &str, records: usize, more: &str) -> Vec<String> {
    let mut command = java(world, "org.apache.kafka.tools.consumer.ConsoleConsumer");
    command.arg("--consumer.config").arg(world.java_settings());
    command.args(["--topic", topic, "--from-beginning"]);
    command.args(["--property", "print.key=true"]);
    command.args(["--timeout-ms", "60000", "--max-messages"]);
    command.arg(records.to_string());
    command.args(more.split_whitespace());
    let output = run(command, "").await;
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn java(world: &World, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-cp", &format!("{}/*", handed_in("TESTS_KAFKA_JARS"))])
        .arg(class)
        .args(["--bootstrap-server", &world.broker.bootstrap()]);
    command
}

fn lines() -> Vec<String> {
    (0..50)
        .map(|index| format!("k{index:02}\tv{index}"))
        .collect()
}

/// Makes two tests of each: over plaintext, and over mutual TLS.
macro_rules! spoken_both_ways {
    ($($body:ident),* $(,)?) => {
        mod plaintext {
            mod devbroker {
                use crate::support::{Speech, World};
                $(
                    #[tokio::test]
                    #[ignore = "needs Kafka's programs, which `cargo xtask test` brings"]
                    async fn $body() {
                        crate::java::$body(World::new(Speech::Plaintext).await).await;
                    }
                )*
            }
        }
        mod mutual_tls {
            mod devbroker {
                use crate::support::{Speech, World};
                $(
                    #[tokio::test]
                    #[ignore = "needs Kafka's programs, which `cargo xtask test` brings"]
                    async fn $body() {
                        crate::java::$body(World::new(Speech::MutualTls).await).await;
                    }
                )*
            }
        }
    };
}

spoken_both_ways! {
    kafka_topics_creates_lists_describes_grows_and_deletes,
    kafka_configs_changes_a_setting_and_gives_it_back,
    the_console_consumer_reads_what_the_console_producer_wrote,
    kafka_consumer_groups_lists_describes_resets_and_deletes,
}

async fn kafka_topics_creates_lists_describes_grows_and_deletes(world: World) {
    tool(
        &world,
        TOPICS,
        "--create --topic made --partitions 3 --replication-factor 2 --config retention.ms=5000",
    )
    .await;
    assert_eq!(tool(&world, TOPICS, "--list").await.trim(), "made");
    let described = tool(&world, TOPICS, "--describe --topic made").await;
    assert!(described.contains("PartitionCount: 3"), "{described}");
    assert!(described.contains("ReplicationFactor: 2"), "{described}");
    assert!(described.contains("retention.ms=5000"), "{described}");
    tool(&world, TOPICS, "--alter --topic made --partitions 5").await;
    let described = tool(&world, TOPICS, "--describe --topic made").await;
    assert!(described.contains("PartitionCount: 5"), "{described}");
    tool(&world, TOPICS, "--delete --topic made").await;
    assert!(world.broker.topics().is_empty());
}

async fn kafka_configs_changes_a_setting_and_gives_it_back(world: World) {
    tool(&world, TOPICS, "--create --topic t --partitions 1").await;
    let entity = "--entity-type topics --entity-name t";
    let change = format!("--alter {entity} --add-config max.message.bytes=2000");
    tool(&world, CONFIGS, &change).await;
    let told = tool(&world, CONFIGS, &format!("--describe {entity}")).await;
    assert!(told.contains("max.message.bytes=2000"), "{told}");
    let back = format!("--alter {entity} --delete-config max.message.bytes");
    tool(&world, CONFIGS, &back).await;
    let told = tool(&world, CONFIGS, &format!("--describe {entity}")).await;
    assert!(!told.contains("max.message.bytes=2000"), "{told}");
}

async fn the_console_consumer_reads_what_the_console_producer_wrote(world: World) {
    tool(&world, TOPICS, "--create --topic t --partitions 3").await;
    produce(&world, "t", &lines()).await;
    assert_eq!(world.broker.log("t").len(), 50);
    assert_eq!(consume(&world, "t", 50, "").await, lines());
}

async fn kafka_consumer_groups_lists_describes_resets_and_deletes(world: World) {
    tool(&world, TOPICS, "--create --topic t --partitions 3").await;
    produce(&world, "t", &lines()).await;
    assert_eq!(consume(&world, "t", 50, "--group g").await, lines());
    assert_eq!(tool(&world, GROUPS, "--list").await.trim(), "g");
    let described = tool(&world, GROUPS, "--describe --group g").await;
    let lag: Vec<&str> = described
        .lines()
        .filter(|line| line.starts_with('g'))
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    assert_eq!(lag, ["0", "0", "0"], "{described}");
    let reset = "--reset-offsets --to-earliest --all-topics --group g --execute";
    tool(&world, GROUPS, reset).await;
    let committed = (0..3).map(|p| world.broker.committed("g", "t", p).map(|c| c.offset));
    assert_eq!(committed.collect::<Vec<_>>(), [Some(0); 3]);
    assert_eq!(consume(&world, "t", 50, "--group g").await, lines());
    tool(&world, GROUPS, "--delete --group g").await;
    assert!(world.broker.group("g").is_none());
}
