//! The keys, and what the columns mean.

use super::page::{PageLine, sentence};
use crate::screen::{columns::COLUMNS, keys::KEYS, style::Role};

const INDENT: usize = 11;

/// All of it.
pub(super) fn page(width: usize) -> Vec<PageLine> {
    let mut page = vec![PageLine::new(Role::Heading, "KEYS")];
    for binding in KEYS {
        page.extend(sentence(width, Role::Plain, binding.names, INDENT, binding.help));
    }
    page.push(PageLine::empty());
    page.push(PageLine::new(Role::Heading, "COLUMNS"));
    for column in COLUMNS {
        page.extend(sentence(width, Role::Plain, column.title, INDENT, column.help));
    }
    page.push(PageLine::empty());
    let note = "What cannot be seen in this mode is '-', never 0. Nothing on the system is changed before a command is shown and y is pressed.";
    page.extend(sentence(width, Role::Plain, "", 0, note));
    page
}
