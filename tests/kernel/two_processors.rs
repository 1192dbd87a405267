//! On several processors hooks are interrupted by hooks, and the kernel then misses some. Forwarded packets are steered
//! onto the processor that sends packets of its own and flushes the table: whatever is missed there, totals are exact
//! where the kernel tells how much it was, and a dump of the table puts right what sources hold.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ctwatch_lab::counters::{self, GlobalSetting};
use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, Namespace, address, gateway as lab, wait};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;

use crate::audited::at_rest;
use crate::observed::{gateway, ip, number, of_source, rungs, stop, watch_on};

/// Forwarded flows, and as many of the gateway's own.
const FLOWS: u64 = 20_000;
/// The processor on which everything meets.
const BUSY: usize = 1;
/// How long a dump of the table may take to come and put things right.
const DUMP_PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn two_processors_with_packets_of_their_own() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        missed_calls_are_accounted_for(&rung, &gateway, false);
    }
}

#[test]
fn two_processors_with_flushes() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        missed_calls_are_accounted_for(&rung, &gateway, true);
    }
}

fn missed_calls_are_accounted_for(rung: &str, gateway: &Gateway, flushing: bool) {
    assert!(std::thread::available_parallelism().unwrap().get() >= 2, "one processor only");
    let _limit = GlobalSetting::limit(262_144).unwrap();
    let _buckets = GlobalSetting::buckets(65_536).unwrap();
    let _backlog = GlobalSetting::set("net/core/netdev_max_backlog", 100_000).unwrap();
    steer_onto_the_busy_processor(gateway.gateway());
    let (mut watch, _) = watch_on(rung, gateway, &["--top", "1000"]);
    let flood = Flood::start(gateway.client(), FlowPlan::udp(ip("10.0.1.2"), FLOWS)).unwrap();
    gateway
        .gateway()
        .within(|| {
            on_the_busy_processor()?;
            send_from_here(if flushing { 0 } else { FLOWS })?;
            while flushing && !flood.is_over() {
                flush_here()?;
            }
            Ok(())
        })
        .unwrap();
    flood.finish().unwrap();
    at_rest(gateway);
    let sent = if flushing { FLOWS } else { 2 * FLOWS };
    let first = line_at_rest(&mut watch);
    let line = watch
        .find(DUMP_PATIENCE, "no drift", |line| {
            let settled = number(&line.json, "drift_entries") == 0
                && number(&line.json, "others.entries") == 0;
            Ok(settled.then(|| line.json.clone()))
        })
        .unwrap();
    let missed = &line["loss"]["probe_missed"];
    println!(
        "{rung}, flushing {flushing}: {sent} flows, {missed} calls missed, new {} and ended {}; \
         drift {} at first, others held {}",
        line["totals"]["new"],
        line["totals"]["ended"],
        first["drift_entries"],
        first["others"]["entries"]
    );
    assert_eq!(missed.is_null(), !tells_misses(rung), "{line}");
    let held = i64::try_from(counters::entries(gateway.gateway()).unwrap()).unwrap();
    assert_eq!(number(&line, "table.entries"), held, "{line}");
    assert_eq!(number(&line, "totals.entries"), held, "{line}");
    assert_eq!(number(&line, "witness.difference"), 0, "{line}");
    if !flushing {
        // The dump found out whose the missed ones were.
        for source in ["10.0.1.2", "192.0.2.2"] {
            assert_eq!(of_source(&line, source, None, "entries"), FLOWS.cast_signed(), "{line}");
        }
    }
    if tells_misses(rung) {
        assert_eq!(number(&line, "totals.new"), sent.cast_signed(), "{line}");
        assert_eq!(number(&line, "totals.ended"), sent.cast_signed() - held, "{line}");
    }
    stop(watch).unwrap();
}

/// A line that was measured wholly at rest.
fn line_at_rest(watch: &mut Ctwatch) -> Value {
    watch.forget().unwrap();
    watch.next(wait::PATIENCE).unwrap();
    watch.next(wait::PATIENCE).unwrap().json
}

/// Whether this kernel counts what this rung misses: for traced functions since 5.12, for probes since 6.7.
fn tells_misses(rung: &str) -> bool {
    let since = if rung == "fexit" { (5, 12) } else { (6, 7) };
    let release = rustix::system::uname();
    let release = release.release().to_str().unwrap().to_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= since
}

/// Has the gateway take in what comes from the clients on the busy processor (receive packet steering).
fn steer_onto_the_busy_processor(gateway: &Namespace) {
    let file = format!("/sys/class/net/{}/queues/rx-0/rps_cpus", lab::CLIENT_SIDE);
    let script = format!("echo {:x} > {file}", 1 << BUSY);
    // Below /sys are the interfaces of the namespace that has mounted it, as `ip netns exec` does.
    let status = Command::new("ip")
        .args(["netns", "exec", gateway.name(), "sh", "-c", &script])
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

/// Keeps this thread, and what it starts, on the busy processor.
fn on_the_busy_processor() -> Result<()> {
    let mut processors = CpuSet::new();
    processors.set(BUSY);
    sched_setaffinity(None, &processors).context("cannot choose a processor")
}

/// Opens flows of this namespace's own, in process context.
fn send_from_here(flows: u64) -> Result<()> {
    let socket = UdpSocket::bind("192.0.2.2:4000")?;
    let destination = address::swallowed(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    for port in (1024..).take(usize::try_from(flows)?) {
        socket.send_to(b"ctwatch!", SocketAddr::new(destination, port))?;
    }
    Ok(())
}

fn flush_here() -> Result<()> {
    let output = Command::new("conntrack").arg("-F").output().context("cannot start conntrack")?;
    anyhow::ensure!(output.status.success(), "conntrack -F: {output:?}");
    Ok(())
}
