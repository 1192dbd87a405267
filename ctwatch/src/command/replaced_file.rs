//! Replaces a file that the user names on the command line, all at once: whoever reads it sees the old text or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    process,
};

/// The mode of a file that was not there before, as far as the umask lets it.
const NEW_MODE: u32 = 0o644;
/// The mode while it is written: whoever may read it in the end is decided before it gets its name.
const PRIVATE_MODE: u32 = 0o600;

/// Puts `text` in the place of the file. Mode and owner stay what they were; of a link the file that it leads to is replaced. What
/// is no regular file, such as /dev/stdout, is written to as it is.
///
/// # Errors
///
/// It cannot be replaced. It is what it was then.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path).or_else(|error| {
        // A link to nowhere is no file to be replaced, but to be made.
        if error.kind() == io::ErrorKind::NotFound { Ok(link_target(path)) } else { Err(error) }
    })?;
    let before = match fs::metadata(&target) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        let mut file = OpenOptions::new().write(true).open(&target)?;
        return file.write_all(text.as_bytes());
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or_else(|| Path::new("."));
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".ctwatch-{}", process::id()));
    let temporary = directory.join(temporary_name);
    let written =
        write(&temporary, text, before.as_ref()).and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = written {
        // It may not have been made at all.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn write(temporary: &Path, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
    let mode = if before.is_some() { PRIVATE_MODE } else { NEW_MODE };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.write_all(text.as_bytes())?;
    if let Some(before) = before {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        // After the owner, as changing that takes away set-user-id and the like (chown(2)).
        file.set_permissions(fs::Permissions::from_mode(before.mode()))?;
    }
    file.sync_all()
}

fn link_target(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(to) => path.parent().map_or(to.clone(), |parent| parent.join(to)),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_or_replaced_and_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        replace(&path, "one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        replace(&path, "two\n").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
        // It is another file, so whoever reads the old one reads on.
        assert_ne!(after.ino(), before.ino());
        assert_eq!(names(directory.path()), ["list"]);
    }

    #[test]
    fn of_a_link_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        symlink("target", &link).unwrap();
        for text in ["one\n", "two\n"] {
            replace(&link, text).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_left_and_nothing_lies_about() {
        let directory = tempfile::tempdir().unwrap();
        assert!(replace(&directory.path().join("none").join("list"), "x").is_err());
        assert!(replace(directory.path(), "x").is_err());
        assert!(names(directory.path()).is_empty());
        replace(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
