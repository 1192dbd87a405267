//! What is blocked, and how to: commands, as nothing is changed from here.

use super::page::{PageLine, sentence};
use crate::{
    model::source,
    screen::{state::State, style::Role},
};

/// The commands for the source that is looked at, or chosen.
pub(super) fn page(state: &State, width: usize) -> Vec<PageLine> {
    let mut page = sentence(
        width,
        Role::Plain,
        "",
        0,
        "Nothing is blocked from this screen. These commands do it, each in a shell of root; a block ends by itself.",
    );
    let row = state.snapshot().and_then(|snapshot| state.rows.at(snapshot, state.sources.at));
    let chosen = row.and_then(|row| row.numbers.key.filter(|key| key.family != 0));
    let name = match (&state.source, chosen) {
        (Some(source), _) => source.name(),
        (None, Some(key)) => source::text(&key),
        (None, None) => "ADDRESS".to_owned(),
    };
    page.push(PageLine::empty());
    for (what, command) in [
        ("block it for ten minutes, and end its entries", format!("ctwatch block {name}")),
        ("let it in again", format!("ctwatch unblock {name}")),
        ("what is blocked, since when and why", "ctwatch blocks".to_owned()),
        ("a list of all that should be", "ctwatch blocklist".to_owned()),
    ] {
        page.push(PageLine::new(Role::Faint, what));
        page.push(PageLine::plain(format!("  {command}")));
    }
    page
}
