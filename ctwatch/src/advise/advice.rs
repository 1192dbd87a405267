//! One piece of advice, as people and programs are given it.

use std::borrow::Cow;

use super::wording::sentence;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It would be better so.
    Info,
    /// It will fail, or it costs more than it must.
    Warning,
    /// Connections are lost now.
    Critical,
}

impl Severity {
    /// Its lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A number, or a word, that something is concluded from.
#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    /// A whole number.
    Count(u64),
    /// Another number.
    Real(f64),
    /// A word.
    Text(String),
}

/// A piece of evidence: what was found, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Its name, with its unit if it has one, as in `growth_per_s`.
    pub name: &'static str,
    /// What was found.
    pub amount: Amount,
    /// Where: a file, a counter of ctwatch, a formula.
    pub from: Cow<'static, str>,
}

impl Datum {
    /// A whole number.
    pub fn count(name: &'static str, value: u64, from: impl Into<Cow<'static, str>>) -> Self {
        Self { name, amount: Amount::Count(value), from: from.into() }
    }

    /// Another number.
    pub fn real(name: &'static str, value: f64, from: impl Into<Cow<'static, str>>) -> Self {
        Self { name, amount: Amount::Real(value), from: from.into() }
    }

    /// A word.
    pub fn text(
        name: &'static str,
        value: impl Into<String>,
        from: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name, amount: Amount::Text(value.into()), from: from.into() }
    }
}

/// A change of one value of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kernel's own name: a sysctl in dotted form, or `nf_conntrack.hashsize` for the buckets.
    pub key: String,
    /// What it is now.
    pub from: String,
    /// What it is to be.
    pub to: String,
}

/// What the advice is expected to do. `None` is what cannot be foretold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Entries that end because of it.
    pub entries_freed: Option<u64>,
    /// Kernel memory that it takes at most; negative if it frees some.
    pub memory_bytes: Option<i64>,
    /// The share of packets that ask for an entry at a full table and will still be refused.
    pub refused_share: Option<f64>,
    /// Further predictions, each by its name.
    pub further: Vec<Datum>,
}

/// One piece of advice.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Its name, the same as long as it is about the same: `raise-limit`, `block-source-10.0.1.2`.
    pub id: String,
    /// The rule that gave it.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What to do, in one sentence.
    pub what: String,
    /// Why, with the numbers.
    pub why: String,
    /// The numbers that it follows from.
    pub evidence: Vec<Datum>,
    /// The changes that `ctwatch apply` would make, in their order; empty if it is nothing that ctwatch does by itself.
    pub changes: Vec<Change>,
    /// Whether `ctwatch apply --yes` does it without being given its id: only what cannot cut a connection.
    pub is_unasked: bool,
    /// What it is expected to do.
    pub expected: Expected,
    /// What it costs and what can go wrong.
    pub risk: String,
    /// How to do the same by hand, as shell commands.
    pub commands: Vec<String>,
    /// When it stops being true.
    pub until: String,
}

impl Advice {
    /// Makes sentences of what is said, however the rule put it.
    pub fn finish_sentences(&mut self) {
        for said in [&mut self.what, &mut self.why, &mut self.risk, &mut self.until] {
            *said = sentence(said);
        }
    }
}
