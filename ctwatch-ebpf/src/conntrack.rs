//! Reading nf_conntrack's own structures. Nothing here writes or keeps anything.

use core::mem::offset_of;

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use ctwatch_common::{layout, source::SourceKey};

/// `struct nf_conn`: offset of the original direction's tuple, in bytes.
#[unsafe(no_mangle)]
static NF_CONN_TUPLE: Global<u32> = Global::new(0);
/// `struct nf_conn`: offset of `ct_net`, in bytes.
#[unsafe(no_mangle)]
static NF_CONN_NET: Global<u32> = Global::new(0);
/// `struct net`: offset of `ns.inum`, in bytes.
#[unsafe(no_mangle)]
static NET_INUM: Global<u32> = Global::new(0);

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

/// The key of the source that opened the entry `struct nf_conn` at an address, and its tuple.
#[inline(always)]
pub(crate) fn key_of_entry(entry: u64) -> Option<(SourceKey, Tuple)> {
    let net = entry + u64::from(NF_CONN_NET.load());
    // SAFETY: the helper checks the address and fails for a bad one.
    let net = unsafe { bpf_probe_read_kernel(net as *const u64) }.ok()?;
    let tuple = tuple_at(entry + u64::from(NF_CONN_TUPLE.load()))?;
    Some((key_of(net, &tuple)?, tuple))
}
