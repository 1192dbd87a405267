//! All parts of a recording, one after another, as far as they are there and whole.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    item::{Beginning, Ending, Place},
    part_path, part_path_behind,
    reader::{Missing, ReadError, Reader, Recorded},
};
use crate::{advise::machine_state::MachineState, model::snapshot::Snapshot};

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot replay {}: {source}", path.display())]
pub struct PartsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: ReadError,
}

/// A recording that is being read: an iterator over its snapshots, those of all namespaces mixed as they were seen.
#[derive(Debug)]
pub struct Parts {
    /// Those that are left, the oldest first.
    left: VecDeque<PathBuf>,
    path: PathBuf,
    /// Of all of them.
    bytes: u64,
    /// Of those that have been read.
    bytes_before: u64,
    reader: Reader<File>,
    beginning: Beginning,
    missing: Missing,
    ending: Option<Ending>,
    machine_states: BTreeMap<u32, MachineState>,
    snapshots: u64,
    is_over: bool,
}

impl Parts {
    /// Opens a recording, with its earlier parts as far as they are beside it.
    ///
    /// # Errors
    ///
    /// If it is none, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, PartsError> {
        let mut left = VecDeque::from([path.to_owned()]);
        let mut beginning = beginning_of(path)?;
        for number in 1.. {
            let places = [Some(part_path(path, number)), part_path_behind(path, number)];
            let found = places.into_iter().flatten().find_map(|earlier| {
                let of_earlier = beginning_of(&earlier).ok()??;
                is_right_before(&of_earlier, beginning.as_ref()).then_some((earlier, of_earlier))
            });
            let Some((earlier, of_earlier)) = found else { break };
            beginning = Some(of_earlier);
            left.push_front(earlier);
        }
        let length = |part: &PathBuf| fs::metadata(part).map_or(0, |found| found.len());
        let bytes = left.iter().map(length).sum();
        let first = left.pop_front().unwrap_or_else(|| path.to_owned());
        Ok(Self {
            reader: open(&first)?,
            left,
            path: first,
            bytes,
            bytes_before: 0,
            beginning: beginning.unwrap_or_default(),
            missing: Missing::default(),
            ending: None,
            machine_states: BTreeMap::new(),
            snapshots: 0,
            is_over: false,
        })
    }

    /// What the first part that is there says of itself.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// The last that was read of what the machine was for a namespace; `None` where nobody has recorded that.
    pub fn machine_state(&self, netns: u32) -> Option<&MachineState> {
        self.machine_states.get(&netns)
    }

    /// Bytes of all parts, as they were when it was opened.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them have been read.
    pub fn read_bytes(&self) -> u64 {
        self.bytes_before + self.reader.read_bytes()
    }

    /// Whether all of it has been read.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// What is missing of it, once it has been read: a sentence each.
    pub fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        let Missing { damaged_bytes, blocks, cut_bytes, not_understood } = self.missing;
        if self.snapshots == 0 {
            defects.push("there is no snapshot in it that can be read".to_owned());
        }
        if self.beginning.part > 0 {
            defects.push(format!(
                "the {} earliest parts of the recording are not here: it begins later than it was begun",
                self.beginning.part
            ));
        }
        if damaged_bytes > 0 || blocks > 0 {
            defects.push(format!(
                "{damaged_bytes} bytes in the middle are damaged and were left out, and with them {blocks} blocks of up to five seconds each"
            ));
        }
        if not_understood > 0 {
            defects.push(format!(
                "{not_understood} items are not understood and were left out: a newer ctwatch wrote them"
            ));
        }
        if cut_bytes > 0 {
            defects.push(format!("it is cut off: its last {cut_bytes} bytes are no whole block"));
        }
        match self.ending {
            Some(Ending::Finished) => {}
            Some(Ending::Continued) => {
                defects.push("it goes on in a part that is not here".to_owned());
            }
            None => defects.push(
                "it does not say that it was ended: ctwatch is still recording, or was killed, and up to five seconds are lost"
                    .to_owned(),
            ),
        }
        defects
    }

    /// The next snapshot; `None` after the last one.
    ///
    /// # Errors
    ///
    /// If a part cannot be read. What is damaged is no error, see [`Self::defects`].
    pub fn read(&mut self) -> Result<Option<(Arc<Snapshot>, Place)>, PartsError> {
        loop {
            let next = self.reader.read().map_err(|error| failed(&self.path, error.into()))?;
            match next {
                Some(Recorded::Snapshot(snapshot, place)) => {
                    self.snapshots += 1;
                    return Ok(Some((snapshot, place)));
                }
                Some(Recorded::Ending(ending)) => self.ending = Some(ending),
                Some(Recorded::MachineState(state)) => {
                    self.machine_states.insert(state.netns, *state);
                }
                Some(Recorded::Beginning(_)) => self.ending = None,
                None => {
                    self.missing.include(&self.reader.take_missing());
                    let Some(part) = self.left.pop_front() else {
                        self.is_over = true;
                        return Ok(None);
                    };
                    self.bytes_before += self.reader.read_bytes();
                    self.reader = open(&part)?;
                    self.path = part;
                    self.ending = None;
                }
            }
        }
    }
}

impl Iterator for Parts {
    type Item = Result<Arc<Snapshot>, PartsError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map(|next| next.map(|(snapshot, _)| snapshot)).transpose()
    }
}

/// Whether a part stands right before another one of the same recording.
fn is_right_before(earlier: &Beginning, later: Option<&Beginning>) -> bool {
    later.is_some_and(|later| {
        earlier.begun_wall_ns == later.begun_wall_ns && earlier.part + 1 == later.part
    })
}

/// What a part says of itself; `None` if that is damaged.
fn beginning_of(path: &Path) -> Result<Option<Beginning>, PartsError> {
    let mut reader = open(path)?;
    match reader.read().map_err(|error| failed(path, error.into()))? {
        Some(Recorded::Beginning(beginning)) => Ok(Some(*beginning)),
        _ => Ok(None),
    }
}

fn open(path: &Path) -> Result<Reader<File>, PartsError> {
    let file = File::open(path).map_err(|error| failed(path, error.into()))?;
    // What a folder says to being read is not what the user should be told.
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(failed(path, io::Error::from(io::ErrorKind::IsADirectory).into()));
    }
    Reader::new(file).map_err(|error| failed(path, error))
}

fn failed(path: &Path, source: ReadError) -> PartsError {
    PartsError { path: path.to_owned(), source }
}
