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
        for unknown in ["kernel.panic", "net.netfilter.nf_conntrack_count", "", "../etc/passwd"] {
            assert_eq!(by_key(unknown), None);
        }
    }
}
