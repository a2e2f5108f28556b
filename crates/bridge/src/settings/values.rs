//! The settings once read: every value typed, in range, and with its unit in its type.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::{Address, Secret};

use crate::outbound::outbox::{Sync, WhenFull};

/// Which end of the wire this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Produces anomaly, evidence and policy; consumes the four control kinds.
    Node,
    /// Produces the four control kinds; consumes anomaly, evidence and policy.
    Backend,
}

impl Role {
    /// The kinds this role sends.
    pub fn sends(self) -> &'static [Kind] {
        match self {
            Self::Node => &Kind::NODE,
            Self::Backend => &Kind::CONTROL,
        }
    }

    /// The kinds this role receives.
    pub fn receives(self) -> &'static [Kind] {
        match self {
            Self::Node => &Kind::CONTROL,
            Self::Backend => &Kind::NODE,
        }
    }
}

/// How to reach the cluster, and as which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// Brokers to ask first; never empty.
    pub brokers: Vec<Address>,
    /// Consumer group.
    pub group: String,
    /// Deadline of one request.
    pub request_timeout: Duration,
    /// Deadline of resolving, connecting, the TLS handshake and SASL together.
    pub connect_timeout: Duration,
    /// How old metadata may grow.
    pub metadata_max_age: Duration,
}

/// Which cryptography TLS runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsProvider {
    /// Chosen by the processor's abilities.
    Auto,
    /// The portable one: young, unaudited, taken only when asked for.
    Portable,
}

/// Lowest TLS version spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMinVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// Transport security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Off means plaintext.
    pub enabled: bool,
    /// PEM bundle of authorities; required with TLS.
    pub ca: Option<PathBuf>,
    /// PEM chain of our certificate; set together with `key`.
    pub cert: Option<PathBuf>,
    /// PEM private key of our certificate; set together with `cert`.
    pub key: Option<PathBuf>,
    /// Name that brokers' certificates must carry, where it is not the host connected to.
    pub server_name: Option<String>,
    /// Cryptography below TLS.
    pub provider: TlsProvider,
    /// Lowest version spoken.
    pub min_version: TlsMinVersion,
    /// Plaintext to brokers on other machines is allowed.
    pub danger_plaintext: bool,
}

/// How a name and a password are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As they are.
    Plain,
    /// Proved over SHA-256.
    ScramSha256,
    /// Proved over SHA-512.
    ScramSha512,
}

/// Who we are to brokers that go by a name and a password. All unset where they do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How it is said; set together with the others.
    pub mechanism: Option<SaslMechanism>,
    /// The name.
    pub username: Option<String>,
    /// The password; this or `password_file`.
    pub password: Option<Secret>,
    /// The file it is in.
    pub password_file: Option<PathBuf>,
    /// SASL over plaintext is allowed.
    pub danger_plaintext: bool,
}

/// Topic of each kind, and of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Anomalies.
    pub anomaly: String,
    /// Evidence.
    pub evidence: String,
    /// Policies.
    pub policy: String,
    /// Commits.
    pub commit: String,
    /// Reputation.
    pub reputation: String,
    /// Policy updates.
    pub policy_update: String,
    /// Evidence requests.
    pub evidence_request: String,
    /// Dead letters.
    pub dlq: String,
}

impl Topics {
    /// The topic that carries `kind`.
    pub fn of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Anomaly => &self.anomaly,
            Kind::Evidence => &self.evidence,
            Kind::Policy => &self.policy,
            Kind::Commit => &self.commit,
            Kind::Reputation => &self.reputation,
            Kind::PolicyUpdate => &self.policy_update,
            Kind::EvidenceRequest => &self.evidence_request,
        }
    }

    /// The kind that `topic` carries; the topic alone decides it.
    pub fn kind_of(&self, topic: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| self.of(*kind) == topic)
    }
}

/// Compression of produced batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
}

/// The way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Resends of one batch.
    pub max_retries: u32,
    /// Wait before the first resend; doubles up to 60 s.
    pub backoff: Duration,
    /// From `send` to receipt, resends included.
    pub deadline: Duration,
    /// How long a batch waits for company.
    pub linger: Duration,
    /// Size in bytes at which a batch goes at once.
    pub batch_bytes: usize,
    /// Memory in bytes for what is not yet acknowledged.
    pub buffer_bytes: usize,
    /// Compression of batches.
    pub compression: Compression,
}

/// Where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// At the start of the log.
    Earliest,
    /// At its end.
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// Whether records of unfinished or aborted transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only what is committed.
    ReadCommitted,
    /// All.
    ReadUncommitted,
}

/// What becomes of a message whose attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It goes to the dead-letter topic.
    Bury,
    /// Its partition pauses.
    Pause,
}

/// What happens beside the report when handlers hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHang {
    /// Nothing: the process is unready.
    Report,
    /// The process leaves its group, so that others take its partitions.
    Leave,
}

/// Who divides the partitions of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Its members.
    Classic,
    /// The broker (KIP-848).
    Consumer,
    /// The broker where it can, else the members.
    Auto,
}

/// How the partitions of a group are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Topic by topic, a range of partitions to each member.
    Range,
    /// All partitions of all topics in turn.
    RoundRobin,
    /// Evenly, and each keeps what it has as far as that allows, also while the group divides anew (KIP-429).
    CooperativeSticky,
    /// Evenly, by the broker; with [`GroupProtocol::Consumer`] alone.
    Uniform,
}

/// The way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    /// Where a group without a committed offset starts.
    pub start: StartPosition,
    /// Isolation level of fetches.
    pub isolation: Isolation,
    /// Who divides the partitions.
    pub group_protocol: GroupProtocol,
    /// How the group may divide its partitions, in order of preference. At least one; of meaning where the members
    /// divide.
    pub assignors: Vec<Assignor>,
    /// How the broker is to divide with [`GroupProtocol::Consumer`]; `None` for its own choice.
    pub server_assignor: Option<Assignor>,
    /// Makes this a static member (KIP-345).
    pub instance_id: Option<String>,
    /// Where this process is, as brokers call it in `broker.rack` (KIP-392).
    pub rack: Option<String>,
    /// Silence after which the group takes a member for dead.
    pub session_timeout: Duration,
    /// Time between heartbeats; at most a third of `session_timeout`.
    pub heartbeat_interval: Duration,
    /// Time members have to rejoin.
    pub rebalance_timeout: Duration,
    /// Messages between fetch and verdict.
    pub max_inflight: usize,
    /// Bytes between fetch and verdict.
    pub max_inflight_bytes: usize,
    /// Attempts before a message is given up.
    pub handler_attempts: u32,
    /// Deadline of one handler call.
    pub handler_timeout: Duration,
    /// Wait for running handlers at a revoke; shorter than `rebalance_timeout`.
    pub revoke_timeout: Duration,
    /// Deadline of an orderly stop.
    pub stop_timeout: Duration,
    /// What becomes of a message whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Time without progress, while work is in flight, after which handlers count as hung.
    pub hang_after: Duration,
    /// What happens then, beside the report.
    pub on_hang: OnHang,
}

/// How signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// One by one, by the strict rules.
    Strict,
    /// Many at once: faster, and a malicious holder of a trusted key can make signatures on which this
    /// and the strict rules differ.
    Batch,
}

/// How the signatures of each kind are verified; control kinds always strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyModes(pub(super) [VerifyMode; 7]);

impl VerifyModes {
    /// How signatures of `kind` are verified.
    pub fn of(&self, kind: Kind) -> VerifyMode {
        Kind::ALL
            .into_iter()
            .zip(self.0)
            .find(|(of, _)| *of == kind)
            .map_or(VerifyMode::Strict, |(_, mode)| mode)
    }
}

/// Whether an anomaly's payload has to be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRule {
    /// A JSON object that agrees with the message's fields.
    Json,
    /// Any bytes; what is no JSON is marked opaque.
    Any,
}

/// What a receiver asks beyond the contract's fixed rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// How signatures are verified, kind by kind.
    pub mode: VerifyModes,
    /// Rule for anomalies' payloads.
    pub anomaly_payload: PayloadRule,
    /// Audiences whose envelopes are accepted; never empty, the own one where nothing is set.
    pub accept_audiences: Vec<String>,
    /// Topics besides the one read that an envelope may name.
    pub accept_origin_topics: Vec<String>,
}

/// Bounds of time and order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Age from which a message is stale.
    pub max_age: Duration,
    /// How far ahead of our clock a message may be.
    pub future_tolerance: Duration,
    /// Length of the ring in offsets.
    pub ring: u32,
}

/// Form of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterFormat {
    /// A JSON object.
    Json,
    /// The original value untouched, all else in headers.
    Raw,
    /// Origin and hash alone.
    Reference,
}

/// What stands between a flood and the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Whether it watches at all.
    pub enabled: bool,
    /// Dead letters of messages that are not authentic, for each partition; beyond it they are summed up.
    pub dlq_rate: RateLimit,
}

/// What is kept on disk of what cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Whether there is one, where there is a state folder.
    pub enabled: bool,
    /// What it may hold: the entries' bytes on disk, and 256 for each beside its own.
    pub bytes: usize,
    /// How old an entry may grow.
    pub age: Duration,
    /// What becomes of a message that does not fit.
    pub when_full: WhenFull,
    /// When a sender is told.
    pub sync: Sync,
}

/// The audit trail's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Where it is; none where unset.
    pub file: Option<PathBuf>,
    /// Size in bytes at which it goes on in a new file.
    pub rotate_bytes: usize,
    /// How many older files are kept.
    pub keep: u32,
}

/// A token bucket: `burst` at once, `per_second` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages that may go at once after a pause.
    pub burst: u32,
    /// Messages a second in the long run.
    pub per_second: u32,
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/s", self.burst, self.per_second)
    }
}

/// Rate limit of each kind; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits(pub(super) [(Kind, Option<RateLimit>); 7]);

impl Limits {
    /// The limit of `kind`.
    pub fn of(&self, kind: Kind) -> Option<RateLimit> {
        self.0
            .iter()
            .find(|(of, _)| *of == kind)
            .and_then(|(_, limit)| *limit)
    }
}

/// This process among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in groups, logs and dead letters.
    pub id: Option<String>,
    /// The environment's name, signed into envelopes.
    pub audience: String,
    /// Whether records we produce carry an envelope.
    pub envelope: bool,
    /// Folder for what has to survive a restart.
    pub state_dir: Option<PathBuf>,
}

/// Files with keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Our signing key; required to send.
    pub signing: Option<PathBuf>,
    /// Trust store file or folder; required to receive.
    pub trust: Option<PathBuf>,
}

/// For operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ops {
    /// Address of `/metrics`, `/healthz`, `/readyz`; none where unset.
    pub listen: Option<SocketAddr>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// Logging; set up by the binary, not by the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Filter in the notation of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// Form of lines.
    pub format: LogFormat,
}
