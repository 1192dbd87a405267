//! Whose packet an allocation is for, kept from `__nf_conntrack_alloc` until `early_drop` says no.
//!
//! A softirq may run an allocation in the middle of another one's, and a task may move to another CPU, so
//! the note is kept by the stack that the call runs on: two allocations on one stack cannot overlap except
//! as a call inside a call, which the stack pointer shows. A note that is not surely this call's (stack
//! pointer, namespace and tuple hash all agree) is no note: the requester is then unknown, never guessed.

use aya_ebpf::{macros::map, maps::Array};

/// How many notes there are; at most two allocations run on one CPU at a time, so even on hundreds of CPUs
/// two stacks rarely share one, and when they do the later one is right and the earlier one unknown.
const SLOTS: u32 = 1 << SLOTS_LOG2;
const SLOTS_LOG2: u32 = 11;

/// x86-64 stacks are 16 KiB and aligned to that (arch/x86/include/asm/page_64_types.h, THREAD_SIZE).
const STACK_SIZE_LOG2: u32 = 14;

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

/// Allocations under way, by the stack they run on.
#[map]
static REQUESTERS: Array<Requester> = Array::with_max_entries(SLOTS, 0);

/// Notes that the allocation at this point of the stack is counted in `row`.
#[inline(always)]
pub(crate) fn note(stack_pointer: u64, net: u64, tuple: u64, hash: u32, row: u32) {
    if let Some(slot) = REQUESTERS.get_ptr_mut(slot(stack_pointer)) {
        // SAFETY: the pointer is to a whole slot, which only code on the same stack writes at one time;
        // where another stack shares the slot, the checks below reject the mixture.
        unsafe {
            *slot = Requester { stack_pointer, net, tuple, row, hash, early_drop_stack_pointer: 0 };
        }
    }
}

/// Marks the note of the allocation that calls `early_drop` now, if it is surely this one's.
#[inline(always)]
pub(crate) fn enter_early_drop(stack_pointer: u64, net: u64, hash: u32) {
    let Some(slot) = REQUESTERS.get_ptr_mut(slot(stack_pointer)) else { return };
    // SAFETY: the pointer is to a whole slot of a map.
    let requester = unsafe { &mut *slot };
    let depth_bytes = requester.stack_pointer.wrapping_sub(stack_pointer);
    let same = depth_bytes <= FRAME_BYTES_MAX && requester.net == net && requester.hash == hash;
    requester.early_drop_stack_pointer = if same { stack_pointer } else { 0 };
}

/// The row of the packet for which `early_drop` is making room now, if this point of the stack is inside it.
#[inline(always)]
pub(crate) fn making_room_for(stack_pointer: u64) -> Option<u32> {
    let requester = REQUESTERS.get(slot(stack_pointer))?;
    let early_drop = requester.early_drop_stack_pointer;
    let depth_bytes = early_drop.wrapping_sub(stack_pointer);
    (early_drop != 0 && depth_bytes <= FRAME_BYTES_MAX).then_some(requester.row)
}

/// The note of the allocation whose `early_drop` returns now, and the end of it.
///
/// The stack pointer that a return probe is given differs between kernels by a few words from the one at the
/// entry, as the return address has been taken off the stack.
#[inline(always)]
pub(crate) fn leave_early_drop(stack_pointer: u64) -> Option<Requester> {
    let slot = REQUESTERS.get_ptr_mut(slot(stack_pointer))?;
    // SAFETY: the pointer is to a whole slot of a map.
    let requester = unsafe { &mut *slot };
    let distance_bytes = stack_pointer
        .wrapping_add(RETURN_WORDS_BYTES)
        .wrapping_sub(requester.early_drop_stack_pointer);
    let same = requester.early_drop_stack_pointer != 0 && distance_bytes <= 2 * RETURN_WORDS_BYTES;
    let left = *requester;
    requester.early_drop_stack_pointer = 0;
    same.then_some(left)
}

const RETURN_WORDS_BYTES: u64 = 64;

#[inline(always)]
fn slot(stack_pointer: u64) -> u32 {
    // Fibonacci hashing: the high bits of the product depend on all bits of the stack's number.
    let stack = stack_pointer >> STACK_SIZE_LOG2;
    (stack.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS_LOG2)) as u32
}
