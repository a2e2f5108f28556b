//! Each section of the settings, value by value. A section is read wholly before the first value is
//! missed, so that all that is wrong is found.

use std::time::Duration;

use cybermesh_contracts::kind::Kind;

use crate::outbound::outbox::{Sync, WhenFull};

use super::{Settings, load::Reader, parse, table, values::*};

impl Reader {
    /// Every section is read before the first is missed, so that all problems are found.
    pub(super) fn settings(&mut self) -> Option<Settings> {
        let role = self.value(
            table::ROLE,
            parse::word(&[("node", Role::Node), ("backend", Role::Backend)]),
        );
        let (kafka, tls, sasl) = (self.kafka(), self.tls(), self.sasl());
        let topics = self.topics();
        let (send, receive, verify, replay) =
            (self.send(), self.receive(), self.verify(), self.replay());
        let dead_letter_format = self.value(
            table::DLQ_FORMAT,
            parse::word(&[
                ("json", DeadLetterFormat::Json),
                ("raw", DeadLetterFormat::Raw),
                ("reference", DeadLetterFormat::Reference),
            ]),
        );
        let (outbox, guard, audit) = (self.outbox(), self.guard(), self.audit());
        let (limits, node, keys, ops, log) = (
            self.limits(),
            self.node(),
            self.keys(),
            self.ops(),
            self.log(),
        );
        Some(Settings {
            role: role?,
            kafka: kafka?,
            tls: tls?,
            sasl: sasl?,
            topics: topics?,
            send: send?,
            receive: receive?,
            verify: verify?,
            replay: replay?,
            dead_letter_format: dead_letter_format?,
            outbox: outbox?,
            guard: guard?,
            audit: audit?,
            limits: limits?,
            node: node?,
            keys: keys?,
            ops: ops?,
            log: log?,
            entries: Vec::new(),
            notes: Vec::new(),
            origin: super::Origin::default(),
        })
    }

    fn kafka(&mut self) -> Option<Kafka> {
        let brokers = self.value(table::BROKERS, parse::brokers);
        let group = self.optional(table::GROUP, parse::group);
        let request_timeout =
            self.value(table::REQUEST_TIMEOUT, parse::milliseconds(100..=600_000));
        let connect_timeout =
            self.value(table::CONNECT_TIMEOUT, parse::milliseconds(100..=600_000));
        let metadata_max_age = self.value(
            table::METADATA_MAX_AGE,
            parse::milliseconds(1_000..=86_400_000),
        );
        Some(Kafka {
            brokers: brokers?,
            group: group?.unwrap_or_default(),
            request_timeout: request_timeout?,
            connect_timeout: connect_timeout?,
            metadata_max_age: metadata_max_age?,
        })
    }

    fn tls(&mut self) -> Option<Tls> {
        let enabled = self.value(table::TLS_ENABLED, parse::boolean);
        let ca = self.optional(table::CA_CERT, parse::path);
        let cert = self.optional(table::CLIENT_CERT, parse::path);
        let key = self.optional(table::CLIENT_KEY, parse::path);
        let server_name = self.optional(table::SERVER_NAME, parse::text);
        let provider = self.value(
            table::TLS_PROVIDER,
            parse::word(&[
                ("auto", TlsProvider::Auto),
                ("portable", TlsProvider::Portable),
            ]),
        );
        let min_version = self.value(
            table::TLS_MIN_VERSION,
            parse::word(&[("1.2", TlsMinVersion::V1_2), ("1.3", TlsMinVersion::V1_3)]),
        );
        let danger_plaintext = self.value(table::DANGER_PLAINTEXT, parse::boolean);
        Some(Tls {
            enabled: enabled?,
            ca: ca?,
            cert: cert?,
            key: key?,
            server_name: server_name?,
            provider: provider?,
            min_version: min_version?,
            danger_plaintext: danger_plaintext?,
        })
    }

    fn sasl(&mut self) -> Option<Sasl> {
        let mechanism = self.optional(table::SASL_MECHANISM, parse::sasl_mechanism);
        let username = self.optional(table::SASL_USERNAME, parse::text);
        let password = self.secret(table::SASL_PASSWORD);
        let password_file = self.optional(table::SASL_PASSWORD_FILE, parse::path);
        let danger_plaintext = self.value(table::DANGER_SASL_PLAINTEXT, parse::boolean);
        Some(Sasl {
            mechanism: mechanism?,
            username: username?,
            password,
            password_file: password_file?,
            danger_plaintext: danger_plaintext?,
        })
    }

    fn topics(&mut self) -> Option<Topics> {
        let anomaly = self.value(table::TOPIC_ANOMALY, parse::topic);
        let evidence = self.value(table::TOPIC_EVIDENCE, parse::topic);
        let policy = self.value(table::TOPIC_POLICY, parse::topic);
        let commit = self.value(table::TOPIC_COMMIT, parse::topic);
        let reputation = self.value(table::TOPIC_REPUTATION, parse::topic);
        let policy_update = self.value(table::TOPIC_POLICY_UPDATE, parse::topic);
        let evidence_request = self.value(table::TOPIC_EVIDENCE_REQUEST, parse::topic);
        let dlq = self.value(table::TOPIC_DLQ, parse::topic);
        Some(Topics {
            anomaly: anomaly?,
            evidence: evidence?,
            policy: policy?,
            commit: commit?,
            reputation: reputation?,
            policy_update: policy_update?,
            evidence_request: evidence_request?,
            dlq: dlq?,
        })
    }

    fn send(&mut self) -> Option<Send> {
        let max_retries = self.value(table::MAX_RETRIES, parse::number(0..=1_000));
        let backoff = self.value(table::RETRY_BACKOFF, parse::milliseconds(1..=60_000));
        let deadline = self.value(
            table::DELIVERY_TIMEOUT,
            parse::milliseconds(100..=86_400_000),
        );
        let linger = self.value(table::LINGER, parse::milliseconds(0..=60_000));
        let batch_bytes = self.value(table::BATCH_BYTES, parse::bytes(1_024..=1_000_000));
        let buffer_bytes = self.value(table::BUFFER_BYTES, parse::bytes(2_000_000..=1 << 32));
        let compression = self.value(
            table::COMPRESSION,
            parse::word(&[
                ("none", Compression::None),
                ("gzip", Compression::Gzip),
                ("snappy", Compression::Snappy),
                ("lz4", Compression::Lz4),
            ]),
        );
        Some(Send {
            max_retries: max_retries?,
            backoff: backoff?,
            deadline: deadline?,
            linger: linger?,
            batch_bytes: batch_bytes?,
            buffer_bytes: buffer_bytes?,
            compression: compression?,
        })
    }

    fn receive(&mut self) -> Option<Receive> {
        const HOUR: Duration = Duration::from_secs(3_600);
        let start = self.value(
            table::AUTO_OFFSET_RESET,
            parse::word(&[
                ("earliest", StartPosition::Earliest),
                ("latest", StartPosition::Latest),
                ("none", StartPosition::None),
            ]),
        );
        let isolation = self.value(
            table::ISOLATION,
            parse::word(&[
                ("read_committed", Isolation::ReadCommitted),
                ("read_uncommitted", Isolation::ReadUncommitted),
            ]),
        );
        let group_protocol = self.value(
            table::GROUP_PROTOCOL,
            parse::word(&[
                ("classic", GroupProtocol::Classic),
                ("consumer", GroupProtocol::Consumer),
                ("auto", GroupProtocol::Auto),
            ]),
        );
        let assignors = self.value(table::ASSIGNOR, parse::assignors);
        let instance_id = self.optional(table::INSTANCE_ID, parse::topic);
        let rack = self.optional(table::RACK, parse::rack);
        let session_timeout = self.value(
            table::SESSION_TIMEOUT,
            parse::milliseconds(1_000..=1_800_000),
        );
        let heartbeat_interval = self.value(
            table::HEARTBEAT_INTERVAL,
            parse::milliseconds(100..=600_000),
        );
        let rebalance_timeout = self.value(
            table::REBALANCE_TIMEOUT,
            parse::milliseconds(1_000..=1_800_000),
        );
        let max_inflight = self.value(table::MAX_INFLIGHT, parse::number(1..=1_000_000));
        let max_inflight_bytes =
            self.value(table::MAX_INFLIGHT_BYTES, parse::bytes(2_000_000..=1 << 32));
        let handler_attempts = self.value(table::HANDLER_ATTEMPTS, parse::number(1..=1_000));
        let handler_timeout = self.value(
            table::HANDLER_TIMEOUT,
            parse::duration(Duration::from_millis(10)..=HOUR),
        );
        let revoke_timeout = self.value(
            table::REVOKE_TIMEOUT,
            parse::duration(Duration::ZERO..=HOUR),
        );
        let stop_timeout = self.value(table::STOP_TIMEOUT, parse::duration(Duration::ZERO..=HOUR));
        let on_exhausted = self.value(
            table::ON_EXHAUSTED,
            parse::word(&[("bury", OnExhausted::Bury), ("pause", OnExhausted::Pause)]),
        );
        let hang_after = self.value(
            table::HANG_AFTER,
            parse::duration(Duration::from_millis(100)..=HOUR * 24),
        );
        let on_hang = self.value(
            table::ON_HANG,
            parse::word(&[("report", OnHang::Report), ("leave", OnHang::Leave)]),
        );
        Some(Receive {
            start: start?,
            isolation: isolation?,
            group_protocol: group_protocol?,
            assignors: assignors?,
            server_assignor: None,
            instance_id: instance_id?,
            rack: rack?,
            session_timeout: session_timeout?,
            heartbeat_interval: heartbeat_interval?,
            rebalance_timeout: rebalance_timeout?,
            max_inflight: max_inflight?,
            max_inflight_bytes: max_inflight_bytes?,
            handler_attempts: handler_attempts?,
            handler_timeout: handler_timeout?,
            revoke_timeout: revoke_timeout?,
            stop_timeout: stop_timeout?,
            on_exhausted: on_exhausted?,
            hang_after: hang_after?,
            on_hang: on_hang?,
        })
    }

    fn verify(&mut self) -> Option<Verify> {
        let mode = self.value(table::VERIFY, parse::verify_modes);
        let anomaly_payload = self.value(
            table::ANOMALY_PAYLOAD,
            parse::word(&[("json", PayloadRule::Json), ("any", PayloadRule::Any)]),
        );
        let accept_audiences = self.optional(table::ACCEPT_AUDIENCES, parse::list(parse::audience));
        let accept_origin_topics =
            self.optional(table::ACCEPT_ORIGIN_TOPICS, parse::list(parse::topic));
        Some(Verify {
            mode: mode?,
            anomaly_payload: anomaly_payload?,
            accept_audiences: accept_audiences?.unwrap_or_default(),
            accept_origin_topics: accept_origin_topics?.unwrap_or_default(),
        })
    }

    fn replay(&mut self) -> Option<Replay> {
        const MINUTE: Duration = Duration::from_secs(60);
        let max_age = self.value(
            table::MAX_AGE,
            parse::duration(MINUTE..=MINUTE * 60 * 24 * 365),
        );
        let future_tolerance = self.value(
            table::FUTURE_TOLERANCE,
            parse::duration(Duration::ZERO..=MINUTE * 60),
        );
        let ring = self.value(table::REPLAY_RING, parse::number(16..=20_000));
        Some(Replay {
            max_age: max_age?,
            future_tolerance: future_tolerance?,
            ring: ring?,
        })
    }

    fn outbox(&mut self) -> Option<Outbox> {
        const DAY: Duration = Duration::from_secs(86_400);
        let enabled = self.value(table::OUTBOX, parse::boolean);
        let bytes = self.value(table::OUTBOX_BYTES, parse::bytes(4_096..=1 << 40));
        let age = self.value(
            table::OUTBOX_AGE,
            parse::duration(Duration::from_secs(1)..=DAY * 365),
        );
        let when_full = self.value(
            table::OUTBOX_FULL,
            parse::word(&[
                ("refuse", WhenFull::Refuse),
                ("drop-oldest", WhenFull::DropOldest),
            ]),
        );
        let sync = self.value(
            table::OUTBOX_SYNC,
            parse::word(&[("always", Sync::Always), ("interval", Sync::Interval)]),
        );
        Some(Outbox {
            enabled: enabled?,
            bytes: bytes?,
            age: age?,
            when_full: when_full?,
            sync: sync?,
        })
    }

    fn guard(&mut self) -> Option<Guard> {
        let enabled = self.value(table::GUARD, parse::boolean);
        let dlq_rate = self.value(table::DLQ_RATE, |text| parse::rate_limit(text)?.ok_or(None));
        Some(Guard {
            enabled: enabled?,
            dlq_rate: dlq_rate?,
        })
    }

    fn audit(&mut self) -> Option<Audit> {
        let file = self.optional(table::AUDIT, parse::path);
        let rotate_bytes = self.value(table::AUDIT_ROTATE_BYTES, parse::bytes(4_096..=1 << 40));
        let keep = self.value(table::AUDIT_KEEP, parse::number(1..=10_000));
        Some(Audit {
            file: file?,
            rotate_bytes: rotate_bytes?,
            keep: keep?,
        })
    }

    fn limits(&mut self) -> Option<Limits> {
        let limits = [
            (
                Kind::Anomaly,
                self.value(table::LIMIT_ANOMALY, parse::rate_limit),
            ),
            (
                Kind::Evidence,
                self.value(table::LIMIT_EVIDENCE, parse::rate_limit),
            ),
            (
                Kind::Policy,
                self.value(table::LIMIT_POLICY, parse::rate_limit),
            ),
            (
                Kind::Commit,
                self.value(table::LIMIT_COMMIT, parse::rate_limit),
            ),
            (
                Kind::Reputation,
                self.value(table::LIMIT_REPUTATION, parse::rate_limit),
            ),
            (
                Kind::PolicyUpdate,
                self.value(table::LIMIT_POLICY_UPDATE, parse::rate_limit),
            ),
            (
                Kind::EvidenceRequest,
                self.value(table::LIMIT_EVIDENCE_REQUEST, parse::rate_limit),
            ),
        ];
        if limits.iter().any(|(_, limit)| limit.is_none()) {
            return None;
        }
        Some(Limits(limits.map(|(kind, limit)| (kind, limit.flatten()))))
    }

    fn node(&mut self) -> Option<Node> {
        let id = self.optional(table::NODE_ID, parse::node_id);
        let audience = self.optional(table::AUDIENCE, parse::audience);
        let envelope = self.value(table::ENVELOPE, parse::boolean);
        let state_dir = self.optional(table::STATE_DIR, parse::path);
        Some(Node {
            id: id?,
            audience: audience?.unwrap_or_default(),
            envelope: envelope?,
            state_dir: state_dir?,
        })
    }

    fn keys(&mut self) -> Option<Keys> {
        let signing = self.optional(table::SIGNING_KEY, parse::path);
        let trust = self.optional(table::TRUST, parse::path);
        Some(Keys {
            signing: signing?,
            trust: trust?,
        })
    }

    fn ops(&mut self) -> Option<Ops> {
        Some(Ops {
            listen: self.optional(table::LISTEN, parse::socket)?,
        })
    }

    fn log(&mut self) -> Option<Log> {
        let filter = self.value(table::LOG, parse::text);
        let format = self.value(
            table::LOG_FORMAT,
            parse::word(&[
                ("auto", LogFormat::Auto),
                ("text", LogFormat::Text),
                ("json", LogFormat::Json),
            ]),
        );
        Some(Log {
            filter: filter?,
            format: format?,
        })
    }
}
