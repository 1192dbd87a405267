//! Walks netlink attributes and reads their values, as bytes; it must never do I/O, and whatever the bytes
//! are, there is a result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct nlattr` (include/uapi/linux/netlink.h).
const HEADER_BYTES: usize = 4;
/// `NLA_TYPE_MASK`: the kind without the flags for nested values and byte order.
const KIND: u16 = 0x3fff;

/// Why bytes are no ctnetlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The length in a header is shorter than the header, or reaches past the end.
    #[error("a netlink message has a wrong length")]
    MessageLength,
    /// The length of an attribute is shorter than its header, or reaches past the end.
    #[error("a netlink attribute has a wrong length")]
    AttributeLength,
    /// The value of an attribute has another size than its kind has.
    #[error("a netlink attribute holds {found} bytes instead of {expected}")]
    ValueLength {
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// An entry lacks what every entry has.
    #[error("a conntrack entry lacks its {0}")]
    Missing(&'static str),
}

/// Calls `each` with the kind and the value of every attribute. An entry has 27 of them, and a table a million
/// entries: a walk that the compiler cannot inline into its caller takes as long as everything else together.
///
/// # Errors
///
/// An attribute has a wrong length, or what `each` returned.
pub(super) fn for_each_attribute<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u16, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let Some(header) = bytes.first_chunk() {
        let [length_low, length_high, kind_low, kind_high] = *header;
        let length = usize::from(u16::from_ne_bytes([length_low, length_high]));
        let value = bytes.get(HEADER_BYTES..length).ok_or(DecodeError::AttributeLength)?;
        each(u16::from_ne_bytes([kind_low, kind_high]) & KIND, value)?;
        bytes = bytes.get(length.next_multiple_of(HEADER_BYTES)..).unwrap_or_default();
    }
    if bytes.is_empty() { Ok(()) } else { Err(DecodeError::AttributeLength) }
}

/// The value of an attribute that holds a number in network byte order.
pub(super) fn be32(value: &[u8]) -> Result<u32, DecodeError> {
    fixed(value).map(u32::from_be_bytes)
}

/// The value of an attribute that holds an IPv4 address.
pub(super) fn ipv4(value: &[u8]) -> Result<IpAddr, DecodeError> {
    fixed::<4>(value).map(|bytes| Ipv4Addr::from(bytes).into())
}

/// The value of an attribute that holds an IPv6 address.
pub(super) fn ipv6(value: &[u8]) -> Result<IpAddr, DecodeError> {
    fixed::<16>(value).map(|bytes| Ipv6Addr::from(bytes).into())
}

/// The value of an attribute that holds one byte.
pub(super) fn byte(value: &[u8]) -> Result<u8, DecodeError> {
    fixed(value).map(|[byte]| byte)
}

/// The value of an attribute that holds a number in network byte order.
pub(super) fn be16(value: &[u8]) -> Result<u16, DecodeError> {
    fixed(value).map(u16::from_be_bytes)
}

/// The value of an attribute that always has the same size.
pub(super) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError::ValueLength { expected: N, found: value.len() })
}
