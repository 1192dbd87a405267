//! What a rule says of a case.

use super::advice::Advice;

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// This helps.
    Advise(Vec<Advice>),
    /// This, which people would do, does not help, and why.
    Refuse(String),
    /// There is nothing to say.
    Silent,
}

/// What would not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedAdvice {
    /// The rule that refuses.
    pub rule: &'static str,
    /// Why.
    pub why: String,
}
