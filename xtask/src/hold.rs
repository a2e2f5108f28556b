//! Keeps a program from outliving the task that started it, even one that is killed.
//!
//! The task holds the other end of our standard input. When it ends, however it ends, the pipe
//! closes, and the program held here is killed.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::error::TaskError;

/// Runs `command` until it or our standard input ends; the exit code is 0 in either case only if
/// the program said so.
pub(crate) async fn hold(command: &[OsString]) -> Result<ExitCode, TaskError> {
    let Some((program, args)) = command.split_first() else {
        return Err(TaskError::Refused("nothing to hold".to_owned()));
    };
    let spawned = Command::new(program)
        .args(args)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let name = || program.to_string_lossy().into_owned();
    let mut child = spawned.map_err(|source| TaskError::Spawn {
        program: name(),
        source,
    })?;
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0_u8; 64];
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|source| TaskError::Spawn { program: name(), source })?;
                return if status.success() { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::FAILURE) };
            }
            read = stdin.read(&mut ignored) => {
                if matches!(read, Ok(0) | Err(_)) {
                    // It may have ended by itself in this moment; then there is nothing to kill.
                    let _ = child.kill().await;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    }
}
