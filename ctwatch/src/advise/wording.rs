//! Numbers as sentences have them: short, with their unit, and no more exact than they are.

/// A share as a percentage: `39 %`, `2.5 %`, `0.0005 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        none if none < 1e-9 => "0 %".to_owned(),
        small if small < 0.095 => format!("{percent:.4} %"),
        tenths if tenths < 10.0 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// A part of a whole as a percentage; of nothing it is none.
pub fn percent_of(part: u64, whole: u64) -> String {
    if whole == 0 { percent(0.0) } else { percent(part as f64 / whole as f64) }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A sentence begins with a capital, unless it begins with a name, and ends with a full stop.
pub fn sentence(text: &str) -> String {
    let first = text.split(|letter: char| letter.is_whitespace() || letter == ',').next();
    let is_word = first.is_some_and(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
    let mut letters = text.chars();
    let mut sentence = match letters.next() {
        Some(first) if is_word => first.to_ascii_uppercase().to_string() + letters.as_str(),
        _ => text.to_owned(),
    };
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// Bytes in the largest unit that leaves a whole number of digits before the point.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut amount = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    if amount < 10.0 && unit != "B" {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

/// A length of time: `0.4 s`, `50 s`, `12 min`, `5.0 h`, `5.0 days`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 600.0 => format!("{short:.0} s"),
        minutes if minutes < 7200.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.1} h", hours / 3600.0),
        days => format!("{:.1} days", days / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_and_end_as_such_and_names_stay_names() {
        for (text, expected) in [
            ("raise it", "Raise it."),
            ("nothing, so far.", "Nothing, so far."),
            ("10.0.1.2 holds all", "10.0.1.2 holds all."),
            ("fd00::1 holds all", "fd00::1 holds all."),
            ("kube-proxy sets it", "kube-proxy sets it."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn words_are_listed_and_parts_are_of_something() {
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&words), "a, b and c");
        assert_eq!((list(&words[..2]), list(&words[..1])), ("a and b".to_owned(), "a".to_owned()));
        assert_eq!((percent_of(1, 3), percent_of(5, 0)), ("33 %".to_owned(), "0 %".to_owned()));
    }

    #[test]
    fn numbers_are_short_and_have_a_unit() {
        assert_eq!(
            [0.393, 0.025, 0.001, 5e-6, 1.0, 0.0].map(percent),
            ["39 %", "2.5 %", "0.1 %", "0.0005 %", "100 %", "0 %"]
        );
        assert_eq!(
            [999, 8192, 25_000_000, 1_700_000_000].map(bytes),
            ["999 B", "8.2 kB", "25 MB", "1.7 GB"]
        );
        assert_eq!(
            [0.42, 50.0, 720.0, 18_000.0, 432_000.0].map(duration),
            ["0.4 s", "50 s", "12 min", "5.0 h", "5.0 days"]
        );
    }
}
