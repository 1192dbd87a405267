//! Reading nf_conntrack's own structures. Nothing here writes or keeps anything.

use core::mem::offset_of;

use aya_ebpf::{
    Global,
    helpers::{bpf_jiffies64, bpf_probe_read_kernel},
};
use ctwatch_common::{layout, source::SourceKey};

/// `struct nf_conn`: offset of the original direction's tuple, in bytes.
#[unsafe(no_mangle)]
pub(crate) static NF_CONN_TUPLE: Global<u32> = Global::new(0);
/// `struct nf_conn`: offset of `ct_net`, in bytes.
#[unsafe(no_mangle)]
pub(crate) static NF_CONN_NET: Global<u32> = Global::new(0);
/// `struct nf_conn`: offset of `status`, in bytes; `ct_net` is 8 or 16 bytes behind it.
#[unsafe(no_mangle)]
pub(crate) static NF_CONN_STATUS: Global<u32> = Global::new(0);
/// `struct nf_conn`: offset of `timeout`, in bytes.
#[unsafe(no_mangle)]
static NF_CONN_TIMEOUT: Global<u32> = Global::new(0);
/// `struct net`: offset of `ns.inum`, in bytes.
#[unsafe(no_mangle)]
pub(crate) static NET_INUM: Global<u32> = Global::new(0);

/// `struct nf_conntrack_tuple`, as far as it is read.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Tuple {
    pub(crate) source: [u8; 16],
    pub(crate) source_port: u16,
    pub(crate) family: u16,
    pub(crate) destination: [u8; 16],
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
    pub(crate) direction: u8,
}

const _: () = assert!(offset_of!(Tuple, source) == layout::tuple::SOURCE);
const _: () = assert!(offset_of!(Tuple, source_port) == layout::tuple::SOURCE_PORT);
const _: () = assert!(offset_of!(Tuple, family) == layout::tuple::FAMILY);
const _: () = assert!(offset_of!(Tuple, destination) == layout::tuple::DESTINATION);
const _: () = assert!(offset_of!(Tuple, destination_port) == layout::tuple::DESTINATION_PORT);
const _: () = assert!(offset_of!(Tuple, protocol) == layout::tuple::PROTOCOL);
const _: () = assert!(size_of::<Tuple>() == layout::tuple::SIZE);

/// The tuple at a kernel address.
#[inline(always)]
pub(crate) fn tuple_at(address: u64) -> Option<Tuple> {
    // SAFETY: the helper checks the address and fails for a bad one.
    unsafe { bpf_probe_read_kernel(address as *const Tuple) }.ok()
}

/// The inode number of the network namespace whose `struct net` is at an address.
#[inline(always)]
pub(crate) fn netns_of(net: u64) -> Option<u32> {
    // SAFETY: the helper checks the address and fails for a bad one.
    unsafe { bpf_probe_read_kernel((net + u64::from(NET_INUM.load())) as *const u32) }.ok()
}

/// The key of the source that sends `tuple` in the namespace `net`.
#[inline(always)]
pub(crate) fn key_of(net: u64, tuple: &Tuple) -> Option<SourceKey> {
    SourceKey::of_address(netns_of(net)?, tuple.family, tuple.protocol, tuple.source)
}

/// What is read of an entry, `struct nf_conn`.
pub(crate) struct Entry {
    /// The key of the source that opened it.
    pub(crate) key: SourceKey,
    /// The tuple of its first packet.
    pub(crate) tuple: Tuple,
    /// Its `IPS_` bits (include/uapi/linux/netfilter/nf_conntrack_common.h).
    pub(crate) status: u64,
}

/// `IPS_CONFIRMED`: the entry was put into the table.
pub(crate) const CONFIRMED: u64 = 1 << 3;

impl Entry {
    /// Whether it ever was in the table.
    #[inline(always)]
    pub(crate) fn was_confirmed(&self) -> bool {
        self.status & CONFIRMED != 0
    }
}

/// The entry at an address.
#[inline(always)]
pub(crate) fn entry_at(address: u64) -> Option<Entry> {
    let status_offset = NF_CONN_STATUS.load();
    // The namespace lies one or two words behind the status: one read has both.
    // SAFETY: the helper checks the address and fails for a bad one.
    let words: [u64; 3] =
        unsafe { bpf_probe_read_kernel((address + u64::from(status_offset)) as *const [u64; 3]) }
            .ok()?;
    let net = if NF_CONN_NET.load() - status_offset == 8 { words[1] } else { words[2] };
    let tuple = tuple_at(address + u64::from(NF_CONN_TUPLE.load()))?;
    Some(Entry { key: key_of(net, &tuple)?, tuple, status: words[0] })
}

/// Whether the entry at an address had reached the end of its time by now (`nf_ct_is_expired`,
/// include/net/netfilter/nf_conntrack.h).
#[inline(always)]
pub(crate) fn is_expired(address: u64) -> Option<bool> {
    // SAFETY: the helper checks the address and fails for a bad one.
    let timeout: u32 = unsafe {
        bpf_probe_read_kernel((address + u64::from(NF_CONN_TIMEOUT.load())) as *const u32)
    }
    .ok()?;
    // SAFETY: the helper takes no argument and cannot fail.
    let now = unsafe { bpf_jiffies64() } as u32;
    Some((timeout.wrapping_sub(now) as i32) <= 0)
}
