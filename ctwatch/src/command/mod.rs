//! The subcommands, one a file, and what they share.

pub mod advise;
pub mod apply;
pub mod audit;
pub mod block;
mod blocking;
pub mod blocks;
pub mod cap;
mod carrying_out;
pub mod changes;
pub mod confirm;
pub mod diagnosis;
pub mod doctor;
mod effect_look;
pub mod events;
pub mod look;
mod persisting;
pub mod protected;
pub mod rollback;
mod timed_look;
pub mod unblock;
mod undoing;
pub mod watch;
pub mod watchdog;
pub mod what_if;
