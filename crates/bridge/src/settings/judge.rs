//! What settings mean together: derived values, contradictions, and what deserves a warning.

use std::path::Path;

use cybermesh_contracts::kind::Kind;

use super::{
    Settings,
    problem::{Problem, Source},
    table::{self, Spec},
    values::{Assignor, GroupProtocol, Role, VerifyMode},
};

impl Settings {
    /// Fills in what follows from other settings.
    pub(super) fn derive(&mut self) {
        if self.kafka.group.is_empty() {
            self.kafka.group = match (self.role, &self.node.id) {
                (Role::Backend, _) => "cybermesh-backend".to_owned(),
                (Role::Node, None) => "ai-service".to_owned(),
                (Role::Node, Some(id)) => format!("ai-service-{id}"),
            };
            let group = self.kafka.group.clone();
            self.relist(table::GROUP, group);
        }
        // By default the broker divides as it sees fit.
        let is_asked_for = self.source_of(table::ASSIGNOR.env) != Source::Default;
        if self.receive.group_protocol == GroupProtocol::Consumer && is_asked_for {
            self.receive.server_assignor = self.receive.assignors.first().copied();
        }
        if self.verify.accept_audiences.is_empty() {
            self.verify.accept_audiences = vec![self.node.audience.clone()];
            let audience = self.node.audience.clone();
            self.relist(table::ACCEPT_AUDIENCES, audience);
        }
    }

    fn relist(&mut self, spec: &'static Spec, value: String) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.env == spec.env) {
            entry.value = Some(value);
            entry.source = Source::Derived;
        }
    }

    /// Contradictions between settings.
    pub(super) fn judge(&self, problems: &mut Vec<Problem>) {
        let mut refuse = |spec: &'static Spec, reason: String| {
            problems.push(Problem {
                name: spec.env.to_owned(),
                source: self.source_of(spec.env),
                reason,
                accepts: spec.accepts.to_owned(),
            });
        };
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => refuse(
                table::CLIENT_KEY,
                "unset, while KAFKA_CLIENT_CERT is set".to_owned(),
            ),
            (None, Some(_)) => refuse(
                table::CLIENT_CERT,
                "unset, while KAFKA_CLIENT_KEY is set".to_owned(),
            ),
            _ => {}
        }
        self.judge_sasl(&mut refuse);
        self.judge_assignors(&mut refuse);
        if self.receive.heartbeat_interval * 3 > self.receive.session_timeout {
            refuse(
                table::HEARTBEAT_INTERVAL,
                "more than a third of KAFKA_SESSION_TIMEOUT_MS".to_owned(),
            );
        }
        if self.receive.revoke_timeout >= self.receive.rebalance_timeout {
            refuse(
                table::REVOKE_TIMEOUT,
                "not shorter than KAFKA_REBALANCE_TIMEOUT_MS".to_owned(),
            );
        }
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let topic = self.topics.of(kind);
            if topic == self.topics.dlq {
                refuse(
                    table::TOPIC_DLQ,
                    format!("{topic:?} is the topic of {kind} as well"),
                );
            }
            if let Some(other) = Kind::ALL[..index]
                .iter()
                .find(|other| self.topics.of(**other) == topic)
            {
                refuse(
                    topic_spec(kind),
                    format!("{topic:?} is the topic of {other} as well"),
                );
            }
        }
    }

    /// An assignor that is not there where it is looked for would be passed over.
    fn judge_assignors(&self, refuse: &mut impl FnMut(&'static Spec, String)) {
        let receive = &self.receive;
        let of_broker = |one: &Assignor| matches!(one, Assignor::Range | Assignor::Uniform);
        let is_one_of_broker = matches!(&receive.assignors[..], [one] if of_broker(one));
        if receive.group_protocol == GroupProtocol::Consumer {
            if !is_one_of_broker {
                let reason = "the broker divides with KAFKA_GROUP_PROTOCOL=consumer, by one of its own assignors";
                refuse(table::ASSIGNOR, reason.to_owned());
            }
        } else if receive.assignors.contains(&Assignor::Uniform) {
            let reason = "uniform is an assignor of the broker, which divides with KAFKA_GROUP_PROTOCOL=consumer";
            refuse(table::ASSIGNOR, reason.to_owned());
        }
    }

    /// To connect without the authentication that was asked for is not what was asked for, so half of it is
    /// refused.
    fn judge_sasl(&self, refuse: &mut impl FnMut(&'static Spec, String)) {
        let sasl = &self.sasl;
        if sasl.mechanism.is_some() {
            let needed = || "unset, while KAFKA_SASL_MECHANISM is set".to_owned();
            if sasl.username.is_none() {
                refuse(table::SASL_USERNAME, needed());
            }
            match (&sasl.password, &sasl.password_file) {
                (None, None) => refuse(table::SASL_PASSWORD, needed()),
                (Some(_), Some(_)) => refuse(
                    table::SASL_PASSWORD_FILE,
                    "set, while KAFKA_SASL_PASSWORD is set as well".to_owned(),
                ),
                _ => {}
            }
            return;
        }
        for (spec, is_set) in [
            (table::SASL_USERNAME, sasl.username.is_some()),
            (table::SASL_PASSWORD, sasl.password.is_some()),
            (table::SASL_PASSWORD_FILE, sasl.password_file.is_some()),
        ] {
            if is_set {
                refuse(spec, "set, while KAFKA_SASL_MECHANISM is unset".to_owned());
            }
        }
    }

    /// What a process that connects needs beyond single values: plaintext only where it harms nobody.
    pub(crate) fn judge_connection(&self, problems: &mut Vec<Problem>) {
        let mut refuse = |spec: &'static Spec, reason: String| {
            problems.push(Problem {
                name: spec.env.to_owned(),
                source: self.source_of(spec.env),
                reason,
                accepts: spec.accepts.to_owned(),
            });
        };
        if self.tls.enabled && self.tls.ca.is_none() {
            refuse(table::CA_CERT, "unset, and required with TLS".to_owned());
        }
        let remote = self
            .kafka
            .brokers
            .iter()
            .find(|broker| !broker.is_loopback());
        if let (false, false, Some(broker)) = (self.tls.enabled, self.tls.danger_plaintext, remote)
        {
            let reason = format!(
                "false, while {broker} is not on this machine: refused without KAFKA_DANGER_PLAINTEXT=true"
            );
            refuse(table::TLS_ENABLED, reason);
        }
        let sasl = &self.sasl;
        if !self.tls.enabled && sasl.mechanism.is_some() && !sasl.danger_plaintext {
            let reason = "false, while KAFKA_SASL_MECHANISM is set: refused without KAFKA_DANGER_SASL_PLAINTEXT=true";
            refuse(table::TLS_ENABLED, reason.to_owned());
        }
    }

    /// Warnings about what is allowed and seldom meant.
    pub(super) fn remark(&mut self) {
        if !self.tls.enabled {
            self.notes.push(
                "KAFKA_TLS_ENABLED is false: everything crosses the network in plaintext"
                    .to_owned(),
            );
        }
        if self.sasl.mechanism.is_some() && !self.tls.enabled && self.sasl.danger_plaintext {
            self.notes.push(
                "KAFKA_DANGER_SASL_PLAINTEXT is true: whoever listens may learn the password"
                    .to_owned(),
            );
        }
        if self.node.audience.is_empty() {
            self.notes.push(
                "CYBERMESH_AUDIENCE is empty: messages signed here would be believed in any other environment that leaves it empty"
                    .to_owned(),
            );
        }
        if self.role == Role::Node
            && self.node.id.is_none()
            && self.source_of(table::GROUP.env) == Source::Derived
        {
            self.notes.push(
                "neither CYBERMESH_NODE_ID nor KAFKA_CONSUMER_GROUP is set: nodes that share the group ai-service each see only some of the control messages"
                    .to_owned(),
            );
        }
        if self.role == Role::Node
            && Kind::NODE
                .iter()
                .any(|kind| self.verify.mode.of(*kind) == VerifyMode::Batch)
        {
            self.notes.push(
                "CYBERMESH_VERIFY=batch changes nothing for the control kinds, which are all a node receives: they are verified strictly"
                    .to_owned(),
            );
        }
        if self.node.state_dir.is_none() {
            self.notes.push("CYBERMESH_STATE_DIR is unset: each start draws a new nonce instance, nothing else is kept".to_owned());
        }
    }

    /// A problem with the file that `spec` names.
    pub(crate) fn file_problem(&self, env: &str, path: &Path, reason: &str) -> Problem {
        Problem {
            name: env.to_owned(),
            source: self.source_of(env),
            reason: format!("{:?}: {reason}", path.display().to_string()),
            accepts: table::find(env)
                .map(|spec| spec.accepts.to_owned())
                .unwrap_or_default(),
        }
    }
}

fn topic_spec(kind: Kind) -> &'static Spec {
    match kind {
        Kind::Anomaly => table::TOPIC_ANOMALY,
        Kind::Evidence => table::TOPIC_EVIDENCE,
        Kind::Policy => table::TOPIC_POLICY,
        Kind::Commit => table::TOPIC_COMMIT,
        Kind::Reputation => table::TOPIC_REPUTATION,
        Kind::PolicyUpdate => table::TOPIC_POLICY_UPDATE,
        Kind::EvidenceRequest => table::TOPIC_EVIDENCE_REQUEST,
    }
}
