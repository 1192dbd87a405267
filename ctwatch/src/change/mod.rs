//! The only room that changes anything: values of the kernel's, persistent files, entries of the table. Each change is in a
//! journal, synced, before it is made, so that whatever happens it can be undone. Blocks need none: see [`firewall`].

pub mod apply;
mod checksum;
#[cfg(test)]
pub(crate) mod fake;
pub mod files;
pub mod firewall;
pub mod guard;
pub mod held;
pub mod history;
pub mod journal;
pub mod knob;
pub mod ledger;
pub mod machine;
pub mod order;
pub mod own_command;
pub mod persist;
mod place;
pub mod plan;
pub mod purge;
pub mod record;
pub mod source_entries;
pub mod state;
pub mod system;
#[cfg(test)]
mod tests;
pub mod undo;
pub mod watchdog;
