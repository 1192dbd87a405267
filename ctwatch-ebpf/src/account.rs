//! Finding a source's row, making one, and counting in it.
//!
//! A row is looked for under the address, then under its prefix, then under the namespace, and only then
//! made: so a source whose entries were counted under its prefix for want of room is charged with their end
//! there too. A row whose key is not the one looked for belongs to somebody else by now and is passed over.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_smp_processor_id, maps::Queue};
use ctwatch_common::{
    counter::{Counter, Witness},
    row::{Row, UNATTRIBUTED},
    source::SourceKey,
};

use crate::{
    guess,
    maps::{FREE_NAMESPACE_ROWS, FREE_PREFIX_ROWS, FREE_SOURCE_ROWS, ROW_OF, ROWS, WITNESSES},
};

/// A row that was found: looked up once, and counted in as often as needed.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) row: u32,
    place: *mut Row,
}

impl Found {
    /// The row with a number.
    #[inline(always)]
    pub(crate) fn at(row: u32) -> Option<Self> {
        ROWS.get_ptr_mut(row).map(|place| Self { row, place })
    }

    /// Adds one to a counter of this row.
    #[inline(always)]
    pub(crate) fn count(self, counter: Counter) {
        // SAFETY: the lookup returned a pointer to a whole row that lives as long as the map.
        let counters = unsafe { &raw mut (*self.place).counters };
        add_one(counters.cast(), counter as usize);
    }

    /// Whether the row has exactly this key.
    #[inline(always)]
    fn is_of(&self, key: &SourceKey) -> bool {
        // SAFETY: as above.
        unsafe { (*self.place).key.is_same(key) }
    }
}

/// The row that `key` is counted in: its own, its prefix's, its namespace's, or [`UNATTRIBUTED`].
#[inline(always)]
pub(crate) fn find(key: &SourceKey) -> Option<Found> {
    match guess::of(key).and_then(Found::at) {
        Some(found) if found.is_of(key) => Some(found),
        _ => Found::at(look_up(key)),
    }
}

/// Adds one to a counter of a row.
#[inline(always)]
pub(crate) fn count(row: u32, counter: Counter) {
    if let Some(found) = Found::at(row) {
        found.count(counter);
    }
}

/// Adds one to a total of the CPU that this runs on.
#[inline(always)]
pub(crate) fn witness(total: Witness) {
    // SAFETY: the helper takes no argument and cannot fail.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    if let Some(totals) = WITNESSES.get_ptr_mut(cpu) {
        add_one(totals.cast::<u64>(), total as usize);
    }
}

/// Adds one to a counter, by its place in an array of them that is longer than that.
#[inline(always)]
pub(crate) fn add_one(counters: *mut u64, place: usize) {
    // SAFETY: `place` is in the array behind `counters`: the discriminant of an enum that is as long as that, or checked.
    let counter = unsafe { counters.add(place) };
    // SAFETY: the pointer is to an aligned 64-bit number in a map's memory. The result is not used, so that
    // this is the plain atomic add that kernels before 5.12 have.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}

/// The way where no guess is right; not inlined, as it is rare.
#[inline(never)]
fn look_up(key: &SourceKey) -> u32 {
    match existing_row(key) {
        Some(row) => {
            guess::note(key, row);
            row
        }
        None => row_of_newcomer(key),
    }
}

#[inline(always)]
fn existing_row(key: &SourceKey) -> Option<u32> {
    // SAFETY: the value may be replaced while it is read if the row is taken away from its source just now;
    // the comparison with the row's own key tells.
    let row = *unsafe { ROW_OF.get(key) }?;
    ROWS.get(row)?.key.is_same(key).then_some(row)
}

/// The way of a source that has no row yet.
#[inline(always)]
fn row_of_newcomer(key: &SourceKey) -> u32 {
    let prefix = key.prefix();
    let namespace = key.namespace();
    if let Some(row) = existing_row(&prefix).or_else(|| existing_row(&namespace)) {
        return row;
    }
    // The row was perhaps made by another CPU meanwhile; make_row finds it.
    make_row(key, &FREE_SOURCE_ROWS)
        .or_else(|| existing_row(key))
        .or_else(|| make_row(&prefix, &FREE_PREFIX_ROWS))
        .or_else(|| make_row(&namespace, &FREE_NAMESPACE_ROWS))
        .unwrap_or(UNATTRIBUTED)
}

#[inline(always)]
fn make_row(key: &SourceKey, free: &Queue<u32>) -> Option<u32> {
    let row = free.pop().ok()??;
    let place = ROWS.get_ptr_mut(row)?;
    // SAFETY: a row from the queue belongs to nobody until ROW_OF names it.
    unsafe { (*place).key = *key };
    if ROW_OF.insert(key, row, u64::from(BPF_NOEXIST)).is_ok() {
        return Some(row);
    }
    // Another CPU was faster, or the hash is busy: give the row back.
    // SAFETY: as above, ROW_OF does not name this row.
    unsafe { (*place).key = SourceKey::default() };
    if free.push(row, 0).is_err() {
        // The queue is as long as there are rows, so only contention gets here; the row stays unused.
        return existing_row(key);
    }
    existing_row(key)
}
