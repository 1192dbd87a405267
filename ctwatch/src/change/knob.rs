//! The values of the kernel's that may be changed, by its own names, and where they are.

use std::path::PathBuf;

use crate::advise::{
    settings::{EXPECTATIONS, HASHSIZE, LIMIT, PREFIX, TCP_LOOSE},
    timeouts::TIMEOUTS,
};

/// Whose a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole machine's: written in the initial network namespace.
    Machine,
    /// The network namespace's that it is written in.
    Namespace,
}

/// A value that may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// The kernel's name for it, as in [`crate::advise::advice::Change::key`].
    pub key: String,
    /// Whose it is.
    pub scope: Scope,
    /// The file that it is read from and written to.
    pub path: PathBuf,
}

/// Bytes of a bucket: a pointer (`struct hlist_nulls_head`, include/linux/list_nulls.h).
pub const BUCKET_BYTES: u64 = size_of::<usize>() as u64;

impl Knob {
    /// What the kernel makes of a value: the buckets fill whole pages (`nf_ct_alloc_hashtable`,
    /// net/netfilter/nf_conntrack_core.c). `None` if the kernel would not take it, or it means something else than it
    /// says: 0 is no limit on some kernels and refused by others.
    pub fn settled(&self, value: u64, page_bytes: u64) -> Option<u64> {
        // proc_dointvec and proc_dointvec_jiffies (kernel/sysctl.c) take an int; HZ is at most 1000.
        let (least, most) = match self.key.as_str() {
            TCP_LOOSE => (0, 1),
            LIMIT | EXPECTATIONS => (1, i32::MAX as u64),
            HASHSIZE => (1, i32::MAX as u64 / BUCKET_BYTES),
            _ => (1, i32::MAX as u64 / 1000),
        };
        if !(least..=most).contains(&value) {
            return None;
        }
        let page = (page_bytes / BUCKET_BYTES).max(1);
        Some(if self.key == HASHSIZE { value.next_multiple_of(page) } else { value })
    }
}

/// The knob of that name; `None` if it is none that ctwatch changes.
pub fn by_key(key: &str) -> Option<Knob> {
    let scope = match key {
        HASHSIZE => {
            let path = PathBuf::from("/sys/module/nf_conntrack/parameters/hashsize");
            return Some(Knob { key: key.to_owned(), scope: Scope::Machine, path });
        }
        LIMIT | EXPECTATIONS => Scope::Machine,
        TCP_LOOSE => Scope::Namespace,
        key => {
            let name = key.strip_prefix(PREFIX)?;
            TIMEOUTS.iter().find(|timeout| timeout.name == name).map(|_| Scope::Namespace)?
        }
    };
    let path = PathBuf::from("/proc/sys").join(key.replace('.', "/"));
    Some(Knob { key: key.to_owned(), scope, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_may_be_changed() {
        let path = |key| by_key(key).map(|knob| knob.path.display().to_string());
        assert_eq!(
            path("net.netfilter.nf_conntrack_max").as_deref(),
            Some("/proc/sys/net/netfilter/nf_conntrack_max")
        );
        assert_eq!(
            path("net.netfilter.nf_conntrack_udp_timeout").as_deref(),
            Some("/proc/sys/net/netfilter/nf_conntrack_udp_timeout")
        );
        assert_eq!(by_key("nf_conntrack.hashsize").map(|knob| knob.scope), Some(Scope::Machine));
        let page = 4096;
        let hashsize = by_key("nf_conntrack.hashsize").unwrap();
        assert_eq!(hashsize.settled(65_000, page), Some(65_024));
        assert_eq!(hashsize.settled(65_536, page), Some(65_536));
        let limit = by_key("net.netfilter.nf_conntrack_max").unwrap();
        assert_eq!((limit.settled(1, page), limit.settled(0, page)), (Some(1), None));
        assert_eq!(limit.settled(1 << 40, page), None);
        let loose = by_key("net.netfilter.nf_conntrack_tcp_loose").unwrap();
        assert_eq!((loose.settled(0, page), loose.settled(2, page)), (Some(0), None));
        for unknown in ["kernel.panic", "net.netfilter.nf_conntrack_count", "", "../etc/passwd"] {
            assert_eq!(by_key(unknown), None);
        }
    }
}
