//! A client for one connection, on the client half of the message library, and batches made by
//! its encoder: neither shares code with the broker's own reading of batches.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::pin::Pin;

use bytes::{Buf as _, Bytes, BytesMut};
use cybermesh_devbroker::DevBroker;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

pub(crate) struct Client {
    stream: Pin<Box<dyn Stream>>,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn connect(broker: &DevBroker) -> Self {
        let stream = TcpStream::connect(broker.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::pin(stream),
            correlation_id: 0,
        }
    }

    /// Sends and waits for the answer.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_ask(version, request).await.unwrap()
    }

    pub(crate) async fn try_ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> std::io::Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    pub(crate) async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> std::io::Result<()> {
        self.correlation_id += 1;
        let frame = frame(self.correlation_id, version, request);
        self.send_frame(&frame).await
    }

    pub(crate) async fn send_frame(&mut self, frame: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(frame.len()).unwrap();
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(frame).await?;
        self.stream.flush().await
    }

    pub(crate) async fn receive<R: Request>(
        &mut self,
        version: i16,
    ) -> std::io::Result<R::Response> {
        let mut frame = self.receive_frame().await?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version));
        assert_eq!(header.unwrap().correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "bytes follow the response");
        Ok(response)
    }

    pub(crate) async fn receive_frame(&mut self) -> std::io::Result<Bytes> {
        let length = self.stream.read_u32().await?;
        let mut frame = vec![0; length.try_into().unwrap()];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.into())
    }
}

pub(crate) fn frame<R: Request>(correlation_id: i32, version: i16, request: &R) -> Bytes {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let header_version = ApiKey::try_from(R::KEY)
        .unwrap()
        .request_header_version(version);
    header.encode(&mut frame, header_version).unwrap();
    request.encode(&mut frame, version).unwrap();
    frame.freeze()
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(str_bytes(name))
}

pub(crate) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The numbers of an idempotent producer.
#[derive(Clone, Copy)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

pub(crate) const NOT_IDEMPOTENT: Producer = Producer {
    id: -1,
    epoch: -1,
    sequence: -1,
};

pub(crate) fn batch(producer: Producer, values: &[&str]) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (Some("key"), *value)).collect();
    batch_of(producer, &records)
}

/// A batch of records with these keys and values.
pub(crate) fn batch_of(producer: Producer, records: &[(Option<&str>, &str)]) -> Bytes {
    let records: Vec<Record> = (0_i32..)
        .zip(records)
        .map(|(index, (key, value))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            timestamp_type: TimestampType::Creation,
            offset: index.into(),
            sequence: producer.sequence + index,
            timestamp: 1_700_000_000_000 + i64::from(index),
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: [(StrBytes::from_static_str("h"), None)]
                .into_iter()
                .collect(),
        })
        .collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

pub(crate) fn produce_request(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
}

/// Error code and base offset of the only partition.
pub(crate) fn produced(response: &ProduceResponse) -> (i16, i64) {
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}
