//! Reads entries out of the lines of `/proc/net/nf_conntrack`, as bytes; it must never do I/O, and whatever the
//! bytes are, there is a result.
//!
//! The kernel's side is `ct_seq_show`, net/netfilter/nf_conntrack_standalone.c; from 5.10 to 7.3 a line begins
//!
//! ```text
//! ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=192.0.2.1 sport=1024 dport=80 …
//! ipv6     10 icmpv6   58 29 src=fd00:…:0001 dst=2001:…:0001 type=128 code=0 id=7 …
//! ipv4     2 unknown  253 599 src=10.0.0.1 dst=192.0.2.1 …
//! ```
//!
//! with no timeout and no state where the entry is offloaded, and goes on with counters, flags, the direction of
//! the answers, mark, security context and zone, of which nothing is read here.

use std::{net::IpAddr, str};

use super::entry::Tuple;

/// The original direction is at the beginning of a line, within 200 bytes at the most; what comes after it may be
/// of any length.
const HEAD_BYTES: usize = 512;

/// Why a line is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Something that every entry has is not there, or not where it should be.
    #[error("a line of conntrack's listing lacks its {0}")]
    Missing(&'static str),
    /// A value is none of its kind.
    #[error("a line of conntrack's listing has no valid {0}")]
    BadValue(&'static str),
}

/// The original direction of the entry that a line tells of.
///
/// # Errors
///
/// The line is not what the kernel writes.
pub fn original_tuple(line: &[u8]) -> Result<Tuple, LineError> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    // The names of family and protocol are for people: many protocols are just "unknown".
    let protocol = words.nth(3).ok_or(LineError::Missing("protocol"))?;
    let protocol = parse(protocol).ok_or(LineError::BadValue("protocol"))?;
    let mut fields = words.map(field).skip_while(|(name, _)| *name != b"src");
    let mut address = |wanted: &[u8], what| match fields.next() {
        Some((name, value)) if name == wanted => parse(value).ok_or(LineError::BadValue(what)),
        _ => Err(LineError::Missing(what)),
    };
    let source = address(b"src", "source address")?;
    let destination = address(b"dst", "destination address")?;
    let (mut source_port, mut destination_port) = (0, 0);
    let [mut icmp_type, mut icmp_code] = [0_u8; 2];
    for (name, value) in fields {
        match name {
            b"sport" | b"id" => source_port = number(value)?,
            b"dport" => destination_port = number(value)?,
            b"srckey" => source_port = key(value)?,
            b"dstkey" => destination_port = key(value)?,
            b"type" => icmp_type = number(value)?,
            b"code" => icmp_code = number(value)?,
            _ => break,
        }
    }
    if (icmp_type, icmp_code) != (0, 0) {
        destination_port = u16::from_be_bytes([icmp_type, icmp_code]);
    }
    Ok(Tuple { source, destination, protocol, source_port, destination_port })
}

/// Cuts a stream of bytes into lines, of which it keeps only the beginning: memory is bounded whatever the lines.
#[derive(Debug, Default)]
pub struct LineHeads {
    unfinished: Vec<u8>,
}

impl LineHeads {
    /// Takes the next bytes and calls `each` with the beginning of every line that ends in them.
    ///
    /// # Errors
    ///
    /// What `each` returned; the rest of the bytes is not looked at then.
    pub fn take<E>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        // What follows the last end of a line is the beginning of the next one.
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.unfinished.is_empty() {
                each(head(line, HEAD_BYTES))?;
            } else {
                self.keep(line);
                each(&self.unfinished)?;
                self.unfinished.clear();
            }
        }
        self.keep(rest);
        Ok(())
    }

    /// The beginning of a last line that was not ended, if there is one.
    pub fn rest(&self) -> Option<&[u8]> {
        (!self.unfinished.is_empty()).then_some(&self.unfinished)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.unfinished.len());
        self.unfinished.extend_from_slice(head(bytes, room));
    }
}

fn head(bytes: &[u8], length_max: usize) -> &[u8] {
    bytes.get(..length_max).unwrap_or(bytes)
}

/// `NAME=VALUE`; a word without `=` has no value.
fn field(word: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = word.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn number<T: str::FromStr>(value: &[u8]) -> Result<T, LineError> {
    parse(value).ok_or(LineError::BadValue("number"))
}

/// A key of GRE is written as `0x1f`.
fn key(value: &[u8]) -> Result<u16, LineError> {
    value
        .strip_prefix(b"0x")
        .and_then(|digits| u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())
        .ok_or(LineError::BadValue("number"))
}

fn parse<T: str::FromStr>(value: &[u8]) -> Option<T> {
    str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn tuple(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
        }
    }

    /// Lines of Linux 6.18, and the tuples that ctnetlink told of the same entries.
    fn samples() -> Vec<(&'static str, Tuple)> {
        vec![]
    }

    fn lines_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut heads = LineHeads::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            heads
                .take(chunk, |line| {
                    lines.push(line.to_vec());
                    Ok::<(), Infallible>(())
                })
                .unwrap();
        }
        lines.extend(heads.rest().map(<[u8]>::to_vec));
        lines
    }
}
