//! Other people's programs for the virtual machine, from the distribution's packages, with the libraries they load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{self, Archive, Distribution};
use crate::process;
use crate::workspace::Workspace;

const PACKAGES: [&str; 4] = ["conntrack", "nftables", "iproute2", "busybox-static"];
const NAMES: [&str; 3] = ["conntrack", "nft", "ip"];
const LIBRARY_DIRECTORIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Programs and what they load; the keys are the names of the files.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// Where the libraries go in the machine: the one directory that Debian's loader always looks in.
    pub(crate) libraries: BTreeMap<String, PathBuf>,
    /// The dynamic loader, which programs name by an absolute path.
    pub(crate) loader: PathBuf,
    pub(crate) busybox: PathBuf,
}

/// Downloads and unpacks the programs, unless they are there.
pub(crate) fn fetch(workspace: &Workspace) -> Result<Programs> {
    let root = workspace.target("vm/programs");
    let complete = workspace.target("vm/programs.complete");
    if !complete.exists() {
        process::say("fetching the programs for the virtual machine");
        packages::remove_directory(&root)?;
        let codename = Distribution::of_this_machine().codename;
        let suites =
            [codename.clone(), format!("{codename}-updates"), format!("{codename}-security")];
        let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
        let archive = Archive::open(workspace.target("vm/apt-programs"), &suites)?;
        archive.unpack(&archive.closure(&PACKAGES)?, &root)?;
        packages::write(&complete, "")?;
    }
    let loader = find(&root, &LIBRARY_DIRECTORIES, LOADER)?;
    let mut programs = BTreeMap::new();
    let mut libraries = BTreeMap::new();
    for name in NAMES {
        let program = find(&root, &["bin", "sbin", "usr/bin", "usr/sbin"], name)?;
        libraries.extend(loaded_by(&root, &loader, &program)?);
        programs.insert(name.to_owned(), program);
    }
    let busybox = find(&root, &["bin", "usr/bin"], "busybox")?;
    Ok(Programs { programs, libraries, loader, busybox })
}

/// A regular file in one of the directories: packages name a program in one and link to it, absolutely, from another.
fn find(root: &Path, directories: &[&str], name: &str) -> Result<PathBuf> {
    let candidates = directories.iter().map(|directory| root.join(directory).join(name));
    let is_file =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    candidates.into_iter().find(is_file).with_context(|| format!("the packages brought no {name}"))
}

/// What the unpacked loader would load for a program, by name.
fn loaded_by(root: &Path, loader: &Path, program: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let directories =
        LIBRARY_DIRECTORIES.map(|directory| root.join(directory).display().to_string()).join(":");
    let mut command = Command::new(loader);
    command
        .env_remove("LD_LIBRARY_PATH")
        .arg("--library-path")
        .arg(directories)
        .arg("--list")
        .arg(program);
    Ok(libraries_in_list(&process::capture(&mut command)?))
}

/// The lines `NAME => PATH (ADDRESS)` of the loader's list; the loader itself is named by its path and left out.
fn libraries_in_list(list: &str) -> BTreeMap<String, PathBuf> {
    let lines = list.lines().filter_map(|line| line.trim().split_once(" => "));
    lines
        .filter(|(name, _)| !name.contains('/'))
        .filter_map(|(name, rest)| {
            Some((name.to_owned(), PathBuf::from(rest.rsplit_once(" (")?.0)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_s_list_is_read() {
        let list = "\tlinux-vdso.so.1 (0x1)\n\tlibmnl.so.0 => /r/usr/lib/libmnl.so.0 (0x2)\n\t/lib64/ld.so => lib/ld.so (0x3)\n\tlibgone.so => not found\n";
        assert_eq!(
            libraries_in_list(list),
            BTreeMap::from([("libmnl.so.0".to_owned(), PathBuf::from("/r/usr/lib/libmnl.so.0"))])
        );
    }
}
