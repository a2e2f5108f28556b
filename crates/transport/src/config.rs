//! What a client needs to know before its first connection.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ErrorKind, Operation, Target, TransportError};
use crate::hooks::{Hooks, HooksInUse};
use crate::sasl::Sasl;
use crate::tls::{SecurityInUse, TlsConfig};

/// The address of a broker: a host name or IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// An address from its parts; `host` without brackets, even for IPv6.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Parses a comma-separated list such as `kafka-1:9093, [::1]:9092`.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the first address that is none, or for an empty list.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, TransportError> {
        let addresses = list
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(not_an_address(list, "no address in the list"));
        }
        Ok(addresses)
    }

    /// An address a broker has told; `None` if it is none. It ends up in logs, so what is no host name must
    /// not get this far.
    pub(crate) fn advertised(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        is_host(host).then(|| Self::new(host, port))
    }

    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the address is on this machine by its very form: `localhost`, `*.localhost` (RFC 6761) or a
    /// loopback IP address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        if host.eq_ignore_ascii_case("localhost")
            || host.to_ascii_lowercase().ends_with(".localhost")
        {
            return true;
        }
        host.parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once("]:")
                    .ok_or_else(|| not_an_address(text, "expected [IPv6 address]:port"))?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| not_an_address(text, "no IPv6 address within the brackets"))?;
                (host, port)
            }
            None => {
                let (host, port) = text
                    .rsplit_once(':')
                    .ok_or_else(|| not_an_address(text, "expected host:port"))?;
                if host.contains(':') {
                    return Err(not_an_address(
                        text,
                        "expected host:port, with an IPv6 address in brackets",
                    ));
                }
                (host, port)
            }
        };
        if !is_host(host) {
            return Err(not_an_address(text, "the host name is not valid"));
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self::new(host, port)),
            _ => Err(not_an_address(text, "the port must be 1 to 65535")),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_host_character = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    (1..=255).contains(&host.len()) && host.chars().all(is_host_character)
}

fn not_an_address(text: &str, reason: &str) -> TransportError {
    TransportError::new(
        Operation::Configure,
        Target::default(),
        ErrorKind::Settings {
            what: format!("broker address {text:?}").into(),
            reason: reason.into(),
        },
    )
}

/// How connections are protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all: brokers must be on this machine, unless
    /// [`ClientConfig::danger_plaintext_beyond_loopback`] was called.
    Plaintext,
    /// By TLS; with a client certificate it is mutual.
    Tls(TlsConfig),
}

/// When to dial a broker again that could not be reached. Asked after each failure in a row.
pub trait RedialSchedule: Send + Sync + fmt::Debug {
    /// How long to wait before the next attempt, after `failures` (1 or more) in a row.
    fn delay(&self, failures: u32) -> Duration;
}

/// Doubles from `base` to `cap`, the upper half of each delay random so that clients do not come in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExponentialRedial {
    /// The first delay.
    pub base: Duration,
    /// The longest.
    pub cap: Duration,
}

impl Default for ExponentialRedial {
    /// 50 ms to 1 s.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(1),
        }
    }
}

impl RedialSchedule for ExponentialRedial {
    fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let longest = self.base.saturating_mul(1 << doublings).min(self.cap);
        // Without randomness clients may come in step, and nothing else is lost.
        let chance = crate::host::random_u32().unwrap_or(0);
        longest.mul_f64(0.5 + 0.5 * f64::from(chance) / (f64::from(u32::MAX) + 1.0))
    }
}

/// Times longer than this mean "without end". As instants they must not overflow.
const WITHOUT_END: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A time that can be added to an instant.
pub(crate) fn finite(time: Duration) -> Duration {
    time.min(WITHOUT_END)
}

/// What a client needs to know before its first connection. Made by [`ClientConfig::new`], which has the
/// defaults; each method changes one of them.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) security: SecurityInUse,
    pub(crate) client_id: Arc<str>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) frame_limit_bytes: usize,
    pub(crate) redial: Arc<dyn RedialSchedule>,
    pub(crate) plaintext_beyond_loopback: bool,
    pub(crate) sasl: Option<Sasl>,
    pub(crate) sasl_over_plaintext: bool,
    pub(crate) hooks: HooksInUse,
}

/// A response other than a fetch is never large.
const SMALL_FRAME_LIMIT_BYTES: usize = 16 << 20;

impl ClientConfig {
    /// A client of the cluster that any of `bootstrap` belongs to; tried in this order.
    pub fn new(bootstrap: Vec<Address>, security: Security) -> Self {
        Self {
            bootstrap,
            security: SecurityInUse::new(security),
            client_id: "cybermesh".into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            metadata_max_age: Duration::from_secs(300),
            frame_limit_bytes: 64 << 20,
            redial: Arc::new(ExponentialRedial::default()),
            plaintext_beyond_loopback: false,
            sasl: None,
            sasl_over_plaintext: false,
            hooks: HooksInUse::default(),
        }
    }

    /// What brokers see in logs and quotas; `cybermesh` by default.
    pub fn client_id(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The deadline of one connection: resolving, connecting, TLS, the exchange of versions and SASL together;
    /// 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = finite(timeout);
        self
    }

    /// The deadline of one request, connecting included; 30 s by default.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = finite(timeout);
        self
    }

    /// How old metadata may become before it is read anew; 300 s by default.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = finite(age);
        self
    }

    /// The largest frame accepted from a broker, in bytes; 64 MiB by default, at least 1 KiB. Responses
    /// other than fetches are held to 16 MiB at most.
    ///
    /// This bounds what a hostile broker may cost: while one of its answers is read, it and what it says take at most 28
    /// times the frame's bytes; records of a fetch share the frame's memory, and are decompressed up to
    /// [`FetchConfig`](crate::FetchConfig)'s bounds.
    pub fn frame_limit_bytes(mut self, limit: usize) -> Self {
        self.frame_limit_bytes = limit.max(1 << 10);
        self
    }

    /// When to dial a broker again that could not be reached; [`ExponentialRedial`] by default.
    pub fn redial(mut self, schedule: Arc<dyn RedialSchedule>) -> Self {
        self.redial = schedule;
        self
    }

    /// Lets plaintext go to brokers that are not on this machine, configured or advertised. Whoever is on
    /// the way can then read and change everything but signed messages, which they can withhold and repeat.
    pub fn danger_plaintext_beyond_loopback(mut self) -> Self {
        self.plaintext_beyond_loopback = true;
        self
    }

    /// Says by SASL who the client is; not at all by default, where brokers go by the client's certificate. Only over
    /// TLS, unless [`danger_sasl_over_plaintext`](Self::danger_sasl_over_plaintext) was called.
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Lets SASL go over plaintext, to this machine as to any other that plaintext may go to. Whoever is on the way,
    /// or listens where a broker should, learns a password of PLAIN and a token of OAUTHBEARER, and of SCRAM enough to
    /// guess the password at leisure.
    pub fn danger_sasl_over_plaintext(mut self) -> Self {
        self.sasl_over_plaintext = true;
        self
    }

    /// Is told what the client does: connections, requests, batches, rebalances. Nobody by default.
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = HooksInUse::new(hooks);
        self
    }

    /// Whether this address may be dialled at all, protected like this.
    pub(crate) fn may_dial(&self, address: &Address, security: &Security) -> bool {
        match security {
            Security::Tls(_) => true,
            Security::Plaintext => self.plaintext_beyond_loopback || address.is_loopback(),
        }
    }

    /// Whether SASL, where it is asked for, may go over a connection protected like this.
    pub(crate) fn may_authenticate(&self, security: &Security) -> bool {
        match security {
            Security::Tls(_) => true,
            Security::Plaintext => self.sasl_over_plaintext || self.sasl.is_none(),
        }
    }

    pub(crate) fn frame_limit_for(&self, purpose: crate::broker::Purpose) -> usize {
        match purpose {
            crate::broker::Purpose::Fetch => self.frame_limit_bytes,
            _ => self.frame_limit_bytes.min(SMALL_FRAME_LIMIT_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_may_hold_names_and_both_kinds_of_ip_address() {
        let list = Address::parse_list("kafka-1:9093, 10.0.0.1:9092,[::1]:9094,").unwrap();
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["kafka-1:9093", "10.0.0.1:9092", "[::1]:9094"]);
        assert_eq!(list[2].host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_named_with_the_reason() {
        for text in [
            "",
            ",",
            "kafka",
            "kafka:",
            "kafka:0",
            "kafka:65536",
            "::1:9092",
            "[::1]",
            "[kafka]:1",
            ":9092",
            "http://kafka:9092",
            "a b:1",
        ] {
            let error = Address::parse_list(text).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Settings { .. }), "{text}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn only_names_and_addresses_of_this_machine_are_loopback() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("kafka.localhost", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("notlocalhost", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(Address::new(host, 1).is_loopback(), expected, "{host}");
        }
    }

    #[test]
    fn redial_delays_double_up_to_the_cap_and_stay_in_the_upper_half() {
        let schedule = ExponentialRedial::default();
        for (failures, longest_ms) in [(1, 50), (2, 100), (3, 200), (6, 1000), (u32::MAX, 1000)] {
            let delay = schedule.delay(failures);
            let longest = Duration::from_millis(longest_ms);
            assert!(
                delay <= longest && delay >= longest / 2,
                "{failures}: {delay:?}"
            );
        }
    }
}
