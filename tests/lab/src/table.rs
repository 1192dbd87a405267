//! The entries of a table as `conntrack -L` lists them, one by one: what ctwatch's numbers are held against. It must not
//! count anything itself.

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;
use crate::program;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The protocol's name.
    pub protocol: String,
    /// Of TCP the state; else `replied` or `unreplied`.
    pub state: String,
    /// Who opened it.
    pub source: String,
    /// Where it goes.
    pub destination: String,
    /// The port there; 0 for a protocol without.
    pub destination_port: u16,
    /// Whom the answers go to.
    pub answered_to: String,
    /// Whether the kernel would not evict it.
    pub assured: bool,
    /// Whether nobody has answered.
    pub unreplied: bool,
    /// Its zone.
    pub zone: u16,
}

/// All entries of `namespace`, of both families. A listing leaves out expired entries, and reaps them.
///
/// # Errors
/// When the program fails or prints another form.
pub fn entries(namespace: &Namespace) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let output = namespace.within(|| program::run("conntrack", &["-L", "-f", family], ""))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            entries.push(
                parse(line).with_context(|| format!("`conntrack -L` printed no entry: {line}"))?,
            );
        }
    }
    Ok(entries)
}

/// `tcp      6 431999 ESTABLISHED src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… … [ASSURED] mark=0 zone=7 use=1`.
fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let mut entry = Entry { protocol: words.next()?.to_owned(), ..Entry::default() };
    let (mut directions, mut state) = (0, None);
    for word in words {
        match word.split_once('=') {
            Some(("src", address)) => {
                directions += 1;
                if directions == 1 {
                    address.clone_into(&mut entry.source);
                }
            }
            Some(("dst", address)) if directions == 1 => address.clone_into(&mut entry.destination),
            Some(("dst", address)) => address.clone_into(&mut entry.answered_to),
            Some(("dport", port)) if directions == 1 => {
                entry.destination_port = port.parse().ok()?
            }
            Some(("zone" | "zone-orig", zone)) => entry.zone = zone.parse().ok()?,
            None if word == "[UNREPLIED]" => entry.unreplied = true,
            None if word == "[ASSURED]" => entry.assured = true,
            None if directions == 0 && word.parse::<u32>().is_err() => {
                state = Some(word.to_owned());
            }
            _ => {}
        }
    }
    let answer = if entry.unreplied { "unreplied" } else { "replied" };
    entry.state = state.unwrap_or_else(|| answer.to_owned());
    (directions == 2).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_their_state_translation_and_zone() {
        let tcp = "tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=192.0.2.1 sport=1024 dport=80 src=192.0.2.1 \
                   dst=192.0.2.2 sport=80 dport=1024 [ASSURED] mark=0 zone=7 use=1";
        let udp = "udp      17 29 src=10.0.1.3 dst=192.0.2.1 sport=1024 dport=53 [UNREPLIED] src=192.0.2.1 \
                   dst=192.0.2.2 sport=53 dport=1024 mark=0 use=1";
        let read = parse(tcp).unwrap();
        assert_eq!((read.state.as_str(), read.zone, read.destination_port), ("ESTABLISHED", 7, 80));
        assert_eq!((read.source.as_str(), read.answered_to.as_str()), ("10.0.1.2", "192.0.2.2"));
        assert!(read.assured && !read.unreplied);
        let read = parse(udp).unwrap();
        assert_eq!(
            (read.protocol.as_str(), read.state.as_str(), read.zone),
            ("udp", "unreplied", 0)
        );
        assert!(!read.assured && read.unreplied);
        assert_eq!(parse("conntrack v1.4.7"), None);
    }
}
