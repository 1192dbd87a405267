//! An entry of the table as a walk meets it: what is counted of it, and nothing else.

use std::net::IpAddr;

use super::state::State;
use crate::model::trace::Flow;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkedEntry {
    /// The direction of its first packet, before translation.
    pub flow: Flow,
    /// What source NAT made of its source; `None` where that was not translated.
    pub source_nat: Option<SourceNat>,
    /// What it is in.
    pub state: State,
    /// The kernel does not evict it to make room (`IPS_ASSURED`).
    pub assured: bool,
    /// Nobody has answered yet (no `IPS_SEEN_REPLY`).
    pub unreplied: bool,
    /// Its conntrack zone.
    pub zone: u16,
    /// Whole seconds that it has left of the timeout that its protocol and state gave it; `None` where something else
    /// governs it (a flow table, a helper, a fixed timeout), or it is on its way out.
    pub remaining_s: Option<u32>,
}

impl WalkedEntry {
    /// Whether whoever opened it has never shown to be there: nobody has answered, or TCP is not beyond the answer to
    /// its first packet.
    pub fn is_half_open(&self) -> bool {
        self.unreplied || self.state.is_opening()
    }
}

/// The tuple under which the other side sees a translated connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNat {
    /// The address that its source was translated to.
    pub address: IpAddr,
    /// The port, or ICMP identifier, that its source port was translated to.
    pub port: u16,
    /// The other side's address, after any translation of the destination.
    pub destination: IpAddr,
    /// The other side's port, after any translation; of no meaning for ICMP.
    pub destination_port: u16,
}
