//! A softirq that interrupts an allocation of a local sender and makes another one, at a full table: nobody is charged with
//! what was somebody else's. One processor is enough for that, and makes every number exact.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ctwatch_lab::address::{OUTSIDE_V4, SWALLOWED_V4, after};
use ctwatch_lab::counters::{GlobalSetting, statistics};
use ctwatch_lab::retransmission::Unanswered;
use ctwatch_lab::{FlowPlan, Gateway, counters, skip, wait};

use crate::observed::{
    assert_adds_up, gateway, ip, line_after_now, line_with, number, of_source, rungs, stop,
    watch_on,
};

/// How many entries fit.
const LIMIT: u64 = 300;
/// So many more buckets that the kernel finds somebody to evict for some packets, and nobody for most.
const BUCKETS: u64 = 16_384;
/// Who only fills the table, and never sends while it is full.
const FILLER: &str = "10.0.1.3";
/// Whose packets are sent by a timer, in a softirq.
const FORWARDED: &str = "10.0.1.66";
/// How many connections it tries to open.
const ATTEMPTS: u16 = 4_000;
/// By then each SYN has been sent three times.
const SENDING: Duration = Duration::from_millis(4_500);

#[test]
fn nesting_never_charges_somebody_else() {
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        let Some(trace) = AllocationTrace::prepare() else {
            return skip("this kernel cannot trace functions by kprobe_events");
        };
        let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
        let _limit = GlobalSetting::limit(LIMIT).unwrap();
        everybody_has_its_own(&rung, &gateway, &trace);
    }
}

fn everybody_has_its_own(rung: &str, gateway: &Gateway, trace: &AllocationTrace) {
    let (mut watch, _) = watch_on(rung, gateway, &["--top", "1000"]);
    let local = OUTSIDE_V4.to_string();
    FlowPlan::udp(ip(FILLER), LIMIT).send(gateway.client()).unwrap();
    line_with(&mut watch, "totals.entries", LIMIT);
    let before = statistics(gateway.gateway()).unwrap();

    let forwarded = Unanswered::begin(gateway.client(), ip(FORWARDED), ATTEMPTS).unwrap();
    trace.begin();
    let sent = gateway.gateway().within(send_locally).unwrap();
    let nested = trace.end();
    drop(forwarded);

    let since = |name: &str| statistics(gateway.gateway()).unwrap().since(&before).get(name);
    let (drop, early_drop) = (since("drop"), since("early_drop"));
    assert_eq!((since("insert_failed"), since("chaintoolong")), (0, 0));
    println!(
        "{rung}: {} local packets and {} refused; {drop} drops, {early_drop} evictions; {nested} allocations interrupted by another",
        sent.new, sent.refused
    );
    if nested == 0 {
        return skip("no allocation was interrupted by another one, so there was nothing to see");
    }
    assert!(drop > sent.refused && sent.refused > 0 && early_drop > 0);

    let line = line_after_now(&mut watch);
    let of = |source: &str, key: &str| u64::try_from(of_source(&line, source, None, key)).unwrap();
    let held = counters::entries(gateway.gateway()).unwrap();
    // Whoever is not interrupted is counted exactly, whoever did nothing has done nothing, on every rung.
    assert_eq!(of(FILLER, "new"), LIMIT, "{line}");
    assert_eq!((of(FILLER, "refused"), of(FILLER, "evictions_caused")), (0, 0), "{line}");
    assert_eq!((of(&local, "new"), of(&local, "refused")), (sent.new, sent.refused), "{line}");

    // Whoever interrupts is missed where it interrupts a probe, of kprobes any (kernel/trace/bpf_trace.c, `trace_call_bpf`), of
    // traced functions the same one (kernel/bpf/trampoline.c, `__bpf_prog_enter_recur`). Nobody is charged with it instead,
    // and where the kernel tells how often, the sum is whole.
    let missed = line["loss"]["probe_missed"].as_u64();
    let may_miss = missed.unwrap_or(nested);
    assert!(may_miss <= 3 * nested, "{may_miss} missed, {nested} interrupted: {line}");
    if missed.is_some() {
        assert_eq!(u64::try_from(number(&line, "totals.refused")).unwrap(), drop, "{line}");
    }
    let is_nearly = |counted: u64, exactly: u64| {
        (exactly.saturating_sub(may_miss)..=exactly).contains(&counted)
    };
    assert!(is_nearly(of(FORWARDED, "refused"), drop - sent.refused), "{line}");
    // What the kernel threw out by itself, near the limit, has no counter; everything else that was made is there or evicted.
    let least = held + early_drop - LIMIT - sent.new;
    assert!(
        of(FORWARDED, "new") + may_miss >= least,
        "{} of {least} in {line}",
        of(FORWARDED, "new")
    );

    // Who made an entry that is gone is who has lost one. One that is evicted while the packet that made it is still on its
    // way ends when that packet does: it is seen to end, but not why.
    let mut evicted = 0;
    for (source, new) in [(FILLER, LIMIT), (&local, sent.new), (FORWARDED, of(FORWARDED, "new"))] {
        let listed = counters::listed(gateway.gateway(), ip(source)).unwrap();
        let (gone, ended) = (new - listed, of(source, "ended"));
        assert!(gone.abs_diff(ended) <= may_miss, "{source}: {ended} of {gone} in {line}");
        assert!(of(source, "evicted") <= ended, "{source} in {line}");
        evicted += of(source, "evicted");
    }
    assert!(early_drop - evicted <= nested, "{evicted} of {early_drop} evictions in {line}");
    let caused = [FORWARDED, &local].map(|source| of(source, "evictions_caused"));
    assert!(caused.iter().all(|caused| *caused > 0), "{line}");
    assert_eq!(caused.iter().sum::<u64>(), evicted, "{line}");
    println!(
        "{rung}: {} refusals missed, {} evictions missed or seen as mere ends",
        drop - sent.refused - of(FORWARDED, "refused"),
        early_drop - evicted
    );
    // One whose asking was missed is refused without it being known whose packet that was.
    let unknown = u64::try_from(number(&line, "loss.requester_unknown")).unwrap();
    assert!(unknown <= may_miss, "{line}");
    assert_eq!(number(&line, "witness.difference"), 0, "{line}");
    if missed.is_some() {
        let settled = watch.find(wait::PATIENCE, "a line without drift", |line| {
            Ok((number(&line.json, "drift_entries") == 0).then(|| line.json.clone()))
        });
        assert_adds_up(gateway, &settled.unwrap());
    }
    stop(watch).unwrap();
}

/// What became of the packets of a local sender, as its own system calls said.
#[derive(Debug, Default)]
struct SentLocally {
    new: u64,
    refused: u64,
}

/// Sends UDP packets of ever new flows from the gateway itself, in the calling thread, without a pause.
fn send_locally() -> anyhow::Result<SentLocally> {
    let socket = UdpSocket::bind((OUTSIDE_V4, 0))?;
    let mut sent = SentLocally::default();
    let end = Instant::now() + SENDING;
    'sending: for distance in 100..150 {
        for port in 1..=u16::MAX {
            if Instant::now() >= end {
                break 'sending;
            }
            let destination = SocketAddr::new(after(SWALLOWED_V4.0.into(), distance), port);
            match socket.send_to(b"ctwatch!", destination) {
                Ok(_bytes) => sent.new += 1,
                // What a full table answers (net/netfilter/core.c, `nf_hook_slow`).
                Err(error) if error.kind() == ErrorKind::PermissionDenied => sent.refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sent)
}

/// The kernel's own record of allocations, by its tracer: whether one was interrupted by a softirq that made another.
struct AllocationTrace;

const TRACING: &str = "/sys/kernel/tracing";

impl AllocationTrace {
    fn prepare() -> Option<Self> {
        let probes = "p:ctlab/begun __nf_conntrack_alloc\nr:ctlab/done __nf_conntrack_alloc\n";
        if !fs::exists(format!("{TRACING}/events/ctlab")).ok()? {
            fs::write(format!("{TRACING}/kprobe_events"), probes).ok()?;
        }
        fs::write(format!("{TRACING}/buffer_size_kb"), "65536").ok()?;
        Some(Self)
    }

    fn begin(&self) {
        fs::write(format!("{TRACING}/trace"), "").unwrap();
        fs::write(format!("{TRACING}/events/ctlab/enable"), "1").unwrap();
    }

    /// How many allocations began in a softirq while one of a process was under way.
    fn end(&self) -> u64 {
        fs::write(format!("{TRACING}/events/ctlab/enable"), "0").unwrap();
        let text = fs::read_to_string(format!("{TRACING}/trace")).unwrap();
        nested(&text)
    }
}

impl Drop for AllocationTrace {
    fn drop(&mut self) {
        // The machine ends soon; until then these only cost time.
        let _still_there = fs::write(format!("{TRACING}/kprobe_events"), "");
    }
}

/// Reads lines such as `flood-71 [000] ..s2. 12.345678: begun: (…)`: the third flag says whether it was in a softirq
/// (Documentation/trace/ftrace.rst).
fn nested(text: &str) -> u64 {
    let mut under_way = false;
    let mut nested = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once("] ") else { continue };
        let in_softirq = rest.chars().nth(2) == Some('s');
        match (rest.contains(": begun: "), in_softirq) {
            (true, true) => nested += u64::from(under_way),
            (true, false) => under_way = true,
            (false, false) => under_way = false,
            (false, true) => {}
        }
    }
    nested
}
