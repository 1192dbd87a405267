//! Who is connected to this machine over SSH, by the table of sockets: sudo drops `SSH_CONNECTION`, so that the environment
//! alone does not tell.

use std::{collections::BTreeSet, env, fs, io, net::IpAddr, path::Path};

use super::{
    namespace::NetworkNamespace,
    tcp_sockets::{self, TcpSocket, TcpState},
};

const SSH_PORT: u16 = 22;
/// Servers of SSH, as `/proc/PID/comm` names them. Since OpenSSH 9.8 each connection has a program of its own.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];

/// The addresses that SSH connections come from, in `namespaces` and wherever a server of SSH runs: connections that such a server
/// has, or that lead to port 22 or to a port that one listens on.
///
/// # Errors
///
/// A table of sockets, or which sockets a server of SSH has, cannot be read.
pub fn read_in(namespaces: &[&NetworkNamespace]) -> io::Result<BTreeSet<IpAddr>> {
    let mut sockets = Vec::new();
    for namespace in namespaces {
        let here = || tcp_sockets::read_from(Path::new("/proc/thread-self/net"));
        sockets.extend(namespace.run(here).map_err(io::Error::other)??);
    }
    let servers = servers(&mut sockets)?;
    let is_its_own = |socket: &&TcpSocket| servers.contains(&socket.inode);
    let listening = sockets.iter().filter(|each| each.state == TcpState::Listening);
    let mut ports: BTreeSet<u16> =
        listening.filter(is_its_own).map(|each| each.local_port).collect();
    ports.insert(SSH_PORT);
    let established = sockets.iter().filter(|each| each.state == TcpState::Established);
    let mut peers: BTreeSet<IpAddr> = established
        .filter(|socket| is_its_own(socket) || ports.contains(&socket.local_port))
        .map(|socket| socket.peer)
        .collect();
    let variable = env::var("SSH_CONNECTION").ok();
    peers.extend(variable.as_deref().and_then(peer_of_variable));
    Ok(peers)
}

/// The numbers of all sockets that servers of SSH have, which no two sockets of the machine share; adds the sockets of the
/// namespaces that these servers run in.
fn servers(sockets: &mut Vec<TcpSocket>) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        let command = fs::read_to_string(directory.join("comm")).unwrap_or_default();
        if !SERVERS.contains(&command.trim_end()) {
            continue;
        }
        let Some(of_server) = unless_ended(sockets_of(&directory))? else { continue };
        inodes.extend(of_server);
        let around = tcp_sockets::read_from(&directory.join("net"));
        sockets.extend(unless_ended(around)?.unwrap_or_default());
    }
    Ok(inodes)
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
