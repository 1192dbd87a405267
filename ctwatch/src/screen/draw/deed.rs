//! A command that changes something: what it is, that it runs, what it said.

use super::page::{PageLine, sentence};
use crate::screen::{
    deed::{Deed, Stage},
    style::Role,
};

/// All of it.
pub(super) fn page(deed: &Deed, stage: &Stage, width: usize) -> Vec<PageLine> {
    // Commands are never broken.
    let mut page = vec![PageLine::new(Role::Heading, deed.command())];
    page.extend(sentence(width, Role::Plain, "", 0, deed.what()));
    page.push(PageLine::empty());
    match stage {
        Stage::Asked => page.push(PageLine::new(Role::Warning, "y runs it, Esc leaves it")),
        Stage::Running => page.push(PageLine::new(Role::Heading, "it runs")),
        Stage::Ended(Ok(said)) => {
            page.extend(lines(width, Role::Plain, said));
            page.push(PageLine::empty());
            page.extend(match deed.next() {
                Some(next) if deed.is_harmless() => vec![
                    PageLine::new(Role::Warning, "y carries it out, Esc leaves it:"),
                    PageLine::new(Role::Heading, next.command()),
                ],
                Some(_) => vec![PageLine::new(Role::Warning, "c keeps it, U undoes it")],
                None => vec![PageLine::new(Role::Heading, "done")],
            });
        }
        Stage::Ended(Err(said)) => {
            page.push(PageLine::new(Role::Critical, "failed"));
            page.extend(lines(width, Role::Plain, said));
        }
    }
    page
}

/// What a command said, line by line; long ones are broken, and go on where they began.
fn lines(width: usize, role: Role, said: &str) -> Vec<PageLine> {
    let line = |line: &str| {
        let words = line.trim_start();
        if line.chars().count() <= width {
            return vec![PageLine::new(role, line)];
        }
        let indent = line.len() - words.len();
        sentence(width, role, "", indent, words)
    };
    said.lines().flat_map(line).collect()
}
