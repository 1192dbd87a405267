//! Recordings: what was seen, kept in a file, so that it can be seen again.
//!
//! A file is [`prologue`] and then blocks ([`block`]). A block stands for itself: it has a checksum, is compressed, and
//! holds [`item`]s, none of which refers to another block. What is damaged or cut off costs the blocks it is in and no
//! others. Within a version fields are added, never renamed, removed or given another meaning: what a reader does not
//! know it leaves out, what is not there is unknown.

pub mod block;
pub mod encoder;
pub mod item;
pub mod parts;
pub mod player;
pub mod prologue;
pub mod reader;
pub mod writer;

use std::path::{Path, PathBuf};

/// The part of a recording that was written so many parts before the one at `path`.
fn part_path(path: &Path, number: u32) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    if number > 0 {
        part.push(format!(".{number}"));
    }
    part.into()
}

/// The same where `path` may itself be such a part of another one, as in `FILE.2`.
fn part_path_behind(path: &Path, number: u32) -> Option<PathBuf> {
    let own: u32 = path.extension()?.to_str()?.parse().ok()?;
    Some(part_path(&path.with_extension(""), own.checked_add(number)?))
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
