//! Numbers as sentences have them.

/// A part of a whole in percent, with a digit behind the point where it is small.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    match part as f64 * 100.0 / whole as f64 {
        share if share >= 10.0 || part == 0 => format!("{share:.0} %"),
        share => format!("{share:.1} %"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Seconds of a look.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} seconds"),
        s => format!("{s:.0} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(61_000, 62_000), "98 %");
        assert_eq!(percent(1, 300), "0.3 %");
        assert_eq!((percent(0, 5), percent(5, 0)), ("0 %".to_owned(), "0 %".to_owned()));
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&words), "a, b and c");
        assert_eq!((list(&words[..2]), list(&words[..1])), ("a and b".to_owned(), "a".to_owned()));
        assert_eq!(
            (seconds(0.25), seconds(10.0)),
            ("0.2 seconds".to_owned(), "10 seconds".to_owned())
        );
    }
}
