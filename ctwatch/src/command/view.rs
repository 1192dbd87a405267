//! What is shown of snapshots, and how.

use crate::host::namespace::NamespaceChoice;

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// In which form.
    pub form: Form,
    /// Of whom.
    pub scope: Scope,
    /// Only the first interval.
    pub is_once: bool,
    /// How many sources are listed, if fewer than there are.
    pub listed_sources: Option<usize>,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs: JSON, one object a line.
    Json,
}

impl Form {
    /// That of the flag `--json`.
    pub(super) fn of_json(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text }
    }
}

/// Of whom snapshots are: of one namespace, or of all, and then each has to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One.
    OneNamespace,
    /// All.
    AllNamespaces,
}

impl Scope {
    /// That of a choice.
    pub(super) fn of(choice: &NamespaceChoice) -> Self {
        match choice {
            NamespaceChoice::All => Self::AllNamespaces,
            NamespaceChoice::One(_) => Self::OneNamespace,
        }
    }
}
