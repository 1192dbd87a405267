//! A packet asks for an entry.
//!
//! prototype: struct nf_conn *__nf_conntrack_alloc(struct net *net, const struct nf_conntrack_zone *zone, const struct nf_conntrack_tuple *orig, const struct nf_conntrack_tuple *repl, gfp_t gfp, u32 hash)

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
    account::{count, row_of, witness},
    conntrack::{key_of, tuple_at},
    emit, requester,
    typed::{self, Net, Tuple},
};

/// Counts the attempt under its source and keeps the source for `early_drop`.
#[kprobe]
pub(crate) fn alloc(ctx: ProbeContext) -> u32 {
    witness(Witness::Attempts);
    let row = attempt(&ctx).unwrap_or_else(|| {
        witness(Witness::Unreadable);
        UNATTRIBUTED
    });
    count(row, Counter::Attempts);
    0
}

#[inline(always)]
fn attempt(ctx: &ProbeContext) -> Option<u32> {
    let net: u64 = ctx.arg(0)?;
    let tuple: u64 = ctx.arg(2)?;
    let hash: u32 = ctx.arg(5)?;
    let original = tuple_at(tuple)?;
    let key = key_of(net, &original)?;
    let row = row_of(&key);
    emit::trace(KIND_BEGAN, &key, &original, row);
    // SAFETY: a kprobe's context is the registers at the probe.
    let stack_pointer = unsafe { (*ctx.regs).rsp };
    requester::note(stack_pointer, net, tuple, hash, row);
    Some(row)
}

/// As [`alloc`], by tracing.
#[fentry]
pub(crate) fn alloc_entry(ctx: FEntryContext) -> u32 {
    witness(Witness::Attempts);
    let row = traced_attempt(&ctx).unwrap_or_else(|| {
        witness(Witness::Unreadable);
        UNATTRIBUTED
    });
    count(row, Counter::Attempts);
    0
}

#[inline(always)]
fn traced_attempt(ctx: &FEntryContext) -> Option<u32> {
    let net = Net(ctx.arg(0));
    let tuple = Tuple(ctx.arg(2));
    let key = tuple.key(net)?;
    let row = row_of(&key);
    emit::trace_at(KIND_BEGAN, key.netns, tuple.address(), row);
    // The trampoline's frame is gone again when the function runs in its place, and the function's own may be
    // smaller: seen from above it, what the function calls lies surely below.
    let stack_pointer = typed::stack_pointer(ctx) + typed::TRAMPOLINE_BYTES;
    requester::note(stack_pointer, net.address(), tuple.address(), ctx.arg(5), row);
    Some(row)
}
