//! What was wrong with a setting, where it came from, and what is accepted instead.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said; the built-in default.
    Default,
    /// The settings file.
    File(PathBuf),
    /// The environment, under this name (an alias, perhaps).
    Environment(&'static str),
    /// The command line, or the program that embeds us.
    CommandLine,
    /// Another setting decides (the group's name follows from role and node id).
    Derived,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
            Self::Derived => f.write_str("derived"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name in the environment, or what was named where there is no such setting.
    pub name: String,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong, with the value's shape where that helps and harms nobody.
    pub reason: String,
    /// What is accepted, as an instruction.
    pub accepts: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.source, self.reason)?;
        if self.accepts.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.accepts)
        }
    }
}

/// Everything that is wrong with the settings, at once. Displayed one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    /// `Ok` where nothing is wrong.
    pub(super) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self { problems })
        }
    }

    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of the settings table.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// How a value is shown in an error: quoted, short, and not at all where it looks like key material.
pub(crate) fn shown(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.contains("-----BEGIN") {
        return "key material instead of a path".to_owned();
    }
    let mut short: String = value.chars().take(LONGEST).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    format!("{short:?}")
}
