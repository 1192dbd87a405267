//! What user space has done to the rows, by running a program on demand (BPF_PROG_TEST_RUN).
//!
//! A program run so does not raise `bpf_prog_active` (net/bpf/test_run.c, __bpf_prog_test_run_raw_tp), so
//! that, unlike with bpf(2)'s own map calls, no hook is skipped meanwhile. The entry points are written out
//! because aya's macro for raw tracepoints throws the result away.

use core::ffi::c_void;

use aya_ebpf::{maps::Queue, programs::RawTracePointContext};
use ctwatch_common::{
    event::Outbox,
    row::{Row, Tier},
};

use crate::{
    guess,
    maps::{FREE_NAMESPACE_ROWS, FREE_PREFIX_ROWS, FREE_SOURCE_ROWS, OUTBOXES, ROW_OF, ROWS},
};

/// At most this many rows are offered in one run; keeps the verifier's work small.
const OFFERED_MAX: u32 = 1024;

/// Offers rows for use. Arguments: first row, number of rows, [`Tier`]. Returns how many were offered.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub(crate) fn offer_rows(ctx: *mut c_void) -> u32 {
    let ctx = RawTracePointContext::new(ctx);
    let first: u32 = ctx.arg(0);
    let wanted: u32 = ctx.arg(1);
    let Some(free) = free_rows(ctx.arg(2)) else { return 0 };
    let mut offered = 0;
    while offered < OFFERED_MAX && offered < wanted {
        if free.push(first + offered, 0).is_err() {
            break;
        }
        offered += 1;
    }
    offered
}

/// Takes a row away from its source, so that nothing finds it any more. Argument: the row. Returns 1 if it was.
///
/// Hooks that found it before may still be counting in it: user space waits for them before it goes on.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub(crate) fn unlink_row(ctx: *mut c_void) -> u32 {
    let ctx = RawTracePointContext::new(ctx);
    let row: u32 = ctx.arg(0);
    let Some(place) = ROWS.get_ptr_mut(row) else { return 0 };
    // SAFETY: the pointer is to a whole row, whose key only the programs of this file change while it is taken.
    let key = unsafe { (*place).key };
    // SAFETY: the value is compared only.
    let is_linked = unsafe { ROW_OF.get(&key) }.is_some_and(|linked| *linked == row);
    if !is_linked || ROW_OF.remove(&key).is_err() {
        return 0;
    }
    // From here on no guess leads to it either.
    // SAFETY: as above.
    unsafe { (*place).key = key.unlinked() };
    1
}

/// Empties an unlinked row and offers it again. Arguments: the row, its [`Tier`]. Returns 1 if it was.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub(crate) fn release_row(ctx: *mut c_void) -> u32 {
    let ctx = RawTracePointContext::new(ctx);
    let row: u32 = ctx.arg(0);
    let Some(free) = free_rows(ctx.arg(1)) else { return 0 };
    let Some(place) = ROWS.get_ptr_mut(row) else { return 0 };
    // SAFETY: the row is unlinked and nobody is counting in it any more.
    let key = unsafe { (*place).key };
    // Nobody can note it again: whoever had found it in the hash is through.
    guess::forget(&key.as_linked(), row);
    // SAFETY: as above.
    unsafe { *place = Row::default() };
    if let Some(outbox) = OUTBOXES.get_ptr_mut(row) {
        // SAFETY: as above.
        unsafe { *outbox = Outbox::default() };
    }
    u32::from(free.push(row, 0).is_ok())
}

#[inline(always)]
fn free_rows(tier: u32) -> Option<&'static Queue<u32>> {
    const SOURCE: u32 = Tier::Source as u32;
    const PREFIX: u32 = Tier::Prefix as u32;
    const NAMESPACE: u32 = Tier::Namespace as u32;
    match tier {
        SOURCE => Some(&FREE_SOURCE_ROWS),
        PREFIX => Some(&FREE_PREFIX_ROWS),
        NAMESPACE => Some(&FREE_NAMESPACE_ROWS),
        _ => None,
    }
}
