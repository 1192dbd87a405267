//! The subcommands, one a file, and what they share.

pub mod advise;
pub mod agent;
mod agent_recorder;
pub mod apply;
pub mod audit;
pub mod block;
mod blocking;
pub mod blocklist;
pub mod blocks;
pub mod cap;
mod carrying_out;
pub mod changes;
pub mod check;
pub mod confirm;
pub mod diagnosis;
pub mod doctor;
pub mod documents;
mod effect_look;
pub mod events;
pub mod look;
pub mod origin;
mod persisting;
pub mod protected;
pub mod record;
mod recorded_window;
mod replaced_file;
pub mod replay;
pub mod rollback;
mod timed_look;
#[cfg(feature = "screen")]
pub mod top;
pub mod unblock;
mod undoing;
pub mod view;
pub mod watch;
pub mod watchdog;
pub mod what_if;
