//! The directory in which ctwatch remembers what it changed, and the lock that lets one at a time change anything.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::geteuid,
};

/// Where it is unless told otherwise.
const DIRECTORY: &str = "/var/lib/ctwatch";
/// Who has a lock on what (proc_locks(5)).
const LOCKS: &str = "/proc/locks";
/// The environment variable that tells otherwise.
pub const DIRECTORY_VARIABLE: &str = "CTWATCH_STATE_DIR";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// This user may not.
    #[error("no permission to use {}: run ctwatch as root (sudo ctwatch …)", path.display())]
    NotPermitted {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else could write into it.
    #[error("{} {why}: what is in it cannot be believed; make it a directory that is root's alone (chown root, chmod 700), or move it away", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// It cannot be made or used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another ctwatch is changing something.
    #[error(
        "another ctwatch (process {holder}) is changing something right now: nothing was done, try again when it is done"
    )]
    Locked {
        /// Its process, as far as it is known.
        holder: String,
    },
}

/// The directory.
#[derive(Clone, Debug)]
pub struct State {
    path: PathBuf,
}

/// That nobody else changes anything, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl State {
    /// The directory `path`, else the one that the environment names, else the usual one. It need not be there.
    pub fn at(path: Option<&Path>) -> Self {
        let from_environment = || env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from);
        let path = path.map(Path::to_owned).or_else(from_environment);
        Self { path: path.unwrap_or_else(|| PathBuf::from(DIRECTORY)) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The plan that was shown last.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// What blocks did.
    pub fn effects(&self) -> PathBuf {
        self.path.join("effects.json")
    }

    /// What watchdogs said.
    pub fn watchdog_log(&self) -> PathBuf {
        self.path.join("watchdog.log")
    }

    /// Makes it, for this user alone, if it is not there, and makes sure that nobody else can write into it.
    ///
    /// # Errors
    ///
    /// It cannot be made, or is somebody else's.
    pub fn prepare(&self) -> Result<(), StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| self.error(&self.path, source))?;
        self.check()
    }

    /// Makes sure that nobody else can write into it; one that is not there is fine.
    ///
    /// # Errors
    ///
    /// It is somebody else's, or cannot be looked at.
    pub fn check(&self) -> Result<(), StateError> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(self.error(&self.path, source)),
        };
        let why = if !metadata.is_dir() {
            Some("is no directory")
        } else if metadata.uid() != geteuid().as_raw() && metadata.uid() != 0 {
            Some("is another user's")
        } else if metadata.mode() & 0o022 != 0 {
            Some("can be written by others")
        } else {
            None
        };
        why.map_or(Ok(()), |why| Err(StateError::NotOurs { path: self.path.clone(), why }))
    }

    /// Takes the lock, for this process. It is on the directory itself, so that neither a full disk nor a read-only one keeps
    /// anybody from undoing.
    ///
    /// # Errors
    ///
    /// [`StateError::Locked`] if somebody else has it.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let failed = |source| self.error(&self.path, source);
        let directory = File::open(&self.path).map_err(failed)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _directory: directory }),
            Err(Errno::WOULDBLOCK) => {
                let inode = directory.metadata().map_err(failed)?.ino();
                let locks = fs::read_to_string(LOCKS).unwrap_or_default();
                let holder = holder(&locks, inode);
                let holder = holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                Err(StateError::Locked { holder })
            }
            Err(errno) => Err(failed(errno.into())),
        }
    }

    fn error(&self, path: &Path, source: io::Error) -> StateError {
        match source.kind() {
            io::ErrorKind::PermissionDenied => StateError::NotPermitted { path: self.path.clone() },
            _ => StateError::Io { path: path.to_owned(), source },
        }
    }
}

/// The process that has a lock on a file of that number, by the text of `/proc/locks`: number, kind, mode, access, process,
/// device and number of the file as in `fd:00:1234`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (kind, pid, file) = (words.nth(1)?, words.nth(2)?, words.next()?);
        let is_it = kind == "FLOCK" && file.rsplit(':').next()?.parse() == Ok(inode);
        is_it.then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_has_the_lock_and_the_other_is_told_who() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(Some(&directory.path().join("a/b")));
        state.prepare().unwrap();
        let mode = fs::metadata(state.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let lock = state.lock().unwrap();
        let error = state.lock().unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        state.lock().unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_into_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(Some(directory.path()));
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(state.prepare(), Err(StateError::NotOurs { .. })));
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(State::at(Some(&file)).check().is_err());
        State::at(Some(&directory.path().join("none"))).check().unwrap();
    }

    #[test]
    fn who_has_the_lock_is_in_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 708 08:01:17 0 EOF\n1: -> FLOCK  ADVISORY WRITE 9 08:01:17\n\
                     2: FLOCK  ADVISORY  WRITE 709 08:01:17 0 EOF\nnonsense\n";
        assert_eq!(holder(locks, 17), Some(709));
        assert_eq!(holder(locks, 1), None);
    }
}
