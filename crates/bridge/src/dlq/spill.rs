//! Dead letters that the cluster refuses for good, kept on disk instead.
//!
//! One JSON object a line in the state folder's `dead-letters.ndjson`: `refused` says why it is
//! here; `key`, `headers` (`[[name, hex or null], …]`) and `value` are those of the record that the
//! dead-letter topic would have got in form `json` (a summary: `reference`), signature and all.
//! Each line is on disk before its message counts as done. A line that a crash cut short is ended
//! before the next one; its message was not done and comes again.

use std::sync::{Arc, Mutex, PoisonError};

use cybermesh_contracts::dead_letter::DeadLetterRecord;
use cybermesh_transport::host;
use serde_json::json;

use crate::state::{Line, StateDir, StateError};

/// The file in the state folder.
pub const SPILL_FILE: &str = "dead-letters.ndjson";
/// What the file may take. Whoever may write to a topic can have dead letters written; they must not
/// fill the disk that nonces are kept on. Beyond it partitions pause, as without a state folder.
const MOST_BYTES: u64 = 1 << 30;

/// Where refused dead letters go.
#[derive(Debug, Clone)]
pub(crate) struct Spill {
    state: Arc<StateDir>,
    /// One line at a time.
    writing: Arc<Mutex<()>>,
    most_bytes: u64,
}

impl Spill {
    pub(crate) fn into(state: Arc<StateDir>) -> Self {
        Self {
            state,
            writing: Arc::default(),
            most_bytes: MOST_BYTES,
        }
    }

    /// Writes one; it is on disk when this returns.
    ///
    /// # Errors
    /// What the file system says, or that the file is full.
    pub(super) async fn write(
        &self,
        letter: &DeadLetterRecord,
        refused: &str,
    ) -> Result<(), String> {
        let line = Line::of(&line(letter, refused));
        let spill = self.clone();
        let written = host::spawn_blocking(move || {
            let _one_at_a_time = spill.writing.lock().unwrap_or_else(PoisonError::into_inner);
            spill.state.append(SPILL_FILE, &line, spill.most_bytes)
        });
        match written.await {
            Ok(written) => written.map_err(|error: StateError| error.to_string()),
            Err(_cancelled) => Err("the runtime is shutting down".to_owned()),
        }
    }
}

fn line(letter: &DeadLetterRecord, refused: &str) -> serde_json::Value {
    let headers: Vec<_> = letter
        .headers
        .iter()
        .map(|header| {
            (
                header.name.as_str(),
                header.value.as_deref().map(hex::encode),
            )
        })
        .collect();
    json!({
        "refused": refused,
        "key": String::from_utf8_lossy(&letter.key),
        "headers": headers,
        "value": letter.value.as_deref().map(String::from_utf8_lossy),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cybermesh_contracts::dead_letter::Form;
    use cybermesh_contracts::headers::Header;

    use super::*;

    fn letter() -> DeadLetterRecord {
        DeadLetterRecord {
            form: Form::Json,
            key: b"group/topic/0/7".to_vec(),
            value: Some(br#"{"data":"6e6f"}"#.to_vec()),
            headers: vec![
                Header::new("dlq.format", "json"),
                Header {
                    name: "null".into(),
                    value: None,
                },
            ],
        }
    }

    fn lines(folder: &tempfile::TempDir) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.path().join(SPILL_FILE)).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    #[tokio::test]
    async fn a_line_holds_the_whole_record_and_why_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::into(Arc::new(StateDir::open(folder.path()).unwrap()));
        spill.write(&letter(), "no such topic").await.unwrap();
        spill.write(&letter(), "not allowed").await.unwrap();
        let lines = lines(&folder);
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0],
            json!({
                "refused": "no such topic",
                "key": "group/topic/0/7",
                "headers": [["dlq.format", "6a736f6e"], ["null", null]],
                "value": "{\"data\":\"6e6f\"}",
            })
        );
        assert_eq!(lines[1]["refused"], "not allowed");
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_short_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SPILL_FILE), "{\"refused\":\"no su").unwrap();
        let spill = Spill::into(Arc::new(StateDir::open(folder.path()).unwrap()));
        spill.write(&letter(), "no such topic").await.unwrap();
        let text = fs::read_to_string(folder.path().join(SPILL_FILE)).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(lines(&folder).len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_is_full_takes_no_more_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill {
            most_bytes: 200,
            ..Spill::into(Arc::new(StateDir::open(folder.path()).unwrap()))
        };
        spill.write(&letter(), "no such topic").await.unwrap();
        let before = fs::metadata(folder.path().join(SPILL_FILE)).unwrap().len();
        let refused = spill.write(&letter(), "no such topic").await.unwrap_err();
        assert!(
            refused.contains(SPILL_FILE) && refused.contains("200"),
            "{refused}"
        );
        let after = fs::metadata(folder.path().join(SPILL_FILE)).unwrap().len();
        assert_eq!(before, after);
    }
}
