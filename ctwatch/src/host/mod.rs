//! Reads of the machine, through /proc and /sys, and what firewall rules there are through the programs that list them;
//! nothing here changes anything or makes the kernel load a module.

pub mod addresses;
pub mod boot;
pub mod expectations;
pub mod extension_memory;
pub mod facts;
pub mod firewall;
pub mod iptables_rules;
pub mod kernel_log;
pub mod kube_proxy;
pub mod legacy_names;
pub mod machine_memory;
pub mod memory;
pub mod module_users;
pub mod modules;
pub mod namespace;
pub mod namespace_list;
pub mod nft_rules;
pub mod persistence;
pub mod programs;
pub mod rule_use;
pub mod services;
pub mod settings;
pub mod statistics;
pub mod surroundings;
pub mod sysctl;
pub mod tuned;
