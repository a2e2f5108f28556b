//! Reads a topic with Kafka's own console consumer, over mutual TLS.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::cluster::{Broker, Cluster};

/// A record as the console consumer prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedRecord {
    /// Name and value of each header, in order.
    pub headers: Vec<(String, String)>,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

impl PrintedRecord {
    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The first `count` records of `topic`.
///
/// # Panics
/// When the stage is not over Apache Kafka, or the consumer fails or finds fewer.
pub async fn read(cluster: &Cluster, dir: &Path, topic: &str, count: usize) -> Vec<PrintedRecord> {
    let Broker::Kafka(kafka) = cluster.broker() else {
        panic!("the console consumer needs Apache Kafka")
    };
    let properties = dir.join("console.properties");
    let text = format!(
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\n\
         ssl.truststore.location={}\n",
        kafka.keystore.display(),
        cluster.tls().ca.display()
    );
    std::fs::write(&properties, text).expect("the console consumer's properties");
    let separators = [
        "print.headers=true",
        "print.key=true",
        "headers.separator=\u{1f}",
        "key.separator=\u{1e}",
        "line.separator=\u{1d}",
    ];
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-cp",
            &format!("{}/*", kafka.jars.display()),
        ])
        .args([
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            "--bootstrap-server",
            cluster.bootstrap(),
        ])
        .args([
            "--topic",
            topic,
            "--from-beginning",
            "--max-messages",
            &count.to_string(),
            "--timeout-ms",
            "60000",
        ])
        .arg("--consumer.config")
        .arg(&properties)
        .args(
            separators
                .iter()
                .flat_map(|property| ["--property", property]),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.expect("java");
    let text = String::from_utf8_lossy(&output.stdout);
    let records: Vec<_> = text
        .split('\u{1d}')
        .filter(|record| !record.is_empty())
        .map(parse)
        .collect();
    assert!(
        output.status.success() && records.len() == count,
        "the console consumer read {} of {count} records: {}",
        records.len(),
        String::from_utf8_lossy(&output.stderr)
    );
    records
}

/// `name:value␟name:value␞key␞value`, or `NO_HEADERS␞…`.
fn parse(record: &str) -> PrintedRecord {
    let mut parts = record.splitn(3, '\u{1e}');
    let headers = parts.next().unwrap_or_default();
    let headers = headers
        .split('\u{1f}')
        .filter_map(|header| header.split_once(':'));
    PrintedRecord {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        key: parts.next().unwrap_or_default().to_owned(),
        value: parts.next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_key_and_value_are_told_apart() {
        let record =
            parse("dlq.format:json\u{1f}dlq.reason:a: b\u{1e}group/topic/0/1\u{1e}{\"x\": 1}");
        assert_eq!(record.header("dlq.reason"), Some("a: b"));
        assert_eq!(record.key, "group/topic/0/1");
        assert_eq!(record.value, "{\"x\": 1}");
    }

    #[test]
    fn a_record_without_headers_has_none() {
        assert!(parse("NO_HEADERS\u{1e}k\u{1e}v").headers.is_empty());
    }
}
