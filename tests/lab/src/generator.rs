//! Making the flows of a plan inside a namespace, and counting them exactly: a packet that a full queue refuses is sent
//! again, and one that the wire lost is an error. It must not guess.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt,
};

use crate::flow::{Flow, FlowPlan, FlowProtocol};
use crate::gateway::UPLINK;
use crate::handshake;
use crate::namespace::Namespace;
use crate::{counters, packet, wait};

/// How many bytes may wait in a sender's socket. The kernel charges a packet to it until the next namespace has taken the
/// packet in, so this keeps the receiver's queue (`net.core.netdev_max_backlog`, 1000 packets) from running over.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// How long a sender tries to get one packet out.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// The longest sleep of a paced sender: it must see that it shall stop.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// What was made.
#[derive(Debug)]
pub struct Sent {
    /// How many flows: exactly that many distinct tuples left the client.
    pub flows: u64,
    /// When the first packet was handed to the kernel; `None` if there was none.
    pub began: Option<Instant>,
    /// The connections of [`FlowProtocol::TcpHandshake`], open until this value goes.
    pub connections: Vec<OwnedFd>,
}

impl FlowPlan {
    /// Makes all flows of the plan from `namespace`, and returns when the last packet is handed to the kernel. The
    /// gateway has seen them a moment later: wait for the fact that a test needs.
    ///
    /// # Errors
    /// When the namespace or its sockets cannot be used, a packet cannot be sent within ten seconds, or the link lost
    /// one, so that the number would not be exact.
    pub fn send(&self, namespace: &Namespace) -> Result<Sent> {
        namespace.within(|| make(self, &Progress::default()))
    }
}

/// A plan that is being carried out in the background.
#[derive(Debug)]
pub struct Flood {
    progress: Arc<Progress>,
    sender: JoinHandle<Result<Sent>>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    flows: AtomicU64,
    began: OnceLock<Instant>,
}

impl Flood {
    /// Starts to make the flows of `plan` from `namespace`; `plan.count` is the most that it makes.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(namespace: &Namespace, plan: FlowPlan) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let namespace = namespace.clone();
        let sender = std::thread::Builder::new()
            .name("flood".to_owned())
            .spawn({
                let progress = Arc::clone(&progress);
                move || {
                    namespace.enter()?;
                    make(&plan, &progress)
                }
            })
            .context("cannot start the flood's thread")?;
        Ok(Self { progress, sender })
    }

    /// How many flows were made so far.
    #[must_use]
    pub fn flows_so_far(&self) -> u64 {
        self.progress.flows.load(Ordering::Relaxed)
    }

    /// When the first packet was handed to the kernel, once it was.
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.progress.began.get().copied()
    }

    /// Whether it has made all its flows, or failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sender.is_finished()
    }

    /// Ends the flood and says what was made.
    ///
    /// # Errors
    /// See [`FlowPlan::send`].
    pub fn stop(self) -> Result<Sent> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all its flows are made.
    ///
    /// # Errors
    /// See [`FlowPlan::send`].
    pub fn finish(self) -> Result<Sent> {
        self.sender.join().map_err(|_panic| anyhow!("the flood's thread panicked"))?
    }
}

/// Makes the flows of `plan` in the calling thread's namespace until all are made or `progress` says stop.
fn make(plan: &FlowPlan, progress: &Progress) -> Result<Sent> {
    let lost_before = counters::link_here(UPLINK)?.transmit_dropped;
    let mut sender = Sender::open(plan)?;
    let mut sent = Sent { flows: 0, began: None, connections: Vec::new() };
    let begin = Instant::now();
    for (number, flow) in (0_u64..).zip(plan.flows()) {
        if !wait_for_turn(plan, number, begin, progress) {
            break;
        }
        sent.began.get_or_insert_with(|| *progress.began.get_or_init(Instant::now));
        sent.connections.extend(sender.make(&flow)?);
        sent.flows += 1;
        progress.flows.store(sent.flows, Ordering::Relaxed);
    }
    let lost = counters::link_here(UPLINK)?.transmit_dropped.saturating_sub(lost_before);
    ensure!(
        lost == 0,
        "the client's link lost {lost} packets, so the number of flows is not exact: send slower"
    );
    Ok(sent)
}

/// Waits until flow `number` is due; `false` if the flood shall stop.
fn wait_for_turn(plan: &FlowPlan, number: u64, begin: Instant, progress: &Progress) -> bool {
    loop {
        if progress.stop.load(Ordering::Relaxed) {
            return false;
        }
        let Some(rate_per_s) = plan.rate_per_s else {
            return true;
        };
        let due_ns = u128::from(number) * 1_000_000_000 / u128::from(rate_per_s.get());
        let due = begin + Duration::from_nanos(u64::try_from(due_ns).unwrap_or(u64::MAX));
        match due.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => return true,
            Some(early) => wait::pause(early.min(LONGEST_PAUSE)),
        }
    }
}

/// What a plan needs to make one flow.
enum Sender {
    /// A raw socket that takes whole packets.
    Raw(OwnedFd),
    /// One ordinary socket a flow.
    Connections,
}

impl Sender {
    fn open(plan: &FlowPlan) -> Result<Self> {
        if plan.protocol == FlowProtocol::TcpHandshake {
            return Ok(Self::Connections);
        }
        let family = match plan.sources.first() {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        // IPPROTO_RAW implies that the sender writes the IP header (net/ipv4/af_inet.c, `inet_create`;
        // net/ipv6/af_inet6.c, `inet6_create`).
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
            .context("cannot open a raw socket")?;
        sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)
            .context("cannot set a socket's buffer")?;
        Ok(Self::Raw(socket))
    }

    fn make(&mut self, flow: &Flow) -> Result<Option<OwnedFd>> {
        match self {
            Self::Raw(socket) => send_opening(socket, flow).map(|()| None),
            Self::Connections => handshake::connect(flow).map(Some),
        }
    }
}

fn send_opening(socket: &OwnedFd, flow: &Flow) -> Result<()> {
    let packet = packet::opening(flow).with_context(|| {
        format!("{} and {} are of different families", flow.source, flow.destination)
    })?;
    let destination = SocketAddr::new(flow.destination, 0);
    let deadline = Instant::now() + SEND_PATIENCE;
    loop {
        match sendto(socket, &packet, SendFlags::empty(), &destination) {
            Ok(_bytes) => return Ok(()),
            Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                wait::pause(Duration::from_millis(1));
            }
            Err(error) => {
                return Err(io::Error::from(error))
                    .with_context(|| format!("cannot send {flow:?}"));
            }
        }
    }
}
