//! How much kernel memory the table takes, from the slab's own account; reads only.

use std::fs;

/// The size of one entry in bytes, as the kernel allocates it: the `objsize` of the slab `nf_conntrack`.
///
/// `None` where `/proc/slabinfo` cannot be read (it is for root alone) or has no such slab. The extension
/// block that accounting, events, NAT or a helper add to an entry is a slab of its own and not included.
pub fn entry_bytes() -> Option<u64> {
    slab_object_bytes(&fs::read_to_string("/proc/slabinfo").ok()?, "nf_conntrack")
}

/// The memory of a table in bytes: its entries, and one pointer for each bucket
/// (`struct hlist_nulls_head`, include/linux/list_nulls.h).
pub fn table_memory_bytes(entries: u64, buckets: u64, entry_bytes: u64) -> u64 {
    let pointer_bytes = size_of::<usize>() as u64;
    entries.saturating_mul(entry_bytes).saturating_add(buckets.saturating_mul(pointer_bytes))
}

/// The `<objsize>` of a slab in the text of `/proc/slabinfo` (slabinfo(5)).
fn slab_object_bytes(slabinfo: &str, slab: &str) -> Option<u64> {
    slabinfo.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(slab)).then(|| words.nth(2)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLABINFO: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
nf_conntrack_expect      0      0    208   19    1 : tunables    0    0    0 : slabdata      0      0      0
nf_conntrack        1200   1216    256   16    1 : tunables    0    0    0 : slabdata     76     76      0
";

    #[test]
    fn the_size_of_an_entry_is_that_of_its_slab() {
        assert_eq!(slab_object_bytes(SLABINFO, "nf_conntrack"), Some(256));
        assert_eq!(slab_object_bytes(SLABINFO, "nf_conn"), None);
        assert_eq!(slab_object_bytes("nf_conntrack 1", "nf_conntrack"), None);
    }

    #[test]
    fn a_table_is_its_entries_and_its_buckets() {
        assert_eq!(table_memory_bytes(1000, 512, 256), 256_000 + 512 * 8);
        assert_eq!(table_memory_bytes(u64::MAX, 1, 256), u64::MAX);
    }
}
