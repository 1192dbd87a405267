//! Everything that touches BPF: the object, its hooks, its memory. Nothing else names aya.

pub mod attach;
pub mod btf;
pub mod control;
pub mod drops;
pub mod error;
pub mod hooks;
pub mod layout;
pub mod memory;
pub mod misses;
pub mod object;
pub mod rare;
pub mod ring;
pub mod rows;
pub mod symbols;
pub mod syscall;
pub mod tracing;
