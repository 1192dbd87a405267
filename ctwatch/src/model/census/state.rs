//! The state that an entry is in, by name, and how many entries are in each.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::protocol;

/// What an entry is in: of TCP the state of the tracker, of others whether there was an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A state of TCP, as `enum tcp_conntrack` numbers it
    /// (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
    Tcp(u8),
    /// TCP whose packets go through a flow table: the kernel does not tell its state.
    Offloaded,
    /// There was an answer.
    Replied,
    /// There was none.
    Unreplied,
}

/// Entries of one protocol in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateNumbers {
    /// The protocol's lower-case name, or its number.
    pub protocol: Cow<'static, str>,
    /// The state's name.
    pub state: Cow<'static, str>,
    /// Entries in it.
    pub entries: u64,
}

/// The names that the kernel prints (`tcp_conntrack_names`, net/netfilter/nf_conntrack_proto_tcp.c), by number.
const TCP_STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];
const OFFLOADED: usize = TCP_STATES.len();
const REPLIED: usize = OFFLOADED + 1;
const UNREPLIED: usize = REPLIED + 1;
/// A state of TCP that this program does not know.
const UNKNOWN: usize = UNREPLIED + 1;
const STATES: usize = UNKNOWN + 1;

impl State {
    /// The state of TCP that the kernel prints by this name.
    pub fn of_tcp_name(name: &[u8]) -> Option<Self> {
        let number = TCP_STATES.iter().position(|known| known.as_bytes() == name)?;
        u8::try_from(number).ok().map(Self::Tcp)
    }

    /// Whether TCP has not got beyond the answer to the first packet: SYN_SENT, SYN_RECV or SYN_SENT2.
    pub fn is_opening(self) -> bool {
        matches!(self, Self::Tcp(1 | 2 | 9))
    }

    fn index(self) -> usize {
        match self {
            Self::Tcp(number) if usize::from(number) < TCP_STATES.len() => number.into(),
            Self::Tcp(_) => UNKNOWN,
            Self::Offloaded => OFFLOADED,
            Self::Replied => REPLIED,
            Self::Unreplied => UNREPLIED,
        }
    }
}

/// Entries by protocol and state.
#[derive(Debug)]
pub struct StateCounts {
    /// A row of states for each protocol number.
    counts: Vec<u64>,
}

impl Default for StateCounts {
    fn default() -> Self {
        Self { counts: vec![0; 256 * STATES] }
    }
}

impl StateCounts {
    /// Counts an entry.
    pub fn add(&mut self, protocol: u8, state: State) {
        if let Some(count) = self.counts.get_mut(usize::from(protocol) * STATES + state.index()) {
            *count += 1;
        }
    }

    /// Those that have entries, the most first.
    pub fn numbers(&self) -> Vec<StateNumbers> {
        let mut numbers: Vec<StateNumbers> = (0..=u8::MAX)
            .zip(self.counts.chunks(STATES))
            .flat_map(|(number, counts)| {
                counts.iter().enumerate().filter(|(_, entries)| **entries > 0).map(
                    move |(state, entries)| StateNumbers {
                        protocol: protocol::name(number),
                        state: name(state).into(),
                        entries: *entries,
                    },
                )
            })
            .collect();
        numbers.sort_by_key(|numbers| std::cmp::Reverse(numbers.entries));
        numbers
    }
}

/// The name that the kernel prints for a state of TCP; `unknown` for one that this program does not know.
pub fn tcp_name(number: u8) -> &'static str {
    name(State::Tcp(number).index())
}

fn name(index: usize) -> &'static str {
    match index {
        OFFLOADED => "offloaded",
        REPLIED => "replied",
        UNREPLIED => "unreplied",
        state => TCP_STATES.get(state).copied().unwrap_or("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_by_protocol_and_named_as_the_kernel_does() {
        let mut counts = StateCounts::default();
        for _ in 0..3 {
            counts.add(6, State::of_tcp_name(b"SYN_SENT2").unwrap());
        }
        counts.add(6, State::Tcp(3));
        counts.add(6, State::Tcp(200));
        counts.add(6, State::Offloaded);
        counts.add(17, State::Unreplied);
        counts.add(17, State::Unreplied);
        counts.add(200, State::Replied);
        let numbers = counts.numbers();
        let lines: Vec<(&str, &str, u64)> =
            numbers.iter().map(|n| (n.protocol.as_ref(), n.state.as_ref(), n.entries)).collect();
        assert_eq!(
            lines,
            [
                ("tcp", "SYN_SENT2", 3),
                ("udp", "unreplied", 2),
                ("tcp", "ESTABLISHED", 1),
                ("tcp", "offloaded", 1),
                ("tcp", "unknown", 1),
                ("200", "replied", 1),
            ]
        );
        assert_eq!(State::of_tcp_name(b"LISTEN"), None);
    }
}
