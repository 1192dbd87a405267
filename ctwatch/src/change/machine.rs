//! The machine itself: values of the kernel's in the network namespace that they are of, and files, replaced as a whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{
    knob::{Knob, Scope},
    system::System,
};
use crate::host::namespace::{NamespaceError, NamespaceTarget, NetworkNamespace};

/// More than any file that is read here has.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// The process whose namespace is the initial one, unless a container hides it.
const FIRST_PROCESS: &str = "/proc/1/ns/net";
/// Read-only but in the initial network namespace (`nf_conntrack_standalone_init_sysctl`,
/// net/netfilter/nf_conntrack_standalone.c).
const BUCKETS_FILE: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// The machine, as seen from one network namespace.
#[derive(Debug)]
pub struct Machine {
    /// Where values of a namespace are; `None` once it is gone.
    namespace: Option<NetworkNamespace>,
    /// Where values of the machine are; `None` where it cannot be reached, as in a container.
    initial: Option<NetworkNamespace>,
    root: PathBuf,
}

impl Machine {
    /// The machine, and the values of a namespace; `None` is one that is gone.
    pub fn new(namespace: Option<NetworkNamespace>) -> Self {
        Self { namespace, initial: initial_namespace(), root: PathBuf::from("/") }
    }

    /// The same with other files: all are looked for under `root`.
    #[must_use]
    pub fn under(self, root: PathBuf) -> Self {
        Self { root, ..self }
    }

    /// Whether values of the whole machine can be reached from here.
    pub fn reaches_initial(&self) -> bool {
        self.initial.is_some()
    }

    /// Makes sure that a value can be written, without writing it.
    ///
    /// # Errors
    ///
    /// What the kernel would say.
    pub fn check_writable(&self, knob: &Knob) -> io::Result<()> {
        self.within(knob, || {
            let flags = AtFlags::EACCESS;
            Ok(accessat(CWD, &knob.path, Access::WRITE_OK, flags)?)
        })
    }

    fn within<T: Send>(
        &self,
        knob: &Knob,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let namespace = match knob.scope {
            Scope::Namespace => self.namespace.as_ref().ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "its network namespace is gone")
            })?,
            // It can be read anywhere, and where it cannot be written the kernel says so.
            Scope::Machine => match self.initial.as_ref().or(self.namespace.as_ref()) {
                Some(namespace) => namespace,
                None => return work(),
            },
        };
        namespace.run(work).map_err(|error| match error {
            NamespaceError::NotPermitted { .. } => {
                io::Error::new(io::ErrorKind::PermissionDenied, error.to_string())
            }
            error => io::Error::other(format!("{:#}", anyhow::Error::new(error))),
        })?
    }

    fn rooted(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The initial network namespace: the own one, or the first process's; `None` if neither is.
pub fn initial_namespace() -> Option<NetworkNamespace> {
    let first = NamespaceTarget::Path(PathBuf::from(FIRST_PROCESS));
    [NamespaceTarget::OwnNamespace, first]
        .iter()
        .filter_map(|target| NetworkNamespace::open(target).ok())
        .find(is_initial)
}

/// Whether a namespace is the initial one, where values of the whole machine can be written. A machine without connection
/// tracking does not tell.
pub fn is_initial(namespace: &NetworkNamespace) -> bool {
    let mode = namespace.run(|| fs::metadata(BUCKETS_FILE).map(|file| file.permissions().mode()));
    matches!(mode, Ok(Ok(mode)) if mode & 0o200 != 0)
}

impl System for Machine {
    fn value(&mut self, knob: &Knob) -> io::Result<String> {
        self.within(knob, || Ok(fs::read_to_string(&knob.path)?.trim_end().to_owned()))
    }

    fn set_value(&mut self, knob: &Knob, value: &str) -> io::Result<()> {
        self.within(knob, || {
            // The kernel takes a value by one write.
            OpenOptions::new()
                .write(true)
                .open(&knob.path)?
                .write_all(format!("{value}\n").as_bytes())
        })
    }

    fn file(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = self.rooted(path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no file of a sensible size",
            ));
        }
        fs::read(path).map(Some)
    }

    fn replace_file(&mut self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let path = self.rooted(path);
        let directory = directory_of(&path)?;
        fs::create_dir_all(directory)?;
        let temporary = temporary_of(&path)?;
        // One that a crash has left is in the way, and nobody else's.
        remove_if_there(&temporary)?;
        let written = write_new(&temporary, mode_of(&path)?, contents)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_directory(directory));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let path = self.rooted(path);
        if !remove_if_there(&path)? {
            return Ok(());
        }
        sync_directory(directory_of(&path)?)
    }

    fn extend_file(&mut self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.rooted(path);
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        if length < offset {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "somebody has shortened it meanwhile",
            ));
        }
        if length > offset {
            file.set_len(offset)?;
        }
        file.write_all_at(bytes, offset)?;
        file.sync_data()?;
        if is_new { sync_directory(directory_of(&path)?) } else { Ok(()) }
    }

    fn files_in(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.rooted(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A link to a file counts as one.
            if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
                found.push(directory.join(entry.file_name()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no directory"))
}

/// Beside the file, so that it is on the same disk; hidden, and without an ending that anything would read it by.
fn temporary_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))?;
    Ok(path.with_file_name(format!(".{name}.ctwatch-new")))
}

/// A file that is replaced keeps its mode; a new one is for all to read, as such files are.
fn mode_of(path: &Path) -> io::Result<u32> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0o644),
        Err(error) => Err(error),
    }
}

fn write_new(path: &Path, mode: u32, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken something away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::new(None).under(directory.path().to_owned());
        (directory, machine)
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let (directory, mut machine) = machine();
        let path = Path::new("/etc/sysctl.d/99-ctwatch.conf");
        assert_eq!(machine.file(path).unwrap(), None);
        machine.replace_file(path, b"a = 1\n").unwrap();
        let real = directory.path().join("etc/sysctl.d/99-ctwatch.conf");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o644);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        // What a crash has left is no obstacle.
        fs::write(real.with_file_name(".99-ctwatch.conf.ctwatch-new"), "half").unwrap();
        machine.replace_file(path, b"a = 2\n").unwrap();
        assert_eq!(machine.file(path).unwrap().as_deref(), Some(b"a = 2\n".as_slice()));
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(machine.files_in(Path::new("/etc/sysctl.d")).unwrap(), [path]);
        machine.remove_file(path).unwrap();
        machine.remove_file(path).unwrap();
        assert_eq!(machine.file(path).unwrap(), None);
        assert!(machine.files_in(Path::new("/no/such")).unwrap().is_empty());
    }

    #[test]
    fn what_is_behind_the_offset_is_cut_off() {
        let (_directory, mut machine) = machine();
        let path = Path::new("/journal");
        machine.extend_file(path, 0, b"one\n").unwrap();
        machine.extend_file(path, 4, b"two, cut").unwrap();
        machine.extend_file(path, 4, b"2\n").unwrap();
        assert_eq!(machine.file(path).unwrap().as_deref(), Some(b"one\n2\n".as_slice()));
        assert!(machine.extend_file(path, 100, b"x").is_err());
        assert!(machine.file(Path::new("/")).is_err());
    }
}
