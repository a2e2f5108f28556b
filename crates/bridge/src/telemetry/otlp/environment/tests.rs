use super::*;

/// What comes of these variables, and what is wrong with them.
fn judged(variables: &[(&str, &str)]) -> (Option<Wanted>, Vec<String>) {
    let mut problems = Vec::new();
    let lookup = |name: &str| {
        let said = variables.iter().find(|(said, _)| *said == name)?;
        Some(OsString::from(said.1))
    };
    let environment = Environment {
        lookup: &lookup,
        problems: &mut problems,
    };
    let wanted = environment.judge(ProviderChoice::Auto, None);
    (wanted, problems.iter().map(ToString::to_string).collect())
}

/// With an endpoint that can be used.
fn beside_endpoint(variables: &[(&'static str, &'static str)]) -> (Option<Wanted>, Vec<String>) {
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
    all.extend(variables);
    judged(&all)
}

#[test]
fn without_an_endpoint_or_switched_off_nothing_is_judged() {
    let wrong = ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere");
    for variables in [
        vec![wrong],
        vec![wrong, ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        vec![wrong, endpoint, ("OTEL_SDK_DISABLED", "TRUE")],
        vec![wrong, endpoint, ("OTEL_METRICS_EXPORTER", "none")],
    ] {
        let (wanted, problems) = judged(&variables);
        assert!(wanted.is_none() && problems.is_empty(), "{problems:?}");
    }
}

#[test]
fn the_variable_for_metrics_goes_first_and_is_taken_whole() {
    let (wanted, problems) = beside_endpoint(&[]);
    let wanted = wanted.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(wanted.endpoint, "http://collector:4318/v1/metrics");
    assert_eq!(
        (wanted.timeout, wanted.interval),
        (USUAL_TIMEOUT, USUAL_INTERVAL)
    );
    let (wanted, problems) = beside_endpoint(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://[::1]/own"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400000"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=Basic%20eA==,"),
    ]);
    let wanted = wanted.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(wanted.endpoint, "http://[::1]/own");
    assert_eq!(wanted.timeout, Duration::from_millis(250));
    assert_eq!(wanted.interval, Duration::from_millis(LONGEST_MS));
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    for (name, value) in [
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400001"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "sometimes",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://collector"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "/v1/metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://host:99999"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://host:0"),
    ] {
        let (wanted, problems) = beside_endpoint(&[(name, value)]);
        assert!(wanted.is_none(), "{name}={value} {wanted:?}");
        assert_eq!(problems.len(), 1, "{name}={value} {problems:?}");
        let begins = format!("{name} (environment {name}): ");
        assert!(problems[0].starts_with(&begins), "{problems:?}");
        assert!(problems[0].contains("; give "), "{problems:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let (wanted, problems) = judged(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/key.pem"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
    ]);
    assert!(wanted.is_none());
    for said in [
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_EXPORTER_OTLP_CERTIFICATE (default): unset",
        "a key without its certificate",
        "\"/nowhere/key.pem\": no such file",
    ] {
        let times = problems.iter().filter(|line| line.contains(said)).count();
        assert_eq!(times, 1, "{said} in {problems:?}");
    }
    assert_eq!(problems.len(), 5, "{problems:?}");
    let (_, problems) = judged(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere/c.pem"),
    ]);
    assert!(
        problems
            .iter()
            .any(|line| line.contains("a certificate without its key")),
        "{problems:?}"
    );
}

#[test]
fn no_secret_is_shown() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s3cret@ho st"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s3cret@host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s3cret/x@host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "u:s3cret://@host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "u:s3cret@host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host/?key=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,api key=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=s3cret%0A"),
    ] {
        let mut variables = vec![(name, value)];
        if name != ENDPOINT[1] {
            variables.push((ENDPOINT[1], "http://collector"));
        }
        let (wanted, problems) = judged(&variables);
        assert!(wanted.is_none(), "{value} {wanted:?}");
        assert!(problems.len() == 1 && problems[0].contains(name));
        assert!(!problems[0].contains("s3cret"), "{problems:?}");
    }
}
