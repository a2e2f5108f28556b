//! The authority and every certificate of a cluster and its clients, exchanged while they work.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_tests::identity::write_private;
use cybermesh_tests::{Broker, Stage, console, java};
use cybermesh_transport::tls::{Pem, TlsConfig};

use crate::load::Load;

crate::failures! {
    nothing_is_lost_or_doubled_when_authority_and_certificates_of_all_are_exchanged_and_back,
}

/// What brokers trust, and what they show.
const TRUSTED: &str = "listener.name.tls.ssl.truststore.location";
const SHOWN: &str = "listener.name.tls.ssl.keystore.location";

/// A client's certificate: chain and key, and both in one file for Kafka's programs.
struct Shown {
    chain: String,
    key: String,
    keystore: PathBuf,
}

impl Shown {
    fn new(stage: &Stage, identity: &Identity) -> Self {
        let keystore = stage.dir().join("new-client.pem");
        write_private(&keystore, identity.keystore_pem().as_bytes());
        Self {
            chain: identity.chain_pem().to_owned(),
            key: identity.key_pem().to_owned(),
            keystore,
        }
    }

    /// The cluster's own.
    fn of(stage: &Stage) -> Self {
        let Broker::Kafka(kafka) = stage.cluster().broker() else {
            panic!("Apache Kafka is exchanged with");
        };
        let client = &stage.cluster().tls().client;
        let read = |path: &Path| std::fs::read_to_string(path).expect("a PEM file");
        Self {
            chain: read(&client.cert),
            key: read(&client.key),
            keystore: kafka.keystore.clone(),
        }
    }

    fn trusting(&self, authorities: &Path) -> TlsConfig {
        let bundle = std::fs::read_to_string(authorities).expect("authorities");
        TlsConfig::builder(Pem::new("ca.pem", bundle))
            .client_certificate(
                Pem::new("client.pem", self.chain.clone()),
                Pem::new("client-key.pem", self.key.clone()),
            )
            .build()
            .expect("a client's TLS")
    }
}

/// Old authority and certificates, then the old ones trusted beside the new, then the new ones shown, then the new
/// authority alone; and all the way back.
async fn nothing_is_lost_or_doubled_when_authority_and_certificates_of_all_are_exchanged_and_back(
    stage: Stage,
) {
    let authority = Authority::new("another test CA").expect("an authority");
    let broker = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    let broker = broker.ip(Ipv6Addr::LOCALHOST).issue();
    let keystore = stage.dir().join("new-broker.pem");
    write_private(
        &keystore,
        broker.expect("a certificate").keystore_pem().as_bytes(),
    );
    let client = authority.client("test-client").issue();
    let [before, after] = [
        Shown::of(&stage),
        Shown::new(&stage, &client.expect("a certificate")),
    ];
    let old = stage.cluster().tls().ca.clone();
    let [new, both] = ["new", "both"].map(|name| stage.dir().join(format!("{name}-ca.pem")));
    let old_text = std::fs::read_to_string(&old).expect("the authority");
    std::fs::write(&new, authority.ca_pem()).expect("a file");
    std::fs::write(&both, old_text + authority.ca_pem()).expect("a file");
    let set = |name: &str, path: &Path| format!("{name}={}", path.display());

    let mut load = Load::start(&stage).await;
    // By whom and trusting whom brokers are told, what they are told, and how clients go on.
    let steps = [
        ((&before, &old), set(TRUSTED, &both), (&before, &both)),
        ((&before, &both), set(SHOWN, &keystore), (&after, &both)),
        ((&after, &both), set(TRUSTED, &new), (&after, &new)),
        ((&after, &new), set(TRUSTED, &both), (&after, &both)),
        ((&after, &both), SHOWN.to_owned(), (&before, &both)),
        ((&before, &both), TRUSTED.to_owned(), (&before, &old)),
    ];
    for ((teller, trusted), change, (shown, authorities)) in steps {
        let properties = console::properties_with(&stage, &teller.keystore, trusted);
        java::configure_brokers(&stage, &properties, &[&change]).await;
        load.exchange_tls(&shown.trusting(authorities)).await;
        let mark = load.mark().await;
        load.recovered("certificates exchanged", mark).await;
    }
    assert_eq!(load.end(&stage).await, BTreeSet::new());
}
