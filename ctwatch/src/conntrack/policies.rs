//! How many timeouts of their own rules have: with any, what an entry has left no longer says how long it has been idle,
//! as nothing that the kernel lists says which entries they are for. It only asks, and only what is in the kernel.

use std::ops::ControlFlow;

use super::{
    attribute::{be32, for_each_attribute},
    dump::DumpSocket,
    message::{Content, Request},
    socket::ConntrackSocketError,
};
use crate::host::{
    modules::{self, Part},
    namespace::NetworkNamespace,
};

/// `NFT_MSG_NEWOBJ` of `NFNL_SUBSYS_NFTABLES` (include/uapi/linux/netfilter/nf_tables.h).
const MESSAGE_NFT_OBJECT: u16 = 10 << 8 | 18;
/// `IPCTNL_MSG_TIMEOUT_NEW` of `NFNL_SUBSYS_CTNETLINK_TIMEOUT` (include/uapi/linux/netfilter/nfnetlink_cttimeout.h).
const MESSAGE_TIMEOUT_POLICY: u16 = 8 << 8;
/// `NFTA_OBJ_TYPE`, and `NFT_OBJECT_CT_TIMEOUT` in it.
const NFT_OBJECT_TYPE: u16 = 3;
const NFT_OBJECT_CT_TIMEOUT: u32 = 7;

/// Counts the `ct timeout` objects of nf_tables and the policies of `nfct timeout`, which iptables' `CT --timeout` needs, in
/// a namespace.
///
/// # Errors
///
/// Without nf_conntrack_netlink they cannot be asked for; or the kernel refused.
pub fn count_in(namespace: &NetworkNamespace) -> Result<u64, ConntrackSocketError> {
    let mut count = 0;
    if modules::is_there(Part::Tables) {
        DumpSocket::open_in(namespace)?.ask(Request::NftObjects, |content| {
            count += u64::from(is_timeout_object(&content));
            ControlFlow::Continue(())
        })?;
    }
    if modules::is_there(Part::TimeoutPolicies) {
        DumpSocket::open_in(namespace)?.ask(Request::TimeoutPolicies, |content| {
            count += u64::from(matches!(content, Content::Other(MESSAGE_TIMEOUT_POLICY, _)));
            ControlFlow::Continue(())
        })?;
    }
    Ok(count)
}

/// An object that cannot be read counts as one: it is better to know too little than to end what is in use.
fn is_timeout_object(content: &Content<'_>) -> bool {
    let Content::Other(MESSAGE_NFT_OBJECT, attributes) = content else { return false };
    let mut is_timeout = false;
    let read = for_each_attribute(attributes, |kind, value| {
        is_timeout |= kind == NFT_OBJECT_TYPE && be32(value)? == NFT_OBJECT_CT_TIMEOUT;
        Ok(())
    });
    is_timeout || read.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_timeouts_are_counted_of_the_objects() {
        let of_type = |kind: u8| [8, 0, 1, 0, b't', 0, 0, 0, 8, 0, 3, 0, 0, 0, 0, kind];
        let is =
            |attributes: &[u8]| is_timeout_object(&Content::Other(MESSAGE_NFT_OBJECT, attributes));
        assert!(is(&of_type(7)));
        assert!(!is(&of_type(1)) && !is(&[]));
        assert!(is(&of_type(1)[..15]), "an object that is cut off");
        assert!(!is_timeout_object(&Content::Other(MESSAGE_TIMEOUT_POLICY, &of_type(7))));
        assert!(!is_timeout_object(&Content::Done(0)));
    }
}
