//! Judges licence expressions (SPDX, and cargo's older form with a slash for `OR`).
//!
//! ```text
//! either := both { ("OR" | "/") both }
//! both   := one { "AND" one }
//! one    := "(" either ")" | NAME [ "WITH" NAME ]
//! ```

use std::iter::Peekable;
use std::vec::IntoIter;

/// Whether the terms of `expression` can be met with the licences of `allowed`; an error says
/// what of it cannot be read.
pub(super) fn acceptable(expression: &str, allowed: &[String]) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut reader = Reader {
        words: words.into_iter().peekable(),
        allowed,
    };
    let answer = reader.either(0)?;
    match reader.words.next() {
        None => Ok(answer),
        Some(word) => Err(format!("{expression:?}: unexpected {word:?}")),
    }
}

/// Nobody nests deeper than this in earnest.
const DEPTH: u8 = 16;

struct Reader<'a> {
    words: Peekable<IntoIter<String>>,
    allowed: &'a [String],
}

impl Reader<'_> {
    fn either(&mut self, depth: u8) -> Result<bool, String> {
        let mut answer = self.both(depth)?;
        while self.words.next_if(|word| word == "OR").is_some() {
            answer |= self.both(depth)?;
        }
        Ok(answer)
    }

    fn both(&mut self, depth: u8) -> Result<bool, String> {
        let mut answer = self.one(depth)?;
        while self.words.next_if(|word| word == "AND").is_some() {
            answer &= self.one(depth)?;
        }
        Ok(answer)
    }

    fn one(&mut self, depth: u8) -> Result<bool, String> {
        match self.words.next().as_deref() {
            Some("(") if depth < DEPTH => {
                let answer = self.either(depth + 1)?;
                self.words
                    .next_if(|word| word == ")")
                    .map(|_| answer)
                    .ok_or_else(|| "a parenthesis is not closed".into())
            }
            None | Some("(" | ")" | "AND" | "OR" | "WITH") => {
                Err("a licence is missing".to_owned())
            }
            Some(name) => {
                let mut name = name.to_owned();
                if self.words.next_if(|word| word == "WITH").is_some() {
                    let exception = self.words.next().ok_or("an exception is missing")?;
                    name = format!("{name} WITH {exception}");
                }
                Ok(self.allowed.contains(&name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    fn judged(expression: &str) -> Result<bool, String> {
        super::acceptable(
            expression,
            &[
                "MIT".to_owned(),
                "Unicode-3.0".to_owned(),
                "A WITH B".to_owned(),
            ],
        )
    }

    #[test]
    fn one_of_several_is_enough() {
        assert_eq!(judged("GPL-3.0 OR MIT"), Ok(true));
        assert_eq!(judged("GPL-3.0/MIT"), Ok(true));
    }

    #[test]
    fn all_of_several_are_needed() {
        assert_eq!(judged("(GPL-3.0 OR MIT) AND Unicode-3.0"), Ok(true));
        assert_eq!(judged("GPL-3.0 AND MIT"), Ok(false));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert_eq!(judged("MIT OR GPL-3.0 AND AGPL-3.0"), Ok(true));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert_eq!(judged("A WITH B"), Ok(true));
        assert_eq!(judged("A"), Ok(false));
        assert_eq!(judged("MIT WITH B"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for text in ["", "(MIT", "MIT)", "MIT OR", "AND MIT", "MIT GPL-3.0", "()"] {
            assert!(judged(text).is_err(), "{text:?}");
        }
        assert!(judged(&"(".repeat(1000)).is_err());
    }
}
