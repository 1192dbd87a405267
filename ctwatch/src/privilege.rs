//! Whether this process may look into conntrack at all.

use rustix::thread::{CapabilitySet, capabilities};

/// Says what is missing, as a sentence that tells what to do; `None` if nothing is.
///
/// CAP_NET_ADMIN is what ctnetlink asks for (`nfnetlink_rcv`, net/netfilter/nfnetlink.c). What the hooks need
/// beyond that is found out by attaching them.
pub fn missing() -> Option<String> {
    let effective = capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    (!effective.contains(CapabilitySet::NET_ADMIN)).then(|| {
        "no permission to look into connection tracking: run ctwatch as root (sudo ctwatch …), or with the \
         capabilities CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYSLOG"
            .to_owned()
    })
}
