//! What a producer takes of memory while its broker has stopped answering: in a process of its own, since it is the
//! process that is measured.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use cybermesh_devbroker::{Api, Fault};
use cybermesh_transport::{
    Address, Client, ClientConfig, Compression, Header, Producer, ProducerConfig, Record, Security,
    producer::FixedSchedule,
};
use futures_util::FutureExt as _;
use support::*;
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 16 << 20;
/// As `ProducerConfig::buffer_bytes` states it.
const CAP_BYTES: usize = 3 * BUFFER_BYTES + (16 << 20);
const PARTITIONS: i32 = 32;
/// Tasks that want to send; by far not all of them find room.
const CALLERS: usize = 64;
const RESENDS: u64 = 64;
/// How long silence lasts where nothing can be sent again.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// What the broker answers no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Requests are given up and sent again over connections opened anew.
    Produce,
    Everything,
}

/// A broker in another process, whose memory is not ours.
struct Broker {
    process: Child,
    orders: ChildStdin,
    bootstrap: String,
}

impl Broker {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_broker_until_its_input_ends",
                "--ignored",
                "--nocapture",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let bootstrap = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("bootstrap=")?.1.to_owned()));
        Self {
            orders: process.stdin.take().unwrap(),
            process,
            bootstrap: bootstrap.unwrap(),
        }
    }

    fn stop_answering(&mut self, what: Silence) {
        let order = match what {
            Silence::Produce => b"p",
            Silence::Everything => b"e",
        };
        self.orders.write_all(order).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "a part of the other test, which starts it"]
fn a_broker_until_its_input_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let broker = runtime.block_on(broker("t", usize::try_from(PARTITIONS).unwrap()));
    let mut out = std::io::stdout();
    writeln!(out, "bootstrap={}", broker.bootstrap()).unwrap();
    for order in std::io::stdin().lock().bytes() {
        match order.unwrap() {
            b'p' => drop(broker.fault(Fault::hold(Api::Produce))),
            _ => broker.freeze(),
        }
    }
}

/// A line of `/proc/self/status`, in bytes.
fn of_this_process(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|known| known.strip_prefix(line));
    let kibibytes: usize = found
        .and_then(|rest| rest.trim_start_matches(':').trim().strip_suffix(" kB"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kibibytes * 1024
}

/// Bytes that no codec makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn empty() -> Record {
    Record::default()
}

fn with_headers() -> Record {
    let header = |number: u8| Header::new(format!("header-{number}"), noise(16));
    Record {
        key: Some(noise(36).into()),
        value: Some(noise(100).into()),
        headers: (0..6).map(header).collect(),
        ..Record::default()
    }
}

fn of_a_kilobyte() -> Record {
    Record {
        value: Some(noise(1024).into()),
        ..Record::default()
    }
}

fn large() -> Record {
    Record {
        value: Some(noise(900_000).into()),
        ..Record::default()
    }
}

/// Fills a producer until nobody finds room any more, and lets requests be given up and sent again many times.
async fn fill(broker: &mut Broker, what: Silence, compression: Compression, make: fn() -> Record) {
    let bootstrap = Address::parse_list(&broker.bootstrap).unwrap();
    let client = ClientConfig::new(bootstrap, Security::Plaintext)
        .request_timeout(Duration::from_millis(300));
    let config = ProducerConfig {
        buffer_bytes: BUFFER_BYTES,
        compression,
        schedule: std::sync::Arc::new(FixedSchedule {
            delay: Duration::from_millis(50),
            resends: u32::MAX,
        }),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(Client::connect(client).await.unwrap(), config);
    // The broker answers at first, so that every partition has five batches on their way at once when it stops.
    for partition in 0..PARTITIONS {
        drop(send(&producer, "t", partition, "first").await);
    }
    within(producer.flush()).await;
    broker.stop_answering(what);
    let bytes = make().size_bound();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let producer = producer.clone();
        callers.spawn(async move {
            for turn in caller.. {
                let partition = i32::try_from(turn).unwrap() % PARTITIONS;
                // Whoever waits holds no record yet: that would be the caller's memory.
                let room = producer.reserve("t", partition, bytes).await.unwrap();
                drop(room.append(make()));
            }
        });
    }
    while producer.stats().reserved_bytes < BUFFER_BYTES - (1 << 20) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    match what {
        Silence::Everything => tokio::time::sleep(SILENT_FOR).await,
        Silence::Produce => {
            while producer.stats().resends < RESENDS {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let room = producer.reserve("t", 0, 1 << 20).now_or_never();
    assert!(room.is_none(), "callers wait for room");
    callers.shutdown().await;
    let closed = producer.close(tokio::time::Instant::now()).await;
    assert!(closed.abandoned > 0);
}

#[test]
fn while_a_broker_has_stopped_answering_memory_stays_under_the_stated_cap() {
    // The peak over all of them: what one gives back, the next may use.
    let kinds: [fn() -> Record; 4] = [large, of_a_kilobyte, with_headers, empty];
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let before = of_this_process("VmRSS");
    let silences = [Silence::Produce, Silence::Everything];
    for (number, (what, compression)) in silences
        .into_iter()
        .zip([Compression::None, Compression::Snappy])
        .cycle()
        .take(2 * kinds.len())
        .enumerate()
    {
        let mut broker = Broker::start();
        let make = kinds[number / 2];
        runtime().block_on(within(fill(&mut broker, what, compression, make)));
        let peak = of_this_process("VmHWM") - before;
        println!("{number} {what:?} {compression}: {} KiB", peak / 1024);
        assert!(peak <= CAP_BYTES, "{number}: {peak} bytes of {CAP_BYTES}");
    }
}
