//! What a table costs: memory, and the time for which the kernel stands still while it makes the hash table anew.

use crate::advise::facts::Memory;

/// The slab object of one entry on 64-bit kernels (`struct nf_conn`), where the slab's own account cannot be read.
const ENTRY_BYTES_USUAL: u64 = 256;
/// The extensions of one entry on a gateway that translates: the first one allocates at least so much (`nf_ct_ext_add`,
/// net/netfilter/nf_conntrack_extend.c).
const EXTENSION_BYTES_USUAL: u64 = 128;
/// A pointer (`struct hlist_nulls_head`, include/linux/list_nulls.h).
const BUCKET_BYTES: u64 = 8;
/// The kernel rounds buckets up to a page of pointers (`nf_ct_alloc_hashtable`, net/netfilter/nf_conntrack_core.c).
pub const BUCKETS_STEP: u64 = 512;
/// What it takes to link one entry anew, with all buckets locked (`nf_conntrack_hash_resize`): 0.4 to 0.5 µs were
/// measured on 6.18.
const RELINK_MS: f64 = 0.0005;

/// Memory of one entry with its extensions, and whether that was measured.
pub fn entry_bytes(memory: &Memory) -> (u64, &'static str) {
    let bytes = memory
        .entry_bytes
        .unwrap_or(ENTRY_BYTES_USUAL)
        .saturating_add(memory.extension_bytes.unwrap_or(EXTENSION_BYTES_USUAL));
    let from = match (memory.entry_bytes, memory.extension_bytes) {
        (Some(_), Some(_)) => "slab nf_conntrack and the extensions in use",
        (Some(_), None) => "slab nf_conntrack, and 128 B assumed for extensions",
        (None, _) => "256 B and extensions assumed, as /proc/slabinfo cannot be read",
    };
    (bytes, from)
}

/// Memory of a full table.
pub fn table_bytes(entries: u64, buckets: u64, entry_bytes: u64) -> u64 {
    entries.saturating_mul(entry_bytes).saturating_add(buckets.saturating_mul(BUCKET_BYTES))
}

/// For how long no entry can be made or ended anywhere on the machine while the buckets change, in milliseconds.
pub fn resize_stall_ms(entries_of_machine: u64) -> f64 {
    entries_of_machine as f64 * RELINK_MS
}

/// The most buckets that the kernel makes and that are no more than these; at least one step of them.
pub fn buckets_at_most(buckets: u64) -> u64 {
    (buckets / BUCKETS_STEP).max(1).saturating_mul(BUCKETS_STEP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_entries_extensions_and_buckets() {
        let measured =
            Memory { entry_bytes: Some(256), extension_bytes: Some(0), ..Memory::default() };
        assert_eq!(entry_bytes(&measured).0, 256);
        assert_eq!(entry_bytes(&Memory::default()).0, 384);
        assert_eq!(table_bytes(1000, 512, 384), 384_000 + 4096);
        assert_eq!(table_bytes(u64::MAX, u64::MAX, 384), u64::MAX);
    }

    /// 1.0 and 1.42 million entries took 0.53 and 0.64 seconds.
    #[test]
    fn the_stall_is_near_what_was_measured() {
        assert!((resize_stall_ms(1_000_000) - 530.0).abs() < 40.0);
        assert!((resize_stall_ms(1_420_000) - 640.0).abs() < 80.0);
    }

    proptest! {
        #[test]
        fn buckets_are_whole_steps_and_no_more_than_asked_for(buckets in 0_u64..1 << 40) {
            let rounded = buckets_at_most(buckets);
            prop_assert_eq!(rounded % BUCKETS_STEP, 0);
            prop_assert!(rounded == BUCKETS_STEP || rounded <= buckets);
            prop_assert!(rounded + BUCKETS_STEP > buckets && rounded > 0);
        }
    }
}
