//! How a broker is set up: its `server.properties`, and what it logs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Says on which line of the log a broker is ready; everything else from warnings on.
pub(super) const LOG4J: &str = "\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
logger.ready.name = kafka.server.KafkaRaftServer
logger.ready.level = INFO
";

/// The line that a broker logs once it serves clients.
pub(super) const READY: &str = "Kafka Server started";

/// One broker's ports on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// For clients, mutual TLS.
    pub(super) tls: u16,
    /// The same for clients that are to come through a proxy on `proxy`.
    pub(super) behind_proxy: u16,
    /// Nobody listens here until a test puts its proxy there; it is what the listener above advertises.
    pub(super) proxy: u16,
    /// As `tls`, at `[::1]`; none where this machine has no IPv6.
    pub(super) ipv6: Option<u16>,
    /// For clients that authenticate by SASL, over TLS without a certificate of theirs.
    pub(super) sasl: u16,
    /// The same, by PLAIN alone.
    pub(super) sasl_plain_only: u16,
    /// Between brokers, plaintext.
    pub(super) replication: u16,
    /// Between controllers, plaintext.
    pub(super) controller: u16,
}

/// One broker, controller as well.
#[derive(Debug)]
pub(super) struct Broker<'a> {
    pub(super) id: u16,
    pub(super) ports: Ports,
    /// `id@host:port` of every controller.
    pub(super) voters: &'a str,
    pub(super) brokers: u16,
    pub(super) data: PathBuf,
    pub(super) keystore: &'a Path,
    pub(super) truststore: &'a Path,
}

impl Broker<'_> {
    /// The text of its `server.properties`.
    pub(super) fn properties(&self) -> String {
        let Ports {
            tls,
            behind_proxy,
            proxy,
            ipv6,
            sasl,
            sasl_plain_only,
            replication,
            controller,
        } = self.ports;
        let ipv6 = ipv6.map_or_else(String::new, |port| format!(",IPV6://[::1]:{port}"));
        let replicas = self.brokers.min(3);
        let in_sync = if replicas == 3 { 2 } else { 1 };
        let mut text = String::new();
        let mut set = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}={value}");
        };
        set("process.roles", &"broker,controller");
        set("node.id", &self.id);
        set("controller.quorum.voters", &self.voters);
        set(
            "listeners",
            &format!(
                "TLS://127.0.0.1:{tls},PROXIED://127.0.0.1:{behind_proxy},\
                 SASL://127.0.0.1:{sasl},PLAINONLY://127.0.0.1:{sasl_plain_only},\
                 REPLICATION://127.0.0.1:{replication},CONTROLLER://127.0.0.1:{controller}{ipv6}"
            ),
        );
        set(
            "advertised.listeners",
            &format!(
                "TLS://127.0.0.1:{tls},PROXIED://127.0.0.1:{proxy},SASL://127.0.0.1:{sasl},\
                 PLAINONLY://127.0.0.1:{sasl_plain_only},REPLICATION://127.0.0.1:{replication}{ipv6}"
            ),
        );
        set("controller.listener.names", &"CONTROLLER");
        set("inter.broker.listener.name", &"REPLICATION");
        set(
            "listener.security.protocol.map",
            &"TLS:SSL,PROXIED:SSL,IPV6:SSL,SASL:SASL_SSL,PLAINONLY:SASL_SSL,\
              REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
        );
        set("ssl.client.auth", &"required");
        for (name, value) in sasl_listener() {
            set(&format!("listener.name.sasl.{name}"), &value);
            let fewer = if name == ENABLED_MECHANISMS {
                "PLAIN"
            } else {
                &value
            };
            set(&format!("listener.name.plainonly.{name}"), &fewer);
        }
        set("ssl.keystore.type", &"PEM");
        set("ssl.keystore.location", &self.keystore.display());
        set("ssl.truststore.type", &"PEM");
        set("ssl.truststore.location", &self.truststore.display());
        set("log.dirs", &self.data.display());
        set("auto.create.topics.enable", &"false");
        set("message.max.bytes", &4_194_304);
        set("num.partitions", &3);
        set("default.replication.factor", &replicas);
        set("min.insync.replicas", &in_sync);
        set("group.initial.rebalance.delay.ms", &0);
        // Members of groups that the coordinator divides (KIP-848) cannot choose these themselves.
        for time in ["heartbeat.interval", "min.heartbeat.interval"] {
            set(&format!("group.consumer.{time}.ms"), &500);
        }
        for time in ["session.timeout", "min.session.timeout"] {
            set(&format!("group.consumer.{time}.ms"), &6000);
        }
        set("offsets.topic.num.partitions", &5);
        set("offsets.topic.replication.factor", &replicas);
        set("transaction.state.log.num.partitions", &5);
        set("transaction.state.log.replication.factor", &replicas);
        set("transaction.state.log.min.isr", &in_sync);
        set("file.delete.delay.ms", &1000);
        // Readers that name a rack are sent to the broker there; those that name none to the leader, as without.
        set("broker.rack", &format_args!("r{}", self.id));
        set(
            "replica.selector.class",
            &"org.apache.kafka.common.replica.RackAwareReplicaSelector",
        );
        // Tests look at who leads, and have leadership moved themselves.
        set("auto.leader.rebalance.enable", &false);
        // Tests write records with times of years ago, which are old enough to be deleted at any look.
        set("log.retention.ms", &-1);
        text
    }
}

/// Who comes in by SASL: one user, with a password for each mechanism that has one. A token is believed without
/// a signature, as Kafka does where no validator is set.
pub(super) const SASL_USER: &str = "test-user";
pub(super) const SASL_PASSWORD: &str = "test-password";

/// Each mechanism that Kafka's SCRAM users are made for.
pub(super) const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

const ENABLED_MECHANISMS: &str = "sasl.enabled.mechanisms";

/// Short, so that a test sees several end.
const SASL_SESSION_MS: u32 = 5000;

/// The settings of the SASL listener, without its prefix.
fn sasl_listener() -> Vec<(String, String)> {
    let module = |name: &str, options: &str| {
        format!("org.apache.kafka.common.security.{name} required{options};")
    };
    let of = |mechanism: &str, jaas: String| (format!("{mechanism}.sasl.jaas.config"), jaas);
    let plain = format!(" user_{SASL_USER}=\"{SASL_PASSWORD}\"");
    let scram = module("scram.ScramLoginModule", "");
    let bearer = " unsecuredLoginStringClaim_sub=\"broker\"";
    vec![
        ("ssl.client.auth".to_owned(), "none".to_owned()),
        (
            ENABLED_MECHANISMS.to_owned(),
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        ),
        (
            "connections.max.reauth.ms".to_owned(),
            SASL_SESSION_MS.to_string(),
        ),
        of("plain", module("plain.PlainLoginModule", &plain)),
        of("scram-sha-256", scram.clone()),
        of("scram-sha-512", scram),
        of(
            "oauthbearer",
            module("oauthbearer.OAuthBearerLoginModule", bearer),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(brokers: u16) -> String {
        text_with(brokers, Some(6))
    }

    fn text_with(brokers: u16, ipv6: Option<u16>) -> String {
        let ports = Ports {
            ipv6,
            tls: 1,
            behind_proxy: 2,
            proxy: 3,
            sasl: 6,
            sasl_plain_only: 7,
            replication: 4,
            controller: 5,
        };
        Broker {
            id: 1,
            ports,
            voters: "1@127.0.0.1:5",
            brokers,
            data: "data".into(),
            keystore: Path::new("broker.pem"),
            truststore: Path::new("ca.pem"),
        }
        .properties()
    }

    #[test]
    fn clients_must_show_a_certificate() {
        assert!(text(1).contains("\nssl.client.auth=required\n"));
    }

    #[test]
    fn no_listener_for_clients_is_plaintext() {
        assert!(text(1).contains(
            "\nlistener.security.protocol.map=TLS:SSL,PROXIED:SSL,IPV6:SSL,SASL:SASL_SSL,PLAINONLY:SASL_SSL,"
        ));
    }

    #[test]
    fn a_machine_without_ipv6_has_a_broker_without_a_listener_there() {
        let names = |text: String| text.matches("IPV6://[::1]:6").count();
        assert_eq!(names(text(1)), 2);
        assert!(!text_with(1, None).contains("::1"));
    }

    #[test]
    fn no_record_is_deleted_for_its_age() {
        assert!(text(1).contains("\nlog.retention.ms=-1\n"));
    }

    #[test]
    fn each_broker_is_in_a_rack_of_its_own_and_sends_readers_to_theirs() {
        assert!(text(3).contains("\nbroker.rack=r1\nreplica.selector.class=org.apache.kafka."));
    }

    #[test]
    fn three_brokers_keep_three_replicas_of_which_two_must_be_in_sync() {
        assert!(text(3).contains("\ndefault.replication.factor=3\nmin.insync.replicas=2\n"));
        assert!(text(1).contains("\ndefault.replication.factor=1\nmin.insync.replicas=1\n"));
    }
}
