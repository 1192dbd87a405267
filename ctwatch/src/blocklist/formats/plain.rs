//! One address or network a line, with why it is there behind a `#`: what nearly everything reads.

use super::{DropIn, Entry, Format, ParseError};
use crate::blocklist::{Blocklist, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "plain",
    what: "one address or network a line, with comments",
    render,
    parse,
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

fn render(list: &Blocklist) -> String {
    let line = |block: &super::super::Block| {
        let why = block.why.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{} # {why}\n", ruleset::element(&block.network))
    };
    list.blocks.iter().map(line).collect()
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let (source, why) = line.split_once('#').unwrap_or((line, ""));
        let source = source.trim();
        if source.is_empty() {
            continue;
        }
        let network = source
            .parse()
            .or_else(|_| source.parse().map(|address: std::net::IpAddr| address.into()))
            .map_err(|_| ParseError {
                line: position + 1,
                what: format!("'{source}' is neither an address nor a network"),
            })?;
        entries.push(Entry { network, duration: None, why: Some(why.trim().to_owned()) });
    }
    Ok(entries)
}
