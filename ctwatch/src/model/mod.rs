//! What is known about the table, and what follows from it.
//!
//! Pure: no I/O, no clock, no thread, no `unsafe`, nothing of aya or tokio. Observations go in, snapshots
//! come out; time is a parameter.

pub mod aggregator;
pub mod audit;
pub mod baseline;
pub mod census;
pub mod counters;
pub mod decode;
pub mod departed;
pub mod event;
pub mod fields;
pub mod flood;
pub mod key_bytes;
pub mod last_seconds;
pub mod lasting_drift;
pub mod limits;
pub mod loss;
pub mod misses;
pub mod mode;
pub mod moment;
pub mod observation;
pub mod own;
pub mod prefix;
pub mod protocol;
pub mod ranking;
pub mod recent;
pub mod residency;
pub mod rows;
pub mod seen_by_netlink;
pub mod since;
pub mod snapshot;
pub mod source;
pub mod suppressed;
pub mod trace;
