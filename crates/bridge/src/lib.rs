//! Policy between messages and Kafka.
