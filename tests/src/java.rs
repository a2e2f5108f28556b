//! Kafka's own programs: its console producer, a console consumer that shares a group, and what
//! its tool says of a group.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::Broker;
use crate::console::{self, properties};
use crate::log::LoggedRecord;
use crate::stage::Stage;

/// One of Kafka's programs; killed when dropped.
///
/// # Panics
/// When the stage is not over Apache Kafka.
pub(crate) fn java(stage: &Stage, class: &str) -> Command {
    let Broker::Kafka(kafka) = stage.cluster().broker() else {
        panic!("Kafka's programs need Apache Kafka");
    };
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-cp"])
        .arg(format!("{}/*", kafka.jars.display()))
        .arg(class)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// One of the programs in `java/`, with its arguments after the file of properties that lets it in; killed when dropped.
///
/// # Panics
/// When the stage is not over Apache Kafka.
pub fn program(stage: &Stage, name: &str, arguments: &[&str]) -> Command {
    program_with(stage, &properties(stage), name, arguments)
}

/// The same with a file of properties of the caller's.
fn program_with(stage: &Stage, properties: &Path, name: &str, arguments: &[&str]) -> Command {
    let source = format!("{}/java/{name}.java", env!("CARGO_MANIFEST_DIR"));
    let mut command = java(stage, &source);
    command.arg(properties).args(arguments);
    command
}

/// Changes configurations of brokers 1 to 3 while they run: `NAME=VALUE` sets one, `NAME` sets it back. `properties` let
/// in whoever asks for it.
///
/// # Panics
/// When they do not take them over.
pub async fn configure_brokers(stage: &Stage, properties: &Path, changes: &[&str]) {
    let arguments: Vec<_> = ["1,2,3"].iter().chain(changes).copied().collect();
    let mut program = program_with(stage, properties, "ConfigureBrokers", &arguments);
    succeeded(&program.output().await.expect("java"));
}

fn succeeded(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a program of `java/` to its end; what it printed.
///
/// # Panics
/// When it does not succeed.
pub async fn run_program(stage: &Stage, name: &str, arguments: &[&str]) -> String {
    let output = program(stage, name, arguments)
        .output()
        .await
        .expect("java");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// What stands for null in the lines of [`produce`].
pub const NULL: &str = "<null>";

/// Has Kafka's console producer write `lines` to `topic`, each `name:value,name:value` TAB key TAB
/// value, with [`NULL`] for null.
///
/// # Panics
/// When it does not succeed.
pub async fn produce(stage: &Stage, topic: &str, codec: &str, lines: &[String]) {
    let mut producer = java(stage, "org.apache.kafka.tools.ConsoleProducer");
    producer
        .args(["--bootstrap-server", stage.cluster().bootstrap()])
        .args(["--topic", topic, "--compression-codec", codec, "--sync"])
        .arg("--producer.config")
        .arg(properties(stage))
        .args(["--property", "parse.key=true"])
        .args(["--property", "parse.headers=true"])
        .args(["--property", &format!("null.marker={NULL}")])
        .stdin(Stdio::piped());
    let mut producer = producer.spawn().expect("java");
    let mut stdin = producer.stdin.take().expect("its standard input");
    for line in lines {
        stdin.write_all(line.as_bytes()).await.expect("its input");
        stdin.write_all(b"\n").await.expect("its input");
    }
    drop(stdin);
    let output = producer.wait_with_output().await.expect("its end");
    let complaint = String::from_utf8_lossy(&output.stderr);
    // It ends with success, whatever became of the records.
    assert!(
        output.status.success() && !complaint.contains("ERROR"),
        "the console producer: {complaint}"
    );
}

/// A console consumer that is a member of a group, and begins with the oldest record where nothing is committed.
#[derive(Debug)]
pub struct GroupMember {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl GroupMember {
    /// Has it join `group` by the assignors of these names, which are of Kafka's own classes, with commas.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn join_by(stage: &Stage, group: &str, topic: &str, assignors: &str) -> Self {
        let classes = assignors.split(',');
        let classes = classes.map(|name| format!("org.apache.kafka.clients.consumer.{name}"));
        let assignor = classes.collect::<Vec<_>>().join(",");
        let assignor = format!("partition.assignment.strategy={assignor}");
        Self::join_with(
            stage,
            group,
            topic,
            &[&assignor, "heartbeat.interval.ms=500"],
        )
    }

    /// Has it join `group` as one that its coordinator divides (KIP-848).
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn join_divided(stage: &Stage, group: &str, topic: &str) -> Self {
        Self::join_with(stage, group, topic, &["group.protocol=consumer"])
    }

    fn join_with(stage: &Stage, group: &str, topic: &str, properties: &[&str]) -> Self {
        let properties = properties
            .iter()
            .flat_map(|property| ["--consumer-property", *property]);
        let mut process = console::command(stage, topic)
            .args(["--group", group])
            .args(properties)
            // Nobody reads it, and a full pipe would hold it up.
            .stderr(Stdio::null())
            .spawn()
            .expect("java");
        let stdout = process.stdout.take().expect("its standard output");
        Self {
            process,
            stdout: BufReader::new(stdout),
        }
    }

    /// The next record it was given. Not to be cancelled.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn next(&mut self) -> LoggedRecord {
        let record = console::next_record(&mut self.stdout).await;
        record.expect("the console consumer has ended")
    }

    /// Has it commit and leave; what it was given before that.
    ///
    /// # Panics
    /// When it does not.
    pub async fn leave(mut self) -> Vec<LoggedRecord> {
        let id = self.process.id().expect("it runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(told.expect("kill").success());
        let mut rest = Vec::new();
        while let Some(record) = console::next_record(&mut self.stdout).await {
            rest.push(record);
        }
        self.process.wait().await.expect("its end");
        rest
    }
}

/// What Kafka's tool says of a group: assignment strategy, state and number of members.
///
/// # Panics
/// When it cannot be asked.
pub async fn group_state(stage: &Stage, group: &str) -> [String; 3] {
    let [_, strategy, state, members] = describe(stage, group).await;
    [strategy, state, members]
}

/// The id of the broker that coordinates a group, as Kafka's tool says.
///
/// # Panics
/// When it cannot be asked.
pub async fn coordinator(stage: &Stage, group: &str) -> i32 {
    let [id, ..] = describe(stage, group).await;
    let id = id.strip_prefix('(').and_then(|id| id.strip_suffix(')'));
    id.and_then(|id| id.parse().ok()).expect("a broker's id")
}

/// The last words of the tool's line: `(coordinator's id) strategy state members`.
async fn describe(stage: &Stage, group: &str) -> [String; 4] {
    let output = java(
        stage,
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    )
    .args(["--describe", "--state", "--group", group])
    .args(["--bootstrap-server", stage.cluster().bootstrap()])
    .arg("--command-config")
    .arg(properties(stage))
    .output()
    .await
    .expect("java");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text
        .lines()
        .find(|line| line.starts_with(group))
        .map(|line| line.split_whitespace().rev().take(4).collect::<Vec<_>>());
    match words.as_deref() {
        Some([members, state, strategy, id]) => {
            [id, strategy, state, members].map(|word| (*word).to_owned())
        }
        _ => panic!(
            "describing {group}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Has each partition led by the replica that is to lead it where all are well.
///
/// # Panics
/// When the controller refuses.
pub async fn elect_preferred_leaders(stage: &Stage) {
    let output = java(stage, "org.apache.kafka.tools.LeaderElectionCommand")
        .args(["--election-type", "preferred", "--all-topic-partitions"])
        .args(["--bootstrap-server", stage.cluster().bootstrap()])
        .arg("--admin.config")
        .arg(properties(stage))
        .output()
        .await
        .expect("java");
    succeeded(&output);
}
