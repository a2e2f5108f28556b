use std::{fs, path::PathBuf, time::Duration};

use super::*;
use crate::clock::SystemClock;

fn trail_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("audit.ndjson")
}

fn opened(path: &Path, rotate_bytes: u64, keep: u32) -> Audit {
    Audit::open(path, Limits { rotate_bytes, keep }, Arc::new(SystemClock)).unwrap()
}

fn breaker(to: &'static str) -> AuditEvent<'static> {
    AuditEvent::Breaker { to }
}

/// Where the chain is broken when the trail's only file holds this.
fn broken_at(path: &Path, text: &str) -> Option<u64> {
    fs::write(path, text).unwrap();
    match check_files(path) {
        Ok(_) => None,
        Err(TrailFault::Broken { line, .. }) => Some(line),
        Err(other) => panic!("{other}"),
    }
}

fn last_hash(trail: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    let mut lines = trail.trim_ascii_end().rsplit(|byte| *byte == b'\n');
    sha2::Sha256::digest(lines.next().unwrap()).into()
}

async fn written(audit: &Audit) {
    audit.close(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn each_line_carries_the_hash_of_the_one_before_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    for _ in 0..3 {
        let audit = opened(&path, 1 << 20, 10);
        audit.record(&breaker("open"));
        audit.record(&breaker("closed"));
        written(&audit).await;
    }
    let trail = fs::read(&path).unwrap();
    assert_eq!(trail.split(|byte| *byte == b'\n').count(), 7);
    let whole = check_files(&path).unwrap();
    assert_eq!((whole.files, whole.lines), (1, 6));
    assert!(whole.from_the_beginning);
}

#[tokio::test]
async fn a_line_that_was_altered_or_taken_out_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let audit = opened(&path, 1 << 20, 10);
    for to in ["open", "half-open", "closed"] {
        audit.record(&breaker(to));
    }
    written(&audit).await;
    let text = fs::read_to_string(&path).unwrap();
    let altered = text.replace("half-open", "open");
    assert_eq!(broken_at(&path, &altered), Some(3));
    let lines: Vec<_> = text.lines().collect();
    let without = format!("{}\n{}\n", lines[0], lines[2]);
    assert_eq!(broken_at(&path, &without), Some(2));
    let beside = format!("{}\n{{}}\n{}\n", lines[0], lines[1]);
    assert_eq!(broken_at(&path, &beside), Some(2));
    assert_eq!(broken_at(&path, &text), None);
}

#[tokio::test]
async fn a_full_file_goes_on_in_a_new_one_with_the_same_chain_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let audit = opened(&path, 1_000, 3);
    for _ in 0..60 {
        audit.record(&breaker("open"));
    }
    written(&audit).await;
    let older = file::older(&path).unwrap();
    assert_eq!(older.len(), 3, "{older:?}");
    let mut trail = Vec::new();
    for (_, file) in &older {
        let content = fs::read(file).unwrap();
        assert!(content.len() <= 1_000);
        trail.extend(content);
    }
    trail.extend(fs::read(&path).unwrap());
    let whole = check_files(&path).unwrap();
    let lines = trail.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(
        (whole.files, whole.lines),
        (4, u64::try_from(lines).unwrap())
    );
    assert!(!whole.from_the_beginning, "the oldest are gone");
    assert_eq!(whole.end, last_hash(&trail));
    // A file that is taken out of the middle is missed by the next.
    fs::remove_file(&older[1].1).unwrap();
    let fault = check_files(&path).unwrap_err();
    let TrailFault::Broken { path, line: 1 } = fault else {
        panic!("{fault}")
    };
    assert_eq!(path, older[2].1);
}

#[tokio::test]
async fn a_trail_of_nothing_and_one_of_endless_lines_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let missing = check_files(&path).unwrap_err();
    assert!(
        matches!(missing, TrailFault::Unreadable { .. }),
        "{missing}"
    );
    fs::write(&path, b"").unwrap();
    let empty = check_files(&path).unwrap_err();
    assert!(matches!(empty, TrailFault::Empty(_)), "{empty}");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let endless = check_files(&path).unwrap_err();
    assert!(
        matches!(endless, TrailFault::TooLong { line: 1, .. }),
        "{endless}"
    );
}

#[tokio::test]
async fn a_line_cut_short_by_a_crash_stays_and_the_next_follows_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let audit = opened(&path, 1 << 20, 10);
    audit.record(&breaker("open"));
    audit.record(&breaker("closed"));
    written(&audit).await;
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let audit = opened(&path, 1 << 20, 10);
    audit.record(&breaker("open"));
    written(&audit).await;
    let trail = fs::read(&path).unwrap();
    assert!(trail.starts_with(&whole[..whole.len() - 20]));
    assert_eq!(check_files(&path).unwrap().lines, 3);
    assert_eq!(trail.iter().filter(|byte| **byte == b'\n').count(), 3);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_trail_and_one_that_others_may_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let audit = opened(&path, 1 << 20, 10);
    audit.record(&breaker("open"));
    written(&audit).await;
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let limits = Limits {
        rotate_bytes: 1 << 20,
        keep: 1,
    };
    let refused = Trail::open(&path, limits).unwrap_err().to_string();
    assert!(
        refused.contains("0640") && refused.contains("chmod 600"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_second_process_may_not_write_to_the_same_trail() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail_in(&folder);
    let limits = Limits {
        rotate_bytes: 1 << 20,
        keep: 1,
    };
    let _first = Trail::open(&path, limits).unwrap();
    let refused = Trail::open(&path, limits).unwrap_err().to_string();
    assert!(
        refused.contains("another process writes to it"),
        "{refused}"
    );
}

/// The folder is taken away, so that the next file of the trail cannot be made.
#[tokio::test]
async fn a_trail_that_cannot_be_written_says_so_holds_nobody_up_and_goes_on_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.ndjson");
    let audit = opened(&path, 8_192, 1_000);
    audit.record(&breaker("open"));
    fs::rename(&inner, folder.path().join("away")).unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..2 * QUEUE + 1_000 {
        audit.record(&breaker("closed"));
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while audit.fault().is_none() {
        assert!(std::time::Instant::now() < deadline, "nothing was said");
        tokio::task::yield_now().await;
    }
    fs::rename(folder.path().join("away"), &inner).unwrap();
    written(&audit).await;
    let older = file::older(&path).unwrap();
    let mut trail = Vec::new();
    for (_, file) in &older {
        trail.extend(fs::read(file).unwrap());
    }
    trail.extend(fs::read(&path).unwrap());
    check_files(&path).unwrap();
    assert_eq!(audit.fault(), None);
    assert!(String::from_utf8(trail).unwrap().contains("\"missed\""));
}
