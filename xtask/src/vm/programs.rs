//! Other people's programs for the virtual machine, from the distribution's packages, with the libraries they load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::process;
use crate::unpacked::Packages;
use crate::workspace::Workspace;

/// Packages, and the programs in them that are wanted.
#[derive(Debug)]
struct Wanted {
    packages: Packages,
    names: &'static [&'static str],
}

/// What a gateway is made with.
const GATEWAY: Wanted = Wanted {
    packages: Packages {
        part: "vm",
        directory: "programs",
        names: &["conntrack", "nftables", "iproute2", "busybox-static"],
        alone: &[],
    },
    names: &["conntrack", "nft", "ip"],
};
/// What ctwatch is compared with, besides `conntrack`.
const PEERS: Wanted = Wanted {
    packages: Packages { part: "vm", directory: "peers", names: &["bpftrace"], alone: &[] },
    names: &["bpftrace"],
};

/// What sets a machine up when it starts: what loads modules, sets sysctls, and acts when a module is added.
const BOOT: Wanted = Wanted {
    packages: Packages {
        part: "vm",
        directory: "boot-programs",
        names: &["systemd", "udev", "kmod", "procps"],
        alone: &[],
    },
    names: &["kmod", "udevadm", "systemd-modules-load", "systemd-sysctl", "sysctl"],
};

const PROGRAM_DIRECTORIES: [&str; 6] =
    ["bin", "sbin", "usr/bin", "usr/sbin", "lib/systemd", "usr/lib/systemd"];
/// systemd keeps a library for its own programs apart.
const LIBRARY_DIRECTORIES: [&str; 4] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu/systemd",
    "usr/lib/x86_64-linux-gnu/systemd",
];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Files by name.
type Files = BTreeMap<String, PathBuf>;

/// Programs and what they load; the keys are the names of the files.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) programs: Files,
    /// Where the libraries go in the machine: the one directory that Debian's loader always looks in.
    pub(crate) libraries: Files,
    /// The dynamic loader, which programs name by an absolute path.
    pub(crate) loader: PathBuf,
    pub(crate) busybox: PathBuf,
}

impl Programs {
    /// Adds other programs; where both have a library it is the same, as all come from one release.
    pub(crate) fn add(&mut self, peers: Peers) {
        self.programs.extend(peers.programs);
        self.libraries.extend(peers.libraries);
    }
}

/// The programs that ctwatch is compared with.
#[derive(Debug)]
pub(crate) struct Peers {
    programs: Files,
    libraries: Files,
}

/// Downloads and unpacks the gateway's programs, unless they are there.
pub(crate) fn fetch(workspace: &Workspace) -> Result<Programs> {
    let root = GATEWAY.packages.fetch(workspace)?;
    let loader = find(&root, &LIBRARY_DIRECTORIES, LOADER)?;
    let (programs, libraries) = with_libraries(&root, &loader, GATEWAY.names)?;
    let busybox = find(&root, &["bin", "usr/bin"], "busybox")?;
    Ok(Programs { programs, libraries, loader, busybox })
}

/// Downloads and unpacks the programs that ctwatch is compared with, unless they are there.
pub(crate) fn fetch_peers(workspace: &Workspace) -> Result<Peers> {
    let root = PEERS.packages.fetch(workspace)?;
    let loader = find(&root, &LIBRARY_DIRECTORIES, LOADER)?;
    let (programs, libraries) = with_libraries(&root, &loader, PEERS.names)?;
    Ok(Peers { programs, libraries })
}

/// Programs that set a machine up when it starts, and the rules that come with them.
#[derive(Debug)]
pub(crate) struct BootPrograms {
    pub(crate) programs: Files,
    pub(crate) libraries: Files,
    /// The distribution's rules of udev's.
    pub(crate) rules: Files,
}

/// Downloads and unpacks the programs that set a machine up when it starts, unless they are there.
pub(crate) fn fetch_boot(workspace: &Workspace) -> Result<BootPrograms> {
    let root = BOOT.packages.fetch(workspace)?;
    let loader = find(&root, &LIBRARY_DIRECTORIES, LOADER)?;
    let (programs, libraries) = with_libraries(&root, &loader, BOOT.names)?;
    let directories = ["lib/udev/rules.d", "usr/lib/udev/rules.d"].map(|path| root.join(path));
    let directory = directories.iter().find(|path| path.is_dir());
    let rules = packages::files_in(directory.context("the packages brought no rules of udev's")?)?;
    let rules = rules
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path.clone())));
    Ok(BootPrograms { programs, libraries, rules: rules.collect() })
}

/// Programs of a root directory, and all libraries that they load.
fn with_libraries(root: &Path, loader: &Path, names: &[&str]) -> Result<(Files, Files)> {
    let mut programs = BTreeMap::new();
    let mut libraries = BTreeMap::new();
    for name in names {
        let program = find(root, &PROGRAM_DIRECTORIES, name)?;
        libraries.extend(loaded_by(root, loader, &program)?);
        programs.insert((*name).to_owned(), program);
    }
    Ok((programs, libraries))
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
