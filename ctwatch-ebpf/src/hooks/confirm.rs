//! An entry is put into the table, or cannot be: attached only once the kernel has counted a failure.
//!
//! prototype: int __nf_conntrack_confirm(struct sk_buff *skb)
//! prototype: int nf_ct_resolve_clash(struct sk_buff *skb, struct nf_conntrack_tuple_hash *h, u32 reply_hash)

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::bpf_probe_read_kernel,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ctwatch_common::{
    counter::Counter,
    event::{KIND_INSERT_CHAIN_TOO_LONG, KIND_INSERT_CLASH, KIND_INSERT_DELETED, Optional},
};

use crate::{
    account::find,
    confirmation::{self, Confirmation},
    conntrack::{DYING, NF_CONN_TUPLE, SKB_NFCT, key_of, start_of, status_and_net_of},
    emit, stack,
};

/// The lowest bits of `skb->_nfct` say how the packet relates to the entry (include/linux/skbuff.h, NFCT_PTRMASK).
const ENTRY_MASK: u64 = !7;
/// NF_DROP (include/uapi/linux/netfilter.h).
const NF_DROP: u32 = 0;

/// Notes the entry.
#[kprobe]
pub(crate) fn confirm(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg::<u64>(0) {
        let place = (skb + u64::from(SKB_NFCT.load())) as *const u64;
        // SAFETY: the helper checks the address and fails for a bad one.
        if let Ok(entry) = unsafe { bpf_probe_read_kernel(place) } {
            confirmation::enter(stack::pointer(&ctx), entry & ENTRY_MASK);
        }
    }
    0
}

/// Notes that there is another entry with the same tuple.
#[kprobe]
pub(crate) fn resolve_clash(ctx: ProbeContext) -> u32 {
    confirmation::clash(stack::pointer(&ctx));
    0
}

/// Counts the failure under the source that opened the entry, and whether it was for the length of a hash chain.
#[kretprobe]
pub(crate) fn confirm_return(ctx: RetProbeContext) -> u32 {
    let left = confirmation::leave(stack::pointer_at_return(&ctx));
    if let Some(confirmation) = left.filter(|_| ctx.ret::<u32>() == NF_DROP) {
        let _ = failed(&confirmation);
    }
    0
}

/// The packet still has the entry, so that it can be read.
#[inline(always)]
fn failed(confirmation: &Confirmation) -> Option<()> {
    let mut place = MaybeUninit::uninit();
    let start = start_of(confirmation.entry, &mut place)?;
    let (status, net) = status_and_net_of(confirmation.entry)?;
    let key = key_of(net, &start.original)?;
    let found = find(&key)?;
    let why = if confirmation.has_clashed != 0 {
        KIND_INSERT_CLASH
    } else if status & DYING != 0 {
        // An entry that was flushed before it was in the table is not put into it either.
        KIND_INSERT_DELETED
    } else {
        KIND_INSERT_CHAIN_TOO_LONG
    };
    let tuple = confirmation.entry + u64::from(NF_CONN_TUPLE.load());
    emit::tell(Optional::InsertFailed, why, key.netns, found.row, tuple, 0);
    found.count(Counter::InsertFailed);
    if why == KIND_INSERT_CHAIN_TOO_LONG {
        found.count(Counter::ChainTooLong);
    }
    Some(())
}
