//! Certificates and authorities exchanged under a running bridge, over a broker with mutual TLS.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{collections::BTreeSet, fs, sync::atomic::Ordering, time::Duration};

use cybermesh_bridge::{
    Bridge,
    handler::{Context, Verdict},
    telemetry::Condition,
};
use cybermesh_contracts::{kind::Kind, message::Anomaly, verify::Verified};
use cybermesh_devbroker::{
    DevBroker,
    pki::{Authority, Identity},
};
use tokio::sync::watch;

use stage::{Stage, anomaly, anomaly_with, holds, is_ready, put, shown_by, soon, under_load};

const STOP: Duration = Duration::from_secs(10);
const CERTIFICATES: Condition = Condition::ReloadRefused("certificates");

/// A broker and a bridge of one authority, and files to be exchanged.
struct Rotation {
    stage: Stage,
    authority: Authority,
    first: Identity,
}

impl Rotation {
    async fn set() -> Self {
        let authority = Authority::new("our CA").unwrap();
        let first = authority.client("node-1").issue().unwrap();
        Self {
            stage: Stage::of(&authority, &first).await,
            authority,
            first,
        }
    }

    async fn sender(&self) -> Bridge {
        let limits = [("limits.anomaly", "off")];
        self.stage.sender(&limits).start().await.unwrap()
    }

    fn put(&self, name: &str, content: &str) {
        put(&self.stage.files.path().join(name), content);
    }

    fn put_client(&self, client: &Identity) {
        self.put("cert.pem", client.chain_pem());
        self.put("key.pem", client.key_pem());
    }

    async fn all_show(&self, client: &Identity) {
        soon(self.stage.broker.wait_until(|broker| {
            let connections = broker.connections();
            let theirs = Some(client.certificate().clone());
            !connections.is_empty() && connections.iter().all(|one| one.certificate == theirs)
        }))
        .await;
    }
}

/// Waits until health says something of certificates that has this in it.
async fn says(bridge: &Bridge, words: &str) -> String {
    soon(async {
        loop {
            let detail = holds(bridge, &CERTIFICATES).await;
            if detail.contains(words) {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// How often certificates were refused.
fn failures(bridge: &Bridge) -> u64 {
    let metrics = bridge.exposition().unwrap().text().unwrap();
    let name = r#"bridge_reload_failures_total{what="certificates"} "#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    count.map_or(0, |count| count.parse().unwrap())
}

fn peers(broker: &DevBroker) -> BTreeSet<std::net::SocketAddr> {
    broker.connections().iter().map(|one| one.peer).collect()
}

/// Waits until none of these connections is left, and there are others.
async fn renewed(broker: &DevBroker, before: &BTreeSet<std::net::SocketAddr>) {
    soon(broker.wait_until(|broker| {
        let now = peers(broker);
        !now.is_empty() && now.is_disjoint(before)
    }))
    .await;
}

#[tokio::test]
async fn a_certificate_exchanged_under_load_ends_the_connections_of_the_old_one_and_no_send_fails()
{
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let (end, load) = under_load(&bridge);

    let second = rotation.authority.client("node-1").issue().unwrap();
    rotation.put("cert.pem", second.chain_pem());
    bridge.reloader().reload();
    // A certificate without its key: what was in force stays.
    holds(&bridge, &CERTIFICATES).await;
    rotation.all_show(&rotation.first).await;
    rotation.put("key.pem", second.key_pem());
    bridge.reloader().reload();
    is_ready(&bridge).await;
    rotation.all_show(&second).await;
    end.store(true, Ordering::Relaxed);
    let sent = load.await.unwrap();
    let log = rotation.stage.broker.log(Kind::Anomaly.default_topic());
    assert_eq!(log.len(), sent);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn way_in_way_out_and_dead_letters_are_exchanged_together() {
    let rotation = Rotation::set().await;
    let bridge = rotation
        .stage
        .sender(&[])
        .receives([Kind::Anomaly])
        .trust(stage::trust())
        .handle::<Anomaly>(|_: Verified<Anomaly>, _: Context| async {
            Ok(Verdict::reject("every one, so that there are dead letters"))
        })
        .start()
        .await
        .unwrap();
    let broker = &rotation.stage.broker;
    let buried = async |count: usize| {
        bridge.publisher().send(anomaly()).await.unwrap();
        soon(broker.wait_until(|broker| broker.log("ai.dlq").len() == count)).await;
    };
    buried(1).await;
    rotation.all_show(&rotation.first).await;
    let second = rotation.authority.client("node-1").issue().unwrap();
    rotation.put_client(&second);
    bridge.reloader().reload();
    rotation.all_show(&second).await;
    buried(2).await;
    rotation.all_show(&second).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_certificate_that_no_broker_accepts_is_not_taken_until_the_file_is_mended() {
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let (end, load) = under_load(&bridge);
    let other = Authority::new("another CA").unwrap();
    rotation.put_client(&other.client("node-1").issue().unwrap());
    bridge.reloader().reload();
    let detail = says(&bridge, "refused the client certificate").await;
    assert!(detail.contains("cert.pem"), "{detail}");
    assert!(failures(&bridge) >= 1);
    // New connections, too, are made with the old one.
    let before = peers(&rotation.stage.broker);
    rotation.stage.broker.disconnect_clients().await;
    renewed(&rotation.stage.broker, &before).await;
    rotation.all_show(&rotation.first).await;

    let second = rotation.authority.client("node-1").issue().unwrap();
    rotation.put_client(&second);
    bridge.reloader().reload();
    rotation.all_show(&second).await;
    is_ready(&bridge).await;
    end.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 0);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn authorities_that_no_brokers_certificate_is_from_are_not_taken_and_the_trail_says_so() {
    let rotation = Rotation::set().await;
    let trail = rotation.stage.files.path().join("audit.ndjson");
    let settings = [("audit.file", trail.to_str().unwrap())];
    let bridge = rotation.stage.sender(&settings).start().await.unwrap();
    let other = Authority::new("another CA").unwrap();
    rotation.put("ca.pem", other.ca_pem());
    bridge.reloader().reload();
    says(&bridge, "not in the CA bundle").await;
    assert_eq!(failures(&bridge), 1);
    rotation.stage.broker.disconnect_clients().await;
    bridge.publisher().send(anomaly()).await.unwrap();

    // Looked at again and again, but tried again soon only when it is another file.
    rotation.put(
        "ca.pem",
        &format!("{}{}", other.ca_pem(), rotation.authority.ca_pem()),
    );
    bridge.reloader().reload();
    is_ready(&bridge).await;
    assert_eq!(failures(&bridge), 1);
    bridge.publisher().send(anomaly()).await.unwrap();
    bridge.stop(STOP).await;
    let trail = fs::read_to_string(&trail).unwrap();
    let of_certificates = |line: &&str| line.contains(r#""what":"certificates""#);
    let told: Vec<_> = trail.lines().filter(of_certificates).collect();
    assert_eq!(told.len(), 2, "{trail}");
    assert!(told[0].contains("reload-refused"), "{}", told[0]);
    assert!(told[1].contains(r#""reloaded""#), "{}", told[1]);
}

#[tokio::test]
async fn what_a_broker_refused_is_tried_again_when_asked_for() {
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let other = Authority::new("another CA").unwrap();
    let next = other.client("node-1").issue().unwrap();
    rotation.put_client(&next);
    bridge.reloader().reload();
    says(&bridge, "refused the client certificate").await;
    let both = format!("{}{}", rotation.authority.ca_pem(), other.ca_pem());
    let broker = &rotation.stage.broker;
    broker.speak_tls(shown_by(&rotation.authority, &both));
    bridge.reloader().reload();
    is_ready(&bridge).await;
    bridge.publisher().send(anomaly()).await.unwrap();
    rotation.all_show(&next).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_a_broker_refused_is_tried_again_after_five_minutes_though_nobody_asks() {
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let other = Authority::new("another CA").unwrap();
    let next = other.client("node-1").issue().unwrap();
    rotation.put_client(&next);
    bridge.reloader().reload();
    says(&bridge, "refused the client certificate").await;
    let both = format!("{}{}", rotation.authority.ca_pem(), other.ca_pem());
    let broker = &rotation.stage.broker;
    broker.speak_tls(shown_by(&rotation.authority, &both));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    is_ready(&bridge).await;
    bridge.publisher().send(anomaly()).await.unwrap();
    rotation.all_show(&next).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn while_no_broker_can_be_asked_the_old_ones_stay_and_the_new_ones_are_tried_until_one_can() {
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let broker = &rotation.stage.broker;
    broker.go_down().await;
    let second = rotation.authority.client("node-1").issue().unwrap();
    rotation.put_client(&second);
    bridge.reloader().reload();
    says(&bridge, "no broker could be asked").await;
    assert!(!bridge.health().is_ready());
    broker.come_up().await.unwrap();
    // Nobody asks for it.
    is_ready(&bridge).await;
    bridge.publisher().send(anomaly()).await.unwrap();
    rotation.all_show(&second).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_the_files_no_longer_say_is_not_taken_though_a_broker_may_answer_at_last() {
    let rotation = Rotation::set().await;
    let bridge = rotation.sender().await;
    let broker = &rotation.stage.broker;
    bridge.publisher().send(anomaly()).await.unwrap();
    broker.freeze();
    let second = rotation.authority.client("node-1").issue().unwrap();
    rotation.put_client(&second);
    // Seen by the same look, or a later one: by then the certificate is being tried on a silent broker.
    rotation.put("signing.pem", "no key");
    bridge.reloader().reload();
    holds(&bridge, &Condition::ReloadRefused("signing-key")).await;
    rotation.put("ca.pem", "no certificate");
    bridge.reloader().reload();
    says(&bridge, "KAFKA_CA_CERT").await;
    broker.thaw();
    for _ in 0..20 {
        bridge.publisher().send(anomaly()).await.unwrap();
        rotation.all_show(&rotation.first).await;
    }
    broker.disconnect_clients().await;
    bridge.publisher().send(anomaly()).await.unwrap();
    rotation.all_show(&rotation.first).await;

    rotation.put("ca.pem", rotation.authority.ca_pem());
    let signing = stage::signer().to_pkcs8_pem().unwrap();
    rotation.put("signing.pem", &signing);
    bridge.reloader().reload();
    is_ready(&bridge).await;
    bridge.publisher().send(anomaly()).await.unwrap();
    rotation.all_show(&second).await;
    bridge.stop(STOP).await;
}

/// Old and new authority in the bundle, the broker's certificate of the new one, the new one alone in the bundle.
#[tokio::test]
async fn an_authority_is_replaced_under_load_without_a_failed_or_doubled_send_or_a_lost_record() {
    let rotation = Rotation::set().await;
    let (sink, mut seen) = watch::channel(Vec::new());
    let bridge = rotation
        .stage
        .sender(&[("limits.anomaly", "off")])
        .receives([Kind::Anomaly])
        .trust(stage::trust())
        .handle::<Anomaly>(move |message: Verified<Anomaly>, _: Context| {
            let payload: serde_json::Value =
                serde_json::from_slice(message.message().payload()).unwrap();
            sink.send_modify(|seen| seen.push(payload["n"].as_u64().unwrap()));
            async { Ok(Verdict::Done) }
        })
        .start()
        .await
        .unwrap();
    let broker = &rotation.stage.broker;
    let topic = Kind::Anomaly.default_topic();
    let (end, ended) = watch::channel(());
    let publisher = bridge.publisher().clone();
    let load = tokio::spawn(async move {
        let mut sent = 0;
        while ended.has_changed().is_ok() {
            let payload = format!(r#"{{"n":{sent}}}"#);
            publisher.send(anomaly_with(&payload)).await.unwrap();
            sent += 1;
        }
        sent
    });
    let progress = async || {
        let reached = broker.log(topic).len() + 20;
        soon(broker.wait_until(|broker| broker.log(topic).len() >= reached)).await;
    };
    progress().await;

    let new = Authority::new("new CA").unwrap();
    let both = format!("{}{}", rotation.authority.ca_pem(), new.ca_pem());
    let before = peers(broker);
    rotation.put("ca.pem", &both);
    bridge.reloader().reload();
    renewed(broker, &before).await;
    progress().await;

    let before = peers(broker);
    broker.speak_tls(shown_by(&new, &both));
    broker.disconnect_clients().await;
    renewed(broker, &before).await;
    progress().await;

    let before = peers(broker);
    rotation.put("ca.pem", new.ca_pem());
    bridge.reloader().reload();
    renewed(broker, &before).await;
    progress().await;
    assert_eq!(failures(&bridge), 0);

    drop(end);
    let sent = load.await.unwrap();
    soon(seen.wait_for(|seen| seen.len() >= sent))
        .await
        .unwrap();
    bridge.stop(STOP).await;
    assert_eq!(broker.log(topic).len(), sent);
    let mut seen = seen.borrow().clone();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..sent as u64));
}
