//! A broker that means harm beside one that does not: what a client says of it, that it goes on with the other, and what
//! the whole process takes of memory meanwhile. A process of its own, since it is the process that is measured.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_devbroker::DevBroker;
use cybermesh_transport::{
    Address, Client, ClientConfig, ErrorCode, ErrorKind, Event, FetchConfig, Position, Producer,
    Reader, Security, StartPolicy, TransportError,
};
use flate2::write::GzEncoder;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const FRAME_LIMIT_BYTES: usize = 4 << 20;
/// As `ClientConfig::frame_limit_bytes` states it, for one answer at a time; and what threads and sockets take.
const BOUND_BYTES: usize = 28 * FRAME_LIMIT_BYTES + (16 << 20);
/// Long enough for the good one on a busy machine; what is silent is waited for this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What it does to a request that follows the exchange of versions, if it comes that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Malice {
    /// Announces two gigabytes.
    Impossible,
    /// Announces less than nothing.
    Negative,
    /// Ends in the middle of a frame.
    Truncated,
    /// Says nothing that makes sense, in a frame that does.
    Nonsense,
    /// Claims more topics than the frame has bytes.
    Claims,
    /// Fills the largest frame there may be with brokers.
    Endless,
    /// Answers a question nobody asked, again and again.
    Unasked,
    /// Answers to another number than the question's.
    Misnumbered,
    /// A byte at a time, and never the last.
    Dripping,
    /// An error that Kafka does not have.
    UnknownError,
    /// Says that the cluster is elsewhere, where plaintext may not go.
    Elsewhere,
    /// Says that the cluster is where nobody listens.
    Nowhere,
    /// A frame in the place of an answer to the very first question, of nothing but zeros.
    Zeros,
}

const ALL: [Malice; 13] = [
    Malice::Impossible,
    Malice::Negative,
    Malice::Truncated,
    Malice::Nonsense,
    Malice::Claims,
    Malice::Endless,
    Malice::Unasked,
    Malice::Misnumbered,
    Malice::Dripping,
    Malice::UnknownError,
    Malice::Elsewhere,
    Malice::Nowhere,
    Malice::Zeros,
];

/// Metadata in version 8: nothing compact, no tags.
const METADATA: (i16, i16) = (3, 8);
const API_VERSIONS: i16 = 18;

impl Malice {
    /// Serves one connection for as long as the other side stays.
    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let (api, correlation_id) = question(&mut stream).await?;
            if self == Self::Zeros {
                stream.write_all(&[0; 64]).await?;
            } else if api == API_VERSIONS {
                let (key, version) = METADATA;
                let mut body = vec![0, 0, 2];
                for number in [key, version, version] {
                    body.extend(number.to_be_bytes());
                }
                body.extend([0, 0, 0, 0, 0, 0]);
                stream.write_all(&framed(correlation_id, &body)).await?;
            } else {
                self.answer(&mut stream, correlation_id).await?;
            }
        }
    }

    async fn answer(self, stream: &mut TcpStream, correlation_id: i32) -> std::io::Result<()> {
        match self {
            Self::Impossible => stream.write_all(&i32::MAX.to_be_bytes()).await,
            Self::Negative => stream.write_all(&(-1_i32).to_be_bytes()).await,
            Self::Truncated => {
                let whole = framed(correlation_id, &[0; 100]);
                stream.write_all(&whole[..50]).await?;
                stream.shutdown().await
            }
            Self::Nonsense => {
                stream
                    .write_all(&framed(correlation_id, &[0xff; 1000]))
                    .await
            }
            Self::Claims => {
                let body = [&[0; 4][..], &i32::MAX.to_be_bytes(), &[0; 100]].concat();
                stream.write_all(&framed(correlation_id, &body)).await
            }
            Self::Endless => endless(stream, correlation_id).await,
            Self::Unasked => loop {
                stream
                    .write_all(&framed(correlation_id - 1, &[0; 4096]))
                    .await?;
            },
            Self::Misnumbered => {
                stream
                    .write_all(&framed(correlation_id.wrapping_add(7), &metadata(0, &[])))
                    .await
            }
            Self::Dripping => {
                let mut drops = tokio::time::interval(Duration::from_millis(20));
                stream.write_all(&1000_i32.to_be_bytes()).await?;
                loop {
                    drops.tick().await;
                    stream.write_all(&[0]).await?;
                }
            }
            Self::UnknownError => {
                let metadata = metadata(32_000, &[("127.0.0.1", stream.local_addr()?.port())]);
                stream.write_all(&framed(correlation_id, &metadata)).await
            }
            Self::Elsewhere => {
                let metadata = metadata(0, &[("203.0.113.1", 9092), ("kafka.example", 9092)]);
                stream.write_all(&framed(correlation_id, &metadata)).await
            }
            Self::Nowhere => {
                let metadata = metadata(0, &[("127.0.0.1", 1)]);
                stream.write_all(&framed(correlation_id, &metadata)).await
            }
            Self::Zeros => Ok(()),
        }
    }

    /// Whether this is what a client may say of it.
    fn is_told_by(self, error: &TransportError) -> bool {
        let kind = error.kind();
        match self {
            Self::Impossible | Self::Negative => {
                matches!(
                    kind,
                    ErrorKind::FrameTooLarge {
                        limit_bytes: FRAME_LIMIT_BYTES,
                        ..
                    }
                )
            }
            Self::Truncated => matches!(kind, ErrorKind::ConnectionLost { .. }),
            Self::Nonsense | Self::Claims | Self::Endless => {
                matches!(kind, ErrorKind::Malformed { .. })
            }
            Self::Unasked | Self::Misnumbered | Self::Dripping => {
                matches!(kind, ErrorKind::TimedOut { .. } | ErrorKind::Silent { .. })
            }
            Self::UnknownError => error.error_code() == Some(ErrorCode::Other(32_000)),
            Self::Elsewhere => matches!(kind, ErrorKind::PlaintextRefused),
            Self::Nowhere => matches!(kind, ErrorKind::Refused),
            // Four zeros are a frame without room for a number.
            Self::Zeros => matches!(
                kind,
                ErrorKind::FrameTooLarge {
                    announced_bytes: 0,
                    ..
                }
            ),
        }
    }
}

async fn question(stream: &mut TcpStream) -> std::io::Result<(i16, i32)> {
    let length = stream.read_u32().await?;
    let api = stream.read_i16().await?;
    let _version = stream.read_i16().await?;
    let correlation_id = stream.read_i32().await?;
    let mut rest = vec![0; usize::try_from(length - 8).unwrap()];
    stream.read_exact(&mut rest).await?;
    Ok((api, correlation_id))
}

fn framed(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [
        &length.to_be_bytes()[..],
        &correlation_id.to_be_bytes(),
        body,
    ]
    .concat()
}

fn string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Brokers from 0 on, and the topic `t`, whose partition the first of them leads.
fn metadata(topic_error: i16, brokers: &[(&str, u16)]) -> Vec<u8> {
    const NO_STRING: [u8; 2] = [0xff, 0xff];
    let count = |count: usize| i32::try_from(count).unwrap().to_be_bytes();
    let mut body = [&[0; 4][..], &count(brokers.len())].concat();
    for (id, (host, port)) in (0_i32..).zip(brokers) {
        body.extend(id.to_be_bytes());
        body.extend(string(host));
        body.extend(i32::from(*port).to_be_bytes());
        body.extend(NO_STRING);
    }
    body.extend(NO_STRING);
    body.extend(0_i32.to_be_bytes());
    body.extend(count(1));
    body.extend(topic_error.to_be_bytes());
    body.extend(string("t"));
    body.push(0);
    body.extend(count(1));
    // No error, partition 0, leader 0 in epoch 0, that one replica in sync and none offline.
    body.extend([0; 2 + 4 + 4 + 4]);
    for _ in 0..2 {
        body.extend(count(1));
        body.extend([0; 4]);
    }
    body.extend([0; 4 + 4 + 4]);
    body
}

/// Brokers without names, until the frame is full: twelve bytes each here, five times as many where they are read.
async fn endless(stream: &mut TcpStream, correlation_id: i32) -> std::io::Result<()> {
    const EACH: usize = 12;
    let count = (FRAME_LIMIT_BYTES - 12) / EACH;
    let length = i32::try_from(12 + count * EACH).unwrap();
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&correlation_id.to_be_bytes()).await?;
    stream.write_all(&[0; 4]).await?;
    stream
        .write_all(&i32::try_from(count).unwrap().to_be_bytes())
        .await?;
    let some = [0; 1000 * EACH];
    let mut left = count * EACH;
    while left > 0 {
        let now = left.min(some.len());
        stream.write_all(&some[..now]).await?;
        left -= now;
    }
    Ok(())
}

/// Its address; it serves until the runtime ends.
async fn hostile(malice: Malice) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever hangs up on it has seen enough.
            tokio::spawn(async move { malice.serve(stream).await.err() });
        }
    });
    address
}

fn config(bootstrap: &str) -> ClientConfig {
    let bootstrap = Address::parse_list(bootstrap).unwrap();
    ClientConfig::new(bootstrap, Security::Plaintext)
        .connect_timeout(CONNECT_TIMEOUT)
        .request_timeout(CONNECT_TIMEOUT)
        .frame_limit_bytes(FRAME_LIMIT_BYTES)
}

/// What is said of one that is alone.
async fn told_of(address: &str) -> TransportError {
    let client = match within(Client::connect(config(address))).await {
        Ok(client) => client,
        Err(error) => return error,
    };
    if let Err(error) = within(client.topic("t")).await {
        return error;
    }
    // It was taken for a cluster; so it is read from.
    let reader = Reader::new(client, FetchConfig::default(), StartPolicy::Earliest);
    reader.begin(&partition("t", 0), Position::Offset(0));
    match within(reader.next()).await {
        Some(Event::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Writes and reads with both as addresses, the one that means harm first.
async fn goes_on_with(hostile: &str, good: &DevBroker) {
    let client = Client::connect(config(&format!("{hostile},{}", good.bootstrap())));
    let client = within(client).await.unwrap();
    let before = logged(good, "t", 0).len();
    let producer = Producer::new(client.clone(), eager(5));
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    let reader = Reader::new(client, FetchConfig::default(), StartPolicy::Earliest);
    let start = i64::try_from(before).unwrap();
    reader.begin(&partition("t", 0), Position::Offset(start));
    assert_eq!(values(async || reader.next().await, 1).await, ["a"]);
}

fn status(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|known| known.strip_prefix(line));
    let kibibytes = found.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_broker_does_it_is_told_as_what_it_is_and_memory_stays_under_the_stated_bound() {
    let good = broker("t", 1).await;
    let mut most = 0;
    for malice in ALL {
        // Makes what is resident now the peak so far.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS:");
        let hostile = hostile(malice).await;
        // A cluster that is elsewhere is believed: the address that said so was given by the caller.
        if !matches!(
            malice,
            Malice::Elsewhere | Malice::Nowhere | Malice::UnknownError
        ) {
            goes_on_with(&hostile, &good).await;
        }
        let error = told_of(&hostile).await;
        assert!(malice.is_told_by(&error), "{malice:?}: {error:?}");
        let taken = status("VmHWM:").saturating_sub(before);
        assert!(taken < BOUND_BYTES, "{malice:?} took {taken} bytes");
        most = most.max(taken);
    }
    println!("at most {} KiB were taken", most >> 10);
}

/// A batch of half a megabyte that would be half a gigabyte of records.
fn bomb() -> Bytes {
    const CRC_AT: usize = 17;
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..512 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    let packed = encoder.finish().unwrap();
    let gzip = 1_i16;
    let content = [
        &gzip.to_be_bytes()[..],
        // One record at time 0, of nobody's sequence.
        &[0; 4 + 8 + 8],
        &[0xff; 8 + 2 + 4],
        &1_i32.to_be_bytes(),
        &packed,
    ]
    .concat();
    let magic = 2;
    let length = i32::try_from(4 + 1 + 4 + content.len()).unwrap();
    let mut batch = [&[0; 8][..], &length.to_be_bytes(), &[0; 4], &[magic]].concat();
    assert_eq!(batch.len(), CRC_AT);
    batch.extend(crc32c::crc32c(&content).to_be_bytes());
    batch.extend(content);
    batch.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_would_fill_the_memory_is_told_and_the_partition_stands_while_another_goes_on()
{
    let good = broker("t", 2).await;
    let client = within(Client::connect(config(&good.bootstrap())))
        .await
        .unwrap();
    let bomb = bomb();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    good.append_unchecked("t", 0, &bomb, 0).unwrap();
    let reader = Reader::new(
        client.clone(),
        FetchConfig::default(),
        StartPolicy::Earliest,
    );
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    let corrupt = loop {
        if let Some(Event::Corrupt { partition, fault }) = within(reader.next()).await {
            break (partition, fault);
        }
    };
    assert_eq!(corrupt.0, partition("t", 0));
    let producer = Producer::new(client, eager(5));
    within(send(&producer, "t", 1, "a").await).await.unwrap();
    assert_eq!(values(async || reader.next().await, 1).await, ["a"]);
    let taken = status("VmHWM:").saturating_sub(before);
    assert!(taken < BOUND_BYTES, "{taken} bytes");
}
