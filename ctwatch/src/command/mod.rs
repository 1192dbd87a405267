//! The subcommands, one a file, and what they share.

pub mod audit;
pub mod events;
pub mod look;
pub mod watch;
