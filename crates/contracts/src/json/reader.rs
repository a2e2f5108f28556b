//! Reading JSON: one pass, a stack of what is open, nothing built but the outermost members.

use std::borrow::Cow;

use super::keys::Keys;
use super::{MAX_DEPTH, Member, Shape};
use crate::rejection::JsonFault;

/// An array or object that is still open.
enum Open<'a> {
    Array,
    Object {
        keys: Keys<'a>,
        /// The key whose value is being read; kept for the outermost object alone.
        key: Cow<'a, [u8]>,
        /// Where that value starts.
        value_at: usize,
    },
}

pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Open<'a>>,
    members: Vec<Member<'a>>,
    /// Where the first key stands that its object had already.
    duplicate: Option<usize>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            members: Vec::new(),
            duplicate: None,
        }
    }

    /// The outermost object's members, unless some object had a key twice.
    pub(super) fn distinct_members(self) -> Result<Vec<Member<'a>>, JsonFault> {
        match self.duplicate {
            Some(at) => Err(JsonFault::DuplicateKey { at }),
            None => Ok(self.members),
        }
    }

    /// Reads the whole text as one value: its shape, and where it ends.
    pub(super) fn document(&mut self) -> Result<(Shape, usize), JsonFault> {
        self.whitespace();
        let outermost = self.value_start()?;
        let mut last = outermost;
        // `last` is complete where it is a scalar or an empty container; otherwise something is open.
        let mut complete = self.completes(outermost)?;
        loop {
            if complete {
                self.finish_member(last);
                let Some(open) = self.open.last() else {
                    let end = self.at;
                    self.whitespace();
                    return if self.at == self.text.len() {
                        Ok((outermost, end))
                    } else {
                        Err(self.syntax())
                    };
                };
                let (closing, shape) = match open {
                    Open::Array => (b']', Shape::Array),
                    Open::Object { .. } => (b'}', Shape::Object),
                };
                self.whitespace();
                match self.next() {
                    Some(b',') => {
                        self.whitespace();
                        if shape == Shape::Object {
                            self.key()?;
                        }
                        last = self.value_start()?;
                        complete = self.completes(last)?;
                    }
                    Some(byte) if byte == closing => {
                        self.open.pop();
                        last = shape;
                    }
                    _ => return Err(self.syntax_before()),
                }
            } else {
                // A container was opened that has at least one element.
                if matches!(self.open.last(), Some(Open::Object { .. })) {
                    self.key()?;
                }
                last = self.value_start()?;
                complete = self.completes(last)?;
            }
        }
    }

    /// After a value's first byte: opens containers, and tells whether the value is already complete.
    fn completes(&mut self, shape: Shape) -> Result<bool, JsonFault> {
        let (closing, open) = match shape {
            Shape::Array => (b']', Open::Array),
            Shape::Object => (
                b'}',
                Open::Object {
                    keys: Keys::default(),
                    key: Cow::Borrowed(&[]),
                    value_at: 0,
                },
            ),
            Shape::String | Shape::Number | Shape::Literal => return Ok(true),
        };
        if self.open.len() == MAX_DEPTH {
            return Err(JsonFault::Depth { at: self.at - 1 });
        }
        self.whitespace();
        if self.peek() == Some(closing) {
            self.at += 1;
            return Ok(true);
        }
        self.open.push(open);
        Ok(false)
    }

    /// Reads a scalar whole, or the first byte of a container.
    fn value_start(&mut self) -> Result<Shape, JsonFault> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                Ok(Shape::Object)
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Shape::Array)
            }
            Some(b'"') => self.string().map(|_| Shape::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Shape::Number),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.syntax()),
        }
    }

    /// Reads a key and its colon, and goes to the start of the value.
    fn key(&mut self) -> Result<(), JsonFault> {
        let key_at = self.at;
        let read = self.string()?;
        self.whitespace();
        if self.next() != Some(b':') {
            return Err(self.syntax_before());
        }
        self.whitespace();
        let outermost = self.open.len() == 1;
        if let Some(Open::Object {
            keys,
            key,
            value_at,
        }) = self.open.last_mut()
        {
            if outermost {
                key.clone_from(&read);
                *value_at = self.at;
            }
            if !keys.insert(read) {
                self.duplicate.get_or_insert(key_at);
            }
        }
        Ok(())
    }

    /// Notes a value that just ended, where it is a member of the outermost object.
    fn finish_member(&mut self, shape: Shape) {
        let [Open::Object { key, value_at, .. }] = self.open.as_mut_slice() else {
            return;
        };
        let text = self.text.get(*value_at..self.at).unwrap_or_default();
        self.members.push(Member {
            key: std::mem::take(key),
            shape,
            text,
            end: self.at,
        });
    }

    fn literal(&mut self, word: &[u8]) -> Result<Shape, JsonFault> {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.at += word.len();
            Ok(Shape::Literal)
        } else {
            Err(self.syntax())
        }
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.next() {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(self.syntax_before()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.syntax());
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// Reads a string; what it says, unescaped. Lone surrogates, which the grammar permits, become
    /// the three bytes that UTF-8 would give them, so that two different ones stay different.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, JsonFault> {
        if self.next() != Some(b'"') {
            return Err(self.syntax_before());
        }
        let mut said = Cow::Borrowed(self.run()?);
        loop {
            match self.next() {
                Some(b'"') => return Ok(said),
                Some(b'\\') => {
                    let said = said.to_mut();
                    self.escape(said)?;
                    let run = self.run()?;
                    said.extend_from_slice(run);
                }
                _ => return Err(self.syntax_before()),
            }
        }
    }

    /// The bytes up to the next that is not simply part of a string.
    fn run(&mut self) -> Result<&'a [u8], JsonFault> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let ends = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let run = rest.get(..length).unwrap_or_default();
        self.at += length;
        match std::str::from_utf8(run) {
            Ok(_) => Ok(run),
            Err(fault) => Err(JsonFault::Syntax {
                at: start + fault.valid_up_to(),
            }),
        }
    }

    fn escape(&mut self, said: &mut Vec<u8>) -> Result<(), JsonFault> {
        let plain = match self.next() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let unit = self.hex4()?;
                push_code_point(self.with_low_surrogate(unit)?, said);
                return Ok(());
            }
            _ => return Err(self.syntax_before()),
        };
        said.push(plain);
        Ok(())
    }

    /// Joins a high surrogate with the low one that follows it, where one does.
    fn with_low_surrogate(&mut self, unit: u32) -> Result<u32, JsonFault> {
        let followed = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(b"\\u"));
        if !(0xd800..0xdc00).contains(&unit) || !followed {
            return Ok(unit);
        }
        let before = self.at;
        self.at += 2;
        let low = self.hex4()?;
        if (0xdc00..0xe000).contains(&low) {
            Ok(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
        } else {
            self.at = before;
            Ok(unit)
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonFault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.syntax_before())?;
        }
        Ok(unit)
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn syntax(&self) -> JsonFault {
        JsonFault::Syntax { at: self.at }
    }

    /// For a byte that was already taken.
    fn syntax_before(&self) -> JsonFault {
        JsonFault::Syntax {
            at: self.at.saturating_sub(1),
        }
    }
}

/// UTF-8, extended to surrogates.
fn push_code_point(point: u32, said: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(point) {
        let mut buffer = [0; 4];
        said.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    } else {
        // A surrogate: 1110xxxx 10xxxxxx 10xxxxxx.
        let six = |shift: u32| u8::try_from((point >> shift) & 0x3f).unwrap_or_default();
        said.extend_from_slice(&[0xe0 | (six(12) & 0x0f), 0x80 | six(6), 0x80 | six(0)]);
    }
}
