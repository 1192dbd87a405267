//! The events on their way up, as bytes.

use std::{io, os::fd::AsRawFd};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use tokio::io::unix::AsyncFd;

use super::error::ProbeError;

/// The reader's end of the ring buffer. To be made inside a tokio runtime.
pub struct EventRing {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl std::fmt::Debug for EventRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventRing").field("fd", &self.ring.as_raw_fd()).finish()
    }
}

impl EventRing {
    /// Takes the ring out of the object.
    ///
    /// # Errors
    ///
    /// If the object has none, or it cannot be mapped or polled.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = ebpf.take_map("EVENTS").ok_or(ProbeError::Lacks("map EVENTS"))?;
        // SAFETY: the ring buffer owns its map's descriptor, always returns the same one, and is owned by the
        // AsyncFd until both are dropped.
        let ring = unsafe { AsyncFd::register(RingBuf::try_from(map)?) };
        Ok(Self { ring: ring.map_err(|error| error.into_parts().1)? })
    }

    /// Waits until enough events wait that the kernel side woke this reader.
    ///
    /// # Errors
    ///
    /// What the poll says.
    pub async fn readable(&mut self) -> io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Hands on at most `records` records; says whether there may be more.
    pub fn drain(&mut self, records: usize, mut each: impl FnMut(&[u8])) -> Drained {
        let ring = self.ring.get_mut();
        for _ in 0..records {
            match ring.next() {
                Some(record) => each(&record),
                None => return Drained::Everything,
            }
        }
        Drained::Some
    }
}

/// How much was taken from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The ring is empty.
    Everything,
    /// There may be more.
    Some,
}
