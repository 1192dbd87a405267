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
    event::{
        KIND_END_CLOSED, KIND_END_DELETED, KIND_END_TIMED_OUT, KIND_END_UNCONFIRMED, KIND_ENDED,
        KIND_EVICTED_BY_GC, KIND_EVICTED_FOR_PACKET, Optional,
    },
    row::UNATTRIBUTED,
};

use crate::{
    account::{Found, count, find, witness},
    conntrack::{CONFIRMED, NF_CONN_TUPLE, key_of, start_of, status_and_net_of},
    emit, requester, stack,
    typed::{self, Entry},
    work,
};

/// Counts the end under the source that opened the entry, and why it ended.
#[kprobe]
pub(crate) fn free(ctx: ProbeContext) -> u32 {
    witness(Witness::Ended);
    if end(&ctx).is_none() {
        witness(Witness::Unreadable);
        count(UNATTRIBUTED, Counter::Ended);
    }
    0
}

#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<()> {
    let address: u64 = ctx.arg(0)?;
    let mut place = MaybeUninit::uninit();
    let start = start_of(address, &mut place)?;
    let (status, net) = status_and_net_of(address)?;
    let key = key_of(net, &start.original)?;
    let found = find(&key)?;
    emit::trace(KIND_ENDED, &key, &start.original, found.row);
    let entry =
        Ending { netns: key.netns, tuple: address + u64::from(NF_CONN_TUPLE.load()), status };
    count_end(found, entry, || start.is_expired(), stack::pointer(ctx));
    Some(())
}

/// As [`free`], by tracing.
#[fentry]
pub(crate) fn free_entry(ctx: FEntryContext) -> u32 {
    witness(Witness::Ended);
    if traced_end(&ctx).is_none() {
        witness(Witness::Unreadable);
        count(UNATTRIBUTED, Counter::Ended);
    }
    0
}

#[inline(always)]
fn traced_end(ctx: &FEntryContext) -> Option<()> {
    let entry = Entry(ctx.arg(0));
    let original = entry.original();
    let key = original.key(entry.net())?;
    let found = find(&key)?;
    emit::trace_at(KIND_ENDED, key.netns, original.address(), found.row);
    let ending = Ending { netns: key.netns, tuple: original.address(), status: entry.status() };
    count_end(found, ending, || entry.is_expired(), typed::stack_pointer(ctx));
    Some(())
}

/// What is known of an entry that ends.
#[derive(Clone, Copy)]
struct Ending {
    netns: u32,
    /// Address of its tuple.
    tuple: u64,
    status: u64,
}

/// Counts the end, and then why it came, so that a reader who reads the reasons first never sees more of them.
///
/// An entry whose time is over ends for that, wherever: the kernel does not count it as a drop either
/// (`early_drop_list`, net/netfilter/nf_conntrack_core.c). Any other that ends inside `early_drop` makes room for
/// somebody's packet. What has no reason here was closed by a packet, or its last user was late.
#[inline(always)]
fn count_end(found: Found, entry: Ending, is_expired: impl Fn() -> bool, stack_pointer: u64) {
    found.count(Counter::Ended);
    let tell = |of, kind, by| emit::tell(of, kind, entry.netns, found.row, entry.tuple, by);
    if entry.status & CONFIRMED == 0 {
        tell(Optional::Ended, KIND_END_UNCONFIRMED, 0);
        return found.count(Counter::Transient);
    }
    if is_expired() {
        tell(Optional::Ended, KIND_END_TIMED_OUT, 0);
        return found.count(Counter::TimedOut);
    }
    let Some(stack) = stack::at(stack_pointer) else { return };
    // SAFETY: the pointer is to a whole element of a map, which other code than this stack's hardly writes.
    let stack = unsafe { &*stack };
    if let Some(requester) = requester::making_room_for(stack, stack_pointer) {
        let by = requester.row;
        tell(Optional::Evicted, KIND_EVICTED_FOR_PACKET, requester.tuple);
        found.count(Counter::Evicted);
        return count(by, Counter::EvictionsCaused);
    }
    match work::under_way(stack, stack_pointer) {
        Some(Counter::EvictedByGc) => {
            tell(Optional::Evicted, KIND_EVICTED_BY_GC, 0);
            found.count(Counter::EvictedByGc);
        }
        Some(_) => {
            tell(Optional::Ended, KIND_END_DELETED, 0);
            found.count(Counter::Deleted);
        }
        None => tell(Optional::Ended, KIND_END_CLOSED, 0),
    }
}
