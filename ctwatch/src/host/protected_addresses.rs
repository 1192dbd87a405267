//! Gathers what must never be blocked: what the machine has or depends on, who works on it over SSH, and what its operator names.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    addresses,
    namespace::{NamespaceError, NamespaceTarget, NetworkNamespace},
    ssh_peers,
};
use crate::blocklist::protected::{Protected, Protection};

/// Networks that the operator protects.
pub const PROTECTED_FILE: &str = "/etc/ctwatch/protected";
/// Where resolvers are named: the file that programs read, and the ones behind it where that names a local stub
/// (systemd-resolved.service(8), NetworkManager.conf(5)).
const RESOLVERS: [&str; 3] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
];
/// Where `ip netns exec` takes the files in /etc from (ip-netns(8)).
const NAMESPACE_FILES: &str = "/etc/netns";

const OWN: &str = "an address of this machine itself";
const ROUTER: &str = "a router that this machine's routes lead to";
const RESOLVER: &str = "a resolver that this machine asks for names";
const SSH_PEER: &str = "at the other end of an SSH connection to this machine";

/// What the operator names on the command line.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// Networks that are never blocked.
    pub allowed: &'a [IpNet],
    /// Proxies, that many people are behind.
    pub proxies: &'a [IpNet],
    /// A file of further ones; it need not exist.
    pub file: &'a Path,
}

/// Why nobody may be blocked.
#[derive(Debug, thiserror::Error)]
pub enum ProtectedError {
    /// A line of the file is wrong.
    #[error("{}, line {line}: {what}; write one address or network a line, and behind a # why", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Something that must be known is not.
    #[error("cannot see what must be spared, so nobody is blocked: cannot read {what}: {source}")]
    Unread {
        /// What is not known.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Gathers all that must never be blocked in `namespace`. What the namespace that this program runs in has and depends on
/// is protected too.
///
/// # Errors
///
/// Something that must be known cannot be read, or a line of the file is wrong.
pub fn read_in(
    namespace: &NetworkNamespace,
    named: &Named<'_>,
) -> Result<Protected, ProtectedError> {
    let own = NetworkNamespace::open(&NamespaceTarget::OwnNamespace)?;
    let mut namespaces = vec![namespace];
    if own.inode() != namespace.inode() {
        namespaces.push(&own);
    }
    let mut list: Vec<Protection> = Vec::new();
    let allowed =
        |network: &IpNet| Protection { network: *network, what: "what --allow names".into() };
    list.extend(named.allowed.iter().map(allowed));
    let proxy =
        |network: &IpNet| Protection { network: *network, what: "a proxy (--proxy)".into() };
    list.extend(named.proxies.iter().map(proxy));
    list.extend(file(named.file)?);
    for namespace in &namespaces {
        let unread = |what: &str| ProtectedError::Unread {
            what: format!("{what} of the network namespace {}", namespace.target()),
            source: io::Error::other("the kernel does not show them"),
        };
        let found = addresses::read_in(namespace);
        let own = found.own.ok_or_else(|| unread("the own addresses"))?;
        let routers = found.routers.ok_or_else(|| unread("the routers"))?;
        list.extend(of(own, OWN));
        list.extend(of(routers, ROUTER));
    }
    list.extend(of(resolvers(namespace)?, RESOLVER));
    let peers = ssh_peers::read_in(&namespaces).map_err(|source| ProtectedError::Unread {
        what: "who is connected over SSH".to_owned(),
        source,
    })?;
    list.extend(of(peers, SSH_PEER));
    Ok(Protected::new(list))
}

fn of(addresses: impl IntoIterator<Item = IpAddr>, what: &str) -> impl Iterator<Item = Protection> {
    addresses.into_iter().map(move |address| Protection::of_address(address, what))
}

fn resolvers(namespace: &NetworkNamespace) -> Result<BTreeSet<IpAddr>, ProtectedError> {
    let mut files: Vec<PathBuf> = RESOLVERS.iter().map(PathBuf::from).collect();
    if let NamespaceTarget::Name(name) = namespace.target() {
        files.push(Path::new(NAMESPACE_FILES).join(name).join("resolv.conf"));
    }
    let mut found = BTreeSet::new();
    for path in files {
        found.extend(text_of(&path)?.lines().filter_map(resolver));
    }
    Ok(found)
}

/// `nameserver ADDRESS`, with the interface behind a `%` if the address is of a link (resolv.conf(5)).
fn resolver(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    let is_resolver = words.next() == Some("nameserver");
    words.next().filter(|_| is_resolver)?.split('%').next()?.parse().ok()
}

fn file(path: &Path) -> Result<Vec<Protection>, ProtectedError> {
    let mut found = Vec::new();
    for (position, line) in text_of(path)?.lines().enumerate() {
        let (network, why) = line.split_once('#').unwrap_or((line, ""));
        let (network, why) = (network.trim(), why.trim());
        if network.is_empty() {
            continue;
        }
        let network: IpNet = network
            .parse()
            .or_else(|_| network.parse().map(|address: IpAddr| address.into()))
            .map_err(|_| ProtectedError::Line {
                file: path.to_owned(),
                line: position + 1,
                what: format!("'{network}' is neither an address nor a network"),
            })?;
        let by = path.display();
        let what =
            if why.is_empty() { format!("what {by} names") } else { format!("{why} ({by})") };
        found.push(Protection { network: network.trunc(), what });
    }
    Ok(found)
}

/// Nothing of a file that is not there.
fn text_of(path: &Path) -> Result<String, ProtectedError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read
            .map_err(|source| ProtectedError::Unread { what: path.display().to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn named(text: &str) -> Result<Vec<Protection>, ProtectedError> {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(text.as_bytes()).unwrap();
        file(written.path())
    }

    #[test]
    fn the_operators_file_says_what_and_why() {
        let found =
            named("# ours\n\n10.5.0.0/16 # monitoring\n2001:db8::7\n10.6.0.9/24#x\n").unwrap();
        let networks: Vec<String> = found.iter().map(|each| each.network.to_string()).collect();
        assert_eq!(networks, ["10.5.0.0/16", "2001:db8::7/128", "10.6.0.0/24"]);
        assert!(found[0].what.starts_with("monitoring ("), "{}", found[0].what);
        assert!(found[1].what.starts_with("what "), "{}", found[1].what);
        assert_eq!(file(Path::new("/nowhere/protected")).unwrap(), []);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = named("10.5.0.0/16\n10.5.0 # typo\n").unwrap_err();
        assert!(matches!(error, ProtectedError::Line { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("line 2: '10.5.0' is neither"), "{error}");
        // A file that is there and cannot be read protects nobody whom its operator meant.
        let error = file(Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("cannot see what must be spared"), "{error}");
    }

    #[test]
    fn resolvers_are_read_as_programs_read_them() {
        assert_eq!(resolver("nameserver 192.0.2.53"), Some("192.0.2.53".parse().unwrap()));
        assert_eq!(resolver("nameserver\tfe80::1%eth0"), Some("fe80::1".parse().unwrap()));
        for other in ["", "search example.org", "#nameserver 192.0.2.53", "nameserver here"] {
            assert_eq!(resolver(other), None, "{other}");
        }
    }

    #[test]
    fn what_this_machine_has_is_protected_and_who_is_named_comes_first() {
        let namespace = NetworkNamespace::open(&NamespaceTarget::OwnNamespace).unwrap();
        let allowed = ["203.0.113.0/24".parse().unwrap()];
        let proxies = ["198.51.100.7/32".parse().unwrap()];
        let named = Named { allowed: &allowed, proxies: &proxies, file: Path::new("/nowhere") };
        let protected = read_in(&namespace, &named).unwrap();
        for own in addresses::read_in(&namespace).own.unwrap() {
            assert!(protected.why(&own.into()).is_some(), "{own}");
        }
        let why = |network: &str| protected.why(&network.parse().unwrap()).unwrap_or_default();
        assert!(why("203.0.113.9/32").contains("--allow"));
        assert!(why("198.51.100.7/32").contains("--proxy"));
    }
}
