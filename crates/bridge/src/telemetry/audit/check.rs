//! Reads a trail back from its files, oldest first, and says whether the chain holds.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    chain::Follower,
    file::{LONGEST_LINE_BYTES, older},
};

/// How often a trail that is rotated while it is read is read again from its beginning.
const TRIES: usize = 5;

/// A trail whose chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WholeTrail {
    /// The files it stands in.
    pub files: usize,
    /// Their lines.
    pub lines: u64,
    /// Whether the first of them is the first that was ever written; else older ones were removed, as
    /// rotation does with what is beyond those it keeps, and others could as well.
    pub from_the_beginning: bool,
    /// SHA-256 of the last whole line, which the next will carry. Nothing follows from that line yet, and lines cut off
    /// at the end break no chain either: they are missed by whoever noted an earlier end and does not find it any more.
    pub end: [u8; 32],
}

/// A trail that does not hold, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrailFault {
    /// A line does not carry the hash of the line before it: that one was altered, or something was
    /// taken out or put in between.
    #[error("{}: line {line} does not carry the hash of the line before it", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line in it, counted from 1.
        line: u64,
    },
    /// A line is longer than any that was written.
    #[error("{}: line {line} is longer than any of an audit trail", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line in it, counted from 1.
        line: u64,
    },
    /// There is not one line.
    #[error("{}: the trail is empty", .0.display())]
    Empty(PathBuf),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks the trail that ends in the file `path`, with the full files beside it (`NAME.1`, `NAME.2`, …).
/// It may be written meanwhile. The first line is taken as it is.
///
/// # Errors
/// [`TrailFault`] at the first line that does not follow from the one before, or where a file cannot be
/// read.
pub fn check_files(path: &Path) -> Result<WholeTrail, TrailFault> {
    let list = || {
        older(path).map_err(|source| TrailFault::Unreadable {
            path: path.to_owned(),
            source,
        })
    };
    let mut files = list()?;
    for _ in 1..TRIES {
        let checked = follow(path, &files);
        let now = list()?;
        if now == files {
            return checked;
        }
        // Rotated under our eyes: what was read may not be what belongs together.
        files = now;
    }
    follow(path, &files)
}

fn follow(path: &Path, older: &[(u64, PathBuf)]) -> Result<WholeTrail, TrailFault> {
    let mut follower = Follower::default();
    let files: Vec<&Path> = older
        .iter()
        .map(|(_, path)| path.as_path())
        .chain([path])
        .collect();
    let mut lines = 0;
    for path in &files {
        lines += follow_file(path, &mut follower)?;
    }
    match follower.end() {
        Some(end) => Ok(WholeTrail {
            files: files.len(),
            lines,
            from_the_beginning: follower.saw_the_beginning(),
            end,
        }),
        None => Err(TrailFault::Empty(path.to_owned())),
    }
}

fn follow_file(path: &Path, follower: &mut Follower) -> Result<u64, TrailFault> {
    let unreadable = |source| TrailFault::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut file).take(LONGEST_LINE_BYTES + 1);
        if bounded.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(number);
        }
        number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if bounded.limit() == 0 {
            return Err(TrailFault::TooLong {
                path: path.to_owned(),
                line: number,
            });
        } else {
            // It is being written, or was when the process died: nothing follows from it yet.
            return Ok(number - 1);
        }
        if !follower.follows(&line) {
            return Err(TrailFault::Broken {
                path: path.to_owned(),
                line: number,
            });
        }
    }
}
