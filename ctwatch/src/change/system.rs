//! What a change does to the machine, as a trait: the machine itself, and in tests a fake whose every call can fail.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::knob::Knob;

/// Everything that changing and undoing needs of a machine.
pub trait System {
    /// The value of a knob, without the line's end.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn value(&mut self, knob: &Knob) -> io::Result<String>;

    /// Sets a knob.
    ///
    /// # Errors
    ///
    /// The kernel refuses the value, or it may not be written here.
    fn set_value(&mut self, knob: &Knob, value: &str) -> io::Result<()>;

    /// The contents of a file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read.
    fn file(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Puts a file in the place of another, or where none was, so that after a crash there is the old one or the new
    /// one, whole: written beside it, synced, renamed, and the directory synced.
    ///
    /// # Errors
    ///
    /// It cannot be written; the old one is still there.
    fn replace_file(&mut self, path: &Path, contents: &[u8]) -> io::Result<()>;

    /// Removes a file and syncs its directory; that there is none is no error.
    ///
    /// # Errors
    ///
    /// It is still there.
    fn remove_file(&mut self, path: &Path) -> io::Result<()>;

    /// Makes `bytes` the file's contents from `offset` on, and syncs them: what a call that failed or was cut left there is
    /// cut off. Makes the file, for its owner alone, if there is none.
    ///
    /// # Errors
    ///
    /// The file ends before `offset`, or it cannot be written. Any part of `bytes` may be there then.
    fn extend_file(&mut self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The files of a directory, sorted; empty if there is no such directory.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn files_in(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}
