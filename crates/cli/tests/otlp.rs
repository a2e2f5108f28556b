//! Metrics pushed by OTLP to whom the environment names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value as Number};
use prost::Message;
use stage::Stage;

const DRAFT: &str = concat!(
    r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{"n": 1}}"#,
    "\n"
);
/// Nothing that is waited for here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One push, as it came over the wire.
struct Push {
    head: Vec<String>,
    request: ExportMetricsServiceRequest,
}

impl Push {
    /// An attribute of the resource.
    fn resource(&self, name: &str) -> Option<String> {
        let resource = self.request.resource_metrics[0].resource.as_ref().unwrap();
        let attribute = resource.attributes.iter().find(|one| one.key == name)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// The sum over all points of a counter.
    fn sum(&self, name: &str) -> i64 {
        let scopes = self.request.resource_metrics.iter();
        let metrics = scopes.flat_map(|resource| &resource.scope_metrics);
        let metrics = metrics.flat_map(|scope| &scope.metrics);
        let points = metrics
            .filter(|metric| metric.name == name)
            .flat_map(|metric| match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => &sum.data_points,
                other => panic!("{other:?}"),
            });
        points
            .map(|point| match point.value {
                Some(Number::AsInt(number)) => number,
                other => panic!("{other:?}"),
            })
            .sum()
    }
}

/// A collector that takes everything; its address, and what it took.
fn collector() -> (String, mpsc::Receiver<Push>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (took, pushes) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                match line.trim_end() {
                    "" => break,
                    line => head.push(line.to_owned()),
                }
            }
            let length = head.iter().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            if took.send(Push { head, request }).is_err() {
                return;
            }
        }
    });
    (endpoint, pushes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_pushed_at_the_latest_when_the_process_stops() {
    let stage = Stage::set().await;
    let (endpoint, pushes) = collector();
    let mut command = stage.command(&["send", "anomaly"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=edge");
    let sent = stage.run_command(command, DRAFT).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let push = pushes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(push.head[0], "POST /v1/metrics HTTP/1.1");
    for header in ["x-tenant: blue", "content-type: application/x-protobuf"] {
        let stands = push
            .head
            .iter()
            .any(|line| line.eq_ignore_ascii_case(header));
        assert!(stands, "{header} in {:?}", push.head);
    }
    assert_eq!(
        push.resource("service.name").as_deref(),
        Some("cybermesh-bridge")
    );
    assert_eq!(push.resource("team").as_deref(), Some("edge"));
    assert_eq!(push.sum("kafka_messages_sent"), 1);
    assert!(pushes.try_recv().is_err(), "pushed before its interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_on_pushes_again_and_again_under_the_name_it_is_given() {
    let stage = Stage::set().await;
    let (endpoint, pushes) = collector();
    let mut command = stage.command(&["listen", "--kind", "anomaly", "--count", "1"]);
    command
        .env(
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            format!("{endpoint}/own/path"),
        )
        .env("OTEL_METRIC_EXPORT_INTERVAL", "20")
        .env("OTEL_SERVICE_NAME", "listener-7");
    let listening = stage.run_command(command, "");
    let asking = async {
        let pushes = tokio::task::spawn_blocking(move || {
            let two = [0, 1].map(|_| pushes.recv_timeout(PATIENCE).unwrap());
            (two, pushes)
        });
        let (two, pushes) = pushes.await.unwrap();
        assert_eq!(stage.run(&["send", "anomaly"], DRAFT).await.code, Some(0));
        (two, pushes)
    };
    let (heard, (two, _pushes)) = tokio::join!(listening, asking);
    assert_eq!(heard.code, Some(0), "{heard:?}");
    for push in two {
        assert_eq!(push.head[0], "POST /own/path HTTP/1.1");
        assert_eq!(push.resource("service.name").as_deref(), Some("listener-7"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_a_warning_and_nothing_else() {
    let stage = Stage::set().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut command = stage.command(&["send", "anomaly"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("CYBERMESH_LOG", "warn");
    let sent = stage.run_command(command, DRAFT).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let warned = sent.stderr.matches("metrics are not sent by OTLP").count();
    assert_eq!(warned, 1, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_collector_without_an_authority_is_refused_at_start() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["send", "anomaly"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:4318");
    let refused = stage.run_command(command, DRAFT).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        "{refused:?}"
    );
}

#[test]
fn what_is_scraped_is_still_there_when_the_pushing_has_ended() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut command = stage::binary();
    command
        .args(["demo", "--messages", "20"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let ran = stage::run(command, "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_at_start_all_at_once_and_without_a_password() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["send", "anomaly"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s3cret@ho st")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "0")
        .env("KAFKA_CA_CERT", "/nowhere/ca.pem");
    let refused = stage.run_command(command, DRAFT).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for name in [
        "OTEL_EXPORTER_OTLP_ENDPOINT (environment",
        "OTEL_EXPORTER_OTLP_TIMEOUT (environment",
        "OTEL_METRIC_EXPORT_INTERVAL (environment",
        "/nowhere/ca.pem",
    ] {
        assert!(refused.stderr.contains(name), "{name}: {refused:?}");
    }
    assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_push_can_be_told_apart() {
    let stage = Stage::set().await;
    let mut instances = Vec::new();
    for variable in [
        None,
        None,
        Some(("CYBERMESH_NODE_ID", "edge-7")),
        Some((
            "OTEL_RESOURCE_ATTRIBUTES",
            "team=edge,service.instance.id=own",
        )),
    ] {
        let (endpoint, pushes) = collector();
        let mut command = stage.command(&["send", "anomaly"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        command.envs(variable);
        let sent = stage.run_command(command, DRAFT).await;
        assert_eq!(sent.code, Some(0), "{sent:?}");
        let push = pushes.recv_timeout(PATIENCE).unwrap();
        instances.push(push.resource("service.instance.id").unwrap());
    }
    assert_ne!(instances[0], instances[1]);
    assert_eq!(instances[2..], ["edge-7", "own"]);
}
