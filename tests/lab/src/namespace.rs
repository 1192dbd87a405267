//! A named network namespace: make it, work inside it, delete it. Only a helper thread ever enters one, so the caller
//! stays where it is.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program;

/// Where iproute2 keeps the names of network namespaces.
const NAMES: &str = "/run/netns";

/// A network namespace with a name in `/run/netns`. It stays when this value goes: see [`Namespace::delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of this name, which must exist when it is used.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Makes a new namespace.
    ///
    /// # Errors
    /// When the name is taken or the caller may not make one.
    pub fn create(name: &str) -> Result<Self> {
        program::run("ip", &["netns", "add", name], "")
            .with_context(|| format!("cannot make the network namespace {name}"))?;
        Ok(Self::named(name))
    }

    /// Its name, as `ctwatch --netns` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// Whether it exists now.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Its number, as `ctwatch watch --json` gives it: the inode of the namespace
    /// (fs/nsfs.c, `ns.inum`).
    ///
    /// # Errors
    /// When it does not exist.
    pub fn number(&self) -> Result<u64> {
        let path = self.path();
        let status = rustix::fs::stat(&path)
            .with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(status.st_ino)
    }

    /// Runs `job` on a helper thread inside the namespace. What it opens and the programs it starts belong to the
    /// namespace; sockets stay bound to it when they are handed out.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or when `job` fails.
    pub fn within<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let helper = scope.spawn(|| {
                self.enter()?;
                job()
            });
            helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread, and no other, into the namespace for good: only for threads that end inside.
    ///
    /// # Errors
    /// When it does not exist, or the caller may not enter it.
    pub fn enter(&self) -> Result<()> {
        let path = self.path();
        let file = File::open(&path)
            .with_context(|| format!("no network namespace at {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter the network namespace {}", self.name))
    }

    /// Writes `value` to the sysctl at `path` below `/proc/sys`, inside the namespace.
    ///
    /// # Errors
    /// When the file is not there or refuses the value.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.within(|| write_sysctl(path, value))
    }

    /// Deletes its name; the kernel ends the namespace with its last user, and its interfaces with it.
    ///
    /// # Errors
    /// When it does not exist or the caller may not delete it.
    pub fn delete(&self) -> Result<()> {
        program::run("ip", &["netns", "delete", &self.name], "").map(|_output| ())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Writes `value` to the sysctl at `path` below `/proc/sys`, in the calling thread's namespace: `/proc/sys/net` shows
/// the namespace of the task that opens it (net/sysctl_net.c, `net_ctl_header_lookup`).
pub(crate) fn write_sysctl(path: &str, value: &str) -> Result<()> {
    let file = Path::new("/proc/sys").join(path);
    std::fs::write(&file, value)
        .with_context(|| format!("cannot write {value} to {}", file.display()))
}

/// Deletes the namespaces whose name is `prefix`, a process id, and more, where that process is gone: what a killed run
/// has left behind. Returns how many there were.
///
/// # Errors
/// When one of them cannot be deleted.
pub fn delete_leftovers(prefix: &str) -> Result<u64> {
    let Ok(names) = std::fs::read_dir(NAMES) else {
        return Ok(0);
    };
    let mut deleted = 0;
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(owner) = owner(&name, prefix) else {
            continue;
        };
        if Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        let namespace = Namespace::named(&name);
        match namespace.delete() {
            Ok(()) => deleted += 1,
            // Another run may have cleaned up at the same moment.
            Err(_) if !namespace.exists() => {}
            Err(error) => {
                return Err(anyhow!("cannot delete the leftover namespace {name}: {error}"));
            }
        }
    }
    Ok(deleted)
}

/// The process id inside a name made of `prefix`, the id, `-` and more.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    let (owner, _rest) = name.strip_prefix(prefix)?.split_once('-')?;
    owner.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_lab_have_an_owner() {
        assert_eq!(owner("ctlab-812-0-gw", "ctlab-"), Some(812));
        assert_eq!(owner("ctlab-gw", "ctlab-"), None);
        assert_eq!(owner("production-812-gw", "ctlab-"), None);
        assert_eq!(owner("ctlab-+812-gw", "other-"), None);
    }
}
