//! A machine for tests: the kernel's rules for its values, files, and a fault at any call. It must not know what it is for.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    knob::{Knob, Scope, by_key},
    system::System,
};
use crate::advise::settings::{HASHSIZE, LIMIT, TCP_LOOSE};

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and does nothing.
    Fails(i32),
    /// It fails although it did what it should.
    FailsAfter(i32),
    /// It writes a part, and fails.
    FailsHalfway(i32),
    /// The process is killed before it does anything.
    DiesBefore,
    /// The process is killed when it has done it.
    DiesAfter,
    /// The process is killed while a part is written.
    DiesHalfway,
}

/// The machine. It outlives the process: [`Fake::revived`] is the next process on it.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) values: BTreeMap<String, u64>,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Limit and buckets after each change of either.
    pub(crate) sizes: Vec<(u64, u64)>,
    /// Faults by the number of the call.
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// Whether it is seen from a namespace that is not the initial one.
    pub(crate) is_child: bool,
    pub(crate) calls: usize,
    is_dead: Rc<Cell<bool>>,
}

impl Fake {
    /// A machine with these values.
    pub(crate) fn new(values: &[(&str, u64)]) -> Self {
        let values: BTreeMap<String, u64> =
            values.iter().map(|&(key, value)| (key.to_owned(), value)).collect();
        assert!(values.keys().all(|key| by_key(key).is_some()));
        let mut fake = Self {
            values,
            files: BTreeMap::new(),
            sizes: Vec::new(),
            faults: BTreeMap::new(),
            is_child: false,
            calls: 0,
            is_dead: Rc::default(),
        };
        fake.note_sizes();
        fake
    }

    /// The same machine, for the next process, with its own faults.
    pub(crate) fn revived(&self, faults: &[(usize, Fault)]) -> Self {
        let faults = faults.iter().copied().collect();
        Self { faults, calls: 0, is_dead: Rc::default(), ..self.clone() }
    }

    /// Whether the process was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.get()
    }

    fn note_sizes(&mut self) {
        let size = |key| self.values.get(key).copied().unwrap_or_default();
        self.sizes.push((size(LIMIT), size(HASHSIZE)));
    }

    /// Runs a call with what is to go wrong at it. `part` does a part of what `whole` does.
    fn call<T>(
        &mut self,
        whole: impl FnOnce(&mut Self) -> io::Result<T>,
        part: impl FnOnce(&mut Self),
    ) -> io::Result<T> {
        let dead = || io::Error::other("the process is dead");
        if self.is_dead.get() {
            return Err(dead());
        }
        let fault = self.faults.get(&self.calls).copied();
        self.calls += 1;
        let error = io::Error::from_raw_os_error;
        match fault {
            None => whole(self),
            Some(Fault::Fails(errno)) => Err(error(errno)),
            Some(Fault::FailsAfter(errno)) => whole(self).and_then(|_| Err(error(errno))),
            Some(Fault::FailsHalfway(errno)) => {
                part(self);
                Err(error(errno))
            }
            Some(fault) => {
                match fault {
                    Fault::DiesAfter => drop(whole(self)),
                    Fault::DiesHalfway => part(self),
                    _ => {}
                }
                self.is_dead.set(true);
                Err(dead())
            }
        }
    }
}

impl System for Fake {
    fn value(&mut self, knob: &Knob) -> io::Result<String> {
        let key = knob.key.clone();
        self.call(
            |fake| match fake.values.get(&key) {
                Some(value) => Ok(value.to_string()),
                None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            },
            |_| {},
        )
    }

    fn set_value(&mut self, knob: &Knob, value: &str) -> io::Result<()> {
        let (knob, value) = (knob.clone(), value.to_owned());
        self.call(
            |fake| {
                let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
                let value: u64 = value.parse().map_err(|_| invalid())?;
                let value = match knob.key.as_str() {
                    // Up to Linux 6.18.
                    LIMIT if value == 0 => 0,
                    TCP_LOOSE if value > 1 => return Err(invalid()),
                    _ => knob.settled(value, 4096).ok_or_else(invalid)?,
                };
                if knob.scope == Scope::Machine && fake.is_child {
                    let errno = if knob.key == HASHSIZE { libc::EOPNOTSUPP } else { libc::EACCES };
                    return Err(io::Error::from_raw_os_error(errno));
                }
                let held = fake.values.get_mut(&knob.key);
                *held.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))? = value;
                fake.note_sizes();
                Ok(())
            },
            |_| {},
        )
    }

    fn file(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call(|fake| Ok(fake.files.get(path).cloned()), |_| {})
    }

    fn replace_file(&mut self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.call(
            |fake| {
                fake.files.insert(path.to_owned(), contents.to_owned());
                Ok(())
            },
            |_| {},
        )
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.call(
            |fake| {
                fake.files.remove(path);
                Ok(())
            },
            |_| {},
        )
    }

    fn extend_file(&mut self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let extend = |fake: &mut Self, bytes: &[u8]| {
            let file = fake.files.entry(path.to_owned()).or_default();
            file.truncate(usize::try_from(offset).unwrap());
            file.extend_from_slice(bytes);
        };
        self.call(
            |fake| {
                extend(fake, bytes);
                Ok(())
            },
            |fake| extend(fake, &bytes[..bytes.len() / 2]),
        )
    }

    fn files_in(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.call(
            |fake| {
                let files = fake.files.keys();
                Ok(files.filter(|file| file.parent() == Some(directory)).cloned().collect())
            },
            |_| {},
        )
    }
}
