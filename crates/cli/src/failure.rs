//! What went wrong, as one line a person can act on and an exit code a script can.

use std::fmt::Display;
use std::process::ExitCode;

use clap::error::ErrorKind;
use cybermesh_bridge::bridge::StartError;

use crate::stderr;

/// Why a subcommand ended without success; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done, and the answer is no: something was rejected, not sent, not healthy.
    No = 1,
    /// The command line, a file handed in or a setting is wrong.
    Usage = 2,
    /// The cluster could not be reached, or refused us.
    Cluster = 3,
}

/// A failed subcommand: its exit code and the lines to print, possibly none.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    lines: Vec<String>,
}

impl Failure {
    /// Done, and the answer is no; `line` says what.
    pub(crate) fn no(line: impl Display) -> Self {
        Self::new(Code::No, [line.to_string()])
    }

    /// The answer is no and has been printed already.
    pub(crate) fn silent_no() -> Self {
        Self::new(Code::No, [])
    }

    /// Wrong usage, input or settings.
    pub(crate) fn usage(line: impl Display) -> Self {
        Self::new(Code::Usage, [line.to_string()])
    }

    /// Wrong usage, input or settings that has been printed already.
    pub(crate) fn silent_usage() -> Self {
        Self::new(Code::Usage, [])
    }

    /// What clap says of the command line: on one line where it is an error, as it is where help was asked for.
    pub(crate) fn command_line(error: clap::Error) -> Self {
        if !error.use_stderr()
            || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        {
            error.exit();
        }
        let text = error.to_string();
        let said = text.split("\n\nUsage:").next().unwrap_or_default();
        let said = said.split("\n\nFor more").next().unwrap_or_default();
        Self::usage(format!(
            "{}; see --help",
            said.trim_start_matches("error: ").trim_end()
        ))
    }

    /// Several wrong settings, each a line.
    pub(crate) fn settings<I>(lines: I) -> Self
    where
        I: IntoIterator,
        I::Item: Display,
    {
        Self::new(Code::Usage, lines.into_iter().map(|line| line.to_string()))
    }

    /// The cluster could not be reached or refused us.
    pub(crate) fn cluster(line: impl Display) -> Self {
        Self::new(Code::Cluster, [line.to_string()])
    }

    /// A bridge did not start: the cluster's fault, or that of what it was given.
    pub(crate) fn start(error: StartError) -> Self {
        match error {
            StartError::Settings(error) => Self::settings(error.problems()),
            error if error.is_cluster() => Self::cluster(error),
            error => Self::usage(error),
        }
    }

    /// The same, with more lines behind it.
    pub(crate) fn and(mut self, lines: &[String]) -> Self {
        self.lines.extend_from_slice(lines);
        self
    }

    fn new(code: Code, lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            code,
            lines: lines.into_iter().collect(),
        }
    }

    /// Prints each line to standard error, newlines within one made spaces, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        for line in &self.lines {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            stderr::say(&format!("error: {line}"));
        }
        ExitCode::from(self.code as u8)
    }
}
