//! The one list of settings: names, aliases, defaults, and what each accepts.
//!
//! Everything else about settings (reading, listing, warning of misspelt names) goes by this table,
//! so a setting that is not in it does not exist.

/// One setting: how it is called in each place it may come from, its default, and what it accepts.
#[derive(Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name in the environment and on the command line.
    pub env: &'static str,
    /// Other names in the environment, of services that called it differently.
    pub aliases: &'static [&'static str],
    /// Dotted key in the TOML file.
    pub key: &'static str,
    /// Default as it would be written; empty where there is none.
    pub default: &'static str,
    /// What a value has to look like, for error messages.
    pub accepts: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// How its text becomes a value.
    pub form: Form,
}

/// What the text of a setting stands for, as far as reading it from a file depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Plain text, a number, a duration, a size.
    Text,
    /// A path; relative ones in a settings file start at that file's folder.
    Path,
    /// Text that is listed as set or unset, and appears nowhere else.
    Secret,
}

macro_rules! table {
    ($($name:ident = $env:literal [$($alias:literal),*] $key:literal, $form:ident, $default:literal, $accepts:literal, $about:literal;)*) => {
        $(pub(crate) const $name: &Spec = &Spec {
            env: $env, aliases: &[$($alias),*], key: $key, default: $default, accepts: $accepts,
            about: $about, form: Form::$form,
        };)*
        /// Every setting, in the order `config` prints them.
        pub const ALL: &[&Spec] = &[$($name),*];
    };
}

table! {
    BROKERS = "KAFKA_BROKERS" ["KAFKA_BOOTSTRAP_SERVERS"] "kafka.brokers", Text, "localhost:9092",
        "give host:port, several separated by commas, IPv6 addresses in brackets",
        "brokers to ask first";
    GROUP = "KAFKA_CONSUMER_GROUP" ["KAFKA_CONSUMER_GROUP_ID"] "kafka.group", Text, "",
        "give 1 to 249 printable characters",
        "consumer group; node: ai-service, or ai-service-<node id>; backend: cybermesh-backend";
    REQUEST_TIMEOUT = "KAFKA_REQUEST_TIMEOUT_MS" [] "kafka.request_timeout", Text, "30000",
        "give 100 to 600000 milliseconds, or a duration like 30s",
        "deadline of one request";
    CONNECT_TIMEOUT = "KAFKA_CONNECT_TIMEOUT_MS" [] "kafka.connect_timeout", Text, "10000",
        "give 100 to 600000 milliseconds, or a duration like 10s",
        "deadline of resolving, connecting, the TLS handshake and SASL together";
    METADATA_MAX_AGE = "KAFKA_METADATA_MAX_AGE_MS" [] "kafka.metadata_max_age", Text, "300000",
        "give 1000 to 86400000 milliseconds, or a duration like 5m",
        "how old the picture of the cluster may grow";

    TLS_ENABLED = "KAFKA_TLS_ENABLED" [] "tls.enabled", Text, "true",
        "give true or false",
        "speak TLS to the brokers";
    CA_CERT = "KAFKA_CA_CERT" ["KAFKA_CA_CERT_PATH"] "tls.ca", Path, "",
        "give the path of the PEM bundle that signed the brokers' certificates",
        "PEM bundle of the authorities that sign brokers' certificates; required with TLS";
    CLIENT_CERT = "KAFKA_CLIENT_CERT" ["KAFKA_CLIENT_CERT_PATH"] "tls.cert", Path, "",
        "give the path of a PEM certificate chain, together with KAFKA_CLIENT_KEY",
        "our certificate chain for mutual TLS";
    CLIENT_KEY = "KAFKA_CLIENT_KEY" ["KAFKA_CLIENT_KEY_PATH"] "tls.key", Path, "",
        "give the path of a PEM private key, together with KAFKA_CLIENT_CERT",
        "private key of our certificate";
    SERVER_NAME = "KAFKA_TLS_SERVER_NAME" [] "tls.server_name", Text, "",
        "give a DNS name or an IP address",
        "name brokers' certificates must carry; the host connected to where unset";
    TLS_PROVIDER = "KAFKA_TLS_PROVIDER" [] "tls.provider", Text, "auto",
        "give auto or portable",
        "cryptography below TLS; portable is young and unaudited";
    TLS_MIN_VERSION = "KAFKA_TLS_MIN_VERSION" [] "tls.min_version", Text, "1.2",
        "give 1.2 or 1.3",
        "lowest TLS version spoken";
    DANGER_PLAINTEXT = "KAFKA_DANGER_PLAINTEXT" [] "tls.danger_plaintext", Text, "false",
        "give true or false",
        "allow plaintext to brokers that are not on this machine";

    SASL_MECHANISM = "KAFKA_SASL_MECHANISM" [] "sasl.mechanism", Text, "",
        "give PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        "how we say to brokers who we are, beside our certificate; not at all where unset";
    SASL_USERNAME = "KAFKA_SASL_USERNAME" [] "sasl.username", Text, "",
        "give a name, together with KAFKA_SASL_MECHANISM", "the name we say it by";
    SASL_PASSWORD = "KAFKA_SASL_PASSWORD" [] "sasl.password", Secret, "",
        "give a password, here or by KAFKA_SASL_PASSWORD_FILE, together with KAFKA_SASL_MECHANISM",
        "the password of that name";
    SASL_PASSWORD_FILE = "KAFKA_SASL_PASSWORD_FILE" [] "sasl.password_file", Path, "",
        "give the path of a file that holds the password and nothing else",
        "file with the password, read again when it changes";
    DANGER_SASL_PLAINTEXT = "KAFKA_DANGER_SASL_PLAINTEXT" [] "sasl.danger_plaintext", Text, "false",
        "give true or false",
        "allow SASL over plaintext, where anyone on the way may learn the password";

    TOPIC_ANOMALY = "KAFKA_TOPIC_ANOMALY" [] "topics.anomaly", Text, "ai.anomalies.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of anomalies";
    TOPIC_EVIDENCE = "KAFKA_TOPIC_EVIDENCE" [] "topics.evidence", Text, "ai.evidence.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of evidence";
    TOPIC_POLICY = "KAFKA_TOPIC_POLICY" [] "topics.policy", Text, "ai.policy.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of policies";
    TOPIC_COMMIT = "KAFKA_TOPIC_COMMIT" [] "topics.commit", Text, "control.commits.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of commits";
    TOPIC_REPUTATION = "KAFKA_TOPIC_REPUTATION" [] "topics.reputation", Text, "control.reputation.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of reputation";
    TOPIC_POLICY_UPDATE = "KAFKA_TOPIC_POLICY_UPDATE" [] "topics.policy_update", Text, "control.policy.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of policy updates";
    TOPIC_EVIDENCE_REQUEST = "KAFKA_TOPIC_EVIDENCE_REQUEST" [] "topics.evidence_request", Text, "control.evidence.v1",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "topic of evidence requests";
    TOPIC_DLQ = "KAFKA_TOPIC_DLQ" [] "topics.dlq", Text, "ai.dlq",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -", "dead-letter topic";

    MAX_RETRIES = "KAFKA_MAX_RETRIES" [] "send.max_retries", Text, "5",
        "give a number from 0 to 1000", "resends of one batch";
    RETRY_BACKOFF = "KAFKA_RETRY_BACKOFF_MS" [] "send.backoff", Text, "1000",
        "give 1 to 60000 milliseconds, or a duration like 1s",
        "wait before the first resend; doubles up to 60 s";
    DELIVERY_TIMEOUT = "KAFKA_DELIVERY_TIMEOUT_MS" [] "send.deadline", Text, "120000",
        "give 100 to 86400000 milliseconds, or a duration like 2m",
        "deadline of a message from send to receipt, resends included";
    LINGER = "KAFKA_LINGER_MS" [] "send.linger", Text, "5",
        "give 0 to 60000 milliseconds, or a duration like 5ms",
        "how long a batch waits for company";
    BATCH_BYTES = "KAFKA_BATCH_BYTES" [] "send.batch_bytes", Text, "131072",
        "give 1024 to 1000000 bytes, or a size like 128KiB",
        "size at which a batch goes at once";
    BUFFER_BYTES = "KAFKA_BUFFER_BYTES" [] "send.buffer_bytes", Text, "33554432",
        "give 2000000 to 4294967296 bytes, or a size like 32MiB",
        "memory for messages not yet acknowledged; senders wait when it is full";
    COMPRESSION = "KAFKA_COMPRESSION" [] "send.compression", Text, "snappy",
        "give none, gzip, snappy or lz4", "compression of batches";

    AUTO_OFFSET_RESET = "KAFKA_AUTO_OFFSET_RESET" [] "receive.start", Text, "earliest",
        "give earliest, latest or none",
        "where a group without a committed offset starts";
    ISOLATION = "KAFKA_ISOLATION" [] "receive.isolation", Text, "read_committed",
        "give read_committed or read_uncommitted",
        "whether records of open or aborted transactions are read";
    GROUP_PROTOCOL = "KAFKA_GROUP_PROTOCOL" [] "receive.group_protocol", Text, "classic",
        "give classic, consumer or auto",
        "who divides the partitions of the group: its members, the broker (KIP-848, Kafka 4.0), or the broker where it can";
    ASSIGNOR = "KAFKA_ASSIGNOR" [] "receive.assignor", Text, "range",
        "give range, roundrobin or cooperative-sticky, or several of them with commas, the best first; \
         with KAFKA_GROUP_PROTOCOL=consumer uniform or range, or nothing for the broker's choice",
        "how the members of the group divide the partitions; cooperative-sticky alone lets each keep what stays with it";
    INSTANCE_ID = "KAFKA_GROUP_INSTANCE_ID" [] "receive.instance_id", Text, "",
        "give 1 to 249 characters of a-z A-Z 0-9 . _ -, another one for each process",
        "makes this a static member of the group, which keeps its partitions through a restart";
    RACK = "KAFKA_RACK" [] "receive.rack", Text, "",
        "give 1 to 255 bytes without control characters, as in the brokers' broker.rack",
        "where this process is: records are then read from a replica there, if the brokers choose replicas by rack";
    SESSION_TIMEOUT = "KAFKA_SESSION_TIMEOUT_MS" [] "receive.session_timeout", Text, "45000",
        "give 1000 to 1800000 milliseconds, or a duration like 45s",
        "silence after which the group takes a member for dead; where the broker divides no longer than its \
         group.consumer.session.timeout.ms";
    HEARTBEAT_INTERVAL = "KAFKA_HEARTBEAT_INTERVAL_MS" [] "receive.heartbeat_interval", Text, "3000",
        "give 100 to 600000 milliseconds, or a duration like 3s; at most a third of KAFKA_SESSION_TIMEOUT_MS",
        "time between signs of life to the group; where the broker divides it says that itself";
    REBALANCE_TIMEOUT = "KAFKA_REBALANCE_TIMEOUT_MS" [] "receive.rebalance_timeout", Text, "60000",
        "give 1000 to 1800000 milliseconds, or a duration like 60s",
        "time members have to rejoin when the group changes";
    MAX_INFLIGHT = "KAFKA_MAX_INFLIGHT" [] "receive.max_inflight", Text, "1024",
        "give a number from 1 to 1000000", "messages between fetch and verdict";
    MAX_INFLIGHT_BYTES = "KAFKA_MAX_INFLIGHT_BYTES" [] "receive.max_inflight_bytes", Text, "33554432",
        "give 2000000 to 4294967296 bytes, or a size like 32MiB",
        "memory of messages between fetch and verdict";
    HANDLER_ATTEMPTS = "CYBERMESH_HANDLER_ATTEMPTS" [] "receive.handler_attempts", Text, "5",
        "give a number from 1 to 1000", "attempts before a message is given up";
    HANDLER_TIMEOUT = "CYBERMESH_HANDLER_TIMEOUT" [] "receive.handler_timeout", Text, "60s",
        "give a duration like 60s, from 10ms to 1h", "deadline of one handler call";
    REVOKE_TIMEOUT = "CYBERMESH_REVOKE_TIMEOUT" [] "receive.revoke_timeout", Text, "30s",
        "give a duration like 30s, shorter than KAFKA_REBALANCE_TIMEOUT_MS",
        "wait for running handlers when a partition is taken away";
    STOP_TIMEOUT = "CYBERMESH_STOP_TIMEOUT" [] "receive.stop_timeout", Text, "30s",
        "give a duration like 30s, from 0s to 1h", "deadline of an orderly stop";
    ON_EXHAUSTED = "CYBERMESH_ON_EXHAUSTED" [] "receive.on_exhausted", Text, "bury",
        "give bury or pause", "what becomes of a message whose attempts are used up";
    HANG_AFTER = "CYBERMESH_HANG_AFTER" [] "receive.hang_after", Text, "300s",
        "give a duration like 300s, from 100ms to 24h",
        "time without progress, while work is in flight, after which handlers count as hung";
    ON_HANG = "CYBERMESH_ON_HANG" [] "receive.on_hang", Text, "report",
        "give report or leave", "whether a process whose handlers hang also leaves the group";

    VERIFY = "CYBERMESH_VERIFY" [] "verify.mode", Text, "strict",
        "give strict, or batch for all of anomaly, evidence and policy, or kind=mode pairs separated by commas; control kinds are always strict",
        "whether signatures are verified one by one, or many at once for throughput";

    ANOMALY_PAYLOAD = "CYBERMESH_ANOMALY_PAYLOAD" [] "verify.anomaly_payload", Text, "json",
        "give json or any", "whether an anomaly's payload has to be JSON";
    ACCEPT_AUDIENCES = "CYBERMESH_ACCEPT_AUDIENCES" [] "verify.accept_audiences", Text, "",
        "give names of at most 255 bytes separated by commas",
        "environments whose envelopes are accepted; the own one where unset";
    ACCEPT_ORIGIN_TOPICS = "CYBERMESH_ACCEPT_ORIGIN_TOPICS" [] "verify.accept_origin_topics", Text, "",
        "give topic names separated by commas",
        "topics besides the one read that an envelope may name (mirrors)";

    MAX_AGE = "CYBERMESH_MAX_AGE" [] "replay.max_age", Text, "7d",
        "give a duration like 7d, from 1m to 365d", "age from which a message is stale";
    FUTURE_TOLERANCE = "CYBERMESH_FUTURE_TOLERANCE" [] "replay.future_tolerance", Text, "300s",
        "give a duration like 300s, from 0s to 1h", "how far ahead of our clock a message may be";
    REPLAY_RING = "CYBERMESH_REPLAY_RING" [] "replay.ring", Text, "2000",
        "give a number from 16 to 20000", "offsets within which reordering and copies are told apart";

    DLQ_FORMAT = "KAFKA_DLQ_FORMAT" [] "dlq.format", Text, "json",
        "give json, raw or reference", "form of dead letters";

    OUTBOX = "CYBERMESH_OUTBOX" [] "outbox.enabled", Text, "on",
        "give on or off", "keep on disk what cannot be sent now; takes CYBERMESH_STATE_DIR";
    OUTBOX_BYTES = "CYBERMESH_OUTBOX_BYTES" [] "outbox.bytes", Text, "1073741824",
        "give 4096 to 1099511627776 bytes, or a size like 1GiB", "what the outbox may hold";
    OUTBOX_AGE = "CYBERMESH_OUTBOX_AGE" [] "outbox.age", Text, "7d",
        "give a duration like 7d, from 1s to 365d", "age at which a message in the outbox is given up";
    OUTBOX_FULL = "CYBERMESH_OUTBOX_FULL" [] "outbox.full", Text, "refuse",
        "give refuse or drop-oldest", "what a full outbox does with the next message";
    OUTBOX_SYNC = "CYBERMESH_OUTBOX_SYNC" [] "outbox.sync", Text, "always",
        "give always or interval", "whether a message is told as spooled once it is synced to disk, or at once and synced within 100 ms";

    GUARD = "CYBERMESH_GUARD" [] "guard.enabled", Text, "on",
        "give on or off", "pause and sum up where messages fail in floods";
    DLQ_RATE = "CYBERMESH_DLQ_RATE" [] "guard.dlq_rate", Text, "1000@100/s",
        "give burst@rate/s like 1000@100/s",
        "dead letters of messages that are not authentic, a partition; beyond it they are summed up";

    AUDIT = "CYBERMESH_AUDIT" [] "audit.file", Path, "",
        "give the path of a file in a folder that can be written", "file of the audit trail; the log's target `audit` alone where unset";
    AUDIT_ROTATE_BYTES = "CYBERMESH_AUDIT_ROTATE_BYTES" [] "audit.rotate_bytes", Text, "67108864",
        "give 4096 to 1099511627776 bytes, or a size like 64MiB", "size at which the audit trail goes on in a new file";
    AUDIT_KEEP = "CYBERMESH_AUDIT_KEEP" [] "audit.keep", Text, "10",
        "give a number from 1 to 10000", "older files of the audit trail that are kept";

    LIMIT_ANOMALY = "CYBERMESH_RATE_LIMIT_ANOMALY" ["RATE_LIMIT_ANOMALY"] "limits.anomaly", Text, "1000@200/s",
        "give burst@rate/s like 1000@200/s, or off", "rate limit of anomalies";
    LIMIT_EVIDENCE = "CYBERMESH_RATE_LIMIT_EVIDENCE" ["RATE_LIMIT_EVIDENCE"] "limits.evidence", Text, "500@100/s",
        "give burst@rate/s like 500@100/s, or off", "rate limit of evidence";
    LIMIT_POLICY = "CYBERMESH_RATE_LIMIT_POLICY" ["RATE_LIMIT_POLICY"] "limits.policy", Text, "200@50/s",
        "give burst@rate/s like 200@50/s, or off", "rate limit of policies";
    LIMIT_COMMIT = "CYBERMESH_RATE_LIMIT_COMMIT" [] "limits.commit", Text, "1000@200/s",
        "give burst@rate/s like 1000@200/s, or off", "rate limit of commits";
    LIMIT_REPUTATION = "CYBERMESH_RATE_LIMIT_REPUTATION" [] "limits.reputation", Text, "1000@200/s",
        "give burst@rate/s like 1000@200/s, or off", "rate limit of reputation";
    LIMIT_POLICY_UPDATE = "CYBERMESH_RATE_LIMIT_POLICY_UPDATE" [] "limits.policy_update", Text, "1000@200/s",
        "give burst@rate/s like 1000@200/s, or off", "rate limit of policy updates";
    LIMIT_EVIDENCE_REQUEST = "CYBERMESH_RATE_LIMIT_EVIDENCE_REQUEST" [] "limits.evidence_request", Text, "1000@200/s",
        "give burst@rate/s like 1000@200/s, or off", "rate limit of evidence requests";

    ROLE = "CYBERMESH_ROLE" [] "role", Text, "node",
        "give node or backend", "which end of the wire this process is";
    NODE_ID = "CYBERMESH_NODE_ID" ["NODE_ID"] "node.id", Text, "",
        "give 1 to 128 characters of a-z A-Z 0-9 . _ -", "name of this process in groups, logs and dead letters";
    AUDIENCE = "CYBERMESH_AUDIENCE" [] "node.audience", Text, "",
        "give at most 255 bytes without commas or control characters",
        "name of the environment, signed into envelopes";
    ENVELOPE = "CYBERMESH_ENVELOPE" [] "node.envelope", Text, "on",
        "give on or off", "sign an envelope for each record we produce";
    STATE_DIR = "CYBERMESH_STATE_DIR" [] "node.state_dir", Path, "",
        "give the path of a folder", "folder for what has to survive a restart (nonces, the outbox)";
    SIGNING_KEY = "CYBERMESH_SIGNING_KEY" ["ED25519_SIGNING_KEY_PATH"] "keys.signing", Path, "",
        "give the path of a PKCS#8 PEM private key with mode 0600 or stricter",
        "our signing key; required to send";
    TRUST = "CYBERMESH_TRUST" [] "keys.trust", Path, "",
        "give the path of a trust store file or folder", "keys we believe; required to receive";
    LISTEN = "CYBERMESH_LISTEN" [] "ops.listen", Text, "",
        "give an address like 127.0.0.1:9464", "address of /metrics, /healthz and /readyz";
    LOG = "CYBERMESH_LOG" [] "log.filter", Text, "info",
        "give error, warn, info, debug, trace, or targets with levels separated by commas",
        "which log events are written";
    LOG_FORMAT = "CYBERMESH_LOG_FORMAT" [] "log.format", Text, "auto",
        "give auto, text or json", "form of log lines; auto: text on a terminal, json elsewhere";
}

/// Variables of Apache Kafka's own start scripts, which say nothing to us and deserve no warning.
pub(super) const FOREIGN: &[&str] = &[
    "KAFKA_HOME",
    "KAFKA_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_DEBUG",
    "KAFKA_VERSION",
];

/// The variable that names the settings file.
pub(super) const CONFIG_FILE: &str = "CYBERMESH_CONFIG";

/// The setting that `name` (environment name, alias, or file key) stands for.
pub fn find(name: &str) -> Option<&'static Spec> {
    ALL.iter()
        .find(|spec| spec.env == name || spec.key == name || spec.aliases.contains(&name))
        .copied()
}
