//! `health`: asks the process that runs with the same settings whether it is ready, or alive; made for
//! the probes of containers in which there is nothing else to ask with.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::args::{HealthArgs, SettingsArgs};
use crate::config;
use crate::failure::Failure;

/// A process that does not answer by then is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer of ours is longer.
const LONGEST_ANSWER_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    condition: String,
    detail: String,
}

/// Asks, prints the reasons, and fails with 1 where there are any, with 3 where nobody answers.
pub(crate) fn run(args: &HealthArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = config::load(settings)?;
    let listening = settings.ops.listen.ok_or_else(|| {
        Failure::usage("CYBERMESH_LISTEN (unset): nothing to ask; give the address that the process listens on")
    })?;
    let (page, word) = if args.live {
        ("/healthz", "alive")
    } else {
        ("/readyz", "ready")
    };
    let address = reachable(listening);
    let (status, body) = get(address, page).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer within {} s", PATIENCE.as_secs())
            }
            _ => error.to_string(),
        };
        Failure::cluster(format!("{address}: {reason}"))
    })?;
    let answer: Option<Answer> = serde_json::from_slice(&body).ok();
    match (status, answer) {
        (200, Some(_)) => writeln!(io::stdout().lock(), "{word}")
            .map_err(|error| Failure::no(format!("standard output: {error}"))),
        (503, Some(answer)) => Err(Failure::no(format!("not {word}")).and(
            &answer
                .reasons
                .iter()
                .map(|reason| format!("{}: {}", reason.condition, reason.detail))
                .collect::<Vec<_>>(),
        )),
        _ => Err(Failure::cluster(format!(
            "{address}{page}: status {status} without reasons; something else listens there"
        ))),
    }
}

/// Where a process that listens on every address of this machine can be asked.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The status and the body of one page over HTTP/1.1.
fn get(address: SocketAddr, page: &str) -> io::Result<(u16, Vec<u8>)> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {page} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut part)?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&part[..read]);
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) > LONGEST_ANSWER_BYTES {
            return Err(io::Error::other("an answer longer than any of ours"));
        }
    }
    parse(&answer).ok_or_else(|| io::Error::other("no HTTP answer"))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, answer[head_end + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_and_what_is_none_is_refused() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((503, b"{}".to_vec())));
        for none in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 20\r\n\r\n"] {
            assert_eq!(parse(none), None);
        }
    }

    #[test]
    fn a_process_that_listens_everywhere_is_asked_on_this_machine() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(asked("[::]:9464"), "[::1]:9464");
        assert_eq!(asked("10.1.2.3:9464"), "10.1.2.3:9464");
    }
}
