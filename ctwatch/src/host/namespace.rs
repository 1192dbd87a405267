//! Enters network namespaces: a helper thread goes in, opens sockets and files there, and ends; the
//! descriptors stay bound to the namespace. No other thread may ever call setns.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    panic,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// Where `ip netns` keeps the namespaces that have a name (ip-netns(8)).
pub const NAMED_NAMESPACES: &str = "/run/netns";
/// The namespace of the calling thread. `/proc/self` would be that of the process's first thread.
pub const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Which network namespace is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceTarget {
    /// The one that this program runs in.
    OwnNamespace,
    /// One with a name, as made by `ip netns add`.
    Name(String),
    /// A file that stands for one, such as `/proc/PID/ns/net`.
    Path(PathBuf),
}

impl FromStr for NamespaceTarget {
    type Err = NamespaceError;

    /// `self`, a name, or a path, which is told from a name by a `/`.
    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        match text {
            "self" => Ok(Self::OwnNamespace),
            "" | "." | ".." => Err(NamespaceError::BadName { name: text.to_owned() }),
            path if path.contains('/') => Ok(Self::Path(PathBuf::from(path))),
            name => Ok(Self::Name(name.to_owned())),
        }
    }
}

impl fmt::Display for NamespaceTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnNamespace => formatter.write_str("self"),
            Self::Name(name) => formatter.write_str(name),
            Self::Path(path) => path.display().fmt(formatter),
        }
    }
}

impl NamespaceTarget {
    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::OwnNamespace => PathBuf::from(OWN_NAMESPACE),
            Self::Name(name) => Path::new(NAMED_NAMESPACES).join(name),
            Self::Path(path) => path.clone(),
        }
    }

    /// The number of the namespace that it stands for now; `None` if it is gone. Opens nothing.
    pub fn inode(&self) -> Option<u32> {
        namespace_inode(&fs::metadata(self.path()).ok()?)
    }
}

/// Which network namespaces are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceChoice {
    /// All that track connections, now or later.
    All,
    /// This one.
    One(NamespaceTarget),
}

impl FromStr for NamespaceChoice {
    type Err = NamespaceError;

    /// `all`, or what a [`NamespaceTarget`] is written as.
    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// Why a network namespace cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The text names no namespace.
    #[error(
        "'{name}' is no network namespace: write 'self', 'all', a name from {NAMED_NAMESPACES}, or a path such as /proc/PID/ns/net"
    )]
    BadName {
        /// The text.
        name: String,
    },
    /// There is no namespace of that name.
    #[error("there is no network namespace named '{name}': {}", there_are(.existing))]
    NoSuchName {
        /// The name asked for.
        name: String,
        /// The names there are, sorted.
        existing: Vec<String>,
    },
    /// The file cannot be opened.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file exists and is something else.
    #[error("{} is not a network namespace; network namespaces are files such as {NAMED_NAMESPACES}/NAME or /proc/PID/ns/net", path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// The kernel does not let this user in.
    #[error(
        "no permission to enter the network namespace {target}: run as root, or with CAP_SYS_ADMIN"
    )]
    NotPermitted {
        /// The namespace.
        target: NamespaceTarget,
    },
    /// The kernel refused for another reason.
    #[error("cannot enter the network namespace {target}")]
    Enter {
        /// The namespace.
        target: NamespaceTarget,
        /// What the kernel said.
        source: io::Error,
    },
}

/// An open network namespace. It lives as long as this value does, even after its name is gone.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
    inode: u32,
    target: NamespaceTarget,
}

impl NetworkNamespace {
    /// Opens a namespace and makes sure that it can be entered.
    ///
    /// # Errors
    ///
    /// It does not exist (the sentence lists the names that do), is no network namespace, or may not be
    /// entered by this user. The namespace the program runs in can always be opened.
    pub fn open(target: &NamespaceTarget) -> Result<Self, NamespaceError> {
        let path = target.path();
        let open_error = |source: io::Error| match target {
            NamespaceTarget::Name(name) if source.kind() == io::ErrorKind::NotFound => {
                NamespaceError::NoSuchName { name: name.clone(), existing: names() }
            }
            _ => NamespaceError::Open { path: path.clone(), source },
        };
        let file = File::open(&path).map_err(open_error)?;
        let inode = namespace_inode(&file.metadata().map_err(open_error)?)
            .ok_or_else(|| NamespaceError::NotANamespace { path: path.clone() })?;
        let namespace = Self { file, inode, target: target.clone() };
        match namespace.run(|| ()) {
            Ok(()) => Ok(namespace),
            // The kernel says EINVAL for a namespace of another kind (setns(2)).
            Err(NamespaceError::Enter { source, .. })
                if source.kind() == io::ErrorKind::InvalidInput =>
            {
                Err(NamespaceError::NotANamespace { path })
            }
            Err(error) => Err(error),
        }
    }

    /// The inode number, which is the kernel's own number of the namespace (`net.ns.inum`).
    pub fn inode(&self) -> u32 {
        self.inode
    }

    /// What was asked for when this was opened.
    pub fn target(&self) -> &NamespaceTarget {
        &self.target
    }

    /// Runs `work` inside the namespace and returns what it returned. Sockets and files of /proc that it
    /// opens belong to the namespace for as long as they live.
    ///
    /// # Errors
    ///
    /// The kernel does not let this program in. Nothing has run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        // setns(2) asks for CAP_SYS_ADMIN even for the namespace one is in.
        if own_inode() == Some(self.inode) {
            return Ok(work());
        }
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| self.enter_error(errno))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    fn enter_error(&self, errno: Errno) -> NamespaceError {
        let target = self.target.clone();
        match errno {
            Errno::PERM => NamespaceError::NotPermitted { target },
            errno => NamespaceError::Enter { target, source: errno.into() },
        }
    }
}

/// The names of the namespaces that have one, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(NAMED_NAMESPACES)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

/// The inode number of the namespace that the calling thread is in.
pub fn own_inode() -> Option<u32> {
    u32::try_from(fs::metadata(OWN_NAMESPACE).ok()?.ino()).ok()
}

/// The number of the namespace that a file stands for; `None` if the file is an ordinary one, such as the
/// empty file that is left of a name when its mount was undone.
pub(super) fn namespace_inode(metadata: &fs::Metadata) -> Option<u32> {
    // All namespaces are inodes of one file system of the kernel's own (fs/nsfs.c).
    let namespaces = fs::metadata(OWN_NAMESPACE).ok()?.dev();
    (metadata.dev() == namespaces).then(|| u32::try_from(metadata.ino()).ok()).flatten()
}

fn there_are(existing: &[String]) -> String {
    if existing.is_empty() {
        format!("{NAMED_NAMESPACES} has none; 'self' is the one this program runs in")
    } else {
        format!("there are {}", existing.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_self_a_name_or_a_path() {
        let parse = |text: &str| text.parse::<NamespaceTarget>().ok();
        assert_eq!(parse("self"), Some(NamespaceTarget::OwnNamespace));
        assert_eq!(parse("gateway"), Some(NamespaceTarget::Name("gateway".into())));
        assert_eq!(parse("/proc/1/ns/net"), Some(NamespaceTarget::Path("/proc/1/ns/net".into())));
        assert_eq!(parse("./net"), Some(NamespaceTarget::Path("./net".into())));
        assert_eq!(parse(""), None);
        assert_eq!(parse(".."), None);
    }

    #[test]
    fn all_namespaces_are_a_choice_and_no_target() {
        assert_eq!("all".parse::<NamespaceChoice>().ok(), Some(NamespaceChoice::All));
        let own = NamespaceChoice::One(NamespaceTarget::OwnNamespace);
        assert_eq!("self".parse::<NamespaceChoice>().ok(), Some(own));
        assert!("..".parse::<NamespaceChoice>().is_err());
        assert_eq!(NamespaceTarget::OwnNamespace.inode(), own_inode());
        assert_eq!(NamespaceTarget::Name("no-such-namespace".into()).inode(), None);
    }

    #[test]
    fn the_own_namespace_opens_and_runs_in_place() {
        let namespace = NetworkNamespace::open(&NamespaceTarget::OwnNamespace).unwrap();
        assert_eq!(Some(namespace.inode()), own_inode());
        assert_eq!(namespace.run(own_inode).unwrap(), own_inode());
    }

    #[test]
    fn a_missing_name_is_told_with_the_names_there_are() {
        let target = NamespaceTarget::Name("no-such-namespace".into());
        let error = NetworkNamespace::open(&target).unwrap_err();
        assert!(matches!(&error, NamespaceError::NoSuchName { .. }), "{error}");
        let sentence = NamespaceError::NoSuchName {
            name: "a".into(),
            existing: vec!["client".into(), "gateway".into()],
        };
        assert_eq!(
            sentence.to_string(),
            "there is no network namespace named 'a': there are client, gateway"
        );
    }

    #[test]
    fn an_ordinary_file_is_no_namespace() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error =
            NetworkNamespace::open(&NamespaceTarget::Path(file.path().to_owned())).unwrap_err();
        assert!(matches!(error, NamespaceError::NotANamespace { .. }), "{error}");
    }

    #[test]
    fn a_namespace_of_another_kind_is_no_network_namespace() {
        let target = NamespaceTarget::Path("/proc/self/ns/uts".into());
        let error = NetworkNamespace::open(&target).unwrap_err();
        // Without privilege the kernel refuses before it looks at the kind.
        assert!(
            matches!(
                error,
                NamespaceError::NotANamespace { .. } | NamespaceError::NotPermitted { .. }
            ),
            "{error}"
        );
    }
}
