//! The only room that changes anything: values of the kernel's, persistent files, entries of the table. Each change is in a
//! journal, synced, before it is made, so that whatever happens it can be undone.

pub mod knob;
pub mod persist;
pub mod system;
