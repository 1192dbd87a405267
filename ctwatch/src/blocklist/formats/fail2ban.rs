//! A line of a log for each block, and what fail2ban needs to act on them: a filter that reads them, a jail that watches the
//! file, and an action that drops in front of conntrack, which none of its own does.

use super::line::Line;
use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{Blocklist, note, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "fail2ban",
    what: "a log for a fail2ban jail, which says for how long",
    render,
    parse,
    kept: |_, block| {
        Some(Entry {
            why: Some(note::quoted_line(&block.why, WHY_BYTES_MAX)),
            ..Entry::whole(block)
        })
    },
    files: FILES,
};

const FILES: &[DropIn] = &[
    DropIn {
        path: "/etc/fail2ban/filter.d/ctwatch.conf",
        text: include_str!("fail2ban/filter.conf"),
    },
    DropIn {
        path: "/etc/fail2ban/action.d/ctwatch.conf",
        text: include_str!("fail2ban/action.conf"),
    },
    DropIn { path: "/etc/fail2ban/jail.d/ctwatch.conf", text: include_str!("fail2ban/jail.conf") },
];

/// What the action puts before it in a [`note::Note`], which has to hold all of it.
const NOTE_BEFORE: &str = "since=18446744073709551615 by=fail2ban why=";
const WHY_BYTES_MAX: usize = note::NOTE_BYTES_MAX - NOTE_BEFORE.len();

fn render(list: &Blocklist) -> String {
    let mut text = String::new();
    for block in &list.blocks {
        // It takes a network of length 0 for an address, but both halves of it for what they are.
        let halves = block.network.subnets(block.network.prefix_len().max(1));
        for network in halves.into_iter().flatten() {
            let made = moment::made(list);
            let source = ruleset::element(&network);
            let duration_s = block.duration.as_secs().max(1);
            let why = note::quoted_line(&block.why, WHY_BYTES_MAX);
            text += &format!("{made} ctwatch: block {source} for {duration_s} s: {why}\n");
        }
    }
    text
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries = Vec::new();
    for mut line in Line::all(text) {
        line.word()?;
        line.expect("ctwatch:")?;
        line.expect("block")?;
        let network = line.network()?;
        line.expect("for")?;
        let duration = line.seconds()?;
        line.expect("s:")?;
        entries.push(Entry {
            network,
            duration: Some(duration),
            why: Some(line.rest().to_owned()),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_makes_the_rules_that_ctwatch_itself_makes() {
        let action = FILES.iter().find(|file| file.path.contains("action.d")).unwrap();
        let begin = action.text.split_once("actionstart = nft '").unwrap().1;
        let script = begin.split_once('\'').unwrap().0;
        let commands: Vec<&str> = script.lines().map(str::trim).collect();
        let ours = ruleset::sets() + &ruleset::chain();
        assert_eq!(commands, ours.lines().collect::<Vec<_>>());
    }
}
