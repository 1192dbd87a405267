//! A line of a list that is read back, word by word, so that what is wrong with it is told with its number.

use std::time::Duration;

use ipnet::IpNet;

use super::ParseError;

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    number: usize,
    rest: &'a str,
}

impl<'a> Line<'a> {
    /// The lines of a text, but for those that are empty or a comment.
    pub(super) fn all(text: &'a str) -> impl Iterator<Item = Self> {
        let lines = (1..).zip(text.lines()).map(|(number, rest)| Self { number, rest });
        lines.filter(|line| !line.rest.is_empty() && !line.rest.starts_with('#'))
    }

    /// Whether it goes on with this word, which is then behind.
    pub(super) fn has(&mut self, word: &str) -> bool {
        let is_next = self.rest.split(' ').next() == Some(word);
        if is_next {
            self.skip(word.len());
        }
        is_next
    }

    /// Goes past a word that must come next.
    pub(super) fn expect(&mut self, word: &str) -> Result<(), ParseError> {
        if self.has(word) { Ok(()) } else { Err(self.wrong(&format!("'{word}'"))) }
    }

    /// The next word.
    pub(super) fn word(&mut self) -> Result<&'a str, ParseError> {
        let word = self.rest.split(' ').next().filter(|word| !word.is_empty());
        let word = word.ok_or_else(|| self.wrong("another word"))?;
        self.skip(word.len());
        Ok(word)
    }

    /// The next word, an address or a network.
    pub(super) fn network(&mut self) -> Result<IpNet, ParseError> {
        let before = *self;
        super::network(self.word()?).ok_or_else(|| before.wrong("an address or a network"))
    }

    /// The next word, whole seconds.
    pub(super) fn seconds(&mut self) -> Result<Duration, ParseError> {
        let before = *self;
        let seconds = self.word()?.parse();
        seconds.map(Duration::from_secs).map_err(|_| before.wrong("a number of seconds"))
    }

    /// What stands between quotes next; there is none in it.
    pub(super) fn quoted(&mut self) -> Result<&'a str, ParseError> {
        let inside = self.rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        let (inside, _) = inside.ok_or_else(|| self.wrong("something in quotes"))?;
        self.skip(inside.len() + 2);
        Ok(inside)
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a str {
        self.rest
    }

    /// What should have been there, and what is.
    pub(super) fn wrong(&self, expected: &str) -> ParseError {
        let found = self.rest.split(' ').next().unwrap_or_default();
        ParseError { line: self.number, what: format!("expected {expected}, found '{found}'") }
    }

    fn skip(&mut self, bytes: usize) {
        let rest = self.rest.get(bytes..).unwrap_or_default();
        self.rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
}
