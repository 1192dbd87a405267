//! Reads the files that outlast a reboot, below a root directory that tests choose; nothing is written to them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::modules::{self, Presence};
use crate::advise::{
    facts::Writer,
    persistence::{
        MARK, Machine, Module, Persistence,
        files::{self, FOLDERS, Files, Folder, PARENTS, SINGLE, UNITS},
    },
    settings::{HASHSIZE, Settings},
};

/// No file of settings is larger; of one that is, this much is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
const SYSTEMD_SYSCTL: [&str; 2] =
    ["/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl"];

/// Reads every file that counts. What is not there or cannot be read is left out.
pub fn files(root: &Path) -> Files {
    let mut found = Files::default();
    for folder in FOLDERS.into_iter().chain([UNITS]) {
        for parent in PARENTS {
            read_folder(root, &format!("{parent}/{}", folder.path), folder, &mut found);
        }
    }
    for path in SINGLE {
        read_file(root, path, &mut found);
    }
    found
}

/// What else decides what the files will do. `settings` are what is in force in the initial namespace, if that is known.
pub fn machine(root: &Path, settings: Option<&Settings>) -> Machine {
    let module = match modules::conntrack_at(root) {
        Presence::BuiltIn => Module::BuiltIn,
        Presence::Module => Module::Loaded,
        Presence::Absent => Module::NotLoaded,
    };
    let values = settings.into_iter().flat_map(|settings| &settings.values);
    let mut values: BTreeMap<String, String> =
        values.map(|(key, value)| (key.clone(), value.to_string())).collect();
    let hashsize = below(root, "/sys/module/nf_conntrack/parameters/hashsize");
    if let Ok(hashsize) = fs::read_to_string(hashsize) {
        values.insert(HASHSIZE.to_owned(), hashsize.trim().to_owned());
    }
    Machine { has_systemd: systemd_sysctl(root).is_some(), module, values }
}

/// systemd's program that sets sysctls, if it is installed.
pub fn systemd_sysctl(root: &Path) -> Option<&'static str> {
    SYSTEMD_SYSCTL.into_iter().find(|path| below(root, path).exists())
}

/// The files that set some of conntrack's values, ctwatch's own left out: each is somebody who will set them again.
pub fn writers(files: &Files, persistence: &Persistence) -> Vec<Writer> {
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let sysctls = persistence.assignments.iter();
    let sysctls = sysctls.map(|set| (set.place.file.as_str(), set.key.as_str()));
    let sizes = persistence.directives.hashsizes.iter();
    let sizes = sizes.map(|(place, _)| (place.file.as_str(), HASHSIZE));
    for (file, key) in sysctls.chain(sizes) {
        if !files.text(file).is_some_and(|text| text.starts_with(MARK)) {
            let of_file = keys.entry(file).or_default();
            if !of_file.iter().any(|known| known == key) {
                of_file.push(key.to_owned());
            }
        }
    }
    let writers = keys.into_iter().map(|(file, keys)| Writer {
        who: file.to_owned(),
        how: format!(
            "edit {file}, or remove these lines from it: it sets them when the machine starts"
        ),
        keys,
    });
    writers.collect()
}

fn read_folder(root: &Path, directory: &str, folder: Folder, found: &mut Files) {
    let Ok(entries) = fs::read_dir(below(root, directory)) else { return };
    for entry in entries.filter_map(Result::ok) {
        if let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(folder.suffix))
        {
            read_file(root, &format!("{directory}/{name}"), found);
        }
    }
}

fn read_file(root: &Path, path: &str, found: &mut Files) {
    let inside = below(root, path);
    let link = fs::read_link(&inside).ok();
    let link_to = link.map(|target| absolute(path, &target));
    let target = match &link_to {
        // A link's target is the machine's, not this program's root's.
        Some(to) => below(root, to),
        None => inside,
    };
    let is_hidden = link_to.as_deref() == Some("/dev/null");
    let text = match (is_hidden, target.is_file()) {
        (true, _) => Some(String::new()),
        (false, true) => read_text(&target),
        (false, false) => None,
    };
    if let Some(text) = text {
        found.by_path.insert(path.to_owned(), files::File { text, link_to });
    }
}

fn read_text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where a link in a file's directory leads, with `..` taken away.
fn absolute(path: &str, target: &Path) -> String {
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    let mut whole = PathBuf::new();
    for part in directory.join(target).components() {
        match part {
            std::path::Component::ParentDir => {
                whole.pop();
            }
            std::path::Component::CurDir => {}
            part => whole.push(part),
        }
    }
    whole.display().to_string()
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn files_and_links_are_read_below_the_root() {
        let root = root(&[
            ("etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 1000\n"),
            ("etc/sysctl.d/README", "no"),
            ("etc/modules-load.d/x.conf", "nf_conntrack\n"),
            ("usr/lib/sysctl.d/10-x.conf", "net.netfilter.nf_conntrack_max = 7\n"),
            ("usr/lib/systemd/systemd-sysctl", ""),
            ("sys/module/nf_conntrack/parameters/hashsize", "512\n"),
            ("sys/module/nf_conntrack/initstate", "live\n"),
            ("proc/sys/net/netfilter/nf_conntrack_count", "0\n"),
        ]);
        symlink("../sysctl.conf", root.path().join("etc/sysctl.d/99-sysctl.conf")).unwrap();
        symlink("/dev/null", root.path().join("etc/sysctl.d/10-x.conf")).unwrap();
        symlink("/nowhere", root.path().join("etc/sysctl.d/20-x.conf")).unwrap();
        let files = files(root.path());
        let machine = machine(root.path(), None);
        assert!(machine.has_systemd);
        assert_eq!(machine.module, Module::Loaded);
        assert_eq!(machine.values[HASHSIZE], "512");
        let found = Persistence::of(&files, &machine);
        assert_eq!(found.after_reboot.len(), 1, "{found:?}");
        assert_eq!(
            writers(&files, &found),
            [Writer {
                who: "/etc/sysctl.conf".to_owned(),
                keys: vec!["net.netfilter.nf_conntrack_max".to_owned()],
                how: "edit /etc/sysctl.conf, or remove these lines from it: it sets them when the machine starts"
                    .to_owned(),
            }]
        );
    }

    #[test]
    fn ctwatch_s_own_files_are_no_other_writer() {
        let text = format!("{MARK}\nnet.netfilter.nf_conntrack_max = 7\n");
        let root = root(&[("etc/sysctl.d/90-ctwatch.conf", &text)]);
        let files = files(root.path());
        let found = Persistence::of(&files, &machine(root.path(), None));
        assert_eq!(found.assignments.len(), 1);
        assert!(writers(&files, &found).is_empty());
    }
}
