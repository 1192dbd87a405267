//! The key under which a source is counted.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_ref};

/// `AF_INET` as nf_conntrack stores it in `nf_conntrack_tuple.src.l3num`.
pub const FAMILY_IPV4: u16 = 2;
/// `AF_INET6` as nf_conntrack stores it in `nf_conntrack_tuple.src.l3num`.
pub const FAMILY_IPV6: u16 = 10;

/// Who is counted: one source address, or one prefix of addresses, of one
/// protocol in one network namespace.
///
/// A prefix is a key like any other, with the host bits of `address` zero and a
/// shorter `prefix_length`, so that a count that found no room under its own
/// address is kept under the prefix that contains it.
///
/// Aligned so that the kernel side compares and copies it as three words.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C, align(8))]
pub struct SourceKey {
    /// The address in network byte order; IPv4 in the first four bytes, the rest zero
    /// (`union nf_inet_addr`, include/uapi/linux/netfilter.h).
    pub address: [u8; 16],
    /// Inode number of the network namespace (`net.ns.inum`, what `/proc/PID/ns/net` shows).
    pub netns: u32,
    /// [`FAMILY_IPV4`], [`FAMILY_IPV6`], or 0 for a key that stands for a whole namespace.
    pub family: u16,
    /// IP protocol number; 0 for a key that stands for a whole namespace.
    pub protocol: u8,
    /// Leading bits of `address` that count: 32 or 128 for one address.
    pub prefix_length: u8,
}

/// Prefix length of the IPv4 prefixes that take over when the table of sources is full.
pub const IPV4_PREFIX_LENGTH: u8 = 24;
/// Prefix length of the IPv6 prefixes that take over when the table of sources is full.
pub const IPV6_PREFIX_LENGTH: u8 = 64;

/// What [`SourceKey::unlinked`] adds to the family; no family has this bit.
const UNLINKED: u16 = 1 << 15;

impl SourceKey {
    /// The key of one address. `family` is [`FAMILY_IPV4`] or [`FAMILY_IPV6`];
    /// `None` for any other, which conntrack never tracks.
    #[inline(always)]
    pub const fn of_address(
        netns: u32,
        family: u16,
        protocol: u8,
        address: [u8; 16],
    ) -> Option<Self> {
        let prefix_length = match family {
            FAMILY_IPV4 => 32,
            FAMILY_IPV6 => 128,
            _ => return None,
        };
        Some(Self { address, netns, family, protocol, prefix_length })
    }

    /// The key as three words: two of the address, and one that is 0 for no real key.
    #[inline(always)]
    pub fn words(&self) -> &[u64; 3] {
        transmute_ref!(self)
    }

    /// Whether both are the same. That is what `==` says, compared by the word and not by the byte, as the
    /// kernel side does it for every connection twice.
    #[inline(always)]
    pub fn is_same(&self, other: &Self) -> bool {
        let [a, b, c] = self.words();
        let [d, e, f] = other.words();
        (a ^ d) | (b ^ e) | (c ^ f) == 0
    }

    /// This key as a row has it that is being taken away from its source: no key that anybody looks for.
    #[inline(always)]
    pub const fn unlinked(&self) -> Self {
        Self { family: self.family | UNLINKED, ..*self }
    }

    /// The key that [`SourceKey::unlinked`] was made from; any other as it is.
    pub const fn as_linked(&self) -> Self {
        Self { family: self.family & !UNLINKED, ..*self }
    }

    /// The prefix that takes this key's counts over when there is no room for the address:
    /// its /24 or /64.
    #[inline(always)]
    pub const fn prefix(&self) -> Self {
        // Written byte by byte: the kernel's verifier has to follow it.
        let a = &self.address;
        let (address, prefix_length) = if self.family == FAMILY_IPV4 {
            ([a[0], a[1], a[2], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], IPV4_PREFIX_LENGTH)
        } else {
            (
                [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], 0, 0, 0, 0, 0, 0, 0, 0],
                IPV6_PREFIX_LENGTH,
            )
        };
        Self { address, prefix_length, ..*self }
    }

    /// The key of everything else in the same namespace, used when there is no
    /// room for the prefix either.
    #[inline(always)]
    pub const fn namespace(&self) -> Self {
        Self { address: [0; 16], netns: self.netns, family: 0, protocol: 0, prefix_length: 0 }
    }

    /// Whether this key stands for one address, not for a prefix or a namespace.
    pub const fn is_address(&self) -> bool {
        matches!((self.family, self.prefix_length), (FAMILY_IPV4, 32) | (FAMILY_IPV6, 128))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(family: u16, address: [u8; 16]) -> SourceKey {
        SourceKey::of_address(7, family, 17, address).unwrap()
    }

    #[test]
    fn an_ipv4_address_widens_to_its_24() {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 1, 2, 3]);
        let prefix = key(FAMILY_IPV4, address).prefix();
        assert_eq!(prefix.address[..4], [10, 1, 2, 0]);
        assert_eq!((prefix.prefix_length, prefix.netns, prefix.protocol), (24, 7, 17));
        assert!(!prefix.is_address());
    }

    #[test]
    fn an_ipv6_address_widens_to_its_64() {
        let prefix = key(FAMILY_IPV6, [0xff; 16]).prefix();
        assert_eq!(prefix.address[..8], [0xff; 8]);
        assert_eq!(prefix.address[8..], [0; 8]);
        assert_eq!(prefix.prefix_length, 64);
    }

    #[test]
    fn keys_are_the_same_in_every_part_or_not_at_all() {
        let one = key(FAMILY_IPV4, [1; 16]);
        assert!(one.is_same(&key(FAMILY_IPV4, [1; 16])));
        let mut last = [1; 16];
        last[15] = 2;
        let others = [
            key(FAMILY_IPV4, last),
            key(FAMILY_IPV6, [1; 16]),
            SourceKey { netns: 8, ..one },
            SourceKey { protocol: 6, ..one },
            SourceKey { prefix_length: 24, ..one },
        ];
        assert!(others.iter().all(|other| !one.is_same(other)));
    }

    #[test]
    fn an_unlinked_key_is_no_key_until_it_is_asked_for() {
        let key = key(FAMILY_IPV6, [1; 16]);
        assert!(!key.unlinked().is_same(&key) && key.unlinked() != key);
        assert_eq!(key.unlinked().as_linked(), key);
        assert_eq!(key.as_linked(), key);
        assert_ne!(key.namespace().words()[2], 0);
    }

    #[test]
    fn other_families_have_no_key() {
        assert_eq!(SourceKey::of_address(1, 7, 6, [0; 16]), None);
    }
}
