//! A trail whose process ended just after a file was full.

use std::fs;

use super::*;
use crate::clock::SystemClock;

#[tokio::test]
async fn a_new_file_goes_on_from_the_newest_full_one_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ndjson");
    let full = folder.path().join("audit.ndjson.1");
    let limits = Limits {
        rotate_bytes: 1 << 20,
        keep: 3,
    };
    for to in ["open", "closed"] {
        let audit = Audit::open(&path, limits, Arc::new(SystemClock)).unwrap();
        audit.record(&AuditEvent::Breaker { to });
        audit.close(Duration::from_secs(10)).await;
        if !full.exists() {
            fs::rename(&path, &full).unwrap();
        }
    }
    let whole = check_files(&path).unwrap();
    assert_eq!((whole.files, whole.lines), (2, 2));
}
