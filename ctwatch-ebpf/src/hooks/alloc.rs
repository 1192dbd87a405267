//! A packet asks for an entry.
//!
//! prototype: struct nf_conn *__nf_conntrack_alloc(struct net *net, const struct nf_conntrack_zone *zone, const struct nf_conntrack_tuple *orig, const struct nf_conntrack_tuple *repl, gfp_t gfp, u32 hash)

use core::mem::MaybeUninit;

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::KIND_BEGAN,
    row::UNATTRIBUTED,
};

use crate::{
    account::{Found, find, witness},
    conntrack::{RENAMED, key_of, tuple_at},
    emit, requester, stack,
    typed::{self, Net, Tuple},
};

/// Counts the attempt under its source and keeps the source for `early_drop`.
#[kprobe]
pub(crate) fn alloc(ctx: ProbeContext) -> u32 {
    witness(Witness::Attempts);
    let found = attempt(&ctx).or_else(|| {
        witness(Witness::Unreadable);
        Found::at(UNATTRIBUTED)
    });
    if let Some(found) = found {
        found.count(Counter::Attempts);
    }
    0
}

#[inline(always)]
fn attempt(ctx: &ProbeContext) -> Option<Found> {
    let net: u64 = ctx.arg(0)?;
    let tuple: u64 = ctx.arg(2)?;
    let hash: u32 = ctx.arg(5)?;
    let mut place = MaybeUninit::uninit();
    let original = tuple_at(tuple, &mut place)?;
    if RENAMED.load() != 0 && (original.direction != 0 || original.protocol == 0) {
        return None;
    }
    let key = key_of(net, original)?;
    let found = find(&key)?;
    emit::trace(KIND_BEGAN, &key, original, found.row);
    requester::note(stack::pointer(ctx), net, tuple, hash, found.row);
    Some(found)
}

/// As [`alloc`], by tracing.
#[fentry]
pub(crate) fn alloc_entry(ctx: FEntryContext) -> u32 {
    witness(Witness::Attempts);
    let found = traced_attempt(&ctx).or_else(|| {
        witness(Witness::Unreadable);
        Found::at(UNATTRIBUTED)
    });
    if let Some(found) = found {
        found.count(Counter::Attempts);
    }
    0
}

#[inline(always)]
fn traced_attempt(ctx: &FEntryContext) -> Option<Found> {
    let net = Net(ctx.arg(0));
    let tuple = Tuple(ctx.arg(2));
    let key = tuple.key(net)?;
    let found = find(&key)?;
    emit::trace_at(KIND_BEGAN, key.netns, tuple.address(), found.row);
    // The trampoline's frame is gone again when the function runs in its place, and the function's own may be
    // smaller: seen from above it, what the function calls lies surely below.
    let stack_pointer = typed::stack_pointer(ctx) + typed::TRAMPOLINE_BYTES;
    requester::note(stack_pointer, net.address(), tuple.address(), ctx.arg(5), found.row);
    Some(found)
}
