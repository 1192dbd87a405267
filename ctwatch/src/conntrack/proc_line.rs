//! Reads entries out of the lines of `/proc/net/nf_conntrack`, as bytes; it must never do I/O, and whatever the
//! bytes are, there is a result.
//!
//! The kernel's side is `ct_seq_show`, net/netfilter/nf_conntrack_standalone.c; from 5.10 to 7.3 a line begins
//!
//! ```text
//! ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=192.0.2.1 sport=1024 dport=80 …
//! ipv6     10 icmpv6   58 29 src=fd00:…:0001 dst=2001:…:0001 type=128 code=0 id=7 …
//! ipv4     2 gre      47 29 timeout=30, stream_timeout=180 src=10.0.0.1 dst=192.0.2.1 srckey=0x0 dstkey=0x1f …
//! ipv4     2 unknown  253 599 src=10.0.0.1 dst=192.0.2.1 …
//! ```
//!
//! with no timeout and no state where the entry is offloaded, and goes on with counters, `[UNREPLIED]`, the direction
//! of the answers in the same form, counters, `[ASSURED]` or `[OFFLOAD]`, mark, security context and zone. A word
//! that is not known is passed over.

use std::{iter, str};

use super::entry::{Entry, Status, Tuple};
use crate::model::census::state::State;

/// What is read of a line lies within 600 bytes unless there is a long security context before the zone.
const HEAD_BYTES: usize = 1024;

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

/// The entry that a line tells of. Of its status there are the bits that the line shows, and whether its source is
/// translated, which is what the two directions show.
///
/// # Errors
///
/// The line is not what the kernel writes.
pub fn entry(line: &[u8]) -> Result<Entry, LineError> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    // The names of family and protocol are for people: many protocols are just "unknown".
    let protocol = words.nth(3).ok_or(LineError::Missing("protocol"))?;
    let protocol = parse(protocol).ok_or(LineError::BadValue("protocol"))?;
    let mut words = words.peekable();
    let timeout_s = words.peek().and_then(|word| parse(word));
    let mut tcp_state = None;
    while let Some(word) = words.next_if(|word| field(word).0 != b"src") {
        tcp_state = tcp_state.or(State::of_tcp_name(word));
    }
    let original = tuple(&mut words, protocol)?;
    let (mut reply, mut zone) = (None, 0);
    let mut status = Status::CONFIRMED.with(Status::SEEN_REPLY);
    while let Some(word) = words.peek() {
        match field(word) {
            (b"[UNREPLIED]", _) => status = Status::CONFIRMED,
            (b"[ASSURED]", _) => status = status.with(Status::ASSURED),
            (b"[OFFLOAD]" | b"[HW_OFFLOAD]", _) => status = status.with(Status::OFFLOAD),
            (b"zone" | b"zone-orig", value) => zone = number(value)?,
            // It may be cut off, if what is before it is long.
            (b"src", _) => {
                reply = tuple(&mut words, protocol).ok();
                continue;
            }
            _ => {}
        }
        words.next();
    }
    if reply.is_some_and(|reply| is_source_translated(&original, &reply)) {
        status = status.with(Status::SOURCE_NAT);
    }
    let tcp_state = match tcp_state {
        Some(State::Tcp(number)) => Some(number),
        _ => None,
    };
    Ok(Entry { original, reply, status, timeout_s, id: 0, tcp_state, zone, has_helper: false })
}

/// The direction that the next words tell of.
fn tuple<'a>(
    words: &mut iter::Peekable<impl Iterator<Item = &'a [u8]>>,
    protocol: u8,
) -> Result<Tuple, LineError> {
    let mut address = |wanted: &[u8], what| match words.next().map(field) {
        Some((name, value)) if name == wanted => parse(value).ok_or(LineError::BadValue(what)),
        _ => Err(LineError::Missing(what)),
    };
    let source = address(b"src", "source address")?;
    let destination = address(b"dst", "destination address")?;
    let (mut source_port, mut destination_port) = (0, [0, 0]);
    while let Some(word) = words.peek() {
        let (name, value) = field(word);
        let [upper, lower] = &mut destination_port;
        match name {
            b"sport" | b"id" => source_port = number(value)?,
            b"dport" => destination_port = number::<u16>(value)?.to_be_bytes(),
            b"type" => *upper = number(value)?,
            b"code" => *lower = number(value)?,
            b"srckey" => source_port = key(value)?,
            b"dstkey" => destination_port = key(value)?.to_be_bytes(),
            _ => break,
        }
        words.next();
    }
    let destination_port = u16::from_be_bytes(destination_port);
    Ok(Tuple { source, destination, protocol, source_port, destination_port })
}

/// The kernel sets `IPS_SRC_NAT` where translation has changed something (`nf_nat_setup_info`,
/// net/netfilter/nf_nat_core.c), and then the answers go to somebody else than the sender.
fn is_source_translated(original: &Tuple, reply: &Tuple) -> bool {
    let port = match original.protocol {
        // The identifier is in the same place in both directions.
        1 | 58 => reply.source_port,
        _ => reply.destination_port,
    };
    (reply.destination, port) != (original.source, original.source_port)
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
    use std::{convert::Infallible, net::IpAddr};

    use proptest::prelude::*;

    use super::*;

    fn original_tuple(line: &[u8]) -> Result<Tuple, LineError> {
        entry(line).map(|entry| entry.original)
    }

    fn tuple(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
        }
    }

    /// Lines of Linux 6.18, received from flows on loopback, with accounting and timestamps on.
    const ICMPV6: &str = "ipv6     10 icmpv6   58 29 src=0000:0000:0000:0000:0000:0000:0000:0001 dst=0000:0000:0000:0000:0000:0000:0000:0001 type=128 code=0 id=119 packets=1 bytes=48 src=0000:0000:0000:0000:0000:0000:0000:0001 dst=0000:0000:0000:0000:0000:0000:0000:0001 type=129 code=0 id=119 packets=1 bytes=48 mark=42 zone=0 delta-time=0 use=2";
    const GRE: &str = "ipv4     2 gre      47 29 timeout=30, stream_timeout=180 src=127.0.0.1 dst=127.0.0.2 srckey=0x0 dstkey=0x1f packets=1 bytes=32 [UNREPLIED] src=127.0.0.2 dst=127.0.0.1 srckey=0x1f dstkey=0x0 packets=0 bytes=0 mark=42 zone=0 delta-time=0 use=2";
    const ORIGINAL_ZONE: &str = "ipv4     2 udp      17 29 src=127.0.0.1 dst=127.0.0.2 sport=5000 dport=7002 zone-orig=6 packets=1 bytes=29 [UNREPLIED] src=127.0.0.2 dst=127.0.0.1 sport=7002 dport=5000 packets=0 bytes=0 mark=42 delta-time=0 use=2";
    const UDP_V6: &str = "ipv6     10 udp      17 29 src=0000:0000:0000:0000:0000:0000:0000:0001 dst=0000:0000:0000:0000:0000:0000:0000:0001 sport=5001 dport=7000 packets=1 bytes=49 [UNREPLIED] src=0000:0000:0000:0000:0000:0000:0000:0001 dst=0000:0000:0000:0000:0000:0000:0000:0001 sport=7000 dport=5001 packets=0 bytes=0 mark=42 zone=0 delta-time=0 use=2";
    const UNKNOWN: &str = "ipv4     2 unknown  253 599 src=127.0.0.1 dst=127.0.0.2 packets=1 bytes=36 [UNREPLIED] src=127.0.0.2 dst=127.0.0.1 packets=0 bytes=0 mark=42 zone=0 delta-time=0 use=2";
    const ICMP: &str = "ipv4     2 icmp     1 29 src=127.0.0.1 dst=127.0.0.2 type=8 code=0 id=4660 packets=1 bytes=28 src=127.0.0.2 dst=127.0.0.1 type=0 code=0 id=4660 packets=1 bytes=28 mark=42 zone=0 delta-time=0 use=2";
    const TCP: &str = "ipv4     2 tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=5002 dport=4444 packets=2 bytes=112 src=127.0.0.1 dst=127.0.0.1 sport=4444 dport=5002 packets=1 bytes=60 [ASSURED] mark=42 zone=0 delta-time=0 use=2";
    const SOURCE_NAT: &str = "ipv4     2 udp      17 29 src=127.0.0.1 dst=127.0.0.2 sport=5000 dport=7003 packets=1 bytes=29 [UNREPLIED] src=127.0.0.2 dst=10.9.0.1 sport=7003 dport=5000 packets=0 bytes=0 mark=42 zone=0 delta-time=0 use=2";
    const ALL: [&str; 8] = [ICMPV6, GRE, ORIGINAL_ZONE, UDP_V6, UNKNOWN, ICMP, TCP, SOURCE_NAT];

    #[test]
    fn the_original_direction_of_every_protocol_is_read() {
        let read = |line: &str| original_tuple(line.as_bytes()).unwrap();
        assert_eq!(read(TCP), tuple("127.0.0.1", "127.0.0.1", 6, (5002, 4444)));
        assert_eq!(read(ORIGINAL_ZONE), tuple("127.0.0.1", "127.0.0.2", 17, (5000, 7002)));
        assert_eq!(read(SOURCE_NAT), tuple("127.0.0.1", "127.0.0.2", 17, (5000, 7003)));
        assert_eq!(read(UDP_V6), tuple("::1", "::1", 17, (5001, 7000)));
        assert_eq!(read(UNKNOWN), tuple("127.0.0.1", "127.0.0.2", 253, (0, 0)));
        assert_eq!(read(GRE), tuple("127.0.0.1", "127.0.0.2", 47, (0, 0x1f)));
        assert_eq!(read(ICMP), tuple("127.0.0.1", "127.0.0.2", 1, (4660, 8 << 8)));
        assert_eq!(read(ICMPV6), tuple("::1", "::1", 58, (119, 128 << 8)));
    }

    #[test]
    fn state_answer_zone_and_translation_are_read() {
        let read = |line: &str| entry(line.as_bytes()).unwrap();
        let established = read(TCP);
        assert_eq!((established.tcp_state, established.timeout_s), (Some(3), Some(431_999)));
        assert_eq!(established.status.0, 0b1110);
        assert_eq!(established.reply, Some(tuple("127.0.0.1", "127.0.0.1", 6, (4444, 5002))));
        let translated = read(SOURCE_NAT);
        assert_eq!(translated.reply, Some(tuple("127.0.0.2", "10.9.0.1", 17, (7003, 5000))));
        assert_eq!(translated.status, Status::CONFIRMED.with(Status::SOURCE_NAT));
        for (line, zone) in [(ORIGINAL_ZONE, 6), (UDP_V6, 0), (&TCP.replace("zone=0", "zone=9"), 9)]
        {
            assert_eq!(read(line).zone, zone, "{line}");
        }
        for line in [ICMPV6, ICMP] {
            assert_eq!(read(line).status, Status::CONFIRMED.with(Status::SEEN_REPLY), "{line}");
        }
        assert_eq!(read(GRE).status, Status::CONFIRMED);
        assert_eq!(read(UNKNOWN).status, Status::CONFIRMED);
        let other_id = ICMP.replacen("id=4660", "id=7", 1);
        assert!(read(&other_id).status.contains(Status::SOURCE_NAT));
    }

    /// Made after the source: no timeout, no state, no mark, and `icmpv6` without a name up to 5.10.
    #[test]
    fn entries_that_are_offloaded_and_lines_of_older_kernels_are_read() {
        let offloaded = "ipv4     2 tcp      6 src=10.0.0.1 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1 dst=192.0.2.2 sport=2 dport=1 [OFFLOAD] use=3";
        let read = original_tuple(offloaded.as_bytes()).unwrap();
        assert_eq!(read, tuple("10.0.0.1", "192.0.2.1", 6, (1, 2)));
        let read = entry(offloaded.as_bytes()).unwrap();
        assert_eq!((read.tcp_state, read.timeout_s), (None, None));
        assert!(read.status.contains(Status::OFFLOAD));
        let unnamed = ICMPV6.replace("icmpv6", "unknown");
        assert_eq!(original_tuple(unnamed.as_bytes()), original_tuple(ICMPV6.as_bytes()));
    }

    #[test]
    fn what_is_no_entry_says_what_is_wrong() {
        let read = |line: &str| original_tuple(line.as_bytes()).unwrap_err();
        assert_eq!(read(""), LineError::Missing("protocol"));
        assert_eq!(read("ipv4 2 tcp six 1"), LineError::BadValue("protocol"));
        assert_eq!(read("ipv4 2 tcp 256 1"), LineError::BadValue("protocol"));
        assert_eq!(read("ipv4 2 tcp 6 1 ESTABLISHED"), LineError::Missing("source address"));
        assert_eq!(read("ipv4 2 tcp 6 1 src=10.0.0"), LineError::BadValue("source address"));
        assert_eq!(
            read("ipv4 2 tcp 6 1 src=::1 sport=1"),
            LineError::Missing("destination address")
        );
        let bad_port = "ipv4 2 tcp 6 1 src=::1 dst=::1 sport=65536";
        assert_eq!(read(bad_port), LineError::BadValue("number"));
        assert_eq!(read(&GRE.replace("=0x1f", "=31")), LineError::BadValue("number"));
    }

    #[test]
    fn only_the_beginning_of_a_line_is_kept() {
        let long = format!("{TCP} secctx={} use=2", "x".repeat(10_000));
        let text = format!("{UDP_V6}\n{long}\n{ICMP}\n");
        for size in [1, 7, 511, 512, 513, 4096, text.len()] {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let lines = lines_of(&chunks);
            assert_eq!(lines.len(), 3, "{size}");
            assert!(lines.iter().all(|line| line.len() <= HEAD_BYTES), "{size}");
            assert_eq!(original_tuple(&lines[1]), original_tuple(TCP.as_bytes()), "{size}");
            assert_eq!(lines[2], ICMP.as_bytes(), "{size}");
        }
    }

    #[test]
    fn a_last_line_without_an_end_is_not_lost() {
        assert_eq!(lines_of(&[b"one\ntw", b"o"]), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(lines_of(&[b"one\n"]), [b"one".to_vec()]);
        assert_eq!(lines_of(&[b""]), Vec::<Vec<u8>>::new());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_result(line in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = original_tuple(&line);
        }

        #[test]
        fn any_change_of_a_real_line_gives_a_result(
            which in 0..ALL.len(),
            changes in prop::collection::vec((0..400_usize, any::<u8>()), 1..10),
            end in 0..500_usize,
        ) {
            let mut line = ALL[which].as_bytes().to_vec();
            for (place, value) in changes {
                if let Some(byte) = line.get_mut(place) {
                    *byte = value;
                }
            }
            line.truncate(end);
            let _ = original_tuple(&line);
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(
            addresses in any::<([u8; 4], [u8; 4])>(),
            protocol in any::<u8>(),
            ports in any::<(u16, u16)>(),
        ) {
            let (source, destination) = (IpAddr::from(addresses.0), IpAddr::from(addresses.1));
            let (source_port, destination_port) = ports;
            let line = format!(
                "ipv4     2 {:<8} {protocol} 599 src={source} dst={destination} sport={source_port} \
                 dport={destination_port} [UNREPLIED] src={destination} dst={source} sport=1 dport=2 \
                 mark=0 use=2",
                "udp",
            );
            prop_assert_eq!(
                original_tuple(line.as_bytes()),
                Ok(Tuple { source, destination, protocol, source_port, destination_port })
            );
        }

        #[test]
        fn lines_do_not_depend_on_how_they_are_cut(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..2000),
            cuts in prop::collection::vec(0..2000_usize, 0..20),
        ) {
            let mut cuts = cuts;
            cuts.retain(|cut| *cut <= text.len());
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut begin = 0;
            for cut in cuts {
                chunks.push(&text[begin..cut]);
                begin = cut;
            }
            chunks.push(&text[begin..]);
            prop_assert_eq!(lines_of(&chunks), lines_of(&[text.as_slice()]));
        }
    }

    fn lines_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut heads = LineHeads::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            let keep = |line: &[u8]| {
                lines.push(line.to_vec());
                Ok::<(), Infallible>(())
            };
            heads.take(chunk, keep).unwrap();
        }
        lines.extend(heads.rest().map(<[u8]>::to_vec));
        lines
    }
}
