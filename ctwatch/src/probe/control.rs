//! What user space tells the hooks while they run.

use aya::Ebpf;
use ctwatch_common::layout::control;

use super::{
    error::ProbeError,
    memory::{Access, SharedWords},
    rows::fd_of,
};

/// The switches of one loaded object. All are off at first.
#[derive(Debug)]
pub struct Control(SharedWords);

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Control {
    /// The switches of an object.
    ///
    /// # Errors
    ///
    /// If the object is not this version's, or the kernel refuses.
    pub fn of(object: &Ebpf) -> Result<Self, ProbeError> {
        Ok(Self(SharedWords::map(
            fd_of(object, "CONTROL")?,
            control::WORDS as usize,
            Access::Write,
        )?))
    }

    /// Whether dropped packets are looked at; right only while the table is near its limit.
    pub fn watch_drops(&self, switch: Switch) {
        self.set(control::WATCH_DROPS, switch);
    }

    /// Whether every beginning and end of an entry is sent as an event; right only for the time of a dump.
    pub fn trace(&self, switch: Switch) {
        self.set(control::TRACE, switch);
    }

    fn set(&self, word: u32, switch: Switch) {
        self.0.store(word as usize, u64::from(switch == Switch::On));
    }
}
