//! Opening one TCP connection from a given address and port. It must not talk on it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect as connect_socket, ipproto, socket_with,
    sockopt,
};

use crate::flow::Flow;

/// How long the kernel tries before it gives a connection up, in milliseconds.
const PATIENCE_MS: u32 = 10_000;

/// Opens the connection `flow` in the calling thread's namespace.
pub(crate) fn connect(flow: &Flow) -> Result<OwnedFd> {
    let from = SocketAddr::new(flow.source, flow.source_port);
    let to = SocketAddr::new(flow.destination, flow.destination_port);
    let family = match flow.source {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let attempt = || {
        let socket =
            socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
        sockopt::set_tcp_user_timeout(&socket, PATIENCE_MS)?;
        if from.is_ipv6() {
            // A local route makes an IPv4 address bindable, an IPv6 one not (net/ipv6/af_inet6.c, `__inet6_bind`).
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
        bind(&socket, &from)?;
        connect_socket(&socket, &to)?;
        Ok::<_, rustix::io::Errno>(socket)
    };
    attempt().with_context(|| {
        format!("cannot connect from {from} to {to}: is the lab's listener running?")
    })
}
