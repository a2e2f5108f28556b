//! Reads a topic with Kafka's own console consumer, over mutual TLS: another implementation's
//! word for what is in the log.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::Broker;
use crate::java::java;
use crate::log::LoggedRecord;
use crate::stage::Stage;

/// Between records, and between the parts of one. The consumer writes the bytes of keys, values and
/// headers escaped, so these stand for nothing else.
const RECORD_END: u8 = 0x1d;
const PART_END: char = '\u{1e}';
const HEADER_END: char = '\u{1f}';

/// Reads `topic` from its beginning until a record is the last one that is wanted.
///
/// # Panics
/// When the stage is not over Apache Kafka, or the consumer ends before that record.
pub async fn read_until(
    stage: &Stage,
    topic: &str,
    mut is_last: impl FnMut(&LoggedRecord) -> bool,
) -> Vec<LoggedRecord> {
    let mut consumer = command(stage, topic)
        .args(["--timeout-ms", "60000"])
        .spawn()
        .expect("java");
    let mut stdout = BufReader::new(consumer.stdout.take().expect("its standard output"));
    let mut records = Vec::new();
    loop {
        let Some(record) = next_record(&mut stdout).await else {
            let mut complaint = String::new();
            if let Some(mut stderr) = consumer.stderr.take() {
                stderr
                    .read_to_string(&mut complaint)
                    .await
                    .expect("its errors");
            }
            panic!(
                "the console consumer ended after {} records of {topic}: {complaint}",
                records.len()
            );
        };
        let last = is_last(&record);
        records.push(record);
        if last {
            // Dropping it kills it.
            return records;
        }
    }
}

/// The next record a console consumer writes; `None` at its end.
///
/// # Panics
/// When it writes something else.
pub(crate) async fn next_record(stdout: &mut (impl AsyncBufRead + Unpin)) -> Option<LoggedRecord> {
    let mut bytes = Vec::new();
    let read = stdout
        .read_until(RECORD_END, &mut bytes)
        .await
        .expect("its output");
    if read == 0 {
        return None;
    }
    bytes.pop();
    let text = std::str::from_utf8(&bytes).expect("escaped text");
    Some(parse(text).unwrap_or_else(|| panic!("the console consumer printed {text:?}")))
}

/// A console consumer that reads `topic` from its beginning, and writes what [`next_record`] reads.
///
/// # Panics
/// When the stage is not over Apache Kafka.
pub(crate) fn command(stage: &Stage, topic: &str) -> Command {
    let bytes = "org.apache.kafka.common.serialization.BytesDeserializer";
    let formatting = [
        "print.partition=true".to_owned(),
        "print.offset=true".to_owned(),
        "print.headers=true".to_owned(),
        "print.key=true".to_owned(),
        format!("key.deserializer={bytes}"),
        format!("value.deserializer={bytes}"),
        format!("headers.deserializer={bytes}"),
        format!("key.separator={PART_END}"),
        format!("headers.separator={HEADER_END}"),
        format!("line.separator={}", char::from(RECORD_END)),
    ];
    let mut command = java(stage, "org.apache.kafka.tools.consumer.ConsoleConsumer");
    command
        .arg("--from-beginning")
        .args([
            "--bootstrap-server",
            stage.cluster().bootstrap(),
            "--topic",
            topic,
        ])
        .arg("--consumer.config")
        .arg(properties(stage))
        .args(
            formatting
                .iter()
                .flat_map(|property| ["--property", property.as_str()]),
        );
    command
}

/// The file that tells Kafka's own programs how to come in.
///
/// # Panics
/// When the stage is not over Apache Kafka, or the file cannot be written.
pub fn properties(stage: &Stage) -> PathBuf {
    let Broker::Kafka(kafka) = stage.cluster().broker() else {
        panic!("Kafka's programs need Apache Kafka");
    };
    properties_with(stage, &kafka.keystore, &stage.cluster().tls().ca)
}

/// The same with a certificate and authorities of the caller's.
///
/// # Panics
/// When the file cannot be written.
pub fn properties_with(stage: &Stage, keystore: &Path, truststore: &Path) -> PathBuf {
    let path = stage.dir().join("client.properties");
    let text = format!(
        "bootstrap.servers={}\nsecurity.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\n\
         ssl.truststore.type=PEM\nssl.truststore.location={}\n",
        stage.cluster().bootstrap(),
        keystore.display(),
        truststore.display()
    );
    std::fs::write(&path, text).expect("the properties");
    path
}

/// `Partition:0␞Offset:5␞name:value␟name:value␞key␞value`; `NO_HEADERS` where there are none,
/// `null` for a null key or value.
fn parse(text: &str) -> Option<LoggedRecord> {
    let mut parts = text.split(PART_END);
    let partition = parts.next()?.strip_prefix("Partition:")?.parse().ok()?;
    let offset = parts.next()?.strip_prefix("Offset:")?.parse().ok()?;
    let headers = match parts.next()? {
        "NO_HEADERS" => Vec::new(),
        headers => headers
            .split(HEADER_END)
            .map(header)
            .collect::<Option<_>>()?,
    };
    let [key, value] = [parts.next()?, parts.next()?].map(nullable);
    parts.next().is_none().then_some(LoggedRecord {
        partition,
        offset,
        key,
        value,
        headers,
    })
}

fn header(text: &str) -> Option<(String, Option<Bytes>)> {
    let (name, value) = text.split_once(':')?;
    Some((name.to_owned(), nullable(value)))
}

fn nullable(text: &str) -> Option<Bytes> {
    (text != "null").then(|| unescape(text))
}

/// Undoes `Bytes.toString` of Kafka: printable ASCII but the backslash stands for itself, all else
/// is `\xHH`.
fn unescape(text: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix("\\x").and_then(|rest| rest.get(..2));
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
        } else {
            bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_key_and_value_are_told_apart() {
        let text = "Partition:1\u{1e}Offset:7\u{1e}a:b: c\u{1f}n:null\u{1e}k\u{1e}{\"x\": 1}";
        let record = parse(text).unwrap();
        assert_eq!((record.partition, record.offset), (1, 7));
        assert_eq!(
            record.headers,
            [
                ("a".to_owned(), Some("b: c".into())),
                ("n".to_owned(), None)
            ]
        );
        assert_eq!(record.value.unwrap(), "{\"x\": 1}");
    }

    #[test]
    fn escaped_bytes_are_bytes() {
        assert_eq!(unescape("a\\x00\\xFF\\x5Cx"), b"a\x00\xff\\x".as_slice());
    }

    #[test]
    fn what_is_no_record_is_none() {
        assert_eq!(
            parse("Partition:1\u{1e}Offset:x\u{1e}NO_HEADERS\u{1e}k\u{1e}v"),
            None
        );
        assert_eq!(parse("SLF4J: hello"), None);
    }
}
