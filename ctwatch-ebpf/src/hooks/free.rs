//! An entry is gone; the table's count has just gone down by one or is about to.
//!
//! prototype: void nf_conntrack_free(struct nf_conn *ct)

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
    account::{count, row_of, witness},
    conntrack::{entry_at, is_expired},
    emit, requester,
    typed::{self, Entry},
};

/// Counts the end under the source that opened the entry, and why it ended as far as that costs nothing.
#[kprobe]
pub(crate) fn free(ctx: ProbeContext) -> u32 {
    witness(Witness::Ended);
    let row = end(&ctx).unwrap_or_else(|| {
        witness(Witness::Unreadable);
        UNATTRIBUTED
    });
    count(row, Counter::Ended);
    0
}

#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<u32> {
    let address: u64 = ctx.arg(0)?;
    let entry = entry_at(address)?;
    let row = row_of(&entry.key);
    emit::trace(KIND_ENDED, &entry.key, &entry.tuple, row);
    if !entry.was_confirmed() {
        count(row, Counter::Transient);
    }
    // SAFETY: a kprobe's context is the registers at the probe.
    let stack_pointer = unsafe { (*ctx.regs).rsp };
    if let Some(requester) = requester::making_room_for(stack_pointer) {
        evicted(address, row, requester);
    }
    Some(row)
}

/// As [`free`], by tracing.
#[fentry]
pub(crate) fn free_entry(ctx: FEntryContext) -> u32 {
    witness(Witness::Ended);
    let row = traced_end(&ctx).unwrap_or_else(|| {
        witness(Witness::Unreadable);
        UNATTRIBUTED
    });
    count(row, Counter::Ended);
    0
}

#[inline(always)]
fn traced_end(ctx: &FEntryContext) -> Option<u32> {
    let entry = Entry(ctx.arg(0));
    let original = entry.original();
    let key = original.key(entry.net())?;
    let row = row_of(&key);
    emit::trace_at(KIND_ENDED, key.netns, original.address(), row);
    if !entry.was_confirmed() {
        count(row, Counter::Transient);
    }
    if let Some(requester) = requester::making_room_for(typed::stack_pointer(ctx)) {
        evicted(entry.address(), row, requester);
    }
    Some(row)
}

/// An entry that ends inside `early_drop` makes room for somebody's packet, unless it had expired and was only
/// met on the way, which the kernel does not count as a drop (`early_drop_list`, net/netfilter/nf_conntrack_core.c).
#[inline(never)]
fn evicted(address: u64, victim: u32, requester: u32) -> u32 {
    if is_expired(address) == Some(false) {
        count(victim, Counter::Evicted);
        count(requester, Counter::EvictionsCaused);
    }
    0
}
