//! A table for programs and spreadsheets: comma-separated values (RFC 4180), with the names of the columns first.

use std::time::Duration;

use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{Blocklist, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "csv",
    what: "comma-separated values: network, duration_s, since, why",
    render,
    parse,
    kept: |_, block| Some(Entry::whole(block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

const HEADER: &str = "network,duration_s,since,why";

fn render(list: &Blocklist) -> String {
    let since = moment::made(list);
    let mut text = format!("{HEADER}\r\n");
    for block in &list.blocks {
        let (source, duration_s) = (ruleset::element(&block.network), block.duration.as_secs());
        // A field in quotes may hold everything; a quote in it is written twice.
        let why = block.why.replace('"', "\"\"");
        text += &format!("{source},{duration_s},{since},\"{why}\"\r\n");
    }
    text
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut lines = (1..).zip(text.lines());
    if lines.next().is_none_or(|(_, header)| header != HEADER) {
        return Err(ParseError { line: 1, what: format!("the first line is not '{HEADER}'") });
    }
    let entry = |(line, text): (usize, &str)| {
        entry(text).ok_or_else(|| ParseError {
            line,
            what: format!("'{text}' is not a network, whole seconds, a time and why in quotes"),
        })
    };
    lines.map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(4, ',');
    let (network, seconds, _since, why) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let why = why.strip_prefix('"')?.strip_suffix('"')?;
    Some(Entry {
        network: super::network(network)?,
        duration: Some(Duration::from_secs(seconds.parse().ok()?)),
        why: Some(why.replace("\"\"", "\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::Block;

    #[test]
    fn a_row_holds_commas_and_quotes() {
        let block = Block {
            network: "2001:db8::/64".parse().unwrap(),
            duration: Duration::from_secs(600),
            why: "holds \"80 %\", and more".to_owned(),
        };
        let text = render(&Blocklist::new(1_000_000_000, [block]));
        assert_eq!(
            text,
            "network,duration_s,since,why\r\n\
             2001:db8::/64,600,1970-01-01T00:00:01Z,\"holds \"\"80 %\"\", and more\"\r\n"
        );
        for other in ["", "network\n", "network,duration_s,since,why\n10.0.1.66,x,y,\"z\"\n"] {
            assert!(parse(other).is_err(), "{other}");
        }
    }
}
