//! How a recording begins: what it is, and in which version.

use bytes::{Buf as _, BufMut as _};

/// Not text, and damaged by whatever takes it for text.
const MAGIC: [u8; 8] = *b"\x8cctwrec\n";
/// The version of the format that is written. A file of a newer one cannot be read; of an older one there is none that has
/// anything else than this one. Since version 2 there are events of other kinds than refusals.
pub const VERSION: u16 = 2;
/// Magic, version, two bytes of nothing, and a checksum of those.
pub const BYTES: usize = 16;

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prologue {
    /// A recording that can be read.
    Readable,
    /// A recording whose first bytes are damaged; its blocks may be whole.
    Damaged,
    /// A recording of another version of the format.
    Version(u16),
    /// Anything else.
    NotARecording,
}

/// The first bytes of a recording.
pub fn to_bytes() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.put_slice(&MAGIC);
    bytes.put_u16_le(VERSION);
    bytes.put_u16_le(0);
    bytes.put_u32_le(crc32fast::hash(&bytes));
    bytes
}

/// Reads the first bytes of a file, as far as there are any.
pub fn read(bytes: &[u8]) -> Prologue {
    let Some((magic, mut rest)) = bytes.split_first_chunk::<{ MAGIC.len() }>() else {
        return if !bytes.is_empty() && MAGIC.starts_with(bytes) {
            Prologue::Damaged
        } else {
            Prologue::NotARecording
        };
    };
    if *magic != MAGIC {
        return Prologue::NotARecording;
    }
    let checked = bytes.get(..BYTES - size_of::<u32>()).map(crc32fast::hash);
    let (Ok(version), Ok(_), Ok(checksum)) =
        (rest.try_get_u16_le(), rest.try_get_u16_le(), rest.try_get_u32_le())
    else {
        return Prologue::Damaged;
    };
    match version {
        _ if checked != Some(checksum) => Prologue::Damaged,
        1..=VERSION => Prologue::Readable,
        other => Prologue::Version(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_told_from_anything_else() {
        assert_eq!(read(&to_bytes()), Prologue::Readable);
        assert_eq!(read(b""), Prologue::NotARecording);
        assert_eq!(read(b"{\"schema\":1}          "), Prologue::NotARecording);
    }

    #[test]
    fn a_newer_version_is_named_and_a_damaged_one_is_not() {
        let mut newer = to_bytes();
        newer[8] = 7;
        assert_eq!(read(&newer), Prologue::Damaged);
        newer.truncate(12);
        newer.put_u32_le(crc32fast::hash(&newer));
        assert_eq!(read(&newer), Prologue::Version(7));
    }

    #[test]
    fn an_older_version_can_be_read() {
        let mut older = to_bytes();
        older.truncate(12);
        older[8] = 1;
        older.put_u32_le(crc32fast::hash(&older));
        assert_eq!(read(&older), Prologue::Readable);
    }

    #[test]
    fn one_that_is_cut_off_is_still_one() {
        let whole = to_bytes();
        for end in 1..BYTES {
            assert_eq!(read(&whole[..end]), Prologue::Damaged, "{end}");
        }
    }
}
