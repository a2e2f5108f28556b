//! JSON objects inside messages, read strictly: RFC 8259 without extensions, no object with the
//! same key twice (compared after unescaping), at most 128 levels.
//!
//! Parsers differ on what lies outside these rules, and a payload that two of them read differently
//! says two things under one signature. Nothing is built but the list of the outermost members; values
//! are spans of the text, so that what is added to an object leaves the rest byte for byte as it was.

use std::collections::HashSet;

use crate::rejection::JsonFault;

/// The deepest nesting accepted; the outermost object is level 1.
pub const MAX_DEPTH: usize = 128;

/// An object that was read: its outermost members in order.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    members: Vec<Member<'a>>,
    /// Where the closing brace stands.
    end: usize,
}

/// One member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    key: Vec<u8>,
    /// What sort of value it is.
    pub(crate) shape: Shape,
    /// The value as it stands in the text.
    pub(crate) text: &'a [u8],
    /// Where the value ends in the text that was read.
    pub(crate) end: usize,
}

/// The sorts of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Array,
    String,
    Number,
    Literal,
}

impl<'a> Object<'a> {
    /// Reads `text`, which must be one object.
    ///
    /// A syntax fault is told before any other, so that "no JSON at all" can be told apart.
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, JsonFault> {
        let mut reader = Reader {
            text,
            at: 0,
            open: Vec::new(),
            members: Vec::new(),
            duplicate: None,
        };
        let (shape, end) = reader.document()?;
        if shape != Shape::Object {
            return Err(JsonFault::NotAnObject);
        }
        match reader.duplicate {
            Some(at) => Err(JsonFault::DuplicateKey { at }),
            None => Ok(Self {
                members: reader.members,
                end: end - 1,
            }),
        }
    }

    /// The outermost member of this key.
    pub(crate) fn member(&self, key: &str) -> Option<&Member<'a>> {
        self.members
            .iter()
            .find(|member| member.key == key.as_bytes())
    }

    /// The value of the outermost number of this key.
    pub(crate) fn number(&self, key: &'static str) -> Result<f64, JsonFault> {
        self.member(key)
            .and_then(Member::as_number)
            .ok_or(JsonFault::NoNumber { key })
    }

    /// The text it was read from, with members added behind its own; `text` must be that text, and
    /// the values JSON.
    pub(crate) fn with_members(&self, text: &[u8], additions: &[(&str, String)]) -> Vec<u8> {
        let (head, tail) = text.split_at_checked(self.end).unwrap_or((text, &[]));
        let mut joined = head.to_vec();
        let mut first = self.members.is_empty();
        for (key, value) in additions {
            if !first {
                joined.push(b',');
            }
            first = false;
            joined.extend_from_slice(format!("\"{key}\":{value}").as_bytes());
        }
        joined.extend_from_slice(tail);
        joined
    }
}

impl Member<'_> {
    /// Its value as the nearest double, where it is a number.
    pub(crate) fn as_number(&self) -> Option<f64> {
        if self.shape != Shape::Number {
            return None;
        }
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// Its value unescaped, where it is a string.
    pub(crate) fn as_string(&self) -> Option<Vec<u8>> {
        if self.shape != Shape::String {
            return None;
        }
        let mut reader = Reader {
            text: self.text,
            at: 0,
            open: Vec::new(),
            members: Vec::new(),
            duplicate: None,
        };
        reader.string().ok()
    }
}

/// An array or object that is still open.
enum Open {
    Array,
    Object {
        keys: HashSet<Vec<u8>>,
        /// The key whose value is being read; kept for the outermost object alone.
        key: Vec<u8>,
        /// Where that value starts.
        value_at: usize,
    },
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
    members: Vec<Member<'a>>,
    /// Where the first key stands that its object had already.
    duplicate: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Reads the whole text as one value: its shape, and where it ends.
    fn document(&mut self) -> Result<(Shape, usize), JsonFault> {
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
                    keys: HashSet::new(),
                    key: Vec::new(),
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
    fn string(&mut self) -> Result<Vec<u8>, JsonFault> {
        if self.next() != Some(b'"') {
            return Err(self.syntax_before());
        }
        let mut said = Vec::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(byte) if byte >= 0x20 && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            let run = self.text.get(start..self.at).unwrap_or_default();
            if let Err(fault) = std::str::from_utf8(run) {
                return Err(JsonFault::Syntax {
                    at: start + fault.valid_up_to(),
                });
            }
            said.extend_from_slice(run);
            match self.next() {
                Some(b'"') => return Ok(said),
                Some(b'\\') => self.escape(&mut said)?,
                _ => return Err(self.syntax_before()),
            }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: impl AsRef<[u8]>) -> JsonFault {
        Object::read(text.as_ref()).map(|_| ()).unwrap_err()
    }

    fn is_syntax(text: impl AsRef<[u8]>) -> bool {
        matches!(fault(text), JsonFault::Syntax { .. })
    }

    #[test]
    fn members_are_found_with_their_values_as_they_stand() {
        let text = br#" { "severity" : 8.0 , "a\u0062":"x\n\ud83d\ude00" , "o":{"severity":1,"l":[{},[],1e3]} } "#;
        let object = Object::read(text).unwrap();
        assert_eq!(object.number("severity"), Ok(8.0));
        assert_eq!(
            object.member("ab").unwrap().as_string().unwrap(),
            "x\n\u{1f600}".as_bytes()
        );
        let nested = object.member("o").unwrap();
        assert_eq!(nested.shape, Shape::Object);
        assert_eq!(nested.text, br#"{"severity":1,"l":[{},[],1e3]}"#);
        assert_eq!(text[object.end], b'}');
        assert_eq!(text[nested.end - 1], b'}');
    }

    #[test]
    fn what_rfc_8259_does_not_know_is_a_syntax_fault() {
        for text in [
            "",
            " ",
            "{",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":1}{}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":tru}",
            "{'a':1}",
            "{a:1}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u12",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":1 /**/}",
            "\u{feff}{}",
            "test payload",
            "{\"a\":1}x",
        ] {
            assert!(is_syntax(text), "{text}");
        }
        assert!(is_syntax(b"{\"a\":\"\xff\"}"));
        assert!(is_syntax(b"{\"\xc0\x80\":1}"));
    }

    #[test]
    fn what_is_no_object_is_named() {
        for text in ["[]", "1", "\"x\"", "null", " [{\"a\":1}] "] {
            assert_eq!(fault(text), JsonFault::NotAnObject, "{text}");
        }
    }

    #[test]
    fn a_key_twice_is_found_at_any_depth_and_however_it_is_escaped() {
        assert_eq!(
            fault(r#"{"a":1,"\u0061":2}"#),
            JsonFault::DuplicateKey { at: 7 }
        );
        assert!(matches!(
            fault(r#"{"x":[{"b":{"k":1,"k":2}}]}"#),
            JsonFault::DuplicateKey { .. }
        ));
        assert!(matches!(
            fault(r#"{"\ud83d\ude00":1,"😀":2}"#),
            JsonFault::DuplicateKey { .. }
        ));
        assert!(Object::read(r#"{"a":{"a":1},"b":{"a":1}}"#.as_bytes()).is_ok());
        assert!(Object::read(r#"{"\ud800":1,"\ud801":2}"#.as_bytes()).is_ok());
        assert!(is_syntax(r#"{"a":1,"a":2"#), "a syntax fault is told first");
    }

    #[test]
    fn a_hundred_and_twenty_eight_levels_are_read_and_one_more_is_not() {
        let nested = |levels: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            )
        };
        assert!(Object::read(nested(128).as_bytes()).is_ok());
        assert!(matches!(fault(nested(129)), JsonFault::Depth { .. }));
        let objects =
            |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(Object::read(objects(128).as_bytes()).is_ok());
        assert!(matches!(fault(objects(129)), JsonFault::Depth { .. }));
        assert!(matches!(fault(objects(100_000)), JsonFault::Depth { .. }));
    }

    #[test]
    fn numbers_are_numbers_and_nothing_else_is() {
        for text in [
            r#"{"n":"8"}"#,
            r#"{"n":true}"#,
            r#"{"n":null}"#,
            r#"{"n":[8]}"#,
            r#"{"m":8}"#,
        ] {
            let object = Object::read(text.as_bytes()).unwrap();
            assert_eq!(
                object.number("n"),
                Err(JsonFault::NoNumber { key: "n" }),
                "{text}"
            );
        }
        for text in ["8", "8.0", "8e0", "80E-1", "0.8e+1"] {
            let text = format!("{{\"n\":{text}}}");
            assert_eq!(Object::read(text.as_bytes()).unwrap().number("n"), Ok(8.0));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::read(&text);
        }

        #[test]
        fn json_like_text_is_read_as_serde_json_reads_it(text in r#"[{}\[\]",:0-9a\\eu. +\-tn]{0,24}"#) {
            let ours = Object::read(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // serde_json takes the last of two keys, and refuses lone surrogates and numbers beyond a double.
            match (&ours, &theirs) {
                (Ok(_), Ok(value)) => prop_assert!(value.is_object()),
                (Ok(_), Err(_)) => prop_assert!(text.contains("\\u") || text.contains('e')),
                (Err(JsonFault::Syntax { .. }), Ok(_)) => prop_assert!(false, "we refuse {text}"),
                _ => {}
            }
        }
    }
}
