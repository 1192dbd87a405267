//! The arithmetic of the table: how full hash chains make it lose insertions, how few entries make it refuse, what it
//! takes, what it has to hold.

pub mod chains;
pub mod cost;
pub mod demand;
pub mod eviction;
