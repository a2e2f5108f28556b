//! The metrics of the OpenTelemetry messaging conventions (1.44), and what their attributes tell of a
//! message's surroundings.

use std::{sync::Arc, time::Duration};

use cybermesh_transport::Client;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use super::metrics::{NETWORK_SECONDS, counter, seconds};

/// What a message went through; each is one value of `messaging.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Send,
    Poll,
    Process,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Process => "process",
        }
    }

    /// The conventions' closed set of types.
    const fn kind(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "receive",
            Self::Process => "process",
        }
    }

    /// Whether it is done for a consumer group.
    const fn is_consumers(self) -> bool {
        matches!(self, Self::Poll | Self::Process)
    }
}

/// Where messages go and come from, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    cluster: Option<Client>,
    group: Option<Arc<str>>,
}

impl Surroundings {
    pub(super) fn in_cluster(self, client: Client) -> Self {
        Self {
            cluster: Some(client),
            ..self
        }
    }

    pub(super) fn in_group(self, group: &str) -> Self {
        Self {
            group: Some(group.into()),
            ..self
        }
    }

    /// `server.*` is the broker that leads the partition; a message that got no partition has none.
    fn attributes(
        &self,
        operation: Operation,
        topic: &str,
        partition: Option<i32>,
        error_type: Option<&'static str>,
    ) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.destination.name", topic.to_owned()),
            KeyValue::new("messaging.operation.name", operation.name()),
            KeyValue::new("messaging.operation.type", operation.kind()),
        ];
        if operation.is_consumers()
            && let Some(group) = &self.group
        {
            attributes.push(KeyValue::new(
                "messaging.consumer.group.name",
                Arc::clone(group),
            ));
        }
        let leader = self
            .cluster
            .as_ref()
            .zip(partition)
            .and_then(|(cluster, partition)| cluster.leader_address(topic, partition));
        if let Some(leader) = leader {
            attributes.push(KeyValue::new("server.address", leader.host().to_owned()));
            attributes.push(KeyValue::new("server.port", i64::from(leader.port())));
        }
        attributes.extend(error_type.map(|error| KeyValue::new("error.type", error)));
        attributes
    }
}

/// The four instruments.
pub(super) struct Messaging {
    operation_duration: Histogram<f64>,
    process_duration: Histogram<f64>,
    sent: Counter<u64>,
    consumed: Counter<u64>,
}

impl Messaging {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            operation_duration: seconds(
                meter,
                "messaging.client.operation.duration",
                "Duration of a messaging operation",
                &NETWORK_SECONDS,
            ),
            process_duration: seconds(
                meter,
                "messaging.process.duration",
                "Duration of processing a message",
                &NETWORK_SECONDS,
            ),
            sent: counter(
                meter,
                "messaging.client.sent.messages",
                "Messages a producer tried to send",
            ),
            consumed: counter(
                meter,
                "messaging.client.consumed.messages",
                "Messages delivered to the application",
            ),
        }
    }

    /// A message was sent, or, with an `error_type`, was not.
    pub(super) fn sent(
        &self,
        around: &Surroundings,
        topic: &str,
        partition: Option<i32>,
        error_type: Option<&'static str>,
        took: Duration,
    ) {
        let attributes = around.attributes(Operation::Send, topic, partition, error_type);
        self.operation_duration
            .record(took.as_secs_f64(), &attributes);
        self.sent.add(1, &attributes);
    }

    pub(super) fn consumed(&self, around: &Surroundings, topic: &str, partition: i32) {
        let attributes = around.attributes(Operation::Poll, topic, Some(partition), None);
        self.consumed.add(1, &attributes);
    }

    /// A handler was called and ended; with an `error_type` where it is not done with the message.
    pub(super) fn processed(
        &self,
        around: &Surroundings,
        topic: &str,
        partition: i32,
        error_type: Option<&'static str>,
        took: Duration,
    ) {
        let attributes = around.attributes(Operation::Process, topic, Some(partition), error_type);
        self.process_duration
            .record(took.as_secs_f64(), &attributes);
    }
}
