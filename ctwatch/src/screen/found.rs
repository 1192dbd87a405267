//! What is found out only while somebody looks at it, and anew when it is old.

use std::sync::Arc;

/// What was found last, how old that is, and whether something newer is on its way.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// What was found last, or why nothing.
    pub last: Option<Result<Arc<T>, String>>,
    /// Seconds since then.
    pub age_s: u32,
    is_asked: bool,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { last: None, age_s: 0, is_asked: false }
    }
}

impl<T> Found<T> {
    /// Whether to ask for it now, if it stays fresh for so many seconds; it is asked for once.
    pub fn wants(&mut self, fresh_s: u32) -> bool {
        let is_wanted = !self.is_asked && (self.last.is_none() || self.age_s >= fresh_s);
        self.is_asked |= is_wanted;
        is_wanted
    }

    /// Takes in what was found.
    pub fn take(&mut self, found: Result<Arc<T>, String>) {
        *self = Self { last: Some(found), age_s: 0, is_asked: false };
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        self.age_s = self.age_s.saturating_add(1);
    }

    /// It is no longer true; what is on its way may still tell of before.
    pub fn is_outdated(&mut self) {
        self.age_s = u32::MAX;
        self.is_asked = false;
    }

    /// What was found last, if it was found.
    pub fn known(&self) -> Option<&T> {
        self.last.as_ref()?.as_ref().ok().map(AsRef::as_ref)
    }
}
