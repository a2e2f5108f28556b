//! Bytes to and from Kafka: TLS, connections, producing, consumer groups.
