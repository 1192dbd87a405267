//! How a blocklist is written down: one format a file, each a row of [`FORMATS`], each read back by the same file.

mod crowdsec;
mod fail2ban;
mod ipset;
mod iptables;
mod line;
mod moment;
mod plain;
#[cfg(test)]
mod read_back;

use std::time::Duration;

use ipnet::IpNet;

use super::Blocklist;

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
    plain::FORMAT,
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
