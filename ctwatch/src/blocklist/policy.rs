//! Who is listed: thresholds, for how long somebody has to be over them, and how far a list may go.

use std::time::Duration;

/// What decides who is listed.
///
/// A source stands out while it holds, or asks for, at least a share of everything, and at least an amount. It is listed if it
/// has stood out long enough, has not fallen far below that since, and others were harmed meanwhile. IPv6 goes by the /64.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The share of the table, or of all that is asked for, from 0 to 1.
    pub share_min: f64,
    /// The least entries held; with a share of 0 this alone decides.
    pub entries_min: u64,
    /// The least asked for a second: entries made and packets refused; with a share of 0 this alone decides.
    pub asked_per_s_min: u64,
    /// The least share of its entries that nobody has answered, from 0 to 1.
    pub unreplied_share_min: f64,
    /// In how many intervals one after another it has to stand out.
    pub intervals_min: usize,
    /// The part of share and amounts, from 0 to 1, that it has to fall below to be let off again.
    pub leave_at: f64,
    /// The least harm: packets of others refused and entries of others thrown out while it stood out. 0 asks for none.
    pub harm_min: u64,
    /// The prefix length that IPv4 sources are put together to, where several stand out; `None` for not at all.
    pub aggregate_ipv4: Option<u8>,
    /// The same for IPv6, shorter than 64.
    pub aggregate_ipv6: Option<u8>,
    /// How long each is kept out: whole seconds, at least one.
    pub expiry: Duration,
    /// The most blocks of a list.
    pub blocks_max: usize,
    /// The largest share of the sources seen that a list may keep out, from 0 to 1; one source may always be.
    pub sources_share_max: f64,
}

impl Default for Policy {
    /// Whoever holds or asks for a fifth of all, for three intervals, while others are refused.
    fn default() -> Self {
        Self {
            share_min: 0.2,
            entries_min: 64,
            asked_per_s_min: 100,
            unreplied_share_min: 0.0,
            intervals_min: 3,
            leave_at: 0.5,
            harm_min: 1,
            aggregate_ipv4: None,
            aggregate_ipv6: None,
            expiry: Duration::from_secs(600),
            blocks_max: 100,
            sources_share_max: 0.25,
        }
    }
}
