//! The table is full and nf_conntrack looks for an entry to throw out; if it finds none, the packet is refused.
//!
//! prototype: int early_drop(struct net *net, unsigned int hash)

use core::mem::MaybeUninit;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::KIND_REFUSED_TABLE_FULL,
    row::UNATTRIBUTED,
};

use crate::{
    account::{count, witness},
    conntrack::{netns_of, tuple_at},
    emit, requester, stack, typed,
};

/// Finds the allocation that calls, so that its return can be charged to the right source.
#[kprobe]
pub(crate) fn early_drop(ctx: ProbeContext) -> u32 {
    if let (Some(net), Some(hash)) = (ctx.arg(0), ctx.arg(1)) {
        requester::enter_early_drop(stack::pointer(&ctx), net, hash);
    }
    0
}

/// Counts a refusal under its source, and sends it as an event.
#[kretprobe]
pub(crate) fn early_drop_return(ctx: RetProbeContext) -> u32 {
    returned(stack::pointer_at_return(&ctx), ctx.ret());
    0
}

/// As [`early_drop`], by tracing.
#[fentry]
pub(crate) fn early_drop_entry(ctx: FEntryContext) -> u32 {
    requester::enter_early_drop(typed::stack_pointer(&ctx), ctx.arg(0), ctx.arg(1));
    0
}

/// As [`early_drop_return`], by tracing.
#[fexit]
pub(crate) fn early_drop_exit(ctx: FExitContext) -> u32 {
    // The result comes after the two arguments.
    returned(typed::stack_pointer(&ctx), ctx.arg(2));
    0
}

#[inline(always)]
fn returned(stack_pointer: u64, result: u64) {
    let requester = requester::leave_early_drop(stack_pointer);
    // The function returns a bool: only the lowest byte of the register is set.
    if result & 0xff != 0 {
        return;
    }
    witness(Witness::Refused);
    let Some(requester) = requester else {
        witness(Witness::RequesterUnknown);
        count(UNATTRIBUTED, Counter::Refused);
        return;
    };
    count(requester.row, Counter::Refused);
    if let Some(time_ns) = emit::may_send(requester.row) {
        let mut place = MaybeUninit::uninit();
        let tuple = tuple_at(requester.tuple, &mut place);
        if let (Some(tuple), Some(netns)) = (tuple, netns_of(requester.net)) {
            emit::send(&emit::record(
                KIND_REFUSED_TABLE_FULL,
                time_ns,
                netns,
                tuple,
                requester.row,
            ));
        }
    }
}
