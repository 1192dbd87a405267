//! The subcommands, one a file, and what they share.

pub mod events;
pub mod look;
pub mod watch;
