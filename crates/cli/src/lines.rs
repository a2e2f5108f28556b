//! Input line by line, with a bound on each, from a file or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The longest line taken: a message of 1 MiB in hex, with room for key and headers.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Lines of a file or of standard input, numbered from 1; blank ones are counted and passed over.
pub(crate) struct Lines {
    source: Box<dyn BufRead + Send>,
    name: String,
    number: u64,
}

/// One line: its number, and its text or why it can't be taken.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: Result<String, String>,
}

impl Lines {
    /// Opens `file`, or standard input where it is absent or `-`.
    pub(crate) fn open(file: Option<&PathBuf>) -> Result<Self, Failure> {
        let (source, name): (Box<dyn BufRead + Send>, String) = match file.map(PathBuf::as_path) {
            Some(path) if path != Path::new("-") => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| {
                    Failure::usage(format!("{name}: {error}; give a file of JSON lines"))
                })?;
                (Box::new(BufReader::new(file)), name)
            }
            _ => (
                Box::new(BufReader::new(io::stdin())),
                "standard input".to_owned(),
            ),
        };
        Ok(Self {
            source,
            name,
            number: 0,
        })
    }

    /// The next line that is not blank, `None` at the end.
    ///
    /// # Errors
    /// When the source can't be read on.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let mut bytes = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let read = (&mut self.source)
                .take(limit)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| Failure::usage(format!("{}: {error}", self.name)))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let ended = bytes.pop_if(|last| *last == b'\n').is_some();
            bytes.pop_if(|last| *last == b'\r');
            if !ended && bytes.len() > MAX_LINE_BYTES {
                self.skip_rest()?;
                return Ok(Some(
                    self.line(Err(format!("longer than {MAX_LINE_BYTES} bytes"))),
                ));
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = String::from_utf8(bytes)
                .map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()));
            return Ok(Some(self.line(text)));
        }
    }

    fn line(&self, text: Result<String, String>) -> Line {
        Line {
            number: self.number,
            text,
        }
    }

    fn skip_rest(&mut self) -> Result<(), Failure> {
        loop {
            let (used, ended) = {
                let buffer = self
                    .source
                    .fill_buf()
                    .map_err(|error| Failure::usage(format!("{}: {error}", self.name)))?;
                match buffer.iter().position(|byte| *byte == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (buffer.len(), buffer.is_empty()),
                }
            };
            self.source.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines {
            source: Box::new(io::Cursor::new(input.to_vec())),
            name: "test".to_owned(),
            number: 0,
        };
        let mut out = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            out.push((line.number, line.text));
        }
        out
    }

    #[test]
    fn blank_lines_count_but_are_not_given_out() {
        let got = all(b"a\n\n  \r\nb\r\nc");
        assert_eq!(
            got,
            [
                (1, Ok("a".to_owned())),
                (4, Ok("b".to_owned())),
                (5, Ok("c".to_owned()))
            ]
        );
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_and_the_next_one_is_read() {
        let mut input = vec![b'x'; MAX_LINE_BYTES + 10];
        input.extend_from_slice(b"\nnext\n");
        let got = all(&input);
        assert!(got[0].1.is_err());
        assert_eq!(got[1], (2, Ok("next".to_owned())));
    }

    #[test]
    fn a_line_that_is_not_utf_8_says_where() {
        let got = all(b"ab\xff\nok");
        assert_eq!(got[0], (1, Err("not UTF-8 at byte 2".to_owned())));
        assert_eq!(got[1], (2, Ok("ok".to_owned())));
    }
}
