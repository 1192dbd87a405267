//! An entry is gone; the table's count has just gone down by one or is about to.
//!
//! prototype: void nf_conntrack_free(struct nf_conn *ct)

use core::mem::MaybeUninit;

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::KIND_ENDED,
    row::UNATTRIBUTED,
};

use crate::{
    account::{Found, count, find, witness},
    conntrack::{CONFIRMED, key_of, start_of, status_and_net_of},
    emit, requester,
    typed::{self, Entry},
};

/// Counts the end under the source that opened the entry, and why it ended as far as that costs nothing.
#[kprobe]
pub(crate) fn free(ctx: ProbeContext) -> u32 {
    witness(Witness::Ended);
    let found = end(&ctx).or_else(|| {
        witness(Witness::Unreadable);
        Found::at(UNATTRIBUTED)
    });
    if let Some(found) = found {
        found.count(Counter::Ended);
    }
    0
}

#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<Found> {
    let address: u64 = ctx.arg(0)?;
    let mut place = MaybeUninit::uninit();
    let start = start_of(address, &mut place)?;
    let (status, net) = status_and_net_of(address)?;
    let key = key_of(net, &start.original)?;
    let found = find(&key)?;
    emit::trace(KIND_ENDED, &key, &start.original, found.row);
    // SAFETY: a kprobe's context is the registers at the probe.
    let stack_pointer = unsafe { (*ctx.regs).rsp };
    count_why(found, status, || start.is_expired(), stack_pointer);
    Some(found)
}

/// As [`free`], by tracing.
#[fentry]
pub(crate) fn free_entry(ctx: FEntryContext) -> u32 {
    witness(Witness::Ended);
    let found = traced_end(&ctx).or_else(|| {
        witness(Witness::Unreadable);
        Found::at(UNATTRIBUTED)
    });
    if let Some(found) = found {
        found.count(Counter::Ended);
    }
    0
}

#[inline(always)]
fn traced_end(ctx: &FEntryContext) -> Option<Found> {
    let entry = Entry(ctx.arg(0));
    let original = entry.original();
    let key = original.key(entry.net())?;
    let found = find(&key)?;
    emit::trace_at(KIND_ENDED, key.netns, original.address(), found.row);
    count_why(found, entry.status(), || entry.is_expired(), typed::stack_pointer(ctx));
    Some(found)
}

/// An entry that ends inside `early_drop` makes room for somebody's packet, unless it had expired and was only
/// met on the way, which the kernel does not count as a drop (`early_drop_list`, net/netfilter/nf_conntrack_core.c).
#[inline(always)]
fn count_why(found: Found, status: u64, is_expired: impl Fn() -> bool, stack_pointer: u64) {
    if status & CONFIRMED == 0 {
        found.count(Counter::Transient);
    } else if !is_expired() {
        if let Some(requester) = requester::making_room_for(stack_pointer) {
            found.count(Counter::Evicted);
            count(requester, Counter::EvictionsCaused);
        }
    }
}
