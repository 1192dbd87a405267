//! What the agent tells of itself.

/// What its process has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Seconds of processor time since its start, the kernel's on its behalf included.
    pub cpu_s: f64,
    /// Memory that it has now.
    pub resident_memory_bytes: u64,
}

/// What became of the recording that it was told to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Whether it is being written now.
    pub is_written: bool,
    /// Snapshots handed to the file.
    pub snapshots: u64,
    /// Bytes written, over all files.
    pub written_bytes: u64,
    /// Times that it could not be begun or gone on with.
    pub failures: u64,
    /// Snapshots that are not in it.
    pub left_out: u64,
}

impl Recording {
    /// Whether it should be written and cannot be.
    pub fn is_failing(&self) -> bool {
        self.failures > 0 && !self.is_written
    }
}
