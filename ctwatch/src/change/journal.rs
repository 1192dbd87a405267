//! The journal: what is going to be changed is in it, and on the disk, before it is changed. It is only ever added to.

use std::{io, path::PathBuf};

use super::{
    ledger::{Ledger, Misplaced},
    record::{LineError, Record},
    system::System,
};

/// More than a lifetime of changes: what is larger is not ours.
const BYTES_MAX: usize = 64 << 20;

/// Why the journal cannot be used. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is larger than a journal gets.
    #[error("{} is larger than a journal of ctwatch's ever gets; look at it, and move it away to begin a new one", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is no record.
    #[error("line {line} of the journal {} {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
    /// A line does not follow from those before it.
    #[error("line {line} of the journal {} {source}", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        source: Misplaced,
    },
    /// A record cannot be added.
    #[error("cannot write to the journal {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl JournalError {
    /// What to do about a journal that cannot be believed; `None` if it is none of that kind.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Line {
                path,
                source: LineError::Damaged | LineError::NoRecord(_) | LineError::Foreign(_),
                ..
            }
            | Self::Misplaced { path, .. } => Some(format!(
                "nothing is done from a journal that cannot be believed; the lines before it say in plain JSON what was \
                 changed ('old' is what to go back to by hand); to begin a new journal: mv {0} {0}.damaged",
                path.display()
            )),
            _ => None,
        }
    }
}

/// The journal, and what it says.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    ledger: Ledger,
    /// Bytes of whole lines. What is behind them was cut off, and is written over.
    length: u64,
    lines: usize,
}

impl Journal {
    /// Reads the journal; one that is not there is empty. A last line without an end was cut off while it was written: what
    /// it announces never began.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a line is damaged, of a newer version, or does not follow.
    pub fn open(system: &mut impl System, path: PathBuf) -> Result<Self, JournalError> {
        let read = system.file(&path);
        let bytes = match read {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(source) => return Err(JournalError::Read { path, source }),
        };
        if bytes.len() > BYTES_MAX {
            return Err(JournalError::TooLarge { path });
        }
        let mut journal = Self { path, ledger: Ledger::default(), length: 0, lines: 0 };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let whole = bytes.get(..whole).unwrap_or_default();
        if whole.is_empty() && !bytes.starts_with(b"\n") {
            return Ok(journal);
        }
        for line in whole.split(|byte| *byte == b'\n') {
            let path = || journal.path.clone();
            let number = journal.lines + 1;
            let record = Record::from_line(line).map_err(|source| JournalError::Line {
                path: path(),
                line: number,
                source,
            })?;
            let misplaced = |source| JournalError::Misplaced {
                path: journal.path.clone(),
                line: number,
                source,
            };
            journal.ledger.take(record).map_err(misplaced)?;
            journal.lines = number;
            journal.length += line.len() as u64 + 1;
        }
        Ok(journal)
    }

    /// What it says.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Adds a record; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// It cannot be written, or does not follow. A reader may find it or not, and the next record takes its place.
    pub fn append(&mut self, system: &mut impl System, record: Record) -> Result<(), JournalError> {
        let path = || self.path.clone();
        let line = record.to_line().map_err(|error| JournalError::Write {
            path: path(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        })?;
        let mut ledger = self.ledger.clone();
        ledger.take(record).map_err(|source| JournalError::Misplaced {
            path: path(),
            line: self.lines + 1,
            source,
        })?;
        let written = system.extend_file(&self.path, self.length, line.as_bytes());
        written.map_err(|source| JournalError::Write { path: path(), source })?;
        (self.ledger, self.lines) = (ledger, self.lines + 1);
        self.length += line.len() as u64;
        Ok(())
    }
}
