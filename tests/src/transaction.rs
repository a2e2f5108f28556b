//! Transactions that somebody opens who may write, and ends when the test says so.
//!
//! Over the built-in broker, which has no coordinator, batches and markers are put into the log as a
//! coordinator's producer would; over Apache Kafka it is Kafka's own transactional producer.

use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use cybermesh_devbroker::TransactionEnd;
use cybermesh_transport::Record;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as LogRecord, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::cluster::Broker;
use crate::java;
use crate::stage::Stage;

/// An id that no producer of a test is given.
const PRODUCER_ID: i64 = 1 << 40;

/// Somebody who writes to the first partition of one topic in transactions.
#[derive(Debug)]
pub struct Transactions<'a> {
    stage: &'a Stage,
    topic: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    IntoTheLog { sequence: i32 },
    Java(Box<Program>),
}

#[derive(Debug)]
struct Program {
    told: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    #[expect(dead_code, reason = "held for its drop")]
    process: Child,
}

impl<'a> Transactions<'a> {
    /// Of `topic`.
    ///
    /// # Panics
    /// When Kafka's program does not start.
    pub fn new(stage: &'a Stage, topic: &str) -> Self {
        let way = match stage.cluster().broker() {
            Broker::Devbroker(_) => Way::IntoTheLog { sequence: 0 },
            Broker::Kafka(_) => Way::Java(Box::new(Program::start(stage, topic))),
        };
        Self {
            stage,
            topic: topic.to_owned(),
            way,
        }
    }

    /// Opens a transaction and writes this record in it.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn open_with(&mut self, record: &Record) {
        match &mut self.way {
            Way::IntoTheLog { sequence } => {
                let batch = batch(record, *sequence);
                *sequence += 1;
                let broker = self.stage.devbroker();
                let offset = broker.append_unchecked(&self.topic, 0, &batch, 0);
                offset.expect("the partition is there");
            }
            Way::Java(program) => {
                program.does("begin").await;
                program.does(&write(record)).await;
            }
        }
    }

    /// Ends the transaction that is open.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(&mut self, end: TransactionEnd) {
        match &mut self.way {
            Way::IntoTheLog { .. } => {
                let broker = self.stage.devbroker();
                let marker = broker.end_transaction(&self.topic, 0, PRODUCER_ID, 0, end);
                marker.expect("the partition is there");
            }
            Way::Java(program) => {
                let line = match end {
                    TransactionEnd::Abort => "abort",
                    TransactionEnd::Commit => "commit",
                };
                program.does(line).await;
            }
        }
    }
}

impl Program {
    fn start(stage: &Stage, topic: &str) -> Self {
        let mut process = java::program(stage, "Transact", &[topic])
            .stdin(Stdio::piped())
            // Nobody reads it, and a full pipe would hold it up.
            .stderr(Stdio::null())
            .spawn()
            .expect("java");
        let stdout = process.stdout.take().expect("its standard output");
        Self {
            told: process.stdin.take().expect("its standard input"),
            said: BufReader::new(stdout).lines(),
            process,
        }
    }

    async fn does(&mut self, line: &str) {
        let line = format!("{line}\n");
        let told = self.told.write_all(line.as_bytes()).await;
        told.expect("its standard input");
        let said = self.said.next_line().await.expect("its standard output");
        assert_eq!(said.as_deref(), Some("done"), "{line}");
    }
}

fn write(record: &Record) -> String {
    let hex = |bytes: &Option<Bytes>| hex::encode(bytes.as_deref().unwrap_or_default());
    let headers = record.headers.iter();
    let headers = headers.map(|header| format!(" {}={}", header.name, hex(&header.value)));
    let (key, value) = (hex(&record.key), hex(&record.value));
    format!("write {key} {value}{}", headers.collect::<String>())
}

/// One record in a batch that belongs to a transaction.
fn batch(record: &Record, sequence: i32) -> Bytes {
    let headers = record.headers.iter();
    let headers = headers.map(|header| {
        let name = StrBytes::from_string(header.name.clone());
        (name, header.value.clone())
    });
    let record = LogRecord {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: PRODUCER_ID,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: headers.collect(),
    };
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).expect("a batch");
    bytes.freeze()
}
