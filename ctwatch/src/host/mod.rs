//! Reads of the machine, through /proc and /sys alone; nothing here changes anything or makes the kernel load a module.

pub mod addresses;
pub mod facts;
pub mod machine_memory;
pub mod memory;
pub mod modules;
pub mod namespace;
pub mod namespace_list;
pub mod settings;
pub mod statistics;
pub mod sysctl;
