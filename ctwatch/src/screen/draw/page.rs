//! Lines of text that can be scrolled.

use crate::{output::wrap::wrap_at, screen::style::Role};

/// Sentences of help and advice are no longer than this, however wide the screen is.
const READABLE: usize = 100;

/// One line: words, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageLine(pub Vec<(Role, String)>);

impl PageLine {
    /// A line that is one thing.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self(vec![(role, text.into())])
    }

    /// A line without a role.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Role::Plain, text)
    }

    /// An empty line.
    pub fn empty() -> Self {
        Self(Vec::new())
    }
}

/// A sentence on as many lines as it needs, behind a label.
pub fn sentence(width: usize, role: Role, label: &str, indent: usize, said: &str) -> Vec<PageLine> {
    let mut text = String::new();
    wrap_at(width.min(READABLE), &mut text, label, indent, said);
    text.lines().map(|line| PageLine::new(role, line)).collect()
}
