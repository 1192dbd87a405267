//! An array map's memory, mapped into this process.
//!
//! Reading it costs the kernel nothing and skips no probe, unlike bpf(2) (see the kernel side's maps).

use std::{
    ffi::c_void,
    io,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a map that the kernel side writes at any time.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
    mapped_bytes: usize,
    access: Access,
}

/// What may be done with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reading.
    Read,
    /// Reading and writing.
    Write,
}

impl SharedWords {
    /// Maps the first `words` 64-bit words of an array map created with BPF_F_MMAPABLE.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn map(fd: BorrowedFd<'_>, words: usize, access: Access) -> io::Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        let mapped_bytes = words * size_of::<u64>();
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing of this process.
        let start =
            unsafe { mmap(ptr::null_mut(), mapped_bytes, protection, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, words, mapped_bytes, access })
    }

    /// One word, or `None` past the end.
    pub fn load(&self, index: usize) -> Option<u64> {
        self.word(index).map(|word| word.load(Ordering::Acquire))
    }

    /// Writes one word; past the end, or where only reading was asked for, it does nothing.
    pub fn store(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index).filter(|_| self.access == Access::Write) {
            word.store(value, Ordering::Release);
        }
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.words {
            return None;
        }
        // SAFETY: the index is within the mapping, which is page-aligned.
        let word = unsafe { self.start.add(index) };
        // SAFETY: the mapping lives as long as `self`; both sides touch its words by atomic access only.
        Some(unsafe { word.as_ref() })
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let start: *mut c_void = self.start.as_ptr().cast();
        // SAFETY: the mapping is this value's own, and no reference to it outlives it.
        // A failure to unmap leaves nothing to do.
        let _ = unsafe { munmap(start, self.mapped_bytes) };
    }
}
