//! What the kernel's command line asks of the lab. It must not touch the machine.

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run the tests and say the verdict.
    Test,
    /// Show ctwatch on a gateway under flood.
    Shell,
    /// Measure what watching costs.
    Bench,
    /// Anything else.
    Unknown(String),
}

/// A share of the tests, for machines that run them side by side: each `of`th, beginning with the one at `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The position of the first, from 0.
    pub first: usize,
    /// How many machines share the tests, at least 1.
    pub of: usize,
}

impl Part {
    /// All of them.
    pub const WHOLE: Self = Self { first: 0, of: 1 };

    /// `1/2` is the first half.
    fn parse(text: &str) -> Option<Self> {
        let (number, of) = text.split_once('/')?;
        let (number, of): (usize, usize) = (number.parse().ok()?, of.parse().ok()?);
        (1..=of).contains(&number).then(|| Self { first: number - 1, of })
    }
}

/// The words `ctwatch.mode=…`, `ctwatch.part=…`, `ctwatch.filter=…` and `ctwatch.args=…`, percent-encoded; each may come more
/// than once, and white space in a decoded filter or argument separates several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// What to do; [`Mode::Test`] if not said.
    pub mode: Mode,
    /// Which tests to run; all if empty.
    pub filters: Vec<String>,
    /// Which of them this machine runs; all unless said.
    pub part: Part,
    /// Further arguments for `ctwatch watch`, or for `ctwatch-lab bench`.
    pub arguments: Vec<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`. Words that are not the lab's are the kernel's own and left alone.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self {
            mode: Mode::Test,
            filters: Vec::new(),
            part: Part::WHOLE,
            arguments: Vec::new(),
        };
        for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            let value = decode(value);
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "ctwatch.mode" => {
                    parsed.mode = match value.as_str() {
                        "test" => Mode::Test,
                        "shell" => Mode::Shell,
                        "bench" => Mode::Bench,
                        _ => Mode::Unknown(value.clone()),
                    };
                }
                // A wrong one must not leave tests out.
                "ctwatch.part" => match Part::parse(&value) {
                    Some(part) => parsed.part = part,
                    None => parsed.mode = Mode::Unknown(format!("{value} of ctwatch.part")),
                },
                "ctwatch.filter" => parsed.filters.extend(words()),
                "ctwatch.args" => parsed.arguments.extend(words()),
                _ => {}
            }
        }
        parsed
    }
}

/// RFC 3986 section 2.1; what is no valid encoding stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.get(..2).filter(|_| first == b'%').and_then(hexadecimal) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The byte that two hexadecimal digits stand for; `from_str_radix` alone would take a sign as well.
fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let text =
        std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded_and_split() {
        let parsed = CommandLine::parse(
            "console=ttyS0 panic=-1 quiet ctwatch.mode=shell ctwatch.filter=exact%20table_full \
             ctwatch.args=--interval%20250ms%20--top%205%25 ctwatch.filter=killed\n",
        );
        assert_eq!(parsed.mode, Mode::Shell);
        assert_eq!(parsed.filters, ["exact", "table_full", "killed"]);
        assert_eq!(parsed.part, Part::WHOLE);
        assert_eq!(parsed.arguments, ["--interval", "250ms", "--top", "5%"]);
    }

    #[test]
    fn nothing_said_is_all_tests() {
        let all = CommandLine {
            mode: Mode::Test,
            filters: Vec::new(),
            part: Part::WHOLE,
            arguments: Vec::new(),
        };
        assert_eq!(CommandLine::parse("console=ttyS0 ctwatch.filter="), all);
    }

    #[test]
    fn a_part_that_makes_no_sense_runs_nothing() {
        let part = |text: &str| CommandLine::parse(&format!("ctwatch.part={text}"));
        assert_eq!(part("2/3").part, Part { first: 1, of: 3 });
        for wrong in ["0/2", "3/2", "1/0", "1", "x/2"] {
            assert!(matches!(part(wrong).mode, Mode::Unknown(_)), "{wrong}");
        }
    }

    #[test]
    fn broken_encodings_stay() {
        assert_eq!(
            ["%", "a%2", "%zz", "%41%", "%+1"].map(decode),
            ["%", "a%2", "%zz", "A%", "%+1"]
        );
    }
}
