//! One address or network a line, with how long and why behind a `#`: what nearly everything reads.

use std::time::Duration;

use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{Blocklist, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "plain",
    what: "one address or network a line, with comments",
    render,
    parse,
    kept: |_, block| Some(Entry::whole(block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

fn render(list: &Blocklist) -> String {
    let mut text = moment::header(list);
    text += "# Nobody is let in again by this file: whoever reads it must end each block after its time.\n";
    for block in &list.blocks {
        let (source, duration_s) = (ruleset::element(&block.network), block.duration.as_secs());
        let line = format!("{source} # for {duration_s} s: {}", block.why);
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let (source, comment) = text.split_once('#').unwrap_or((text, ""));
        let source = source.trim();
        if source.is_empty() {
            continue;
        }
        let network = super::network(source).ok_or_else(|| ParseError {
            line,
            what: format!("'{source}' is neither an address nor a network"),
        })?;
        let comment = comment.trim();
        let (duration, why) =
            duration(comment).map_or((None, comment), |(duration, why)| (Some(duration), why));
        entries.push(Entry { network, duration, why: Some(why.to_owned()) });
    }
    Ok(entries)
}

/// What a comment begins with, if ctwatch has written it, and the rest.
fn duration(comment: &str) -> Option<(Duration, &str)> {
    let (seconds, why) = comment.strip_prefix("for ")?.split_once(" s:")?;
    Some((Duration::from_secs(seconds.parse().ok()?), why.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_somebody_else_wrote_is_read() {
        let entries = parse("# ours\n\n10.0.1.66\n  2001:db8::/64 # a #1\n").unwrap();
        let read: Vec<_> =
            entries.iter().map(|each| (each.network.to_string(), each.why.as_deref())).collect();
        assert_eq!(
            read,
            [("10.0.1.66/32".to_owned(), Some("")), ("2001:db8::/64".to_owned(), Some("a #1"))]
        );
        assert_eq!(parse("10.0.1.66\n10.0.1.300").unwrap_err().line, 2);
    }
}
