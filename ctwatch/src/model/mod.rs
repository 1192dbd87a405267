//! What is known about the table, and what follows from it.
//!
//! Pure: no I/O, no clock, no thread, no `unsafe`, nothing of aya or tokio. Observations go in, snapshots
//! come out; time is a parameter.

pub mod aggregator;
pub mod baseline;
pub mod counters;
pub mod decode;
pub mod departed;
pub mod event;
pub mod fields;
pub mod limits;
pub mod loss;
pub mod mode;
pub mod moment;
pub mod observation;
pub mod protocol;
pub mod ranking;
pub mod rows;
pub mod seen_by_netlink;
pub mod snapshot;
pub mod source;
pub mod suppressed;
pub mod trace;
