//! A JSON object as its fields stand on the line: in order, values untouched, no name twice.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of one object, in the order given, each value as its own text.
#[derive(Debug)]
pub(crate) struct Object {
    fields: Vec<(String, Box<RawValue>)>,
}

impl Object {
    /// Parses one object.
    ///
    /// # Errors
    /// When the text is no JSON object, or names a field twice.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.trim_start().starts_with('{') {
            return Err("not a JSON object".to_owned());
        }
        // Within an object every value is taken as raw text, so that no error repeats one.
        serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
    }

    /// Whether there is a field `name`, even if it is null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// Takes the field `name` out; absent and null are the same.
    pub(crate) fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, value) = self.fields.remove(at);
        (value.get() != "null").then_some(value)
    }

    /// Takes the field `name` out and reads it as `T`.
    ///
    /// # Errors
    /// When the value is of another type.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, String> {
        self.take(name)
            .map(|raw| serde_json::from_str(raw.get()).map_err(|error| describe(name, &error)))
            .transpose()
    }

    /// Takes the field `name` out as bytes written in hex.
    ///
    /// # Errors
    /// When it is no string of hex digits.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let text: Option<String> = self.read(name)?;
        text.map(|text| from_hex(name, &text)).transpose()
    }

    /// Takes the field `name` out as bytes: hex, or a JSON object, which becomes its own text
    /// without the white space around its tokens.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn bytes_or_json(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(raw) = self.take(name) else {
            return Ok(None);
        };
        match raw.get().as_bytes().first() {
            Some(b'{') => Ok(Some(compact(raw.get()).into_bytes())),
            Some(b'"') => {
                let text: String =
                    serde_json::from_str(raw.get()).map_err(|error| describe(name, &error))?;
                from_hex(name, &text).map(Some)
            }
            _ => Err(format!(
                "{name}: neither hex digits in a string nor a JSON object"
            )),
        }
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// Naming the first field that nobody took.
    pub(crate) fn finish(self, known: &str) -> Result<(), String> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("unknown field {:?}; accepted: {known}", cut(name))),
        }
    }
}

/// As much of a name that is not ours as a person needs to find it.
fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Bytes from hex digits, either case.
pub(crate) fn from_hex(name: &str, text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|error| format!("{name}: not hex: {error}"))
}

/// Only the kind of the error: serde's own words would repeat the value.
fn describe(name: &str, error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => format!("{name}: not of the field's type, or out of its range"),
        _ => format!("{name}: not valid JSON"),
    }
}

/// Valid JSON without the white space between its tokens, all else as it was written.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
        } else if !c.is_ascii_whitespace() {
            in_string = c == '"';
            out.push(c);
        }
    }
    out
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.iter().any(|(field, _)| *field == name) {
                        return Err(de::Error::custom(format!("field {:?} twice", cut(&name))));
                    }
                    if fields.len() == 64 {
                        return Err(de::Error::custom("more than 64 fields"));
                    }
                    fields.push((name, value));
                }
                Ok(Object { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_compactly_in_the_order_given() {
        let mut object =
            Object::parse(r#"{"payload": {"z": 1.50, "a" : [ "x \" y", {} ], "m":1e2}}"#).unwrap();
        let bytes = object.bytes_or_json("payload").unwrap().unwrap();
        assert_eq!(bytes, br#"{"z":1.50,"a":["x \" y",{}],"m":1e2}"#);
    }

    #[test]
    fn a_backslash_before_a_closing_quote_ends_the_string_when_it_is_escaped_itself() {
        assert_eq!(
            compact(r#"{"a\\" : " b\\ " , "c" : 1}"#),
            r#"{"a\\":" b\\ ","c":1}"#
        );
    }

    #[test]
    fn a_field_named_twice_is_refused() {
        let error = Object::parse(r#"{"a":1,"a":2}"#).unwrap_err();
        assert!(error.contains("field \"a\" twice"), "{error}");
    }

    #[test]
    fn what_nobody_took_is_named() {
        let object = Object::parse(r#"{"sevrity":1}"#).unwrap();
        assert!(object.finish("severity").unwrap_err().contains("sevrity"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_but_not_repeated() {
        let mut object = Object::parse(r#"{"severity":"secret"}"#).unwrap();
        let error = object.read::<u32>("severity").unwrap_err();
        assert!(
            error.starts_with("severity") && !error.contains("secret"),
            "{error}"
        );
    }
}
