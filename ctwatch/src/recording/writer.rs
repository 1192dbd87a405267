//! Writing a recording: a file that the user names, and the parts before it, as many as there may be.
//!
//! `FILE` is the part that is written; when it is full it becomes `FILE.1`, that becomes `FILE.2`, and so on, and the oldest one
//! is deleted. A block is written and synced at the latest when [`BLOCK_TIME`] has passed, so that no more is lost whatever
//! happens. This is the only file outside `change` that writes.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    block::{HEADER_BYTES, Packed},
    encoder::Encoder,
    item::{Beginning, EncodeError, Ending, Place},
    part_path,
    prologue::{self, Prologue},
};
use crate::{advise::machine_state::MachineState, model::snapshot::Snapshot};

/// A block is written when its first snapshot is as old.
pub const BLOCK_TIME: Duration = Duration::from_secs(5);
/// And when it has as many bytes before it is compressed.
const BLOCK_BYTES: usize = 1 << 20;
/// Kept free in each part for the block that says how it ends.
const ENDING_BYTES: u64 = 64 + HEADER_BYTES as u64;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a part at most; but one block has to fit.
    pub part_bytes: u64,
    /// Parts that are kept, the one that is written included; at least one.
    pub parts: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { part_bytes: 64 << 20, parts: 4 }
    }
}

/// What to do about a recording that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone, and record nothing.
    Keep,
    /// Replace it.
    Replace,
    /// Let it become the part before, and that the one before that, as when a part is full.
    Precede,
}

/// Why nothing, or no more, can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is a recording already.
    #[error(
        "{} is there already: name another file, or replace that recording with --overwrite",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is something else.
    #[error(
        "{} is there already and is no recording of ctwatch, so it is not replaced: name another file",
        path.display()
    )]
    NotARecording {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("cannot make {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(
        "cannot go on recording to {}: {source}; what was recorded until then can be replayed",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written down.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Snapshots.
    pub snapshots: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes written, over all parts.
    pub bytes: u64,
    /// Parts that were full.
    pub full_parts: u32,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    bounds: Bounds,
    beginning: Beginning,
    /// The latest of each namespace, which each part begins with.
    machine_states: BTreeMap<u32, MachineState>,
    encoder: Encoder,
    file: File,
    part_bytes: u64,
    sequence: u32,
    block_began: Option<Instant>,
    recorded: Recorded,
}

/// Looks whether a recording can be made at `path`, without changing anything.
///
/// # Errors
///
/// If there is a file that is not to be replaced, or one where an earlier part is or will be.
pub fn check(path: &Path, existing: Existing, bounds: Bounds) -> Result<(), WriteError> {
    for part in (0..bounds.parts).map(|number| part_path(path, number)) {
        match kind_of(&part) {
            Ok(None) => {}
            Ok(Some(Prologue::NotARecording)) => {
                return Err(WriteError::NotARecording { path: part });
            }
            Ok(Some(_)) if existing != Existing::Keep => {}
            Ok(Some(_)) => return Err(WriteError::Exists { path: part }),
            Err(source) => return Err(WriteError::Create { path: part, source }),
        }
    }
    Ok(())
}

/// What is at a path; `None` if nothing is.
fn kind_of(path: &Path) -> io::Result<Option<Prologue>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        // Whatever a link leads to is not what was named.
        Ok(found) if !found.is_file() => return Ok(Some(Prologue::NotARecording)),
        // One that was cut off at its very beginning; nothing can be lost with it.
        Ok(found) if found.len() == 0 => return Ok(Some(Prologue::Damaged)),
        Ok(_) => {}
    }
    let mut first = Vec::new();
    File::open(path)?.take(prologue::BYTES as u64).read_to_end(&mut first)?;
    Ok(Some(prologue::read(&first)))
}

impl Writer {
    /// Begins a recording at `path`.
    ///
    /// # Errors
    ///
    /// As [`check`]; or if the file cannot be made.
    pub fn create(
        path: &Path,
        existing: Existing,
        bounds: Bounds,
        beginning: Beginning,
    ) -> Result<Self, WriteError> {
        check(path, existing, bounds)?;
        let made = match existing {
            Existing::Keep | Existing::Replace => remove_parts(path),
            Existing::Precede => make_room(path, bounds),
        };
        let file = made
            .and_then(|()| new_file(path))
            .map_err(|source| WriteError::Create { path: path.to_owned(), source })?;
        let mut writer = Self {
            path: path.to_owned(),
            bounds,
            beginning,
            machine_states: BTreeMap::new(),
            encoder: Encoder::default(),
            file,
            part_bytes: 0,
            sequence: 0,
            block_began: None,
            recorded: Recorded::default(),
        };
        writer.begin_part()?;
        Ok(writer)
    }

    /// Adds a snapshot, and writes the block if it is due at `now`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add(
        &mut self,
        snapshot: &Snapshot,
        place: Place,
        now: Instant,
    ) -> Result<(), WriteError> {
        self.encoder.add(snapshot, place)?;
        self.recorded.snapshots += 1;
        self.recorded.events += snapshot.events.len() as u64;
        self.block_began.get_or_insert(now);
        if self.encoder.content_bytes() >= BLOCK_BYTES || self.due().is_some_and(|due| due <= now) {
            self.flush()?;
        }
        Ok(())
    }

    /// What was recorded so far; what is not written yet included, but not its bytes.
    pub fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// Adds what the machine is and how it is set, if anything of it is not what it was.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn add_machine_state(
        &mut self,
        state: MachineState,
        now: Instant,
    ) -> Result<(), WriteError> {
        let before = self.machine_states.get(&state.netns);
        if before.is_none_or(|before| state.differs(before)) {
            self.encoder.add_machine_state(&state)?;
            self.block_began.get_or_insert(now);
            self.machine_states.insert(state.netns, state);
        }
        Ok(())
    }

    /// When the block is to be written, whatever is in it; `None` if nothing is.
    pub fn due(&self) -> Option<Instant> {
        self.block_began.map(|began| began + BLOCK_TIME)
    }

    /// Writes the block as it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.block_began = None;
        let Some(block) = self.encoder.take()? else { return Ok(()) };
        let needed = block.block_bytes() as u64 + ENDING_BYTES;
        // Behind the beginning stands one block at least.
        if self.part_bytes + needed > self.bounds.part_bytes && self.sequence > 1 {
            self.next_part()?;
        }
        self.write_block(&block)
    }

    /// Ends the recording.
    ///
    /// # Errors
    ///
    /// If its end cannot be written.
    pub fn finish(mut self) -> Result<Recorded, WriteError> {
        self.flush()?;
        self.end_part(Ending::Finished)?;
        Ok(self.recorded)
    }

    fn next_part(&mut self) -> Result<(), WriteError> {
        self.end_part(Ending::Continued)?;
        self.file = make_room(&self.path, self.bounds)
            .and_then(|()| new_file(&self.path))
            .map_err(|source| self.failed(source))?;
        self.beginning.part += 1;
        self.recorded.full_parts += 1;
        self.part_bytes = 0;
        self.sequence = 0;
        self.begin_part()
    }

    fn begin_part(&mut self) -> Result<(), WriteError> {
        let begun = self.write(&prologue::to_bytes()).and_then(|()| {
            // No snapshot may be in the first block.
            let mut first = Encoder::default();
            first.begin(&self.beginning)?;
            self.machine_states.values().try_for_each(|state| first.add_machine_state(state))?;
            let first = first.take()?;
            first.iter().try_for_each(|block| self.write_block(block))
        });
        if begun.is_err() {
            // A part with nothing in it would only push out one that has something.
            let _ = fs::remove_file(&self.path);
        }
        begun
    }

    fn end_part(&mut self, ending: Ending) -> Result<(), WriteError> {
        let mut last = Encoder::default();
        last.end(ending)?;
        let last = last.take()?;
        last.iter().try_for_each(|block| self.write_block(block))
    }

    fn write_block(&mut self, block: &Packed) -> Result<(), WriteError> {
        self.write(&block.to_block(self.sequence))?;
        self.sequence += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a block is of no use; if it cannot be taken back a reader leaves it out.
            let _ = self.file.set_len(self.part_bytes);
            return Err(self.failed(source));
        }
        self.part_bytes += bytes.len() as u64;
        self.recorded.bytes += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Write { path: self.path.clone(), source }
    }
}

/// Removes a recording with its earlier parts.
fn remove_parts(path: &Path) -> io::Result<()> {
    for number in 1.. {
        let part = part_path(path, number);
        match kind_of(&part)? {
            None | Some(Prologue::NotARecording) => break,
            Some(_) => fs::remove_file(part)?,
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes room for a new part, from the oldest on, so that being killed on the way loses none but the oldest.
fn make_room(path: &Path, bounds: Bounds) -> io::Result<()> {
    // There is room already, and each time that it is made anew the oldest one is lost.
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let none = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for number in (1..bounds.parts).rev() {
        none(fs::rename(part_path(path, number - 1), part_path(path, number)))?;
    }
    if bounds.parts <= 1 { none(fs::remove_file(path)) } else { Ok(()) }
}

/// A file that was not there before, which only its owner reads: it says who talks to whom.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
