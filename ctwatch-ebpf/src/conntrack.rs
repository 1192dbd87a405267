//! Reading nf_conntrack's own structures. Nothing here writes or keeps anything.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::{
    Global,
    helpers::{bpf_jiffies64, bpf_probe_read_kernel, generated},
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
pub(crate) static NF_CONN_TIMEOUT: Global<u32> = Global::new(0);
/// `struct sk_buff`: offset of `_nfct`, in bytes.
#[unsafe(no_mangle)]
pub(crate) static SKB_NFCT: Global<u32> = Global::new(0);
/// `struct net`: offset of `ns.inum`, in bytes.
#[unsafe(no_mangle)]
pub(crate) static NET_INUM: Global<u32> = Global::new(0);

/// Not zero where the compiler made other functions of those that are probed: their arguments may not be those that are
/// declared, so what is read of them is looked at closer.
#[unsafe(no_mangle)]
pub(crate) static RENAMED: Global<u32> = Global::new(0);

/// `struct nf_conntrack_tuple`, as far as it is read. Aligned so that it is copied by the word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
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

/// Reads what lies at a kernel address into `place`, where it is then used: a copy of it would cost as much again.
#[inline(always)]
fn read<T>(address: u64, place: &mut MaybeUninit<T>) -> Option<&T> {
    let bytes = size_of::<T>() as u32;
    // SAFETY: there is room for that many bytes; the helper checks the address and fails for a bad one.
    let failed = unsafe {
        generated::bpf_probe_read_kernel(place.as_mut_ptr().cast(), bytes, address as *const _)
    };
    // SAFETY: the helper has written all of it, and every type that is read here may have any bytes.
    (failed == 0).then(|| unsafe { place.assume_init_ref() })
}

/// The tuple at a kernel address, read into `place`.
#[inline(always)]
pub(crate) fn tuple_at(address: u64, place: &mut MaybeUninit<Tuple>) -> Option<&Tuple> {
    read(address, place)
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

/// The first part of what is read of an entry, `struct nf_conn`: from its timeout to the end of its first tuple.
///
/// What lies between is one distance in all kernels, which user space checks.
#[repr(C)]
pub(crate) struct Start {
    /// When it expires, in jiffies.
    timeout: u32,
    _zone: u32,
    _hash_node: [u64; 2],
    /// The tuple of its first packet.
    pub(crate) original: Tuple,
}

const _: () = assert!(offset_of!(Start, original) == layout::entry::TIMEOUT_TO_TUPLE);

/// `IPS_CONFIRMED`: the entry was put into the table.
pub(crate) const CONFIRMED: u64 = 1 << 3;
/// `IPS_DYING`: the entry is on its way out.
pub(crate) const DYING: u64 = 1 << 9;

/// The first part of the entry at an address, read into `place`.
#[inline(always)]
pub(crate) fn start_of(address: u64, place: &mut MaybeUninit<Start>) -> Option<&Start> {
    read(address + u64::from(NF_CONN_TIMEOUT.load()), place)
}

/// The `IPS_` bits (include/uapi/linux/netfilter/nf_conntrack_common.h) of the entry at an address, and the address
/// of its namespace, which lies one or two words behind them: one read has both.
#[inline(always)]
pub(crate) fn status_and_net_of(address: u64) -> Option<(u64, u64)> {
    let status_offset = NF_CONN_STATUS.load();
    let mut place = MaybeUninit::<[u64; 3]>::uninit();
    let [status, next, last] = read(address + u64::from(status_offset), &mut place)?;
    Some((*status, if NF_CONN_NET.load() - status_offset == 8 { *next } else { *last }))
}

impl Start {
    /// Whether the entry had reached the end of its time by now.
    #[inline(always)]
    pub(crate) fn is_expired(&self) -> bool {
        is_past(self.timeout)
    }
}

/// Whether a time in jiffies is over by now (`nf_ct_is_expired`, include/net/netfilter/nf_conntrack.h).
#[inline(always)]
pub(crate) fn is_past(timeout: u32) -> bool {
    // SAFETY: the helper takes no argument and cannot fail.
    let now = unsafe { bpf_jiffies64() } as u32;
    timeout.wrapping_sub(now) as i32 <= 0
}
