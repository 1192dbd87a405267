//! What ctwatch's kernel side and user side share, and nothing else: the key a
//! source is counted under, the row its counters live in, the record of one
//! event, and where the kernel keeps what the hooks read.
//!
//! Nothing here does I/O, allocates, or is unsafe; the kernel side writes these
//! bytes and the user side parses them.

#![no_std]
#![forbid(unsafe_code)]

pub mod counter;
pub mod event;
pub mod layout;
pub mod row;
pub mod source;
