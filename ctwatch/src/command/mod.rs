//! The subcommands, one a file, and what they share.

pub mod advise;
pub mod audit;
pub mod diagnosis;
pub mod events;
pub mod look;
pub mod watch;
pub mod what_if;
