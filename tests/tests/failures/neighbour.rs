//! Kafka's own producer and consumer at work on a topic of theirs, to compare with.

use std::process::Stdio;
use std::time::Duration;

use cybermesh_tests::{Stage, java};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::load::{PARTITIONS, Recovery, within};

/// The program `KeepAtWork`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Neighbour {
    marks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Neighbour {
    /// Both write and read all partitions when this returns.
    pub(crate) async fn start(stage: &Stage, topic: &str) -> Self {
        let (partitions, group) = (PARTITIONS.to_string(), stage.own("group-beside"));
        let arguments = [topic, partitions.as_str(), group.as_str()];
        let mut process = java::program(stage, "KeepAtWork", &arguments)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("java");
        let mut neighbour = Self {
            marks: process.stdin.take().expect("its standard input"),
            answers: BufReader::new(process.stdout.take().expect("its standard output")).lines(),
            _process: process,
        };
        neighbour.mark().await;
        neighbour.recovery().await;
        neighbour
    }

    /// Recovery is counted from now.
    pub(crate) async fn mark(&mut self) {
        self.marks.write_all(b"\n").await.expect("its input");
    }

    /// How long it took from the mark.
    pub(crate) async fn recovery(&mut self) -> Recovery {
        let line = within(self.answers.next_line()).await;
        let line = line.expect("its output").expect("a line");
        let mut times = line
            .split(' ')
            .map(|ms| Duration::from_millis(ms.parse().expect("milliseconds")));
        Recovery {
            written: times.next().expect("two times"),
            read: times.next().expect("two times"),
        }
    }
}
