//! ctwatch: who fills the connection-tracking table of a Linux NAT gateway.
//!
//! One way: the kernel's hooks count, [`collect`] reads, [`model`] computes, [`session`] hands over
//! snapshots, [`command`] prints them. [`advise`] and [`blocklist`] judge them, and [`change`] alone changes anything. See
//! ARCHITECTURE.md.

pub mod advise;
pub mod agent;
pub mod blocklist;
pub mod change;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod command;
pub mod conntrack;
pub mod exit;
pub mod host;
pub mod model;
pub mod output;
pub mod privilege;
pub mod probe;
pub mod recording;
#[cfg(feature = "screen")]
pub mod screen;
pub mod session;
