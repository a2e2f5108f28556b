//! `audit`: says whether an audit trail is whole.

use std::io::{self, Write};

use cybermesh_bridge::telemetry::audit::{TrailFault, check_files};
use serde_json::json;

use crate::args::{AuditArgs, SettingsArgs};
use crate::config;
use crate::failure::Failure;

/// Reads the trail's files and prints the answer; exit code 1 where the chain does not hold, 2 where
/// there is no trail to read.
pub(crate) fn run(args: &AuditArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => config::load(settings)?.audit.file.ok_or_else(|| {
            Failure::usage("CYBERMESH_AUDIT (unset): nothing to check; give the trail's file")
        })?,
    };
    let (answer, ended) = match check_files(&file) {
        Ok(whole) => {
            let answer = json!({
                "verdict": "whole", "files": whole.files, "lines": whole.lines,
                "from_the_beginning": whole.from_the_beginning, "end": hex::encode(whole.end),
            });
            (answer, Ok(()))
        }
        Err(fault @ (TrailFault::Broken { .. } | TrailFault::TooLong { .. })) => {
            let answer = json!({"verdict": "broken", "reason": fault.to_string()});
            (answer, Err(Failure::silent_no()))
        }
        Err(fault) => return Err(Failure::usage(fault)),
    };
    writeln!(io::stdout().lock(), "{answer}")
        .map_err(|error| Failure::no(format!("standard output: {error}")))?;
    ended
}
