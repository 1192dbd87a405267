//! Talks ctnetlink: lists the entries of the table and follows those that come and go. It only asks, never
//! changes an entry, and asks nothing unless the kernel's side of ctnetlink is already there.

pub mod attribute;
pub mod dump;
pub mod entry;
pub mod follow;
pub mod message;
#[cfg(test)]
mod samples;
pub mod socket;
pub mod statistics;
