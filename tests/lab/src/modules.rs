//! Loading the machine's modules, and unloading conntrack with all that needs it for as long as a test wants. It must
//! leave the machine with every module that it had.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};

use crate::init::MODULES_LIST;
use crate::wait;

const CONNTRACK: &str = "nf_conntrack";

/// Loads the module at `path`; one that is loaded already stays.
///
/// # Errors
/// When it cannot be loaded.
pub fn load(path: &str) -> Result<()> {
    let module = File::open(path).with_context(|| format!("cannot open the module {path}"))?;
    match finit_module(&module, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot load the module {path}")),
    }
}

/// Whether conntrack is loaded.
#[must_use]
pub fn is_conntrack_loaded() -> bool {
    Path::new("/sys/module").join(CONNTRACK).join("initstate").exists()
}

/// The machine without the modules that need conntrack, and without conntrack itself once that is told to go. Dropping
/// it loads all of them again.
#[derive(Debug)]
pub struct ConntrackUnused {
    /// Paths, each after those that it needs.
    paths: Vec<String>,
}

impl ConntrackUnused {
    /// Unloads what needs conntrack. Whatever uses that, such as rules, must be gone or going.
    ///
    /// # Errors
    /// When one of them stays in use.
    pub fn begin() -> Result<Self> {
        let unused = Self::of_conntrack()?;
        for path in unused.paths.iter().rev().filter(|path| name(path) != CONNTRACK) {
            unload(&name(path))?;
        }
        Ok(unused)
    }

    /// Unloads these modules in this order, which must be all that need conntrack, and conntrack.
    ///
    /// # Errors
    /// When one of them stays in use, as in a wrong order, or one that needs conntrack is not among them.
    pub fn in_order(order: &[&str]) -> Result<Self> {
        let unused = Self::of_conntrack()?;
        for module in order {
            unload(module)?;
        }
        let left = unused
            .paths
            .iter()
            .map(|path| name(path))
            .find(|name| Path::new("/sys/module").join(name).join("initstate").exists());
        if let Some(left) = left {
            bail!("{left} is still loaded after {order:?}");
        }
        Ok(unused)
    }

    /// Everything stays loaded; the drop loads again what is unloaded from here on, whatever fails.
    fn of_conntrack() -> Result<Self> {
        let list = std::fs::read_to_string(MODULES_LIST).context("the machine has no modules")?;
        let users = users_of_conntrack(&std::fs::read_to_string("/proc/modules")?);
        let of_conntrack = |path: &&str| users.contains(&name(path)) || name(path) == CONNTRACK;
        let paths = list.lines().map(str::trim).filter(of_conntrack);
        Ok(Self { paths: paths.map(str::to_owned).collect() })
    }

    /// Unloads conntrack itself.
    ///
    /// # Errors
    /// When it stays in use.
    pub fn unload_conntrack(&self) -> Result<()> {
        unload(CONNTRACK)
    }

    /// Tries once to unload conntrack itself, as rmmod does.
    ///
    /// # Errors
    /// What the kernel says: `EWOULDBLOCK` while it is in use.
    pub fn try_to_unload_conntrack(&self) -> Result<(), Errno> {
        delete_module(c"nf_conntrack", libc_nonblock())
    }
}

impl Drop for ConntrackUnused {
    fn drop(&mut self) {
        for path in &self.paths {
            // A drop has nobody to tell; the next scenario says what it misses.
            let _unloaded = load(path);
        }
    }
}

/// Rules and namespaces that are gone let a module go only when the kernel's workers have been at them.
fn unload(module: &str) -> Result<()> {
    let module_name = CString::new(module)?;
    wait::until(wait::PATIENCE, &format!("{module} to be unused"), || {
        match delete_module(&module_name, libc_nonblock()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Some(())),
            Err(Errno::WOULDBLOCK | Errno::BUSY) => Ok(None),
            Err(error) => bail!("cannot unload the module {module}: {error}"),
        }
    })
}

/// `O_NONBLOCK`, which rmmod sets: do not wait for users.
fn libc_nonblock() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits() as i32
}

/// Every module that needs conntrack, or one that does, by `/proc/modules`: name, size, references, users.
fn users_of_conntrack(modules: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([CONNTRACK.to_owned()]);
    loop {
        let mut more = found.clone();
        for line in modules.lines() {
            let mut words = line.split_whitespace();
            let (Some(module), Some(users)) = (words.next(), words.nth(2)) else { continue };
            if found.contains(module) {
                more.extend(
                    users
                        .split(',')
                        .filter(|user| !user.is_empty() && *user != "-")
                        .map(str::to_owned),
                );
            }
        }
        if more.len() == found.len() {
            found.remove(CONNTRACK);
            return found;
        }
        found = more;
    }
}

/// The name of the module in the file at `path`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_users_are_found() {
        let modules = "nft_masq 12288 0 - Live 0x0\nnf_nat 65536 2 nft_masq,nft_chain_nat, Live 0x0\n\
                       nf_conntrack 200000 3 nf_nat,nft_ct, Live 0x0\nnf_tables 300000 5 nft_masq,nft_ct, Live 0x0\n";
        let users: Vec<String> = users_of_conntrack(modules).into_iter().collect();
        assert_eq!(users, ["nf_nat", "nft_chain_nat", "nft_ct", "nft_masq"]);
        assert_eq!(name("/lib/modules/6.12/kernel/net/nf-thing.ko"), "nf_thing");
    }
}
