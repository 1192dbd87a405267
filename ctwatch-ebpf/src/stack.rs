//! What is kept by the stack that code runs on, from one hook to another further down the same call.
//!
//! A softirq may run in the middle of a task's call, and a task may move to another CPU, so neither the CPU nor the
//! task says which call a hook is in; the stack does, as softirqs have a stack of their own on x86-64
//! (arch/x86/kernel/irq_64.c). Each user keeps the stack pointer with its note and says what distance it believes.

use aya_ebpf::{
    macros::map,
    maps::Array,
    programs::{ProbeContext, RetProbeContext},
};

use crate::{confirmation::Confirmation, requester::Requester, work::Work};

/// How many stacks are kept apart; at most two run on one CPU at a time, so even on hundreds of CPUs two that are in
/// use rarely share one, and when they do the later note is right and the earlier one gone.
const STACKS: u32 = 1 << STACKS_LOG2;
const STACKS_LOG2: u32 = 11;

/// x86-64 stacks are 16 KiB and aligned to that (arch/x86/include/asm/page_64_types.h, THREAD_SIZE).
const STACK_SIZE_LOG2: u32 = 14;

/// A return probe is given a stack pointer that differs from the one at the entry by a few words, not by the same
/// number on all kernels, as the return address has been taken off the stack.
const RETURN_BYTES: u64 = 64;

/// The notes of one stack.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Stack {
    /// Of an allocation.
    pub(crate) requester: Requester,
    /// Of what may end entries that have time left.
    pub(crate) work: Work,
    /// Of an entry that is being put into the table.
    pub(crate) confirmation: Confirmation,
}

#[map]
static NOTES: Array<Stack> = Array::with_max_entries(STACKS, 0);

/// The notes of the stack that a pointer is into.
#[inline(always)]
pub(crate) fn at(stack_pointer: u64) -> Option<*mut Stack> {
    // Fibonacci hashing: the high bits of the product depend on all bits of the stack's number.
    let stack = stack_pointer >> STACK_SIZE_LOG2;
    NOTES.get_ptr_mut((stack.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - STACKS_LOG2)) as u32)
}

/// Where the stack is at a kprobe: the lower half of the pointer, which is all that a traced function's program
/// knows of it.
#[inline(always)]
pub(crate) fn pointer(ctx: &ProbeContext) -> u64 {
    // SAFETY: a kprobe's context is the registers at the probe.
    u64::from(unsafe { (*ctx.regs).rsp } as u32)
}

/// As [`pointer`], at a kretprobe.
#[inline(always)]
pub(crate) fn pointer_at_return(ctx: &RetProbeContext) -> u64 {
    // SAFETY: a kretprobe's context is the registers at the return.
    u64::from(unsafe { (*ctx.regs).rsp } as u32)
}

/// Whether the call that was entered at one stack pointer is the one that returns at another.
#[inline(always)]
pub(crate) fn returns(entered: u64, returned: u64) -> bool {
    entered != 0 && returned.wrapping_add(RETURN_BYTES).wrapping_sub(entered) <= 2 * RETURN_BYTES
}
