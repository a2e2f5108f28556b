//! Tells the crate from when on a clock is plausible: the date of the commit it is built from.
//!
//! `SOURCE_DATE_EPOCH` (reproducible builds) wins; then git; outside both, as in a vendored copy,
//! the floor that `src/clock.rs` names stands.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let seconds = env::var("SOURCE_DATE_EPOCH")
        .ok()
        .or_else(|| git(&["log", "-1", "--format=%ct"]));
    if let Some(seconds) = seconds.and_then(|text| text.trim().parse::<u64>().ok()) {
        println!("cargo::rustc-env=CYBERMESH_COMMIT_SECONDS={seconds}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
