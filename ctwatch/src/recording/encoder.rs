//! From snapshots to blocks.

use std::sync::Arc;

use bytes::BytesMut;

use super::{
    block::Packed,
    item::{self, Beginning, EncodeError, Ending, Kind, Numbers, Place, SnapshotRecord},
};
use crate::{
    advise::machine_state::MachineState,
    model::{census::Census, flood::Flood, mode::Mode, snapshot::Snapshot},
};

/// Gathers the content of a block.
#[derive(Debug, Default)]
pub struct Encoder {
    content: BytesMut,
    modes: Vec<Arc<Mode>>,
    censuses: Vec<Arc<Census>>,
    floods: Vec<Arc<[Flood]>>,
}

impl Encoder {
    /// Says what a file holds.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn begin(&mut self, beginning: &Beginning) -> Result<(), EncodeError> {
        item::put(&mut self.content, Kind::Beginning, beginning)
    }

    /// Adds what the machine is and how it is set.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn add_machine_state(&mut self, state: &MachineState) -> Result<(), EncodeError> {
        item::put(&mut self.content, Kind::MachineState, state)
    }

    /// Adds a snapshot.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn add(&mut self, snapshot: &Snapshot, place: Place) -> Result<(), EncodeError> {
        let Self { content, modes, censuses, floods, .. } = self;
        let numbers = Numbers {
            mode: number(modes, &snapshot.mode, |mode| item::put(content, Kind::Mode, mode))?,
            census: match &snapshot.census {
                Some(now) => Some(number(censuses, &now.census, |census| {
                    item::put(content, Kind::Census, census)
                })?),
                None => None,
            },
            floods: match &snapshot.floods {
                Some(these) => {
                    Some(number(floods, these, |these| item::put(content, Kind::Floods, &these))?)
                }
                None => None,
            },
        };
        item::put(content, Kind::Snapshot, &SnapshotRecord::new(snapshot, place, numbers))
    }

    /// Says how a file ends.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn end(&mut self, ending: Ending) -> Result<(), EncodeError> {
        item::put(&mut self.content, Kind::Ending, &ending)
    }

    /// Bytes of the block so far, before they are compressed.
    pub fn content_bytes(&self) -> usize {
        self.content.len()
    }

    /// Ends the block, and begins another one; `None` if there is nothing in it.
    ///
    /// # Errors
    ///
    /// If it is too long.
    pub fn take(&mut self) -> Result<Option<Packed>, EncodeError> {
        if self.content.is_empty() {
            return Ok(None);
        }
        // A block refers to nothing outside it.
        self.modes.clear();
        self.censuses.clear();
        self.floods.clear();
        Packed::of(&self.content.split()).map(Some).ok_or(EncodeError::TooLong)
    }
}

/// The number of something shared, which is written if it is not there yet.
fn number<T: ?Sized>(
    known: &mut Vec<Arc<T>>,
    this: &Arc<T>,
    write: impl FnOnce(&T) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    // As all of them are kept, none of them has the address of one that is gone.
    if let Some(number) = known.iter().rposition(|one| Arc::ptr_eq(one, this)) {
        return Ok(number);
    }
    write(this)?;
    known.push(Arc::clone(this));
    Ok(known.len() - 1)
}
