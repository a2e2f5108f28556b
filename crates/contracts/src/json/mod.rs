//! JSON objects inside messages, read strictly: RFC 8259 without extensions, no object with the
//! same key twice (compared after unescaping), at most 128 levels.
//!
//! Parsers differ on what lies outside these rules, and a payload that two of them read differently
//! says two things under one signature. Nothing is built but the list of the outermost members; values
//! are spans of the text, so that what is added to an object leaves the rest byte for byte as it was.

mod keys;
mod reader;

use std::borrow::Cow;

use self::reader::Reader;
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
    key: Cow<'a, [u8]>,
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
        let mut reader = Reader::new(text);
        let (shape, end) = reader.document()?;
        if shape != Shape::Object {
            return Err(JsonFault::NotAnObject);
        }
        Ok(Self {
            members: reader.distinct_members()?,
            end: end - 1,
        })
    }

    /// The outermost member of this key.
    pub(crate) fn member(&self, key: &str) -> Option<&Member<'a>> {
        self.members
            .iter()
            .find(|member| *member.key == *key.as_bytes())
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
        Reader::new(self.text).string().ok().map(Cow::into_owned)
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
