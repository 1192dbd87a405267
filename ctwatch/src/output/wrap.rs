//! Sentences broken between words, for terminals of 80 columns.

use std::fmt::Write as _;

/// Lines are no longer than this, unless a single word is.
pub const WIDTH: usize = 80;

/// Adds a sentence that begins behind `label` at the column `indent`, on every line; the last one ends with a newline.
pub fn wrap(text: &mut String, label: &str, indent: usize, sentence: &str) {
    wrap_at(WIDTH, text, label, indent, sentence);
}

/// As [`wrap`], for lines of another width.
pub fn wrap_at(width_max: usize, text: &mut String, label: &str, indent: usize, sentence: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{label:<indent$}");
    let mut column = indent;
    // A number stays with its percent sign.
    let sentence = sentence.replace(" %", "\u{a0}%");
    for word in sentence.split_ascii_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > width_max {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word.replace('\u{a0}', " "));
        column += width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_broken_between_words_and_stays_in_its_column() {
        let mut text = String::new();
        wrap(&mut text, "  why", 8, &["seven77"; 10].join(" "));
        let line = ["seven77"; 9].join(" ");
        assert_eq!(text, format!("  why   {line}\n        seven77\n"));
        assert_eq!(text.lines().next().map(str::len), Some(79));
    }

    #[test]
    fn a_number_stays_with_its_percent_sign() {
        let mut text = String::new();
        wrap(&mut text, "", 0, &format!("{} 98 % of it", "x".repeat(77)));
        assert_eq!(text, format!("{}\n98 % of it\n", "x".repeat(77)));
    }

    #[test]
    fn a_word_that_is_too_long_has_a_line_of_its_own() {
        let mut text = String::new();
        let long = "x".repeat(90);
        wrap(&mut text, "", 2, &format!("a {long} b"));
        assert_eq!(text, format!("  a\n  {long}\n  b\n"));
    }
}
