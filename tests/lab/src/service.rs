//! What answers at the server's address: a TCP listener that takes connections and holds them, and a UDP echo. It must
//! not do more than a flow needs to be answered.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener as Listener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;
use crate::wait;

/// How long a service takes to see that it shall end.
const ATTENTION: Duration = Duration::from_millis(50);

/// Takes TCP connections of both families on one port and holds them until it is dropped.
#[derive(Debug)]
pub struct TcpListener {
    _running: Running,
}

impl TcpListener {
    /// Listens on `port` in `namespace`.
    ///
    /// # Errors
    /// When the port is taken or the namespace cannot be used.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = namespace.within(|| {
            Listener::bind(any(port)).with_context(|| format!("cannot listen on TCP port {port}"))
        })?;
        listener.set_nonblocking(true).context("cannot make a listener non-blocking")?;
        let mut held: Vec<TcpStream> = Vec::new();
        let running = Running::start("listener", move || match listener.accept() {
            Ok((stream, _from)) => held.push(stream),
            Err(_) => wait::pause(Duration::from_millis(1)),
        })?;
        Ok(Self { _running: running })
    }
}

/// Sends each UDP datagram on one port back to whom it came from, until it is dropped.
#[derive(Debug)]
pub struct UdpEcho {
    _running: Running,
}

impl UdpEcho {
    /// Answers on `port` in `namespace`.
    ///
    /// # Errors
    /// When the port is taken or the namespace cannot be used.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let socket = namespace.within(|| {
            UdpSocket::bind(any(port)).with_context(|| format!("cannot answer on UDP port {port}"))
        })?;
        socket.set_read_timeout(Some(ATTENTION)).context("cannot set a socket's timeout")?;
        let mut datagram = [0_u8; 2048];
        let running = Running::start("echo", move || match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                if let Some(bytes) = datagram.get(..length) {
                    // The client does not listen: its kernel may refuse the answer, which changes nothing here.
                    let _unwanted = socket.send_to(bytes, from);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => wait::pause(Duration::from_millis(1)),
        })?;
        Ok(Self { _running: running })
    }
}

/// A thread that repeats its work until this value is dropped.
#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(name: &str, mut work: impl FnMut() + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    work();
                }
            })
            .with_context(|| format!("cannot start the {name}'s thread"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Both families: an IPv6 socket takes IPv4 as well (`net.ipv6.bindv6only` is 0 in a new namespace).
fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)
}
