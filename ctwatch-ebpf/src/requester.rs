//! Whose packet an allocation is for, kept from `__nf_conntrack_alloc` until `early_drop` says no.
//!
//! Two allocations on one stack cannot overlap except as a call inside a call, which the stack pointer shows. A
//! note that is not surely this call's (stack pointer, namespace and tuple hash all agree) is no note: the
//! requester is then unknown, never guessed.

use crate::{
    conntrack::RENAMED,
    stack::{self, Stack},
};

/// `early_drop` is called by `__nf_conntrack_alloc` itself, so its frame is no further down the stack than
/// this many bytes.
const FRAME_BYTES_MAX: u64 = 1024;

/// The note of one allocation.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Requester {
    /// Stack pointer at the entry of `__nf_conntrack_alloc`.
    stack_pointer: u64,
    /// Address of the `struct net`.
    pub(crate) net: u64,
    /// Address of the original tuple, which the caller keeps for as long as the call lasts.
    pub(crate) tuple: u64,
    /// The row that the attempt was counted in.
    pub(crate) row: u32,
    /// The hash that `__nf_conntrack_alloc` was given and hands on to `early_drop`.
    hash: u32,
    /// Stack pointer at the entry of `early_drop`, while that runs for this note; else 0.
    early_drop_stack_pointer: u64,
}

/// Notes that the allocation at this point of the stack is counted in `row`.
#[inline(always)]
pub(crate) fn note(stack_pointer: u64, net: u64, tuple: u64, hash: u32, row: u32) {
    if let Some(stack) = stack::at(stack_pointer) {
        // SAFETY: the pointer is to a whole element of a map, which only code on the same stack writes at one time;
        // where another stack shares it, the checks below reject the mixture.
        unsafe {
            (*stack).requester =
                Requester { stack_pointer, net, tuple, row, hash, early_drop_stack_pointer: 0 };
        }
    }
}

/// Marks the note of the allocation that calls `early_drop` now, if it is surely this one's.
#[inline(always)]
pub(crate) fn enter_early_drop(stack_pointer: u64, net: u64, hash: u32) {
    let Some(stack) = stack::at(stack_pointer) else { return };
    // SAFETY: the pointer is to a whole element of a map.
    let requester = unsafe { &mut (*stack).requester };
    let depth_bytes = requester.stack_pointer.wrapping_sub(stack_pointer);
    // A function that the compiler made another of may have the hash elsewhere.
    let same_hash = requester.hash == hash || RENAMED.load() != 0;
    let same = depth_bytes <= FRAME_BYTES_MAX && requester.net == net && same_hash;
    requester.early_drop_stack_pointer = if same { stack_pointer } else { 0 };
}

/// The packet for which `early_drop` is making room now, if this point of the stack is inside it.
#[inline(always)]
pub(crate) fn making_room_for(stack: &Stack, stack_pointer: u64) -> Option<&Requester> {
    let requester = &stack.requester;
    let early_drop = requester.early_drop_stack_pointer;
    let depth_bytes = early_drop.wrapping_sub(stack_pointer);
    (early_drop != 0 && depth_bytes <= FRAME_BYTES_MAX).then_some(requester)
}

/// The note of the allocation whose `early_drop` returns now, and the end of it.
#[inline(always)]
pub(crate) fn leave_early_drop(stack_pointer: u64) -> Option<Requester> {
    let stack = stack::at(stack_pointer)?;
    // SAFETY: the pointer is to a whole element of a map.
    let requester = unsafe { &mut (*stack).requester };
    let left = *requester;
    requester.early_drop_stack_pointer = 0;
    stack::returns(left.early_drop_stack_pointer, stack_pointer).then_some(left)
}
