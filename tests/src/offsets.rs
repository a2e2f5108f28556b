//! What a group has committed, by a word other than our client's.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::cluster::Broker;
use crate::console;
use crate::stage::Stage;

/// Longer than a commit takes to follow, on a busy machine too.
const COMMITTED_WITHIN: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(50);

impl Stage {
    /// Waits until `group` has committed the first partition of `topic` up to `offset`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_committed(&self, group: &str, topic: &str, offset: i64) {
        let reached = async {
            while self
                .committed(group, topic, 1)
                .await
                .iter()
                .all(|(_, committed)| *committed < offset)
            {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::time::timeout(COMMITTED_WITHIN, reached)
            .await
            .expect("the commit follows");
    }

    /// The committed offset of each partition of `topic` that `group` has committed.
    ///
    /// # Panics
    /// When it cannot be asked for.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<(i32, i64)> {
        match self.cluster().broker() {
            Broker::Devbroker(broker) => (0..partitions)
                .filter_map(|partition| {
                    Some((partition, broker.committed(group, topic, partition)?.offset))
                })
                .collect(),
            Broker::Kafka(kafka) => {
                let output = Command::new("java")
                    .args([
                        "-Xmx128m",
                        "-XX:+UseSerialGC",
                        "-cp",
                        &format!("{}/*", kafka.jars.display()),
                    ])
                    .args([
                        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                        "--describe",
                        "--offsets",
                    ])
                    .args([
                        "--bootstrap-server",
                        self.cluster().bootstrap(),
                        "--group",
                        group,
                        "--command-config",
                    ])
                    .arg(console::properties(self))
                    .stdin(Stdio::null())
                    .kill_on_drop(true)
                    .output()
                    .await
                    .expect("java");
                let text = String::from_utf8_lossy(&output.stdout);
                let complaint = String::from_utf8_lossy(&output.stderr);
                assert!(
                    output.status.success(),
                    "describing {group}: {text}{complaint}"
                );
                text.lines()
                    .filter_map(|line| described(line, topic))
                    .collect()
            }
        }
    }
}

/// `GROUP TOPIC PARTITION CURRENT-OFFSET …`, with `-` where nothing is committed.
fn described(line: &str, topic: &str) -> Option<(i32, i64)> {
    let mut words = line.split_whitespace().skip(1);
    if words.next() != Some(topic) {
        return None;
    }
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::described;

    #[test]
    fn a_line_about_the_topic_gives_partition_and_offset() {
        assert_eq!(described("g  t  2  17  20  3  - - -", "t"), Some((2, 17)));
    }

    #[test]
    fn other_lines_give_nothing() {
        for line in [
            "GROUP TOPIC PARTITION CURRENT-OFFSET",
            "g other 0 1 1 0",
            "g t 0 - 4 -",
            "",
        ] {
            assert_eq!(described(line, "t"), None, "{line}");
        }
    }
}
