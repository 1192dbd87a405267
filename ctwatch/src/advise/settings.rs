//! What conntrack is set to in one network namespace, by the kernel's own names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the names of all settings begin with.
pub const PREFIX: &str = "net.netfilter.nf_conntrack_";
/// Entries that each namespace may hold.
pub const LIMIT: &str = "net.netfilter.nf_conntrack_max";
/// Buckets of the hash table, as a sysctl; to change them see [`HASHSIZE`].
pub const BUCKETS: &str = "net.netfilter.nf_conntrack_buckets";
/// Buckets of the hash table, as the module's parameter (`/sys/module/nf_conntrack/parameters/hashsize`).
pub const HASHSIZE: &str = "nf_conntrack.hashsize";
/// Expectations that all namespaces together may hold.
pub const EXPECTATIONS: &str = "net.netfilter.nf_conntrack_expect_max";
/// Whether a connection is picked up in its middle.
pub const TCP_LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";

/// All settings (`/proc/sys/net/netfilter/nf_conntrack_*`) that hold a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// By dotted name.
    pub values: BTreeMap<String, i64>,
}

impl Settings {
    /// A value by its dotted name; `None` if this kernel has none of that name.
    pub fn get(&self, key: &str) -> Option<i64> {
        self.values.get(key).copied()
    }

    /// A timeout in seconds by its name without [`PREFIX`], as in `udp_timeout`.
    pub fn timeout_s(&self, name: &str) -> Option<u32> {
        self.get(&format!("{PREFIX}{name}"))?.try_into().ok()
    }

    /// Entries that fit; `None` if unlimited, which kernels up to 6.18 write as 0.
    pub fn limit(&self) -> Option<u64> {
        self.get(LIMIT)?.try_into().ok().filter(|limit| *limit > 0)
    }

    /// Buckets of the hash table, which all namespaces share.
    pub fn buckets(&self) -> Option<u64> {
        self.get(BUCKETS)?.try_into().ok().filter(|buckets| *buckets > 0)
    }
}
