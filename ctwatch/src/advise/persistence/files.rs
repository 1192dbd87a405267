//! The files that are read when a machine starts, by path, and which of them count where several have one name.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A file: its text, and whether it is a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// What it says; empty for a link to /dev/null, which hides the files of its name.
    pub text: String,
    /// Where it leads, absolutely, if it is a link.
    pub link_to: Option<String>,
}

/// Files by absolute path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The text of each.
    pub by_path: BTreeMap<String, File>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file, by absolute path.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} line {}", self.file, self.line)
    }
}

/// A directory whose files are read in the order of their names: the first of these parents that has a file of one name
/// hides those of the others (sysctl.d(5), modprobe.d(5), modules-load.d(5), udev(7)).
#[derive(Clone, Copy, Debug)]
pub struct Folder {
    /// Its path below each of [`PARENTS`].
    pub path: &'static str,
    /// How the names of its files end.
    pub suffix: &'static str,
}

/// Where administrators, running programs, and packages put files, the first winning.
pub const PARENTS: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
/// Settings of the kernel's.
pub const SYSCTL: Folder = Folder { path: "sysctl.d", suffix: ".conf" };
/// What modules are given when they are loaded.
pub const MODPROBE: Folder = Folder { path: "modprobe.d", suffix: ".conf" };
/// Which modules are loaded when the machine starts.
pub const MODULES_LOAD: Folder = Folder { path: "modules-load.d", suffix: ".conf" };
/// What is done when something is added, as a module is.
pub const UDEV_RULES: Folder = Folder { path: "udev/rules.d", suffix: ".rules" };
/// Every folder that matters.
pub const FOLDERS: [Folder; 4] = [SYSCTL, MODPROBE, MODULES_LOAD, UDEV_RULES];
/// Services that an administrator has added; those of packages say nothing of conntrack.
pub const UNITS: Folder = Folder { path: "systemd/system", suffix: ".service" };
/// The old file of settings: procps reads it last; systemd does not, unless a link in sysctl.d leads to it.
pub const SYSCTL_CONF: &str = "/etc/sysctl.conf";
/// Debian's old list of modules: systemd does not read it, unless a link in modules-load.d leads to it.
pub const ETC_MODULES: &str = "/etc/modules";
/// The kernel's command line, which gives options to modules too.
pub const COMMAND_LINE: &str = "/proc/cmdline";
/// Files besides those in folders.
pub const SINGLE: [&str; 3] = [SYSCTL_CONF, ETC_MODULES, COMMAND_LINE];

impl Files {
    /// Files with these texts, none of them a link.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files = Self::default();
        for (path, text) in texts {
            files.put(path, text);
        }
        files
    }

    /// Puts a file there, in the place of what was.
    pub fn put(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.by_path.insert(path.into(), File { text: text.into(), link_to: None });
    }

    /// The text of a file; `None` if there is none.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.by_path.get(path).map(|file| file.text.as_str())
    }

    /// The files of a folder that count, in the order in which they are read, each as a person would name it: a link by
    /// where it leads.
    pub fn of(&self, folder: Folder) -> Vec<(&str, &str)> {
        let mut by_name: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for parent in PARENTS {
            let directory = format!("{parent}/{}/", folder.path);
            let inside = self.by_path.range(directory.clone()..);
            for (path, file) in inside.take_while(|(path, _)| path.starts_with(&directory)) {
                let name = path.strip_prefix(&directory).unwrap_or_default();
                if name.ends_with(folder.suffix) && !name.contains('/') {
                    let known_as = file.link_to.as_deref().unwrap_or(path);
                    by_name.entry(name).or_insert((known_as, &file.text));
                }
            }
        }
        by_name.into_values().collect()
    }
}

/// The lines of a text with their numbers, where a backslash at the end of one joins the next to it, as modprobe and udev
/// do; each has the number of its first.
pub(super) fn joined_lines(text: &str) -> Vec<(u32, String)> {
    let mut joined: Vec<(u32, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in numbered(text) {
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match joined.last_mut().filter(|_| continues) {
            Some((_, whole)) => whole.push_str(part),
            None => joined.push((number, part.to_owned())),
        }
        continues = goes_on;
    }
    joined
}

/// The lines of a text with their numbers, counted from 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}
