//! Someone who may write to a topic and uses producer ids that are not theirs, which Kafka does not mind.
//!
//! Speaks the protocol by the crate `kafka-protocol`, over one TLS connection.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
    RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stage::Stage;

/// The intruder's connection.
#[derive(Debug)]
pub struct Intruder {
    stream: TlsStream<TcpStream>,
}

impl Intruder {
    /// Connects with the certificate of everybody else.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn connect(stage: &Stage) -> Self {
        let files = stage.cluster().tls();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(&files.ca).expect("the authority") {
            roots
                .add(authority.expect("a certificate"))
                .expect("an authority");
        }
        let chain = CertificateDer::pem_file_iter(&files.client.cert)
            .and_then(Iterator::collect)
            .expect("a chain");
        let key = PrivateKeyDer::from_pem_file(&files.client.key).expect("a key");
        let provider = Arc::new(rustls_graviola::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a client certificate");
        let address = stage.cluster().bootstrap();
        let (host, _) = address.rsplit_once(':').expect("host and port");
        let name = ServerName::try_from(host.to_owned()).expect("a host name");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a handshake");
        Self { stream }
    }

    /// A producer id; the ones given out after it are likely to be those that follow.
    ///
    /// # Panics
    /// When there is none.
    pub async fn producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer: InitProducerIdResponse = self.ask(ApiKey::InitProducerId, 4, &request).await;
        assert_eq!(answer.error_code, 0, "a producer id");
        answer.producer_id.into()
    }

    /// Writes one record to the first partition of `topic`, as the first of a producer id and an epoch.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn take(&mut self, topic: &str, producer_id: i64, epoch: i16, value: &str) {
        let place = (producer_id, epoch, 0);
        self.write(topic, place, value).await;
    }

    /// The same with another sequence than the first, under epoch 0.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn follow(&mut self, topic: &str, producer_id: i64, sequence: i32, value: &str) {
        let place = (producer_id, 0, sequence);
        self.write(topic, place, value).await;
    }

    async fn write(
        &mut self,
        topic: &str,
        (producer_id, producer_epoch, sequence): (i64, i16, i32),
        value: &str,
    ) {
        let record = Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence,
            timestamp: crate::log::now_ms() - 1000,
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        };
        let mut batch = BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        RecordBatchEncoder::encode(&mut batch, [&record], &options).expect("a batch");
        let partition = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch.freeze()));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let answer: ProduceResponse = self.ask(ApiKey::Produce, 9, &request).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    }

    async fn ask<R: Decodable>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &impl Encodable,
    ) -> R {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("intruder")));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, api.request_header_version(version))
            .expect("a header");
        request.encode(&mut body, version).expect("a request");
        let length = u32::try_from(body.len()).expect("a small request");
        self.stream.write_u32(length).await.expect("to be heard");
        self.stream.write_all(&body).await.expect("to be heard");
        self.stream.flush().await.expect("to be heard");
        let length = self.stream.read_u32().await.expect("an answer");
        let mut answer = vec![0; usize::try_from(length).expect("a length")];
        self.stream
            .read_exact(&mut answer)
            .await
            .expect("an answer");
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, api.response_header_version(version))
            .expect("a header");
        let decoded = R::decode(&mut answer, version).expect("an answer");
        assert!(!answer.has_remaining(), "nothing after the answer");
        decoded
    }
}
