//! A script for `nft -f`: the table, sets and rules of [`ruleset`], and the blocks as elements of the sets. `ctwatch blocks` lists
//! them, `ctwatch unblock` takes them back.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::line::Line;
use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{
    Block, Blocklist,
    note::Note,
    ruleset::{self, FAMILY, Set, TABLE},
};

/// The row of the whole script.
pub(super) const FORMAT: Format = Format {
    name: "nft",
    what: "for 'nft -f': table inet ctwatch, which drops before conntrack",
    render: |list| render(list, LOAD, &ruleset::chain()),
    parse,
    kept: |list, block| Some(kept(list, block)),
    files: NO_FILES,
};
/// The row of the script that leaves the rules to the operator.
pub(super) const SET_ONLY: Format = Format {
    name: "nft-set",
    what: "for 'nft -f': the sets of table inet ctwatch alone, for rules of your own",
    render: |list| render(list, LOAD_SETS, ""),
    parse,
    kept: |list, block| Some(kept(list, block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

const LOAD: &str = "\
# Load it: nft -f FILE. It adds to what is blocked, a source that is blocked has its time anew, and all are let in again by themselves.
# See it: ctwatch blocks. Take it back: ctwatch unblock --all, or nft delete table inet ctwatch.
";
const LOAD_SETS: &str = "\
# Load it: nft -f FILE. It adds to the sets, a source that is in one has its time anew, and all leave by themselves.
# Nothing is dropped before you add a rule, in this table, as nft sees no set of another one. Before conntrack, for example:
#   nft add chain inet ctwatch mine '{ type filter hook prerouting priority -310; }'
#   nft add rule inet ctwatch mine ip saddr @block4 counter drop
#   nft add rule inet ctwatch mine ip saddr @block4_networks counter drop
#   nft add rule inet ctwatch mine ip6 saddr @block6 counter drop
#   nft add rule inet ctwatch mine ip6 saddr \\& ffff:ffff:ffff:ffff:: @block6_64 counter drop
#   nft add rule inet ctwatch mine ip6 saddr @block6_networks counter drop
# Take it back: nft delete table inet ctwatch.
";

/// Elements of a command: a netlink message takes few of them anyway, and nft is no faster with more.
const ELEMENTS_OF_COMMAND: usize = 1000;

/// The blocks of each set, in parts that one command takes. Networks are one part: nft 1.0.6 compares those of each command
/// with all before it.
pub(super) fn parts(list: &Blocklist) -> Vec<(Set, Vec<&Block>)> {
    let mut parts = Vec::new();
    for set in Set::ALL {
        let blocks: Vec<&Block> =
            list.blocks.iter().filter(|block| Set::of(&block.network) == set).collect();
        let most = if set.flags().contains(&"interval") {
            blocks.len().max(1)
        } else {
            ELEMENTS_OF_COMMAND
        };
        parts.extend(blocks.chunks(most).map(|part| (set, part.to_vec())));
    }
    parts
}

/// What is written beside a block.
pub(super) fn note(list: &Blocklist, block: &Block) -> Note {
    let since_s = moment::made(list).as_second().unsigned_abs();
    Note { since_s, by: "blocklist".to_owned(), why: block.why.clone() }
}

/// What the note keeps of the reason.
pub(super) fn kept(list: &Blocklist, block: &Block) -> Entry {
    let note = Note::parse(&note(list, block).to_text());
    Entry { why: note.map(|note| note.why), ..Entry::whole(block) }
}

fn render(list: &Blocklist, load: &str, chain: &str) -> String {
    let mut text = moment::header(list) + load + &ruleset::sets() + chain;
    for (set, blocks) in parts(list) {
        let sources: Vec<String> = blocks.iter().map(|block| set.element(&block.network)).collect();
        let elements: Vec<String> = blocks.iter().map(|block| blocked(list, set, block)).collect();
        // A kernel before 6.12 keeps the timeout of an element that is added again, so it goes first, and it must be there for that.
        text += &command("add", set, &sources);
        text += &command("delete", set, &sources);
        text += &command("add", set, &elements);
    }
    text
}

fn command(verb: &str, set: Set, elements: &[String]) -> String {
    let (name, elements) = (set.name(), elements.join(",\n"));
    format!("{verb} element {FAMILY} {TABLE} {name} {{\n{elements}\n}}\n")
}

fn blocked(list: &Blocklist, set: Set, block: &Block) -> String {
    let (source, duration_s) = (set.element(&block.network), block.duration.as_secs());
    let note = note(list, block).to_text();
    format!("{source} timeout {duration_s}s comment \"{note}\"")
}

/// What is in the sets after the commands of the script.
fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries: BTreeMap<IpNet, Entry> = BTreeMap::new();
    let mut lines = Line::all(text);
    while let Some(mut line) = lines.next() {
        let adds = line.has("add");
        if !adds && !line.has("delete") && !line.has("flush") {
            return Err(line.wrong("a command of nft"));
        }
        if !line.has("element") {
            if ["table", "set", "chain", "rule"].into_iter().any(|kind| line.has(kind)) {
                continue;
            }
            return Err(line.wrong("a table, set, chain, rule or element"));
        }
        let set = line.set()?;
        for mut line in lines.by_ref() {
            if line.has("}") {
                break;
            }
            let entry = line.element(set)?;
            if adds {
                entries.entry(entry.network).or_insert(entry);
            } else {
                entries.remove(&entry.network);
            }
        }
    }
    Ok(entries.into_values().collect())
}

impl Line<'_> {
    /// The set that a command is for.
    fn set(&mut self) -> Result<Set, ParseError> {
        self.expect(FAMILY)?;
        self.expect(TABLE)?;
        let before = *self;
        let name = self.word()?;
        let set = Set::ALL.into_iter().find(|set| set.name() == name);
        set.ok_or_else(|| before.wrong("a set of ctwatch's"))
    }

    /// An element of a set, as it stands in a command.
    fn element(mut self, set: Set) -> Result<Entry, ParseError> {
        let before = self;
        let word = self.word()?;
        let network = super::network(word.strip_suffix(',').unwrap_or(word))
            .ok_or_else(|| before.wrong("an address or a network"))?;
        let network = set.source(network);
        if !self.has("timeout") {
            return Ok(Entry { network, duration: None, why: None });
        }
        let before = self;
        let seconds = self.word()?.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        let seconds = seconds.ok_or_else(|| before.wrong("whole seconds"))?;
        self.expect("comment")?;
        let why = Note::parse(self.quoted()?).map(|note| note.why);
        Ok(Entry { network, duration: Some(Duration::from_secs(seconds)), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Blocklist {
        let block = |network: &str, why: &str| Block {
            network: network.parse().unwrap(),
            duration: Duration::from_secs(600),
            why: why.to_owned(),
        };
        let blocks = [block("10.0.1.66/32", "holds 80 %; }\n\"#"), block("10.1.0.0/16", "")];
        Blocklist::new(1_000_000_000, blocks)
    }

    #[test]
    fn a_script_is_the_rules_and_each_block_anew() {
        let text = (FORMAT.render)(&list());
        let made = "# ctwatch blocklist of 1970-01-01T00:00:01Z: 2 blocks\n";
        assert!(text.starts_with(made), "{text}");
        let (_, elements) = text.split_once(&(ruleset::sets() + &ruleset::chain())).unwrap();
        assert_eq!(
            elements,
            "add element inet ctwatch block4 {\n10.0.1.66\n}\n\
             delete element inet ctwatch block4 {\n10.0.1.66\n}\n\
             add element inet ctwatch block4 {\n10.0.1.66 timeout 600s comment \"since=1 by=blocklist why=holds 80 %; } '#\"\n}\n\
             add element inet ctwatch block4_networks {\n10.1.0.0/16\n}\n\
             delete element inet ctwatch block4_networks {\n10.1.0.0/16\n}\n\
             add element inet ctwatch block4_networks {\n10.1.0.0/16 timeout 600s comment \"since=1 by=blocklist why=\"\n}\n"
        );
        assert!(!(SET_ONLY.render)(&list()).contains("add chain inet ctwatch block "));
    }

    #[test]
    fn the_rules_that_a_set_only_script_tells_of_look_into_all_sets() {
        for set in Set::ALL {
            // In the language of the shell.
            let looked_up = set.looked_up().replace('&', "\\&");
            let rule = format!("mine {looked_up} counter drop\n");
            assert!(LOAD_SETS.contains(&rule), "{rule}");
        }
    }
}
