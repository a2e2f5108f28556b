use std::{ffi::OsString, fs, path::Path, time::Duration};

use proptest::prelude::*;

use super::{parse, *};
use cybermesh_contracts::kind::Kind;

fn environment(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::loader()
        .environment(variables.iter().copied())
        .load()
}

fn names(error: &SettingsError) -> Vec<&str> {
    error
        .problems()
        .iter()
        .map(|problem| problem.name.as_str())
        .collect()
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = Settings::loader().load().unwrap();
    assert_eq!(
        settings.kafka.brokers,
        [cybermesh_transport::Address::new("localhost", 9092)]
    );
    assert_eq!(settings.kafka.group, "ai-service");
    assert!(settings.tls.enabled);
    assert_eq!(settings.send.max_retries, 5);
    assert_eq!(settings.send.backoff, Duration::from_secs(1));
    assert_eq!(settings.send.deadline, Duration::from_secs(120));
    assert_eq!(settings.send.buffer_bytes, 32 << 20);
    assert_eq!(settings.receive.max_inflight, 1024);
    assert_eq!(settings.replay.max_age, Duration::from_secs(7 * 86_400));
    assert_eq!(
        settings.limits.of(Kind::Policy),
        Some(RateLimit {
            burst: 200,
            per_second: 50
        })
    );
    assert_eq!(settings.topics.of(Kind::PolicyUpdate), "control.policy.v1");
    assert_eq!(settings.verify.accept_audiences, [""]);
    for kind in Kind::ALL {
        assert_eq!(settings.topics.of(kind), kind.default_topic());
        assert_eq!(settings.topics.kind_of(kind.default_topic()), Some(kind));
    }
}

#[test]
fn every_setting_is_listed_once_in_the_order_of_the_table() {
    let settings = Settings::loader().load().unwrap();
    let listed: Vec<_> = settings.entries().iter().map(|entry| entry.env).collect();
    let table: Vec<_> = table::ALL.iter().map(|spec| spec.env).collect();
    assert_eq!(listed, table);
}

#[test]
fn no_name_stands_for_two_settings() {
    let mut seen = std::collections::BTreeSet::new();
    for spec in table::ALL {
        for name in [spec.env, spec.key].iter().chain(spec.aliases) {
            assert!(seen.insert(*name), "{name} twice");
        }
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    fs::write(
        &file,
        "role = \"backend\"\n[kafka]\nbrokers = [\"a:1\", \"b:2\"]\ngroup = \"of-file\"\n[send]\nbackoff = 250\nlinger = \"9ms\"\n[tls]\nca = \"pki/ca.pem\"\n",
    )
    .unwrap();
    let settings = Settings::loader()
        .environment([
            ("CYBERMESH_CONFIG", file.as_os_str()),
            ("KAFKA_CONSUMER_GROUP", "of-env".as_ref()),
            ("KAFKA_LINGER_MS", "7".as_ref()),
        ])
        .set("send.linger", "8")
        .load()
        .unwrap();
    assert_eq!(settings.role, Role::Backend);
    assert_eq!(settings.kafka.brokers.len(), 2);
    assert_eq!(settings.kafka.group, "of-env");
    assert_eq!(settings.send.backoff, Duration::from_millis(250));
    assert_eq!(settings.send.linger, Duration::from_millis(8));
    assert_eq!(
        settings.tls.ca.as_deref(),
        Some(folder.path().join("pki/ca.pem").as_path())
    );
    assert_eq!(settings.source_of("KAFKA_BROKERS"), Source::File(file));
    assert_eq!(
        settings.source_of("KAFKA_CONSUMER_GROUP"),
        Source::Environment("KAFKA_CONSUMER_GROUP")
    );
    assert_eq!(settings.source_of("KAFKA_LINGER_MS"), Source::CommandLine);
    assert_eq!(settings.source_of("KAFKA_BATCH_BYTES"), Source::Default);
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_name_source_and_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    fs::write(&file, "[kafka]\nbroker = \"a:1\"\n[replay]\nring = 8\n").unwrap();
    let error = Settings::loader()
        .file(&file)
        .environment([("KAFKA_BROKERS", "no-port"), ("KAFKA_MAX_RETRIES", "many")])
        .set("CYBERMESH_ROLE", "king")
        .load()
        .unwrap_err();
    assert_eq!(
        names(&error),
        [
            "KAFKA_BROKERS",
            "KAFKA_MAX_RETRIES",
            "CYBERMESH_REPLAY_RING",
            "CYBERMESH_ROLE",
            "kafka.broker"
        ]
    );
    let text = error.to_string();
    assert!(text.contains("KAFKA_MAX_RETRIES (environment KAFKA_MAX_RETRIES): \"many\": not a whole number; give a number from 0 to 1000"), "{text}");
    assert!(text.contains("did you mean kafka.brokers?"), "{text}");
    assert!(
        text.contains(&format!(
            "CYBERMESH_REPLAY_RING (file {}): \"8\": out of range",
            file.display()
        )),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    fs::write(&file, "role = \"node\"\n[kafka\n").unwrap();
    let error = Settings::loader().file(&file).load().unwrap_err();
    assert_eq!(names(&error), ["CYBERMESH_CONFIG"]);
    assert!(error.to_string().contains("line 2"), "{error}");
    let missing = Settings::loader()
        .file(folder.path().join("none.toml"))
        .load()
        .unwrap_err();
    assert!(missing.to_string().contains("no such file"), "{missing}");
}

#[test]
fn aliases_of_the_deployed_services_are_taken_with_a_note() {
    let settings = environment(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "k:9093"),
        ("NODE_ID", "n-1"),
        ("ED25519_SIGNING_KEY_PATH", "/keys/k.pem"),
        ("RATE_LIMIT_ANOMALY", "5@1/s"),
    ])
    .unwrap();
    assert_eq!(settings.kafka.brokers[0].to_string(), "k:9093");
    assert_eq!(settings.kafka.group, "ai-service-n-1");
    assert_eq!(
        settings.keys.signing.as_deref(),
        Some(Path::new("/keys/k.pem"))
    );
    assert_eq!(
        settings.limits.of(Kind::Anomaly),
        Some(RateLimit {
            burst: 5,
            per_second: 1
        })
    );
    assert!(
        settings
            .notes()
            .iter()
            .any(|note| note == "KAFKA_BOOTSTRAP_SERVERS is taken for KAFKA_BROKERS")
    );
}

#[test]
fn a_name_and_its_alias_together_are_the_name_with_a_note() {
    let settings =
        environment(&[("KAFKA_BROKERS", "a:1"), ("KAFKA_BOOTSTRAP_SERVERS", "b:2")]).unwrap();
    assert_eq!(settings.kafka.brokers[0].host(), "a");
    assert!(
        settings
            .notes()
            .iter()
            .any(|note| note.starts_with("KAFKA_BOOTSTRAP_SERVERS is ignored"))
    );
}

#[test]
fn misspelt_variables_are_warned_of_with_the_nearest_name_and_never_with_their_value() {
    let settings = environment(&[
        ("KAFKA_BROKER", "a:1"),
        ("CYBERMESH_TRUTS", "secret"),
        ("KAFKA_HEAP_OPTS", "-Xmx1G"),
        ("KAFKAESQUE", "x"),
        ("CYBERMESH_ZZZZZZZZZZZZZZZZZZ", "x"),
    ])
    .unwrap();
    let notes = settings.notes().join("\n");
    assert!(
        notes.contains("KAFKA_BROKER is not a setting; did you mean KAFKA_BROKERS?"),
        "{notes}"
    );
    assert!(
        notes.contains("CYBERMESH_TRUTS is not a setting; did you mean CYBERMESH_TRUST?"),
        "{notes}"
    );
    assert!(
        notes.contains("CYBERMESH_ZZZZZZZZZZZZZZZZZZ is not a setting\n"),
        "{notes}"
    );
    assert!(
        !notes.contains("HEAP") && !notes.contains("KAFKAESQUE") && !notes.contains("secret"),
        "{notes}"
    );
}

#[test]
fn name_and_password_are_read_and_the_password_is_listed_as_set_and_shown_nowhere() {
    let settings = environment(&[
        ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
        ("KAFKA_SASL_USERNAME", "node-1"),
        ("KAFKA_SASL_PASSWORD", " hunter2 "),
    ])
    .unwrap();
    assert_eq!(settings.sasl.mechanism, Some(SaslMechanism::ScramSha512));
    let password = settings.sasl.password.as_ref().unwrap();
    assert_eq!(password.expose(), " hunter2 ");
    let listed = settings.entries().iter().map(ToString::to_string);
    let listed = listed.collect::<Vec<_>>().join("\n");
    assert!(listed.contains("KAFKA_SASL_PASSWORD = set ("), "{listed}");
    let notes = settings.notes().join("\n");
    let shown = format!("{listed} {notes} {settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn half_of_an_authentication_is_refused_and_not_passed_over() {
    let (mechanism, name) = (
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_USERNAME", "a"),
    );
    let password = ("KAFKA_SASL_PASSWORD", "hunter2");
    let file = ("KAFKA_SASL_PASSWORD_FILE", "hunter2.txt");
    for (set, wrong) in [
        (
            vec![mechanism],
            vec!["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"],
        ),
        (vec![mechanism, password], vec!["KAFKA_SASL_USERNAME"]),
        (vec![mechanism, name], vec!["KAFKA_SASL_PASSWORD"]),
        (
            vec![mechanism, name, password, file],
            vec!["KAFKA_SASL_PASSWORD_FILE"],
        ),
        (
            vec![name, password],
            vec!["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"],
        ),
        (vec![file], vec!["KAFKA_SASL_PASSWORD_FILE"]),
    ] {
        let error = environment(&set).unwrap_err();
        assert_eq!(names(&error), wrong, "{set:?}");
        assert!(
            !format!("{error} {error:?}").contains("\"hunter2\""),
            "{error:?}"
        );
    }
    assert!(environment(&[mechanism, name, file]).is_ok());
}

#[test]
fn of_mechanisms_only_those_of_names_and_passwords_can_be_set_and_oauthbearer_is_told_where_it_is()
{
    for (mechanism, told) in [
        ("OAUTHBEARER", "Builder::sasl"),
        ("GSSAPI", "SCRAM-SHA-256"),
    ] {
        let error = environment(&[
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SASL_USERNAME", "a"),
            ("KAFKA_SASL_PASSWORD", "b"),
        ])
        .unwrap_err();
        assert_eq!(error.problems()[0].name, "KAFKA_SASL_MECHANISM");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_password_goes_over_plaintext_only_where_that_is_allowed_even_on_this_machine() {
    let judged = |more: &[(&'static str, &'static str)]| {
        let mut set = vec![
            ("KAFKA_TLS_ENABLED", "false"),
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_USERNAME", "a"),
            ("KAFKA_SASL_PASSWORD", "b"),
        ];
        set.extend(more);
        let settings = environment(&set).unwrap();
        let mut problems = Vec::new();
        settings.judge_connection(&mut problems);
        (problems, settings.notes().join("\n"))
    };
    let (problems, _) = judged(&[]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].reason.contains("KAFKA_DANGER_SASL_PLAINTEXT"));
    let (problems, notes) = judged(&[("KAFKA_DANGER_SASL_PLAINTEXT", "true")]);
    assert!(problems.is_empty());
    assert!(notes.contains("KAFKA_DANGER_SASL_PLAINTEXT"), "{notes}");
}

#[test]
fn verification_in_batches_is_chosen_for_each_kind_and_never_for_control_kinds() {
    let modes = |text: &str| {
        let settings = environment(&[("CYBERMESH_VERIFY", text), ("CYBERMESH_ROLE", "backend")])?;
        let batched = Kind::ALL
            .into_iter()
            .filter(|kind| settings.verify.mode.of(*kind) == VerifyMode::Batch);
        Ok::<_, SettingsError>(batched.collect::<Vec<_>>())
    };
    assert_eq!(modes("strict").unwrap(), []);
    assert_eq!(modes("batch").unwrap(), Kind::NODE);
    assert_eq!(
        modes("anomaly=batch, evidence=strict, commit=strict").unwrap(),
        [Kind::Anomaly]
    );
    let refused = modes("commit=batch").unwrap_err().to_string();
    assert!(refused.contains("commit is a control kind"), "{refused}");
    for wrong in [
        "fast",
        "anomaly=fast",
        "anomaly",
        "x=batch",
        "anomaly=batch,anomaly=strict",
    ] {
        assert!(modes(wrong).is_err(), "{wrong:?} was taken");
    }
}

#[test]
fn assignors_are_taken_in_order_of_preference_and_an_unknown_one_is_refused_plainly() {
    let of = |text: &str| {
        environment(&[("KAFKA_ASSIGNOR", text)]).map(|settings| settings.receive.assignors)
    };
    let refused = of("cooperative-sticky,sticky").unwrap_err().to_string();
    assert!(refused.contains("cooperative-sticky"), "{refused}");
    assert!(of(",").is_err());
    assert_eq!(of("").unwrap(), [Assignor::Range]);
    let both = [Assignor::CooperativeSticky, Assignor::Range];
    assert_eq!(of("cooperative-sticky, range").unwrap(), both);
    let taken = environment(&[
        ("KAFKA_ASSIGNOR", "roundrobin"),
        ("KAFKA_GROUP_INSTANCE_ID", "n-1"),
    ])
    .unwrap();
    assert_eq!(taken.receive.assignors, [Assignor::RoundRobin]);
    assert_eq!(taken.receive.instance_id.as_deref(), Some("n-1"));
}

#[test]
fn an_assignor_is_one_that_whoever_divides_has() {
    let problems = |protocol: &str, assignor: &str| {
        let variables = [
            ("KAFKA_GROUP_PROTOCOL", protocol),
            ("KAFKA_ASSIGNOR", assignor),
        ];
        match environment(&variables) {
            Ok(_) => Vec::new(),
            Err(error) => names(&error).into_iter().map(ToString::to_string).collect(),
        }
    };
    for (protocol, assignor) in [
        ("classic", "uniform"),
        ("auto", "uniform"),
        ("auto", "range,uniform"),
        ("consumer", "roundrobin"),
        ("consumer", "cooperative-sticky"),
        ("consumer", "uniform,range"),
    ] {
        let refused = problems(protocol, assignor);
        assert_eq!(refused, ["KAFKA_ASSIGNOR"], "{protocol} by {assignor}");
    }
    for (protocol, assignor) in [
        ("classic", "range"),
        ("auto", "cooperative-sticky,range"),
        ("consumer", "uniform"),
        ("consumer", "range"),
        ("consumer", ""),
    ] {
        let taken = problems(protocol, assignor);
        assert!(taken.is_empty(), "{protocol} by {assignor}: {taken:?}");
    }
    assert_eq!(problems("kip-848", "range"), ["KAFKA_GROUP_PROTOCOL"]);
}

#[test]
fn guard_hang_and_audit_have_the_defaults_of_the_design() {
    let settings = Settings::loader().load().unwrap();
    assert!(settings.guard.enabled);
    assert_eq!(settings.guard.dlq_rate.to_string(), "1000@100/s");
    assert_eq!(settings.receive.hang_after, Duration::from_secs(300));
    assert_eq!(settings.receive.on_hang, OnHang::Report);
    assert_eq!(
        settings.audit,
        Audit {
            file: None,
            rotate_bytes: 64 << 20,
            keep: 10
        }
    );
    assert!(environment(&[("CYBERMESH_DLQ_RATE", "off")]).is_err());
}

#[test]
fn key_material_in_place_of_a_path_is_refused_without_being_shown() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIFoo\n-----END PRIVATE KEY-----";
    let error = environment(&[("CYBERMESH_SIGNING_KEY", pem)]).unwrap_err();
    assert_eq!(names(&error), ["CYBERMESH_SIGNING_KEY"]);
    assert!(!error.to_string().contains("MC4C"), "{error}");
    assert!(!format!("{error:?}").contains("MC4C"), "{error:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let error = environment(&[
        ("KAFKA_CLIENT_CERT", "c.pem"),
        ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
        ("CYBERMESH_REVOKE_TIMEOUT", "60s"),
        ("KAFKA_TOPIC_EVIDENCE", "ai.anomalies.v1"),
        ("KAFKA_TOPIC_DLQ", "ai.policy.v1"),
    ])
    .unwrap_err();
    assert_eq!(
        names(&error),
        [
            "KAFKA_CLIENT_KEY",
            "KAFKA_TOPIC_EVIDENCE",
            "KAFKA_TOPIC_DLQ",
            "KAFKA_HEARTBEAT_INTERVAL_MS",
            "CYBERMESH_REVOKE_TIMEOUT"
        ]
    );
}

#[test]
fn plaintext_is_for_this_machine_unless_the_danger_is_named() {
    let judged = |variables: &[(&str, &str)]| {
        let mut problems = Vec::new();
        environment(variables)
            .unwrap()
            .judge_connection(&mut problems);
        problems
            .into_iter()
            .map(|problem| problem.name)
            .collect::<Vec<_>>()
    };
    let plain = ("KAFKA_TLS_ENABLED", "false");
    assert!(judged(&[plain, ("KAFKA_BROKERS", "localhost:1,127.0.0.9:2,[::1]:3")]).is_empty());
    assert_eq!(
        judged(&[plain, ("KAFKA_BROKERS", "localhost:1,kafka:2")]),
        ["KAFKA_TLS_ENABLED"]
    );
    assert!(
        judged(&[
            plain,
            ("KAFKA_BROKERS", "kafka:2"),
            ("KAFKA_DANGER_PLAINTEXT", "true")
        ])
        .is_empty()
    );
    assert_eq!(judged(&[]), ["KAFKA_CA_CERT"]);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let settings = environment(&[("KAFKA_BROKERS", ""), ("KAFKA_CA_CERT", "")]).unwrap();
    assert_eq!(settings.source_of("KAFKA_BROKERS"), Source::Default);
    assert_eq!(settings.tls.ca, None);
}

#[test]
fn bare_numbers_are_milliseconds_only_where_the_name_says_so() {
    assert_eq!(
        environment(&[("KAFKA_LINGER_MS", "40")])
            .unwrap()
            .send
            .linger,
        Duration::from_millis(40)
    );
    assert_eq!(
        environment(&[("KAFKA_LINGER_MS", "2s")])
            .unwrap()
            .send
            .linger,
        Duration::from_secs(2)
    );
    assert_eq!(
        names(&environment(&[("CYBERMESH_STOP_TIMEOUT", "30")]).unwrap_err()),
        ["CYBERMESH_STOP_TIMEOUT"]
    );
}

#[test]
fn sizes_take_binary_units() {
    assert_eq!(
        environment(&[("KAFKA_BUFFER_BYTES", "64MiB")])
            .unwrap()
            .send
            .buffer_bytes,
        64 << 20
    );
    assert!(environment(&[("KAFKA_BUFFER_BYTES", "64MB")]).is_err());
    assert!(environment(&[("KAFKA_BUFFER_BYTES", "99999999999999999999")]).is_err());
}

#[test]
fn addresses_that_name_no_port_or_a_strange_host_are_refused() {
    for wrong in [
        "",
        ",",
        "host",
        "host:0",
        "host:65536",
        ":1",
        "a b:1",
        "[::1]",
        "[zz]:1",
        "::1:9092",
        "http://h:1",
    ] {
        assert!(parse::brokers(wrong).is_err(), "{wrong:?} was taken");
    }
    let brokers = parse::brokers(" a:1 , [fe80::1]:2,10.0.0.1:3 ").unwrap();
    assert_eq!(
        brokers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a:1", "[fe80::1]:2", "10.0.0.1:3"]
    );
}

proptest! {
    #[test]
    fn any_text_for_any_setting_is_taken_or_refused_by_name(index in 0..table::ALL.len(), text in "\\PC{0,40}") {
        let spec = table::ALL[index];
        if let Err(error) = Settings::loader().set(spec.env, text).load() {
            for problem in error.problems() {
                prop_assert!(table::find(&problem.name).is_some());
                prop_assert!(!problem.accepts.is_empty());
            }
        }
    }

    #[test]
    fn what_is_listed_loads_again_to_the_same_settings(burst in 1_u32..1_000_000, rate in 1_u32..1_000_000, linger in 0_u64..60_000) {
        let first = Settings::loader()
            .set("limits.policy", format!("{burst}@{rate}"))
            .set("send.linger", linger.to_string())
            .load()
            .unwrap();
        let listed = first.entries().iter().filter_map(|entry| Some((OsString::from(entry.env), OsString::from(entry.value.clone()?))));
        let second = Settings::loader().environment(listed).load().unwrap();
        prop_assert_eq!(&first.limits, &second.limits);
        prop_assert_eq!(&first.send, &second.send);
        prop_assert_eq!(&first.kafka, &second.kafka);
        prop_assert_eq!(&first.topics, &second.topics);
    }
}
