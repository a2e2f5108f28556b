//! Text of a dead letter as it may go to a terminal: whoever may write to the topic wrote it.

use serde_json::Value;

/// The same text with nothing in it that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_obeyed(c) { '\u{fffd}' } else { c })
        .collect()
}

/// One line of JSON with nothing in it that a terminal would obey: JSON itself lets most of that stand as it is.
pub(super) fn json_line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        // None of these stands outside of strings, or takes more than one escape.
        if is_obeyed(c) {
            line += &format!("\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number and what it counts.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_json_has_nothing_that_a_terminal_would_obey_and_says_the_same() {
        let said = json!({"reason": "a\u{9b}2J\x1b\x7f\u{202e}b \\ \" Größe"});
        let line = json_line(&said);
        assert_eq!(line, plain(&line));
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), said);
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(
            plain("a\x1b[2Jb\nc\u{202e}d"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
        assert_eq!(plain("Größe 7 → ok"), "Größe 7 → ok");
    }
}
