//! From the bytes of a recording to snapshots, as far as they are whole.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::Arc,
};

use bytes::{Buf as _, BytesMut};

use super::{
    block::{self, HEADER_BYTES, Header},
    item::{self, Beginning, Ending, Kind, Place, Shared, SnapshotRecord},
    prologue::{self, Prologue},
};
use crate::{advise::machine_state::MachineState, model::snapshot::Snapshot};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Why a file cannot be read as a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is something else.
    #[error("it is not a recording of ctwatch")]
    NotARecording,
    /// Its format has another version.
    #[error(
        "it is a recording of format version {0}, and this ctwatch reads version {version} only; read it with the ctwatch that wrote it, or a newer one",
        version = prologue::VERSION
    )]
    Version(u16),
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One thing that was recorded.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// What follows.
    Beginning(Box<Beginning>),
    /// What was seen at the end of an interval, of one namespace.
    Snapshot(Arc<Snapshot>, Place),
    /// What the machine was and how it was set, until the next one of that namespace.
    MachineState(Box<MachineState>),
    /// Nothing follows in this file.
    Ending(Ending),
}

/// What was found missing so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Bytes in the middle that are no part of a whole block.
    pub damaged_bytes: u64,
    /// Blocks that should have been between those that are whole.
    pub blocks: u64,
    /// Bytes at the end that are no whole block.
    pub cut_bytes: u64,
    /// Items of whole blocks that this ctwatch does not understand.
    pub not_understood: u64,
}

impl Missing {
    /// Adds what is missing elsewhere.
    pub fn include(&mut self, other: &Self) {
        self.damaged_bytes += other.damaged_bytes;
        self.blocks += other.blocks;
        self.cut_bytes += other.cut_bytes;
        self.not_understood += other.not_understood;
    }
}

/// Reads a recording.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    buffer: BytesMut,
    is_at_end: bool,
    next_sequence: u32,
    items: VecDeque<Recorded>,
    /// Bytes taken from the source.
    read_bytes: u64,
    /// Bytes left out since the last whole block: cut off if no other follows.
    left_out: u64,
    missing: Missing,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// If it is no recording, or one of another version, or cannot be read.
    pub fn new(source: R) -> Result<Self, ReadError> {
        let mut reader = Self {
            source,
            buffer: BytesMut::new(),
            is_at_end: false,
            next_sequence: 0,
            items: VecDeque::new(),
            read_bytes: 0,
            left_out: 0,
            missing: Missing::default(),
        };
        reader.fill(prologue::BYTES)?;
        match prologue::read(&reader.buffer) {
            Prologue::Readable => reader.buffer.advance(prologue::BYTES),
            Prologue::Damaged => {}
            Prologue::Version(version) => return Err(ReadError::Version(version)),
            Prologue::NotARecording => return Err(ReadError::NotARecording),
        }
        Ok(reader)
    }

    /// The next thing that was recorded; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the file cannot be read. What is damaged is no error, see [`Self::missing`].
    pub fn read(&mut self) -> io::Result<Option<Recorded>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let Some(content) = self.next_content()? else { return Ok(None) };
            self.decode(&content);
        }
    }

    /// Bytes taken from the source so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// What was found missing since it was asked last.
    pub fn take_missing(&mut self) -> Missing {
        std::mem::take(&mut self.missing)
    }

    /// What was found missing so far.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    /// The content of the next whole block.
    fn next_content(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if !self.fill(HEADER_BYTES)? {
                self.leave_out(self.buffer.len());
                self.missing.cut_bytes = self.left_out;
                return Ok(None);
            }
            if prologue::read(&self.buffer) == Prologue::Readable {
                // Another part of the recording, put behind this one.
                self.buffer.advance(prologue::BYTES);
                self.next_sequence = 0;
                continue;
            }
            let Some(header) = Header::read(&self.buffer) else {
                self.leave_out(block::to_next_marker(&self.buffer));
                continue;
            };
            let end = HEADER_BYTES + header.stored_bytes as usize;
            let is_there = self.fill(end)?;
            let content = self.buffer.get(HEADER_BYTES..end).and_then(|stored| {
                // One that comes a second time would tell of the past.
                let is_new = is_there && header.sequence >= self.next_sequence;
                is_new.then(|| header.content(stored)).flatten()
            });
            let Some(content) = content else {
                // The next block may begin before this one should have ended, if bytes are missing.
                self.leave_out(block::to_next_marker(&self.buffer));
                continue;
            };
            self.buffer.advance(end);
            self.missing.blocks += u64::from(header.sequence - self.next_sequence);
            self.next_sequence = header.sequence.saturating_add(1);
            self.missing.damaged_bytes += std::mem::take(&mut self.left_out);
            return Ok(Some(content));
        }
    }

    fn decode(&mut self, mut content: &[u8]) {
        let mut shared = Shared::default();
        while let Some((kind, body)) = item::take(&mut content) {
            let understood = match kind {
                Some(Kind::Mode) => keep(&mut shared.modes, item::read(body).map(Arc::new)),
                Some(Kind::Census) => keep(&mut shared.censuses, item::read(body).map(Arc::new)),
                Some(Kind::Floods) => {
                    keep(&mut shared.floods, item::read::<Vec<_>>(body).map(Arc::from))
                }
                Some(Kind::Beginning) => item::read(body)
                    .map(|beginning| self.items.push_back(Recorded::Beginning(beginning))),
                Some(Kind::Ending) => {
                    item::read(body).map(|ending| self.items.push_back(Recorded::Ending(ending)))
                }
                Some(Kind::MachineState) => item::read(body)
                    .map(|state| self.items.push_back(Recorded::MachineState(state))),
                Some(Kind::Snapshot) => item::read::<SnapshotRecord<'static>>(body)
                    .and_then(|record| record.into_snapshot(&shared))
                    .map(|(snapshot, place)| {
                        self.items.push_back(Recorded::Snapshot(Arc::new(snapshot), place));
                    }),
                None => None,
            };
            self.missing.not_understood += u64::from(understood.is_none());
        }
        self.missing.not_understood += u64::from(!content.is_empty());
    }

    /// Whether there are as many bytes, if it is not too late for that.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes && !self.is_at_end {
            let before = self.buffer.len();
            self.buffer.resize(before + READ_BYTES, 0);
            let read = self.source.read(self.buffer.get_mut(before..).unwrap_or_default());
            self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.is_at_end = true,
                Ok(bytes) => self.read_bytes += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.len() >= bytes)
    }

    fn leave_out(&mut self, bytes: usize) {
        let bytes = bytes.min(self.buffer.len());
        self.buffer.advance(bytes);
        self.left_out += bytes as u64;
    }
}

/// Keeps what snapshots refer to; what was not understood keeps its number.
fn keep<T: ?Sized>(kept: &mut Vec<Option<Arc<T>>>, part: Option<Arc<T>>) -> Option<()> {
    kept.push(part);
    kept.last()?.as_ref().map(drop)
}
