//! Asks the kernel for the entries of the table: lists them through ctnetlink or /proc, and follows those that come
//! and go. It asks, and never changes an entry: the two requests that do are written here and sent by `change` alone. It asks ctnetlink nothing unless it is already there.

pub mod attribute;
pub mod dump;
pub mod entry;
pub mod follow;
pub mod from_source;
pub mod listing;
pub mod message;
pub mod one_entry;
pub mod policies;
pub mod proc_line;
pub mod proc_listing;
#[cfg(test)]
mod samples;
pub mod socket;
pub mod statistics;
