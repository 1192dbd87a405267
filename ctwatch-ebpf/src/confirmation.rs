//! Which entry is being put into the table by the call that this stack is in, and whether it has met its like there.

use crate::stack::{self, Stack};

/// `nf_ct_resolve_clash` is called by `__nf_conntrack_confirm` itself.
const DEPTH_BYTES_MAX: u64 = 1024;

/// The note of one call of `__nf_conntrack_confirm`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Confirmation {
    /// Stack pointer at its entry; 0 if there is none under way.
    stack_pointer: u64,
    /// Address of the entry.
    pub(crate) entry: u64,
    /// Not 0 if another entry has the same tuple.
    pub(crate) has_clashed: u64,
}

/// Notes that `entry` is to be put into the table.
#[inline(always)]
pub(crate) fn enter(stack_pointer: u64, entry: u64) {
    if let Some(stack) = stack::at(stack_pointer) {
        // SAFETY: the pointer is to a whole element of a map, which only code on this stack writes.
        unsafe { (*stack).confirmation = Confirmation { stack_pointer, entry, has_clashed: 0 } };
    }
}

/// Notes that the entry of the call that this point is inside of has met its like.
#[inline(always)]
pub(crate) fn clash(stack_pointer: u64) {
    if let Some(stack) = stack::at(stack_pointer) {
        // SAFETY: as above.
        let confirmation = unsafe { &mut (*stack).confirmation };
        let began = confirmation.stack_pointer;
        if began != 0 && began.wrapping_sub(stack_pointer) <= DEPTH_BYTES_MAX {
            confirmation.has_clashed = 1;
        }
    }
}

/// The note of the call that returns now, and the end of it.
#[inline(always)]
pub(crate) fn leave(stack_pointer: u64) -> Option<Confirmation> {
    let stack: *mut Stack = stack::at(stack_pointer)?;
    // SAFETY: as above.
    let confirmation = unsafe { &mut (*stack).confirmation };
    let left = *confirmation;
    confirmation.stack_pointer = 0;
    stack::returns(left.stack_pointer, stack_pointer).then_some(left)
}
