//! Who is connected to this machine over SSH, by the table of sockets: sudo drops `SSH_CONNECTION`, so that the environment
//! alone does not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    namespace::{NamespaceError, NetworkNamespace},
    tcp_sockets::{self, TcpSocket, TcpState},
};

const SSH_PORT: u16 = 22;
/// Servers of SSH, as `/proc/PID/comm` names them. Since OpenSSH 9.8 each connection has a program of its own.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];

/// The addresses that SSH connections come from: those of any process that serves SSH, wherever it runs, and in `namespaces`
/// those to port 22 or to a port that a server of SSH listens on.
///
/// # Errors
///
/// A table of sockets, or which sockets a server of SSH has, cannot be read.
pub fn read_in(namespaces: &[&NetworkNamespace]) -> io::Result<BTreeSet<IpAddr>> {
    let mut sockets = Vec::new();
    for namespace in namespaces {
        let here = || tcp_sockets::read_from(Path::new("/proc/thread-self/net"));
        sockets.extend(namespace.run(here).map_err(of_namespace)??);
    }
    let servers = servers()?;
    let mut peers: BTreeSet<IpAddr> = servers.tables.into_values().flatten().collect();
    let mut ports = servers.ports;
    ports.insert(SSH_PORT);
    peers.extend(peers_at(&sockets, |socket| ports.contains(&socket.local_port)));
    let variable = env::var("SSH_CONNECTION").ok();
    peers.extend(variable.as_deref().and_then(peer_of_variable));
    Ok(peers)
}

/// What the servers of SSH have.
#[derive(Default)]
struct Servers {
    /// Ports they listen on.
    ports: BTreeSet<u16>,
    /// Who is connected to them, by process.
    tables: BTreeMap<PathBuf, Vec<IpAddr>>,
}

fn servers() -> io::Result<Servers> {
    let mut servers = Servers::default();
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        let command = fs::read_to_string(directory.join("comm")).unwrap_or_default();
        if !SERVERS.contains(&command.trim_end()) {
            continue;
        }
        let Some(inodes) = unless_ended(sockets_of(&directory))? else { continue };
        let net = directory.join("net");
        let Some(sockets) = unless_ended(tcp_sockets::read_from(&net))? else { continue };
        let is_its_own = |socket: &TcpSocket| inodes.contains(&socket.inode);
        let listening = sockets.iter().filter(|each| each.state == TcpState::Listening);
        servers.ports.extend(listening.filter(|each| is_its_own(each)).map(|each| each.local_port));
        servers.tables.insert(directory, peers_at(&sockets, is_its_own).collect());
    }
    Ok(servers)
}

fn peers_at(
    sockets: &[TcpSocket],
    is_asked_for: impl Fn(&TcpSocket) -> bool,
) -> impl Iterator<Item = IpAddr> {
    let established = sockets.iter().filter(|each| each.state == TcpState::Established);
    established.filter(move |socket| is_asked_for(socket)).map(|socket| socket.peer)
}

/// The numbers of the sockets that a process has: its descriptors are links such as `socket:[4711]`.
fn sockets_of(process: &Path) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for descriptor in fs::read_dir(process.join("fd"))? {
        let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
        let target = target.to_string_lossy();
        let number = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(inodes)
}

/// `None` of a process that has ended meanwhile: it is gone, or is no more than its exit status (`ESRCH`, `EINVAL`).
fn unless_ended<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESRCH)
                || error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn of_namespace(error: NamespaceError) -> io::Error {
    io::Error::other(error)
}

/// The client's address comes first (ssh(1)).
fn peer_of_variable(text: &str) -> Option<IpAddr> {
    let address = text.split_whitespace().next()?;
    let without_interface = address.split('%').next()?;
    without_interface.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_client_first() {
        let peer = |text: &str| peer_of_variable(text).map(|address| address.to_string());
        assert_eq!(peer("10.0.1.66 51200 10.0.0.1 22").as_deref(), Some("10.0.1.66"));
        assert_eq!(peer("fe80::1%eth0 51200 fe80::2 22").as_deref(), Some("fe80::1"));
        assert_eq!(peer(""), None);
    }

    #[test]
    fn a_process_that_has_ended_has_nothing_and_a_refusal_is_told() {
        let failed = |code| unless_ended::<()>(Err(io::Error::from_raw_os_error(code)));
        assert!(failed(libc::ENOENT).is_ok_and(|read| read.is_none()));
        assert!(failed(libc::ESRCH).is_ok_and(|read| read.is_none()));
        assert!(failed(libc::EACCES).is_err());
    }
}
