//! `audit`: a trail that is whole, one that is not, and none.

mod stage;

use std::fs;
use std::path::Path;

use stage::{Ran, binary, run};

/// Three lines as a bridge writes them; each carries the SHA-256 of the one before.
const TRAIL: &str = r#"{"at":1,"event":"breaker","prev":"0000000000000000000000000000000000000000000000000000000000000000","to":"open"}
{"at":2,"event":"breaker","prev":"dfe65227b08c258d445ad261a0f77e6397abf0b21ed80963d2f64bc748fd0aaf","to":"half-open"}
{"at":3,"event":"breaker","prev":"8d4297c55f9dcb30f837e4591f9b40b57b993e3cd496c8e1ab1e5276e61224a8","to":"closed"}
"#;

fn audit(file: &Path) -> Ran {
    let mut command = binary();
    command.arg("audit").arg(file);
    run(command, "")
}

#[test]
fn a_whole_trail_is_said_to_be_whole_and_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.ndjson");
    fs::write(&file, TRAIL).unwrap();
    let ran = audit(&file);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let answer = &ran.json()[0];
    assert_eq!(answer["verdict"], "whole");
    assert_eq!((&answer["files"], &answer["lines"]), (&1.into(), &3.into()));
    assert_eq!(answer["from_the_beginning"], true);
    assert_eq!(
        answer["end"],
        "7821e9c50580278834bd4c8d950c8d8888ed54ac0b850e4d5717149540d93d5e"
    );
}

#[test]
fn the_file_of_the_settings_is_checked_where_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.ndjson");
    fs::write(&file, TRAIL).unwrap();
    let mut command = binary();
    command.env("CYBERMESH_AUDIT", &file).arg("audit");
    assert_eq!(run(command, "").json()[0]["lines"], 3);
}

#[test]
fn a_changed_line_and_one_that_is_missing_are_found_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.ndjson");
    let changed = TRAIL.replace("half-open", "open");
    let lines: Vec<_> = TRAIL.lines().collect();
    let missing = format!("{}\n{}\n", lines[0], lines[2]);
    for (text, line) in [(changed, "line 3 "), (missing, "line 2 ")] {
        fs::write(&file, text).unwrap();
        let ran = audit(&file);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.json()[0]["verdict"], "broken");
        let reason = ran.json()[0]["reason"].to_string();
        assert!(reason.contains(line), "{reason}");
    }
}

#[test]
fn where_there_is_no_trail_the_usage_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let ran = audit(&folder.path().join("none"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let mut command = binary();
    command.arg("audit");
    let ran = run(command, "");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("CYBERMESH_AUDIT"), "{ran:?}");
}
