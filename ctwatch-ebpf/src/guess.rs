//! Guesses of the row that a key is counted in, which spare most lookups in the hash.
//!
//! A guess is believed only if the row at that number has exactly the key, so a wrong one costs a lookup and
//! nothing else. A row that is being taken away from its source has no key that is looked for, and before it is
//! offered again its guess is forgotten: what is noted at all was found in the hash a moment before.

use aya_ebpf::{Global, macros::map, maps::Array};
use ctwatch_common::{row::UNATTRIBUTED, source::SourceKey};

/// How many bits of a hash are too many for the number of places, which is a power of two.
#[unsafe(no_mangle)]
static GUESS_SHIFT: Global<u32> = Global::new(u64::BITS - 1);

/// Numbers of rows; [`UNATTRIBUTED`], which has no key, where there is none. Keys that share a place take turns.
#[map]
static GUESSES: Array<u32> = Array::with_max_entries(1, 0);

/// 2^64 divided by the golden ratio, as in Fibonacci hashing.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The guess for a key.
#[inline(always)]
pub(crate) fn of(key: &SourceKey) -> Option<u32> {
    GUESSES.get(place(key)).copied()
}

/// Notes that `key` was found to be counted in `row`.
#[inline(always)]
pub(crate) fn note(key: &SourceKey, row: u32) {
    if let Some(guess) = GUESSES.get_ptr_mut(place(key)) {
        // SAFETY: the pointer is to a whole number in a map's memory; of two that are noted at once one stays.
        unsafe { guess.write_volatile(row) };
    }
}

/// Forgets that `key` was counted in `row`.
#[inline(always)]
pub(crate) fn forget(key: &SourceKey, row: u32) {
    if of(key) == Some(row) {
        note(key, UNATTRIBUTED);
    }
}

/// Multiplied, folded and multiplied again: by one multiplication alone most of a hundred thousand neighbouring addresses
/// share a place. The small factor keeps the halves of an IPv6 address apart.
#[inline(always)]
fn place(key: &SourceKey) -> u32 {
    let [high, low, rest] = key.words();
    let mixed = (high ^ rest).wrapping_add(low.wrapping_mul(31)).wrapping_mul(FACTOR);
    ((mixed ^ (mixed >> 32)).wrapping_mul(FACTOR) >> GUESS_SHIFT.load()) as u32
}
