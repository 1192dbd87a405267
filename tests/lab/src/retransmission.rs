//! TCP connections that nobody answers: the kernel sends their SYNs again by itself, from a timer, in a softirq that
//! interrupts whatever runs. It must not open a connection.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::address;
use crate::namespace::Namespace;

/// Descriptors that a process needs besides.
const OTHER_DESCRIPTORS: u64 = 256;

/// The sockets; dropping them ends the attempts.
#[derive(Debug)]
pub struct Unanswered {
    _sockets: Vec<OwnedFd>,
}

impl Unanswered {
    /// Begins `count` connections from the IPv4 address `source` of `namespace` to one that swallows everything. Each
    /// SYN is sent at once, and again after 1, 3 and 7 seconds (RFC 6298; include/net/tcp.h, `TCP_TIMEOUT_INIT`).
    ///
    /// # Errors
    /// When there cannot be so many sockets.
    pub fn begin(namespace: &Namespace, source: IpAddr, count: u16) -> Result<Self> {
        let wanted = u64::from(count) + OTHER_DESCRIPTORS;
        let limit = getrlimit(Resource::Nofile);
        if limit.current.is_some_and(|current| current < wanted) {
            let limit = Rlimit {
                current: Some(wanted),
                maximum: limit.maximum.map(|most| most.max(wanted)),
            };
            setrlimit(Resource::Nofile, limit).context("cannot have so many sockets")?;
        }
        let destination = address::swallowed(source);
        let attempt = |port: u16| -> Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket =
                socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
            bind(&socket, &SocketAddr::new(source, 0))?;
            match connect(&socket, &SocketAddr::new(destination, port)) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot begin a connection from {source}"))
                }
            }
        };
        let sockets = namespace.within(|| (1..=count).map(attempt).collect())?;
        Ok(Self { _sockets: sockets })
    }
}
