//! The demonstration: a gateway whose table fills up under a flood, and ctwatch on the console. It must not end before
//! ctwatch does.

use std::num::NonZeroU64;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::CTWATCH;
use super::tests_of_kernel::reap_until;
use crate::counters::GlobalSetting;
use crate::flow::{FlowPlan, FlowProtocol};
use crate::gateway::{Gateway, GatewayPlan, Names};
use crate::generator::Flood;
use crate::namespace::write_sysctl;

/// How many entries the table may hold: at the rates below it is full after about twenty seconds.
const LIMIT: u64 = 4096;

/// Many more buckets than entries: the kernel looks for room in eight of them only (net/netfilter/nf_conntrack_core.c,
/// `early_drop`), so a full table does refuse connections.
const BUCKETS: u64 = 65_536;

/// Who opens how many flows a second, and of which protocol. The first is the culprit.
const CLIENTS: &[(&str, FlowProtocol, u64)] = &[
    ("10.0.1.66", FlowProtocol::Udp, 160),
    ("10.0.1.2", FlowProtocol::TcpSyn, 25),
    ("10.0.1.3", FlowProtocol::IcmpEcho, 5),
    ("fd00:10::4", FlowProtocol::Udp, 10),
];

/// Runs `ctwatch watch` with `arguments` in the foreground until it ends.
///
/// # Errors
/// When the gateway cannot be built or ctwatch not be started.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let names = Names::Fixed {
        client: "client".to_owned(),
        gateway: "gw".to_owned(),
        server: "server".to_owned(),
    };
    let gateway = Gateway::build(&GatewayPlan { names, ..GatewayPlan::default() })?;
    let small = "cannot make the table small";
    let _limit = GlobalSetting::limit(LIMIT).context(small)?;
    let _buckets = GlobalSetting::buckets(BUCKETS).context(small)?;
    // The kernel says "table full" on the console, into the middle of ctwatch's table.
    write_sysctl("kernel/printk", "1")?;
    let mut floods = Vec::new();
    for (source, protocol, rate_per_s) in CLIENTS {
        let source = source.parse().with_context(|| format!("no address: {source}"))?;
        let rate_per_s = NonZeroU64::new(*rate_per_s).context("a rate is not zero")?;
        let plan = FlowPlan::new(*protocol, source, u64::MAX).at_rate(rate_per_s);
        floods.push(Flood::start(gateway.client(), plan)?);
    }
    let watch = Command::new(CTWATCH)
        .args(["watch", "--netns", gateway.gateway().name()])
        .args(arguments)
        .spawn()
        .with_context(|| format!("cannot start {CTWATCH}"))?;
    reap_until(watch.id())?;
    for flood in floods {
        // The machine is powered off next: what became of a flood matters no more.
        let _sent = flood.stop();
    }
    Ok(())
}
