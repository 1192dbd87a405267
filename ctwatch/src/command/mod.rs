//! The subcommands, one a file, and what they share.

pub mod advise;
pub mod apply;
pub mod audit;
mod carrying_out;
pub mod changes;
pub mod confirm;
pub mod diagnosis;
pub mod doctor;
pub mod events;
pub mod look;
mod persisting;
pub mod rollback;
mod timed_look;
#[cfg(feature = "screen")]
pub mod top;
mod undoing;
pub mod watch;
pub mod watchdog;
pub mod what_if;
