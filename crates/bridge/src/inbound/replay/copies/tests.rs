//! Copies on disk: whole, set aside, or none.

use super::*;

const BINDING: Binding<'_> = Binding {
    group: "g",
    cluster_id: "c",
    topic_id: [9; 16],
    partition: 3,
    offset: 40,
};

const MOST: usize = Snapshot::MOST_TEXT_BYTES;

fn partition() -> TopicPartition {
    TopicPartition::new("t", 3)
}

fn sealing() -> Sealing {
    let metrics = crate::telemetry::Exposition::new().unwrap().metrics();
    let signing = super::super::StateSigning::none();
    Sealing::new("g".to_owned(), "c".to_owned(), signing, metrics)
}

fn kept(offset: i64) -> Kept {
    Kept {
        partition: partition(),
        offset,
        state: crate::inbound::group::State {
            snapshot: Snapshot::nothing_settled(24),
            topic_id: [9; 16],
        },
        handled: Handled::default(),
    }
}

fn read_back(state: &StateDir) -> Option<Copy> {
    read(state, &partition(), &BINDING, &StateKeys::default())
}

#[test]
fn a_copy_is_read_as_it_was_written_and_only_for_its_own_commit() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    assert!(read_back(&state).is_none());
    write_one(&state, &sealing(), &kept(40), MOST).unwrap();
    assert_eq!(read_back(&state).unwrap().snapshot.ring_first(), 24);
    write_one(&state, &sealing(), &kept(41), MOST).unwrap();
    assert!(read_back(&state).is_none());
    assert!(
        folder.path().join("replay/t/3").exists(),
        "it may be of use yet"
    );
}

#[tokio::test]
async fn a_copy_that_would_not_be_read_is_not_written_and_an_alarm_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(StateDir::open(folder.path()).unwrap());
    let sealed = sealing().seal(3, 40, &kept(40).state, Budget::WHOLE);
    let length = sealed.unwrap().len();
    for (most_bytes, is_kept) in [(length - 1, false), (length, true)] {
        let exposition = crate::telemetry::Exposition::new().unwrap();
        let (copies, waiting) = mpsc::channel(1);
        copies.try_send(kept(40)).unwrap();
        drop(copies);
        let (state, sealing) = (Arc::clone(&state), Arc::new(sealing()));
        write(state, sealing, exposition.metrics(), most_bytes, waiting).await;
        assert_eq!(folder.path().join("replay/t/3").exists(), is_kept);
        let alarm = r#"bridge_replay_state_alarms_total{reason="copy-not-kept"} 1"#;
        let is_said = exposition.text().unwrap().contains(alarm);
        assert_eq!(is_said, !is_kept);
    }
}

#[test]
fn a_copy_with_any_byte_changed_or_cut_off_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    write_one(&state, &sealing(), &kept(40), MOST).unwrap();
    let file = folder.path().join("replay/t/3");
    let whole = std::fs::read(&file).unwrap();
    let changed = (0..whole.len()).map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    for damaged in changed.chain(cut) {
        std::fs::write(&file, &damaged).unwrap();
        assert!(read_back(&state).is_none());
        assert!(!file.exists());
        assert_eq!(
            std::fs::read(file.with_extension("damaged")).unwrap(),
            damaged
        );
    }
    std::fs::write(&file, &whole).unwrap();
    assert!(read_back(&state).is_some());
}

#[test]
fn a_copy_of_another_version_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    write_one(&state, &sealing(), &kept(40), MOST).unwrap();
    let file = folder.path().join("replay/t/3");
    let text = std::fs::read_to_string(&file).unwrap();
    let later = text.replace("state 1", "state 2");
    let (body, _) = later.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&file, format!("{body}\n{}\n", checksum(body))).unwrap();
    assert!(read_back(&state).is_none());
    assert!(file.with_extension("damaged").exists());
}

#[test]
fn a_copy_that_is_forgotten_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    assert!(!forget_copy(&state, &partition()).unwrap());
    write_one(&state, &sealing(), &kept(40), MOST).unwrap();
    assert!(forget_copy(&state, &partition()).unwrap());
    assert!(read_back(&state).is_none());
}

#[test]
fn no_topic_leads_out_of_the_folder() {
    for topic in ["..", ".", "a/b", "/etc", ""] {
        assert_eq!(name(&TopicPartition::new(topic, 0)), None, "{topic:?}");
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_copies() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    write_one(&state, &sealing(), &kept(40), MOST).unwrap();
    for path in ["replay", "replay/t", "replay/t/3"] {
        let metadata = std::fs::metadata(folder.path().join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{path}");
    }
}
