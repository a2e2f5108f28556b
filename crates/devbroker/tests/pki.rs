//! What the test PKI issues is accepted by a real verifier where it should be, and refused where
//! it should be, for the right reason.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

use std::sync::Arc;

use cybermesh_devbroker::pki::{Authority, Identity};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore,
    ServerConfig, ServerConnection,
};

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap())
        .unwrap();
    roots
}

fn chain(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(identity.chain_pem().as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
    (chain, key)
}

/// Runs a mutual TLS handshake in memory.
fn handshake(
    server: &Identity,
    client: &Identity,
    trusted_by_client: &Authority,
    trusted_by_server: &Authority,
    name: &str,
) -> Result<(), Error> {
    let provider = Arc::new(rustls_graviola::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(trusted_by_server)),
        provider.clone(),
    )
    .build()
    .unwrap();
    let (certs, key) = chain(server);
    let server_config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs, key)
        .unwrap();
    let (certs, key) = chain(client);
    let client_config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(trusted_by_client))
        .with_client_auth_cert(certs, key)
        .unwrap();
    let mut client = ClientConnection::new(
        Arc::new(client_config),
        ServerName::try_from(name.to_owned()).unwrap(),
    )
    .unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

#[test]
fn a_server_and_a_client_of_the_same_authority_accept_each_other() {
    let authority = Authority::new("CA").unwrap();
    let server = authority
        .server()
        .dns("localhost")
        .ip([127, 0, 0, 1])
        .issue()
        .unwrap();
    let client = authority.client("node-1").issue().unwrap();
    for name in ["localhost", "127.0.0.1"] {
        handshake(&server, &client, &authority, &authority, name).unwrap();
    }
}

#[test]
fn a_server_of_another_authority_of_the_same_name_is_refused() {
    let authority = Authority::new("CA").unwrap();
    let other = Authority::new("CA").unwrap();
    let server = other.server().dns("localhost").issue().unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let error = handshake(&server, &client, &authority, &authority, "localhost").unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    ));
}

#[test]
fn a_server_of_another_name_is_refused() {
    let authority = Authority::new("CA").unwrap();
    let server = authority.server().dns("elsewhere.example").issue().unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let error = handshake(&server, &client, &authority, &authority, "localhost").unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
    ));
}

#[test]
fn an_expired_server_and_one_not_yet_valid_are_refused() {
    let authority = Authority::new("CA").unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let expired = authority
        .server()
        .dns("localhost")
        .expired()
        .issue()
        .unwrap();
    let early = authority
        .server()
        .dns("localhost")
        .not_yet_valid()
        .issue()
        .unwrap();
    assert!(matches!(
        handshake(&expired, &client, &authority, &authority, "localhost").unwrap_err(),
        Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
    ));
    assert!(matches!(
        handshake(&early, &client, &authority, &authority, "localhost").unwrap_err(),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })
    ));
}

#[test]
fn an_expired_client_is_refused_by_the_server() {
    let authority = Authority::new("CA").unwrap();
    let server = authority.server().dns("localhost").issue().unwrap();
    let client = authority.client("node-1").expired().issue().unwrap();
    let error = handshake(&server, &client, &authority, &authority, "localhost").unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            | Error::AlertReceived(AlertDescription::CertificateExpired)
    ));
}

#[test]
fn debug_output_shows_no_key() {
    let authority = Authority::new("CA").unwrap();
    let client = authority.client("node-1").issue().unwrap();
    let shown = format!("{client:?} {authority:?}");
    assert!(shown.contains("node-1") && !shown.contains("PRIVATE"));
}
