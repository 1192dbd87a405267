//! A block: a header that can be found again, and compressed content. Both have a checksum.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// What each block begins with, so that the next one is found behind a damaged one.
const MARKER: [u8; 4] = [0xc7, 0x57, 0xb1, 0x0c];
/// Bytes of a header.
pub const HEADER_BYTES: usize = 24;
/// The most that a block may hold uncompressed: what claims to have more is not believed.
pub const CONTENT_BYTES_MAX: usize = 256 << 20;
/// A middle way of deflate: rows with the same keys become a tenth, and a megabyte takes about ten milliseconds.
const LEVEL: u8 = 3;

/// The compressed content of a block.
#[derive(Clone, Debug)]
pub struct Packed {
    stored: Vec<u8>,
    content_bytes: u32,
}

impl Packed {
    /// Packs this content; `None` if it is too long.
    pub fn of(content: &[u8]) -> Option<Self> {
        let stored = miniz_oxide::deflate::compress_to_vec(content, LEVEL);
        if content.len().max(stored.len()) > CONTENT_BYTES_MAX {
            return None;
        }
        Some(Self { stored, content_bytes: u32::try_from(content.len()).ok()? })
    }

    /// Bytes of the block that it makes.
    pub fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.stored.len()
    }

    /// The block of this number in its file.
    pub fn to_block(&self, sequence: u32) -> Bytes {
        let mut block = BytesMut::with_capacity(self.block_bytes());
        block.put_slice(&MARKER);
        block.put_u32_le(sequence);
        // It is not longer than a block may be.
        block.put_u32_le(self.stored.len() as u32);
        block.put_u32_le(self.content_bytes);
        block.put_u32_le(crc32fast::hash(&self.stored));
        block.put_u32_le(crc32fast::hash(&block));
        block.put_slice(&self.stored);
        block.freeze()
    }
}

/// What stands before the content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which block of the file it is, from 0 on.
    pub sequence: u32,
    /// Bytes that follow.
    pub stored_bytes: u32,
    /// Bytes of the content.
    content_bytes: u32,
    /// CRC-32 of the bytes that follow.
    checksum: u32,
}

impl Header {
    /// The header that `bytes` begin with; `None` if they begin with none that is whole.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (checked, mut checksum) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
        if crc32fast::hash(checked) != checksum.try_get_u32_le().ok()? {
            return None;
        }
        let mut fields = checked.strip_prefix(&MARKER)?;
        let header = Self {
            sequence: fields.try_get_u32_le().ok()?,
            stored_bytes: fields.try_get_u32_le().ok()?,
            content_bytes: fields.try_get_u32_le().ok()?,
            checksum: fields.try_get_u32_le().ok()?,
        };
        let is_bounded = |bytes| bytes as usize <= CONTENT_BYTES_MAX;
        (is_bounded(header.content_bytes) && is_bounded(header.stored_bytes)).then_some(header)
    }

    /// The content of a block from what is stored behind its header; `None` if that is damaged.
    pub fn content(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if crc32fast::hash(stored) != self.checksum {
            return None;
        }
        let length = self.content_bytes as usize;
        let content = miniz_oxide::inflate::decompress_to_vec_with_limit(stored, length).ok()?;
        (content.len() == length).then_some(content)
    }
}

/// How many bytes to leave out until another block may begin, at least one.
pub fn to_next_marker(bytes: &[u8]) -> usize {
    let first = MARKER.first().copied();
    let behind = bytes.get(1..).unwrap_or_default();
    let mut candidates = behind.iter().enumerate().filter(|(_, byte)| Some(**byte) == first);
    candidates
        .find(|(at, _)| {
            let here = behind.get(*at..).unwrap_or_default();
            MARKER.starts_with(here) || here.starts_with(&MARKER)
        })
        .map_or(bytes.len().max(1), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_marker_is_found_also_where_the_bytes_end_in_it() {
        let mut bytes = vec![1, 2, 3];
        bytes.extend(MARKER);
        assert_eq!(to_next_marker(&bytes), 3);
        assert_eq!(to_next_marker(&bytes[3..]), 4);
        assert_eq!(to_next_marker(&bytes[..5]), 3);
        assert_eq!(to_next_marker(&[]), 1);
    }

    #[test]
    fn a_header_that_promises_too_much_is_not_believed() {
        let mut block = Packed::of(b"content").unwrap().to_block(1).to_vec();
        block[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = crc32fast::hash(&block[..20]);
        block[20..24].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::read(&block), None);
    }

    proptest! {
        #[test]
        fn a_block_is_read_back(sequence: u32, content: Vec<u8>) {
            let block = Packed::of(&content).unwrap().to_block(sequence);
            let (header, stored) = block.split_at(HEADER_BYTES);
            let header = Header::read(header).unwrap();
            prop_assert_eq!(header.sequence, sequence);
            prop_assert_eq!(header.stored_bytes as usize, stored.len());
            prop_assert_eq!(header.content(stored), Some(content));
        }

        #[test]
        fn one_with_a_changed_bit_is_not(
            content in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let mut block = Packed::of(&content).unwrap().to_block(3).to_vec();
            let at = at.index(block.len());
            block[at] ^= 1 << bit;
            let (header, stored) = block.split_at(HEADER_BYTES);
            prop_assert_eq!(Header::read(header).and_then(|header| header.content(stored)), None);
        }
    }
}
