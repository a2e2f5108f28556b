//! What ends `send` and `listen`, and what has them read their files again, as processes.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "stage/process.rs"]
mod process;
mod stage;

use std::process::Command;

use cybermesh_devbroker::pki::Authority;
use cybermesh_devbroker::{Api, Fault, ServerTls};
use process::{Home, Process, within};
use rustix::process::Signal;
use serde_json::Value;
use stage::Stage;
use tokio::io::AsyncWriteExt as _;

const TOPIC: &str = "ai.anomalies.v1";
/// More than a pipe takes when it is printed.
const LARGE: usize = 100_000;

fn draft(n: usize) -> String {
    draft_with(&format!(r#"{{"n": {n}}}"#))
}

fn large(n: usize) -> String {
    draft_with(&format!(r#"{{"n": {n}, "note": "{}"}}"#, "x".repeat(LARGE)))
}

fn draft_with(payload: &str) -> String {
    format!(
        r#"{{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{payload}}}"#
    ) + "\n"
}

fn n(line: &Value) -> u64 {
    let payload = hex::decode(line["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&payload).unwrap()["n"]
        .as_u64()
        .unwrap()
}

async fn send(stage: &Stage, drafts: &[String]) {
    let sent = stage.run(&["send", "anomaly"], &drafts.concat()).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

/// `listen` as a member of a group, with an audit trail.
fn member(stage: &Stage) -> Command {
    let mut command = stage.command(&["listen", "--kind", "anomaly", "--group", "g"]);
    command
        .env("CYBERMESH_AUDIT", stage.path("audit.ndjson"))
        // A member that is killed is missed soon.
        .env("KAFKA_SESSION_TIMEOUT_MS", "6000")
        .env("KAFKA_HEARTBEAT_INTERVAL_MS", "1000");
    command
}

fn start(stage: &Stage, command: &Command, home: &Home) -> Process {
    Process::start(command, home, stage.path("stderr"))
}

fn committed(stage: &Stage) -> Option<i64> {
    let committed = stage.broker.committed("g", TOPIC, 0);
    committed.map(|committed| committed.offset)
}

async fn commits(stage: &Stage, offset: i64) {
    let has = |broker: &cybermesh_devbroker::DevBroker| {
        let committed = broker.committed("g", TOPIC, 0);
        committed.is_some_and(|committed| committed.offset == offset)
    };
    within(stage.broker.wait_until(has)).await;
}

/// What the next member of the group gets first.
async fn next_in_group(stage: &Stage) -> u64 {
    let args = [
        "listen", "--kind", "anomaly", "--group", "g", "--count", "1",
    ];
    let heard = stage.run(&args, "").await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    n(&heard.json()[0])
}

#[tokio::test]
async fn a_hangup_has_a_service_read_everything_again_and_say_what_needs_a_restart() {
    let stage = Stage::set().await;
    let config = stage.path("bridge.toml");
    std::fs::write(&config, "[limits]\nanomaly = \"10@5/s\"\n").unwrap();
    let mut command = member(&stage);
    command
        .arg("--config")
        .arg(&config)
        .env("CYBERMESH_LOG", "info");
    let mut service = start(&stage, &command, &Home::Service);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&service.line().await), 1);

    // Refused by the broker, it is tried again at once when asked for.
    let other = Authority::new("another CA").unwrap();
    let node = other.client("cli").issue().unwrap();
    for (name, pem) in [
        ("client.pem", node.chain_pem()),
        ("client.key", node.key_pem()),
    ] {
        std::fs::write(stage.path(name), pem).unwrap();
    }
    let trail = stage.path("audit.ndjson");
    let refused = "refused the client certificate";
    service.writes(Some(trail.clone()), refused).await;
    let both = format!("{}{}", stage.authority.ca_pem(), other.ca_pem());
    let server = stage.authority.server().ip([127, 0, 0, 1]).issue().unwrap();
    let tls = ServerTls::mutual(&server, &both).unwrap();
    stage.broker.speak_tls(tls);
    stage.keygen(&["--name", "node-2"]);
    std::fs::copy(stage.path("node-2.key"), stage.path("node-1.key")).unwrap();
    let settings = "[limits]\nanomaly = \"20@5/s\"\n[send]\nlinger = 9\n[replay]\nring = 100\n";
    std::fs::write(&config, settings).unwrap();
    service.signal(Signal::HUP);
    let is_theirs = |broker: &cybermesh_devbroker::DevBroker| {
        let mut connections = broker.connections().into_iter();
        connections.any(|one| one.certificate.as_ref() == Some(node.certificate()))
    };
    within(stage.broker.wait_until(is_theirs)).await;
    for what in ["certificates", "signing-key", "settings"] {
        let reloaded = format!(r#""event":"reloaded","what":"{what}""#);
        service.writes(Some(trail.clone()), &reloaded).await;
    }
    service.writes(None, "takes effect with a restart").await;
    let complaints = service.complaints();
    let warning = complaints
        .lines()
        .find(|line| line.contains("takes effect with a restart"));
    let warning: Value = serde_json::from_str(warning.unwrap()).unwrap();
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["fields"]["keys"], "send.linger, replay.ring");

    // The key that came into the trust store since.
    send(&stage, &[draft(2)]).await;
    let line = service.line().await;
    assert_eq!((n(&line), &line["signer"]), (2, &"node-2".into()));
    service.signal(Signal::TERM);
    assert_eq!(service.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), Some(2));
}

/// A member in the middle of printing the first of two large messages, which nobody reads.
async fn stalled(stage: &Stage, command: &Command) -> (Process, u8) {
    send(stage, &[large(1), large(2)]).await;
    let mut member = start(stage, command, &Home::Service);
    let begun = member.byte().await;
    (member, begun)
}

async fn is_stopping(stage: &Stage, process: &Process) {
    let trail = stage.path("audit.ndjson");
    process
        .writes(Some(trail), r#""condition":"stopping""#)
        .await;
}

#[tokio::test]
async fn one_sigterm_lets_the_line_that_is_being_printed_end_and_commits_it_and_no_other() {
    let stage = Stage::set().await;
    let (mut member, begun) = stalled(&stage, &member(&stage)).await;
    member.signal(Signal::TERM);
    is_stopping(&stage, &member).await;
    assert_eq!(n(&member.rest_of_line(begun).await), 1);
    assert_eq!(member.all_lines().await, Vec::<Value>::new());
    assert_eq!(member.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), Some(1));
    assert_eq!(next_in_group(&stage).await, 2);
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_what_was_not_printed_whole_is_not_committed() {
    let stage = Stage::set().await;
    let (mut member, _) = stalled(&stage, &member(&stage)).await;
    member.signal(Signal::TERM);
    is_stopping(&stage, &member).await;
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(143));
    assert_eq!(committed(&stage), None);
    assert_eq!(next_in_group(&stage).await, 1);
}

#[tokio::test]
async fn a_member_whose_output_nobody_reads_ends_on_sigterm_within_its_time_and_commits_nothing() {
    let stage = Stage::set().await;
    let mut command = member(&stage);
    command.env("CYBERMESH_STOP_TIMEOUT", "1s");
    let (mut member, _) = stalled(&stage, &command).await;
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), None);
    assert_eq!(next_in_group(&stage).await, 1);
}

#[tokio::test]
async fn a_listener_without_a_group_whose_output_nobody_reads_ends_on_sigterm() {
    let stage = Stage::set().await;
    let command = stage.command(&["listen", "--kind", "anomaly"]);
    let (mut listener, _) = stalled(&stage, &command).await;
    listener.signal(Signal::TERM);
    assert_eq!(listener.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_hangup_has_a_listener_without_a_group_read_its_trust_store_again() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["listen", "--kind", "anomaly"]);
    command.env("CYBERMESH_AUDIT", stage.path("audit.ndjson"));
    let mut listener = start(&stage, &command, &Home::Service);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&listener.line().await), 1);
    stage.keygen(&["--name", "node-2"]);
    listener.signal(Signal::HUP);
    let trail = stage.path("audit.ndjson");
    listener.writes(Some(trail), r#""added":["node-2"]"#).await;
    let key = stage.path("node-2.key");
    let by_the_new = ["send", "anomaly", "--key", key.to_str().unwrap()];
    assert_eq!(stage.run(&by_the_new, &draft(2)).await.code, Some(0));
    let line = listener.line().await;
    assert_eq!((n(&line), &line["signer"]), (2, &"node-2".into()));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_member_and_what_it_did_not_get_is_not_committed() {
    let stage = Stage::set().await;
    let mut member = start(&stage, &member(&stage), &Home::Service);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    commits(&stage, 1).await;
    member.close_stdout();
    send(&stage, &[draft(2)]).await;
    assert_eq!(member.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), Some(1));
    assert_eq!(next_in_group(&stage).await, 2);
}

#[tokio::test]
async fn the_end_of_its_input_does_not_end_a_member() {
    let stage = Stage::set().await;
    let mut member = start(&stage, &member(&stage), &Home::Service);
    drop(member.stdin.take());
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_member_goes_on_and_ends_in_order_when_nobody_reads_what_it_logs() {
    let stage = Stage::set().await;
    let mut command = member(&stage);
    command.env("CYBERMESH_LOG", "debug");
    let mut member = Process::start_with_closed_stderr(&command);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    commits(&stage, 1).await;
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_member_whose_log_is_stuck_goes_on_and_ends_in_order() {
    let stage = Stage::set().await;
    let mut command = member(&stage);
    command.env("CYBERMESH_LOG", "debug");
    let (mut member, _unread) = Process::start_with_full_stderr(&command);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    commits(&stage, 1).await;
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_listener_without_a_group_whose_complaints_are_stuck_goes_on_and_has_them_for_later() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["listen", "--kind", "anomaly"]);
    let trust = stage.path("of-node-1.toml");
    std::fs::copy(stage.path("trust.toml"), &trust).unwrap();
    command.env("CYBERMESH_TRUST", trust);
    stage.keygen(&["--name", "node-2"]);
    let key = stage.path("node-2.key");
    let by_a_stranger = ["send", "anomaly", "--key", key.to_str().unwrap()];
    assert_eq!(stage.run(&by_a_stranger, &draft(0)).await.code, Some(0));
    let (mut listener, stderr) = Process::start_with_full_stderr(&command);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&listener.line().await), 1);
    let later = tokio::task::spawn_blocking(|| std::io::read_to_string(stderr).unwrap());
    listener.signal(Signal::TERM);
    assert_eq!(listener.ended().await.code(), Some(0));
    let complaints = later.await.unwrap();
    assert!(
        complaints.contains("rejected ai.anomalies.v1[0]@0"),
        "{complaints}"
    );
}

#[tokio::test]
async fn a_terminal_that_hangs_up_ends_a_member_in_order() {
    let stage = Stage::set().await;
    let mut member = start(&stage, &member(&stage), &Home::Terminal);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    member.hang_up();
    assert_eq!(member.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), Some(1));
}

#[tokio::test]
async fn a_hangup_that_comes_twice_does_not_cut_the_end_short() {
    let stage = Stage::set().await;
    send(&stage, &[large(1)]).await;
    let mut member = start(&stage, &member(&stage), &Home::Terminal);
    let begun = member.byte().await;
    member.signal(Signal::HUP);
    is_stopping(&stage, &member).await;
    member.signal(Signal::HUP);
    assert_eq!(n(&member.rest_of_line(begun).await), 1);
    assert_eq!(member.ended().await.code(), Some(0));
    assert_eq!(committed(&stage), Some(1));
}

#[tokio::test]
async fn a_member_that_was_started_to_outlive_its_terminal_does() {
    let stage = Stage::set().await;
    let mut member = start(&stage, &member(&stage), &Home::NoHangup);
    send(&stage, &[draft(1)]).await;
    assert_eq!(n(&member.line().await), 1);
    member.hang_up();
    // Read again, which is all that a hang-up is to it.
    stage.keygen(&["--name", "node-2"]);
    member.signal(Signal::HUP);
    let trail = stage.path("audit.ndjson");
    member.writes(Some(trail), r#""added":["node-2"]"#).await;
    send(&stage, &[draft(2)]).await;
    assert_eq!(n(&member.line().await), 2);
    member.signal(Signal::TERM);
    assert_eq!(member.ended().await.code(), Some(0));
}

/// `send` with three drafts to send, the first of them on its way, and its input still open.
async fn sending(stage: &Stage, home: &Home) -> (Process, cybermesh_devbroker::FaultHandle) {
    let held = stage.broker.fault(Fault::hold(Api::Produce));
    let command = stage.command(&["send", "anomaly", "--set", "send.linger=0"]);
    let mut sender = start(stage, &command, home);
    let drafts: String = (1..=3).map(draft).collect();
    match sender.stdin.as_mut() {
        Some(stdin) => stdin.write_all(drafts.as_bytes()).await.unwrap(),
        None => sender.type_in(&drafts),
    }
    within(held.wait_for_hits(1)).await;
    (sender, held)
}

/// What was begun has its receipt, in order, and nothing else is in the log.
async fn ends_with_its_receipts(stage: &Stage, sender: &mut Process) -> Option<i32> {
    let receipts = sender.all_lines().await;
    for (receipt, line) in receipts.iter().zip(1_u64..) {
        assert_eq!(receipt["line"], line);
        assert_eq!(receipt["result"], "logged");
    }
    assert!(!receipts.is_empty());
    assert_eq!(stage.broker.log(TOPIC).len(), receipts.len());
    sender.ended().await.code()
}

#[tokio::test]
async fn sigterm_lets_sends_that_are_on_their_way_have_their_receipts() {
    let stage = Stage::set().await;
    let (mut sender, held) = sending(&stage, &Home::Service).await;
    sender.signal(Signal::TERM);
    held.release();
    let code = ends_with_its_receipts(&stage, &mut sender).await;
    assert_eq!(code, Some(1));
    assert!(sender.complaints().contains("interrupted"));
}

#[tokio::test]
async fn a_second_sigterm_ends_a_send_at_once() {
    let stage = Stage::set().await;
    let (mut sender, held) = sending(&stage, &Home::Service).await;
    let ended = async {
        // Whichever is heard second: the first alone waits for what is held.
        while sender.is_running() {
            sender.signal(Signal::TERM);
            tokio::task::yield_now().await;
        }
        sender.ended().await.code()
    };
    assert_eq!(within(ended).await, Some(143));
    held.release();
}

#[tokio::test]
async fn a_terminal_that_hangs_up_lets_sends_that_are_on_their_way_have_their_receipts() {
    let stage = Stage::set().await;
    let (mut sender, held) = sending(&stage, &Home::Terminal).await;
    sender.hang_up();
    held.release();
    let (code, said) = (
        ends_with_its_receipts(&stage, &mut sender).await,
        sender.complaints(),
    );
    // By itself, whichever is seen first: the signal, or that the input has ended or cannot be read any more.
    match code {
        Some(0) => assert_eq!(stage.broker.log(TOPIC).len(), 3),
        Some(1) => assert!(said.contains("interrupted"), "{said}"),
        Some(2) => assert!(said.contains("standard input: "), "{said}"),
        other => panic!("{other:?}: {said}"),
    }
}

#[tokio::test]
async fn a_send_whose_receipts_nobody_reads_ends_on_sigterm_and_says_so() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["send", "anomaly", "--set", "limits.anomaly=off"]);
    command.env("CYBERMESH_STOP_TIMEOUT", "1s");
    let mut sender = start(&stage, &command, &Home::Service);
    let held = stage.broker.fault(Fault::hold(Api::Produce));
    // More receipts than a pipe takes, which is some 700.
    let drafts: String = (0..2000).map(draft).collect();
    let mut stdin = sender.stdin.take().unwrap();
    let typing = tokio::spawn(async move {
        let typed = stdin.write_all(drafts.as_bytes()).await;
        typed.map(|()| stdin)
    });
    within(held.wait_for_hits(1)).await;
    held.release();
    let has_sent_enough = |broker: &cybermesh_devbroker::DevBroker| broker.log(TOPIC).len() > 750;
    within(stage.broker.wait_until(has_sent_enough)).await;
    sender.signal(Signal::TERM);
    assert_eq!(sender.ended().await.code(), Some(1));
    let complaints = sender.complaints();
    assert!(
        complaints.contains("nobody reads the receipts"),
        "{complaints}"
    );
    // Whether all of it was taken is nothing that was promised.
    let _ = typing.await.unwrap();
}

#[tokio::test]
async fn the_end_of_its_input_ends_a_send_when_everything_has_its_receipt() {
    let stage = Stage::set().await;
    let (mut sender, held) = sending(&stage, &Home::Service).await;
    drop(sender.stdin.take());
    held.release();
    assert_eq!(sender.all_lines().await.len(), 3);
    assert_eq!(sender.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_send_whose_receipts_nobody_takes_ends_and_says_so() {
    let stage = Stage::set().await;
    let (mut sender, held) = sending(&stage, &Home::Service).await;
    sender.close_stdout();
    held.release();
    assert_eq!(sender.ended().await.code(), Some(1));
    assert!(sender.complaints().contains("standard output"));
}
