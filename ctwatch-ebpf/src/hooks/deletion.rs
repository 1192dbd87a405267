//! Entries are deleted: by a user, one by one (`ctnetlink_del_conntrack`), or many at once, by a flush, as a device
//! goes down or a namespace ends (`nf_ct_iterate_cleanup`).
//!
//! prototype: void nf_ct_iterate_cleanup(int (*iter)(struct nf_conn *, void *), const struct nf_ct_iter_data *iter_data)
//! prototype: int ctnetlink_del_conntrack(struct sk_buff *skb, const struct nfnl_info *info, const struct nlattr *const *cda)
//!
//! No argument is read, as they differ between kernels.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ctwatch_common::counter::Counter;

use crate::{stack, work};

/// Notes that it happens on this stack.
#[kprobe]
pub(crate) fn deletion(ctx: ProbeContext) -> u32 {
    work::enter(stack::pointer(&ctx), Counter::Deleted);
    0
}

/// Notes that it is over.
#[kretprobe]
pub(crate) fn deletion_return(ctx: RetProbeContext) -> u32 {
    work::leave(stack::pointer_at_return(&ctx));
    0
}
