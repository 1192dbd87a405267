//! Reading nf_conntrack's structures through pointers whose type the verifier knows, as arguments of traced
//! functions are: plain loads, with no helper called. Nothing here writes or keeps anything.
//!
//! The verifier follows such a pointer only at offsets it knows; the object's globals are constants to it.

use core::arch::asm;

use aya_ebpf::EbpfContext;
use ctwatch_common::{layout::tuple, source::SourceKey};

use crate::conntrack::{
    NET_INUM, NF_CONN_NET, NF_CONN_STATUS, NF_CONN_TIMEOUT, NF_CONN_TUPLE, is_past,
};

/// A trampoline puts no more than this on the stack before a traced function's arguments, with six of them
/// (arch/x86/net/bpf_jit_comp.c, arch_prepare_bpf_trampoline).
pub(crate) const TRAMPOLINE_BYTES: u64 = 128;

/// Where on the stack this program is called: the lower half of the address of the traced function's
/// arguments, which the trampoline keeps there. It is the same at the entry and the return of one call, and
/// below it are the calls that the function makes.
#[inline(always)]
pub(crate) fn stack_pointer(ctx: &impl EbpfContext) -> u64 {
    let stack_pointer: u32;
    // The verifier makes a number of a pointer only where its half is moved; the compiler would shift it.
    // SAFETY: one register's lower half is moved to another's.
    unsafe {
        asm!(
            "{to} = {from}",
            to = lateout(wreg) stack_pointer,
            from = in(wreg) ctx.as_ptr() as usize as u32,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    u64::from(stack_pointer)
}

/// A `struct net`.
#[derive(Clone, Copy)]
pub(crate) struct Net(pub(crate) *const u8);

/// A `struct nf_conntrack_tuple`.
#[derive(Clone, Copy)]
pub(crate) struct Tuple(pub(crate) *const u8);

/// A `struct nf_conn`.
#[derive(Clone, Copy)]
pub(crate) struct Entry(pub(crate) *const u8);

impl Net {
    /// The inode number of this network namespace.
    #[inline(always)]
    pub(crate) fn inode(self) -> u32 {
        load(self.0, NET_INUM.load() as usize)
    }

    /// Its address.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }
}

impl Tuple {
    /// Its address, for whatever needs more of it than the source.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// The key of the source that sends this tuple in the namespace `net`; `None` for a family that conntrack
    /// never tracks.
    #[inline(always)]
    pub(crate) fn key(self, net: Net) -> Option<SourceKey> {
        let Self(at) = self;
        // The kernel aligns tuples to four bytes only.
        let words: [u32; 4] = [
            load(at, tuple::SOURCE),
            load(at, tuple::SOURCE + 4),
            load(at, tuple::SOURCE + 8),
            load(at, tuple::SOURCE + 12),
        ];
        // SAFETY: sixteen bytes are sixteen bytes.
        let address: [u8; 16] = unsafe { core::mem::transmute(words) };
        SourceKey::of_address(
            net.inode(),
            load(at, tuple::FAMILY),
            load(at, tuple::PROTOCOL),
            address,
        )
    }
}

impl Entry {
    /// The namespace that it belongs to.
    #[inline(always)]
    pub(crate) fn net(self) -> Net {
        Net(load(self.0, NF_CONN_NET.load() as usize))
    }

    /// Its `IPS_` bits.
    #[inline(always)]
    pub(crate) fn status(self) -> u64 {
        load(self.0, NF_CONN_STATUS.load() as usize)
    }

    /// Whether it had reached the end of its time by now.
    #[inline(always)]
    pub(crate) fn is_expired(self) -> bool {
        is_past(load(self.0, NF_CONN_TIMEOUT.load() as usize))
    }

    /// The tuple of the packet that opened it.
    #[inline(always)]
    pub(crate) fn original(self) -> Tuple {
        Tuple(self.0.wrapping_add(NF_CONN_TUPLE.load() as usize))
    }
}

/// One number of a structure.
#[inline(always)]
fn load<T: Copy>(structure: *const u8, offset_bytes: usize) -> T {
    let place = structure.wrapping_add(offset_bytes).cast::<T>();
    // SAFETY: the verifier lets no program run that reads anything else here than a member of the structure;
    // offsets come from this kernel's BTF and are aligned as the member is.
    unsafe { place.read_volatile() }
}
