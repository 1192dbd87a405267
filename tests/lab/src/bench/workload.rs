//! What is done to the gateway while instructions are counted, always in the same way. It must not know who watches.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::agent::Agent;
use super::meter::{Group, Instructions, measure};
use crate::counters::{self, GlobalSetting};
use crate::flow::FlowPlan;
use crate::gateway::{Gateway, GatewayPlan, Names};
use crate::generator::Sent;
use crate::namespace::{Namespace, write_sysctl};
use crate::wait;

/// How many connections are opened, and how many packets refused.
const FLOWS: u64 = 20_000;
/// The client.
const CLIENT: &str = "10.0.1.2";
/// For whole seconds, since agents do something once a second.
const SECOND: Duration = Duration::from_secs(1);
/// Opening all connections takes less, whoever watches.
const CREATE_WINDOW: Duration = Duration::from_secs(2);
/// Ending them too.
const END_WINDOW: Duration = Duration::from_secs(1);
/// Refusing all packets too.
const REFUSED_WINDOW: Duration = Duration::from_secs(1);
/// How many seconds an idle agent is looked at.
const IDLE_S: u32 = 5;
/// How many entries a full table holds, none of which can be evicted, and as many buckets as a default table of that size has:
/// looking for room in eight of them finds sixteen entries to look at.
const FULL: u64 = 1_024;
/// The port that the connections go to which fill a table.
const PORT: u16 = 8080;

/// One measurement.
#[derive(Debug)]
pub(super) struct Measurement {
    /// What was done.
    pub(super) workload: &'static str,
    /// How often: connections, packets, or seconds.
    pub(super) units: u64,
    /// How long that was looked at.
    pub(super) window: Duration,
    /// What that took.
    pub(super) instructions: Instructions,
    /// How many of the units the agent counted, if it says.
    pub(super) counted: Option<u64>,
}

/// The measurements of one run.
#[derive(Debug)]
pub(super) struct Measured(pub(super) Vec<Measurement>);

impl Measured {
    /// The same with what the agent counted of one workload.
    pub(super) fn counted(mut self, workload: &str, count: Option<u64>) -> Self {
        for measurement in self.0.iter_mut().filter(|one| one.workload == workload) {
            measurement.counted = count;
        }
        self
    }
}

/// The gateway.
#[derive(Debug)]
pub(super) struct Lab {
    gateway: Gateway,
}

impl Lab {
    /// Builds it, and keeps the kernel from what would disturb: "table full" on the slow console, and looking for huge
    /// pages to make (`khugepaged`), which takes as much as a thousand connections now and then.
    ///
    /// # Errors
    /// See [`Gateway::build`].
    pub(super) fn build() -> Result<Self> {
        write_sysctl("kernel/printk", "1")?;
        // A kernel without huge pages does not look for any.
        let _without = std::fs::write("/sys/kernel/mm/transparent_hugepage/enabled", "never");
        let names = Names::Fixed {
            client: "client".to_owned(),
            gateway: "gw".to_owned(),
            server: "server".to_owned(),
        };
        let gateway = Gateway::build(&GatewayPlan { names, ..GatewayPlan::default() })?;
        Ok(Self { gateway })
    }

    /// The namespace whose table is watched.
    pub(super) fn gateway(&self) -> &Namespace {
        self.gateway.gateway()
    }

    /// An empty table, connections being opened, a table that holds them, and their end by a flush.
    ///
    /// # Errors
    /// When not exactly all of them are opened and ended.
    pub(super) fn connections(&self, agent: Option<&Agent>) -> Result<Measured> {
        let plan = FlowPlan::udp(CLIENT.parse().context("no address")?, FLOWS);
        self.wait_for_entries(0)?;
        let idle_empty = self.idle("idle_empty", agent)?;
        let create = of("create", FLOWS, CREATE_WINDOW, agent, || {
            self.send(&plan)?;
            self.wait_for_entries(FLOWS)
        })?;
        let idle_held = self.idle("idle_held", agent)?;
        let end = of("end", FLOWS, END_WINDOW, agent, || {
            counters::flush(self.gateway())?;
            self.wait_for_entries(0)
        })?;
        Ok(Measured(vec![idle_empty, create, idle_held, end]))
    }

    /// See [`Gateway::set_timeout`].
    ///
    /// # Errors
    /// When there is no such timeout.
    pub(super) fn set_timeout(&self, timeout: &str, timeout_s: u32) -> Result<()> {
        self.gateway.set_timeout(timeout, timeout_s)
    }

    /// What a program and the kernel on its behalf execute in the gateway, from its start to its end.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn instructions_of(&self, command: &[&str]) -> Result<u64> {
        let group = Group::create("program")?;
        let output = self.gateway().within(|| {
            Command::new("sh")
                .args(["-c", "echo 0 > \"$0\" && exec \"$@\" > /dev/null"])
                .arg(group.processes())
                .args(command)
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot start {command:?}"))
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
        let instructions = group.instructions()?;
        group.remove()?;
        Ok(instructions)
    }

    fn idle(&self, workload: &'static str, agent: Option<&Agent>) -> Result<Measurement> {
        of(workload, u64::from(IDLE_S), SECOND * IDLE_S, agent, || Ok(()))
    }

    /// Makes the flows of `plan`, exactly.
    ///
    /// # Errors
    /// See [`FlowPlan::send`].
    pub(super) fn send(&self, plan: &FlowPlan) -> Result<Sent> {
        let sent = plan.send(self.gateway.client())?;
        ensure!(sent.flows == plan.count, "{} of {} flows were made", sent.flows, plan.count);
        Ok(sent)
    }

    /// Waits until the table holds so many entries.
    ///
    /// # Errors
    /// When it never does.
    pub(super) fn wait_for_entries(&self, wanted: u64) -> Result<()> {
        wait::until(wait::PATIENCE, &format!("{wanted} entries"), || {
            Ok((counters::entries(self.gateway())? == wanted).then_some(()))
        })
    }
}

/// A table that is full of entries none of which can be evicted.
#[derive(Debug)]
pub(super) struct RefusedLab<'a> {
    lab: &'a Lab,
    held: Sent,
    listener: OwnedFd,
    _settings: [GlobalSetting; 2],
}

impl<'a> RefusedLab<'a> {
    /// Fills the table with TCP connections that are open, which the kernel never evicts (`IPS_ASSURED`).
    ///
    /// # Errors
    /// When the table cannot be filled.
    pub(super) fn fill(lab: &'a Lab) -> Result<Self> {
        let open_files = Rlimit { current: Some(2 * FULL), maximum: Some(2 * FULL) };
        setrlimit(Resource::Nofile, open_files).context("cannot have so many sockets")?;
        let listener = lab.gateway.server().within(listen)?;
        let limit = GlobalSetting::limit(FULL)?;
        let buckets = GlobalSetting::buckets(FULL)?;
        let held =
            lab.send(&FlowPlan::tcp_handshake(CLIENT.parse().context("no address")?, FULL))?;
        lab.wait_for_entries(FULL)?;
        Ok(Self { lab, held, listener, _settings: [limit, buckets] })
    }

    /// Packets of new flows that are all refused.
    ///
    /// # Errors
    /// When not exactly all of them are.
    pub(super) fn refusals(&self, agent: Option<&Agent>) -> Result<Measured> {
        let plan = FlowPlan::udp(CLIENT.parse().context("no address")?, FLOWS);
        let dropped =
            || Ok::<_, anyhow::Error>(counters::statistics(self.lab.gateway())?.get("drop"));
        let before = dropped()?;
        let refused = of("refused", FLOWS, REFUSED_WINDOW, agent, || {
            self.lab.send(&plan)?;
            wait::until(wait::PATIENCE, "all packets to be refused", || {
                Ok((dropped()? - before == FLOWS).then_some(()))
            })
        })?;
        self.lab.wait_for_entries(FULL)?;
        Ok(Measured(vec![refused]))
    }

    /// Closes the connections and empties the table.
    ///
    /// # Errors
    /// When it is not empty then.
    pub(super) fn empty(self) -> Result<()> {
        for connection in &self.held.connections {
            // After a reset the same connection can be opened again at once.
            sockopt::set_socket_linger(connection, Some(Duration::ZERO))?;
        }
        drop(self.held);
        drop(self.listener);
        wait::until(wait::PATIENCE, "an empty table", || {
            counters::flush(self.lab.gateway())?;
            Ok((counters::entries(self.lab.gateway())? == 0).then_some(()))
        })
    }
}

/// A socket that the kernel opens connections to by itself: nobody takes them, so that nothing runs meanwhile.
fn listen() -> Result<OwnedFd> {
    let backlog = i32::try_from(FULL).context("too many connections for one socket")?;
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)
        .context("cannot open a socket")?;
    // The server's old connections may still be known.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
        .and_then(|()| net::listen(&socket, backlog))
        .with_context(|| format!("cannot listen on TCP port {PORT}"))?;
    Ok(socket)
}

/// One measurement of `work`, which is done `units` times.
///
/// # Errors
/// See [`measure`].
pub(super) fn of(
    workload: &'static str,
    units: u64,
    window: Duration,
    agent: Option<&Agent>,
    work: impl FnOnce() -> Result<()>,
) -> Result<Measurement> {
    let instructions = measure(window, agent.map(Agent::group), work)
        .with_context(|| format!("workload {workload}"))?;
    Ok(Measurement { workload, units, window, instructions, counted: None })
}
