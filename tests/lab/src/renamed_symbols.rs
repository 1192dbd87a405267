//! Gives functions of a kernel module other names, as compilers do that make variants of static functions; the code stays
//! what it is. It must not load anything.

use anyhow::{Context as _, Result, ensure};

const SECTION_HEADER_OFFSET: usize = 0x28;
const SECTION_HEADER_BYTES: usize = 0x3a;
const SECTIONS: usize = 0x3c;
const SYMBOL_TABLE: u32 = 2;
const SYMBOL_BYTES: usize = 24;

/// The symbols of an ELF file, by places in it (elf(5), 64 bits, little-endian).
struct Symbols {
    /// Where each symbol begins.
    places: Vec<usize>,
    /// Where their names begin.
    names: usize,
}

/// What ends the file of a module that is signed (include/linux/module_signature.h), after the signature and twelve bytes of
/// which the last four are its length.
const SIGNED: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_HEADER_BYTES: usize = 12;

/// Takes a module's signature off, which is no longer right once the module has been changed; without any it may be loaded.
///
/// # Errors
/// When the signature is cut off.
pub fn strip_signature(module: &mut Vec<u8>) -> Result<()> {
    let Some(rest) = module.strip_suffix(SIGNED) else { return Ok(()) };
    let length = rest.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)).unwrap_or_default();
    let bytes = usize::try_from(length)? + SIGNATURE_HEADER_BYTES;
    let end = rest.len().checked_sub(bytes).context("the module's signature is cut off")?;
    module.truncate(end);
    Ok(())
}

/// Calls the symbol `from` of a module `to`.
///
/// The table of names cannot grow in place. So the name is written over that of some other symbol that nobody needs, which
/// is left without one: a local one, whose name is long enough and no part of another's.
///
/// # Errors
/// When the module is no such file, has no such symbol, or no name to write over.
pub fn rename(module: &mut [u8], from: &str, to: &str) -> Result<()> {
    let symbols = Symbols::of(module)?;
    let renamed = symbols
        .places
        .iter()
        .copied()
        .find(|place| symbols.name(module, *place) == from.as_bytes())
        .with_context(|| format!("the module has no symbol {from}"))?;
    let starts: Vec<usize> =
        symbols.places.iter().map(|place| number(module, *place, 4)).collect::<Result<_>>()?;
    let is_unneeded = |place: &usize| -> bool {
        let name = symbols.name(module, *place);
        let Ok(start) = number(module, *place, 4) else { return false };
        let end = start + name.len();
        let is_local = module.get(place + 4).is_some_and(|info| info >> 4 == 0 && info & 0xf != 3);
        let is_shared = starts.iter().filter(|other| (start..end).contains(*other)).count() > 1;
        is_local
            && !is_shared
            && name.len() >= to.len()
            && name.starts_with(b"__")
            && *place != renamed
    };
    let unneeded =
        symbols.places.iter().copied().find(is_unneeded).context("no name to write over")?;
    let start = number(module, unneeded, 4)?;
    let name = symbols.names + start;
    let written = module.get_mut(name..name + to.len() + 1).context("names beyond the end")?;
    for (place, byte) in written.iter_mut().zip(to.bytes().chain([0])) {
        *place = byte;
    }
    write_u32(module, renamed, u32::try_from(start)?)?;
    write_u32(module, unneeded, 0)
}

impl Symbols {
    fn of(module: &[u8]) -> Result<Self> {
        ensure!(module.starts_with(b"\x7fELF\x02\x01"), "this is no module of a 64-bit kernel");
        let headers = number(module, SECTION_HEADER_OFFSET, 8)?;
        let header_bytes = number(module, SECTION_HEADER_BYTES, 2)?;
        let header = |index: usize| headers + index * header_bytes;
        let table = (0..number(module, SECTIONS, 2)?)
            .map(header)
            .find(|at| number(module, at + 4, 4).is_ok_and(|kind| kind == SYMBOL_TABLE as usize))
            .context("the module has no symbols")?;
        let start = number(module, table + 0x18, 8)?;
        let bytes = number(module, table + 0x20, 8)?;
        let names = header(number(module, table + 0x28, 4)?);
        Ok(Self {
            places: (start..start + bytes).step_by(SYMBOL_BYTES).collect(),
            names: number(module, names + 0x18, 8)?,
        })
    }

    fn name<'a>(&self, module: &'a [u8], place: usize) -> &'a [u8] {
        let start = number(module, place, 4).unwrap_or(0);
        let rest = module.get(self.names + start..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// A number of so many bytes.
fn number(module: &[u8], at: usize, bytes: usize) -> Result<usize> {
    let bytes = module.get(at..at + bytes).context("the module is cut off")?;
    let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Ok(usize::try_from(value)?)
}

fn write_u32(module: &mut [u8], at: usize, value: u32) -> Result<()> {
    let place = module.get_mut(at..at + 4).context("the module is cut off")?;
    place.copy_from_slice(&value.to_le_bytes());
    Ok(())
}
