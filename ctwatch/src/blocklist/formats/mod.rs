//! How a blocklist is written down: one format a file, each a row of [`FORMATS`], each read back by the same file.

mod crowdsec;
mod csv;
mod fail2ban;
mod ipset;
mod iptables;
mod line;
mod moment;
mod nft;
mod nft_json;
mod plain;
#[cfg(test)]
mod read_back;
#[cfg(test)]
pub(crate) mod samples;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Block, Blocklist};

/// A way to write a blocklist down.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for, for the help: a phrase.
    pub what: &'static str,
    /// Writes a list.
    pub render: fn(&Blocklist) -> String,
    /// Reads what `render` has written.
    pub parse: fn(&str) -> Result<Vec<Entry>, ParseError>,
    /// What of a block of a list is still there when it is read back; `None` if the format leaves it out.
    pub kept: fn(&Blocklist, &Block) -> Option<Entry>,
    /// Files that somebody who uses it needs once: a name, what it is, and its text.
    pub files: &'static [DropIn],
}

/// A file to put somewhere once, so that a format is understood.
#[derive(Debug)]
pub struct DropIn {
    /// Where it belongs.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// What a format keeps of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who is blocked.
    pub network: IpNet,
    /// For how long; `None` where the format does not tell.
    pub duration: Option<Duration>,
    /// Why; `None` where the format does not tell, or not all of it.
    pub why: Option<String>,
}

impl Entry {
    /// The block as it is, for a format that keeps all of it.
    fn whole(block: &Block) -> Self {
        Self {
            network: block.network,
            duration: Some(block.duration),
            why: Some(block.why.clone()),
        }
    }
}

/// What was read is not of this format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// All formats, in the order of the help.
pub const FORMATS: &[Format] = &[
    nft::FORMAT,
    nft::SET_ONLY,
    nft_json::FORMAT,
    plain::FORMAT,
    csv::FORMAT,
    ipset::FORMAT,
    iptables::IPV4,
    iptables::IPV6,
    crowdsec::FORMAT,
    fail2ban::FORMAT,
];

/// The format of a name.
pub fn by_name(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The network that a word stands for; an address stands for itself.
fn network(word: &str) -> Option<IpNet> {
    word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_format_has_the_name_of_another_one() {
        let names: BTreeSet<&str> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
    }

    #[test]
    fn what_was_not_written_by_a_format_is_refused_with_its_line() {
        for format in FORMATS {
            let error = (format.parse)("# a comment\n10.0.1.300 what is this?\n").unwrap_err();
            assert!(error.line == 1 || error.line == 2, "{}: {error}", format.name);
        }
    }

    proptest! {
        #[test]
        fn what_a_format_keeps_of_a_list_is_read_back(list in samples::lists()) {
            for format in FORMATS {
                let text = (format.render)(&list);
                let mut read = (format.parse)(&text).map_err(|error| TestCaseError::fail(format!("{}: {error}: {text}", format.name)))?;
                read.sort_by_key(|entry| entry.network);
                let kept: Vec<Entry> = list.blocks.iter().filter_map(|block| (format.kept)(&list, block)).collect();
                prop_assert_eq!(read, kept, "{}: {}", format.name, text);
            }
        }

        #[test]
        fn no_format_fails_on_any_text(text: String) {
            for format in FORMATS {
                let _ = (format.parse)(&text);
            }
        }
    }
}
