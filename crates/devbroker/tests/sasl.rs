//! SASL over a connection, in every version, by a client that shares no code with the broker.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use std::io::ErrorKind;

use cybermesh_devbroker::{Api, DevBroker, ErrorCode, ServerSasl};
use kafka_protocol::messages as m;
use support::{Client, str_bytes};

async fn broker() -> DevBroker {
    let sasl = ServerSasl::new().plain("alice", "secret");
    DevBroker::builder().sasl(sasl).start().await.unwrap()
}

fn says(message: &'static [u8]) -> m::SaslAuthenticateRequest {
    m::SaslAuthenticateRequest::default().with_auth_bytes(message.into())
}

#[tokio::test]
async fn a_client_is_known_by_its_name_once_it_has_authenticated_in_any_version() {
    let broker = broker().await;
    for version in Api::SaslAuthenticate.min_version()..=Api::SaslAuthenticate.max_version() {
        let mut client = Client::connect(&broker).await;
        let hello = m::SaslHandshakeRequest::default().with_mechanism(str_bytes("PLAIN"));
        let agreed = client.ask(1, &hello).await;
        assert_eq!((agreed.error_code, agreed.mechanisms.len()), (0, 1));
        let accepted = client.ask(version, &says(b"\0alice\0secret")).await;
        assert_eq!(accepted.error_code, 0);
        client.ask(1, &m::MetadataRequest::default()).await;
        let connections = broker.connections();
        assert!(connections.iter().any(|c| c.principal == "User:alice"));
    }
}

#[tokio::test]
async fn a_client_that_has_not_authenticated_is_shown_the_door() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    client.ask(3, &m::ApiVersionsRequest::default()).await;
    let refused = client.try_ask(1, &m::MetadataRequest::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::UnexpectedEof);

    let mut client = Client::connect(&broker).await;
    let hello = m::SaslHandshakeRequest::default().with_mechanism(str_bytes("PLAIN"));
    client.ask(1, &hello).await;
    let refused = client.ask(2, &says(b"\0alice\0guess")).await;
    assert_eq!(refused.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED.0);
    let after = client.try_ask(1, &m::MetadataRequest::default()).await;
    assert!(after.is_err());
}
