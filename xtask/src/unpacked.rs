//! Other people's programs with all that they load, from the packages of the machine's own release, unpacked into a directory
//! under `target/`. Nothing of them is installed.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::packages::{self, Archive, Distribution};
use crate::process;
use crate::workspace::Workspace;

/// Packages that are unpacked together.
#[derive(Debug)]
pub(crate) struct Packages {
    /// The part of `target/` that they belong to, which has one state of apt's.
    pub(crate) part: &'static str,
    /// The directory in it that they are unpacked into.
    pub(crate) directory: &'static str,
    /// Their names; what they depend on comes along.
    pub(crate) names: &'static [&'static str],
    /// Further ones, of which only what is in them is needed, and libraries that others bring.
    pub(crate) alone: &'static [&'static str],
}

impl Packages {
    /// Downloads and unpacks them, unless they are there, and returns the directory that is their root.
    ///
    /// # Errors
    /// Where there is no apt, or it cannot reach its archives.
    pub(crate) fn fetch(&self, workspace: &Workspace) -> Result<PathBuf> {
        let _lock = workspace.lock("packages")?;
        let part = workspace.target(self.part);
        let root = part.join(self.directory);
        let complete = part.join(format!("{}.complete", self.directory));
        let names = [self.names, self.alone].concat().join(", ");
        if fs::read_to_string(&complete).is_ok_and(|fetched| fetched == names) {
            return Ok(root);
        }
        process::say(format!("fetching {names}, to be unpacked under target/{}", self.part));
        packages::remove_directory(&root)?;
        let codename = Distribution::of_this_machine().codename;
        let suites =
            [codename.clone(), format!("{codename}-updates"), format!("{codename}-security")];
        let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
        let archive = Archive::open(part.join("apt-programs"), &suites)?;
        let mut wanted = archive.closure(self.names)?;
        wanted.extend(self.alone.iter().map(|&name| name.to_owned()));
        archive.unpack(&wanted, &root)?;
        packages::write(&complete, names)?;
        Ok(root)
    }
}
