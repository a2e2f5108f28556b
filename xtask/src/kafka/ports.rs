//! Free ports of loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use crate::error::TaskError;

/// Below the ranges from which systems hand out ports by themselves, so that nobody takes one
/// of them between here and the broker's start.
const FIRST: u16 = 20_000;
const SPAN: u16 = 10_000;

/// Whether this machine has an IPv6 loopback.
pub(super) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// `count` different ports on which nobody listens, at either loopback. Where to look first is drawn at random, so
/// that two clusters started at once do not meet.
pub(super) fn free(count: usize) -> Result<Vec<u16>, TaskError> {
    let (_, draw) = uuid::Uuid::new_v4().as_u64_pair();
    let start = u16::try_from(draw % u64::from(SPAN)).unwrap_or(0);
    let has_ipv6 = has_ipv6();
    let mut found = BTreeSet::new();
    for step in 0..SPAN {
        if found.len() == count {
            break;
        }
        let port = FIRST + (start + step) % SPAN;
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && (!has_ipv6 || TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok());
        if is_free {
            found.insert(port);
        }
    }
    if found.len() < count {
        return Err(TaskError::Refused(format!(
            "no {count} free ports from {FIRST} on"
        )));
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_different_and_can_be_bound() {
        let ports = super::free(7).unwrap();
        let listeners: Vec<_> = ports
            .iter()
            .map(|port| std::net::TcpListener::bind(("127.0.0.1", *port)))
            .collect();
        assert_eq!(
            listeners.iter().filter(|listener| listener.is_ok()).count(),
            7
        );
    }
}
