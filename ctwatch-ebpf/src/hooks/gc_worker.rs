//! The garbage collector runs: it frees what has expired, and near the limit also what has not.
//!
//! prototype: void gc_worker(struct work_struct *work)

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ctwatch_common::counter::Counter;

use crate::{stack, work};

/// Notes that it runs on this stack.
#[kprobe]
pub(crate) fn gc_worker(ctx: ProbeContext) -> u32 {
    work::enter(stack::pointer(&ctx), Counter::EvictedByGc);
    0
}

/// Notes that it does no more.
#[kretprobe]
pub(crate) fn gc_worker_return(ctx: RetProbeContext) -> u32 {
    work::leave(stack::pointer_at_return(&ctx));
    0
}
