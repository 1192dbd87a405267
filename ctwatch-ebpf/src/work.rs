//! Which work runs now that may end entries that have time left: the garbage collector near the limit, or a deletion.
//!
//! Such work is rare, so its beginning and end are noted on its stack, and an entry that ends finds the note there.

use ctwatch_common::counter::Counter;

use crate::stack::{self, Stack};

/// The entry is freed by what the work itself calls, at most this far down the stack.
const DEPTH_BYTES_MAX: u64 = 4096;

/// The note of work under way.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Work {
    /// Stack pointer where it began; 0 if there is none.
    stack_pointer: u64,
    /// Not 0 if it is the garbage collector.
    is_gc: u64,
}

/// Notes that work begins here; work inside other work takes its place.
#[inline(always)]
pub(crate) fn enter(stack_pointer: u64, counter: Counter) {
    if let Some(stack) = stack::at(stack_pointer) {
        let is_gc = u64::from(matches!(counter, Counter::EvictedByGc));
        // SAFETY: the pointer is to a whole element of a map, which only code on this stack writes.
        unsafe { (*stack).work = Work { stack_pointer, is_gc } };
    }
}

/// Notes that the work that began here is over.
#[inline(always)]
pub(crate) fn leave(stack_pointer: u64) {
    if let Some(stack) = stack::at(stack_pointer) {
        // SAFETY: as above.
        unsafe {
            if stack::returns((*stack).work.stack_pointer, stack_pointer) {
                (*stack).work.stack_pointer = 0;
            }
        }
    }
}

/// What an entry counts as that ends at this point of a stack: the work that this point is inside of.
#[inline(always)]
pub(crate) fn under_way(stack: &Stack, stack_pointer: u64) -> Option<Counter> {
    let Work { stack_pointer: began, is_gc } = stack.work;
    if began == 0 || began.wrapping_sub(stack_pointer) > DEPTH_BYTES_MAX {
        return None;
    }
    Some(if is_gc != 0 { Counter::EvictedByGc } else { Counter::Deleted })
}
