//! Events on their way to user space: limited by source, counted when suppressed or lost, and sent without
//! waking the reader for each.

use core::mem::MaybeUninit;

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::{EventRecord, KIND_END_DELETED, Optional},
    layout::control,
    source::SourceKey,
};

use crate::{
    account::{add_one, count, witness},
    conntrack::{Tuple, tuple_at},
    maps::{CONTROL, EVENTS, NEXT_EVENT_NS, OUTBOXES},
};

/// A row sends no second event before this time has passed, in nanoseconds.
#[unsafe(no_mangle)]
static EVENT_INTERVAL_NS: Global<u64> = Global::new(0);
/// The reader is woken when this many bytes wait for it.
#[unsafe(no_mangle)]
static WAKE_UP_BYTES: Global<u64> = Global::new(0);

/// The [`Optional`] kinds that user space asks for, a bit each. It is a constant to the verifier, which takes out of the
/// programs what is for the others.
#[unsafe(no_mangle)]
static WANTED: Global<u32> = Global::new(0);

/// Whether `row` may send an event now, and if so the time to put into it, in nanoseconds.
///
/// A refusal that may not is neither in [`Counter::EventsSent`] nor in [`Counter::EventsLost`]: what was
/// suppressed is [`Counter::Refused`] less these two.
#[inline(always)]
pub(crate) fn may_send(row: u32) -> Option<u64> {
    // SAFETY: the helper takes no argument and cannot fail.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let next_ns = NEXT_EVENT_NS.get_ptr_mut(row)?;
    // SAFETY: the pointer is to a 64-bit number in a map's memory. Two CPUs may both find it passed and both
    // send; each of them counts what it sends.
    unsafe {
        if now_ns < *next_ns {
            return None;
        }
        *next_ns = now_ns + EVENT_INTERVAL_NS.load();
    }
    Some(now_ns)
}

/// The record of what happened to the packet or entry of `tuple`.
#[inline(always)]
pub(crate) fn record(kind: u8, time_ns: u64, netns: u32, tuple: &Tuple, row: u32) -> EventRecord {
    EventRecord {
        time_ns,
        netns,
        row,
        source: tuple.source,
        destination: tuple.destination,
        source_port: u16::from_be(tuple.source_port),
        destination_port: u16::from_be(tuple.destination_port),
        family: tuple.family,
        protocol: tuple.protocol,
        kind,
        ..EventRecord::default()
    }
}

/// Sends a refusal's record, or counts it as lost.
#[inline(always)]
pub(crate) fn send(record: &EventRecord) {
    let row = record.row;
    if submit(record) {
        count(row, Counter::EventsSent);
        witness(Witness::EventsSent);
    } else {
        count(row, Counter::EventsLost);
        witness(Witness::EventsLost);
    }
}

/// Sends what happened to the entry with the tuple at an address, for the packet with the tuple at `by` if that is not 0:
/// if it is asked for, and the row has not just sent another one of its kind.
///
/// To be called before the row counts it: what is counted and was sent is then known to have been sent.
#[inline(always)]
pub(crate) fn tell(of: Optional, kind: u8, netns: u32, row: u32, tuple: u64, by: u64) {
    if WANTED.load() & of.bit() != 0 {
        tell_one((of as u64) << 8 | u64::from(kind), netns, row, tuple, by);
    }
}

/// Not inlined, as it is rare; a function of BPF has five arguments.
#[inline(never)]
fn tell_one(what: u64, netns: u32, row: u32, tuple: u64, by: u64) {
    let (of, kind) = ((what >> 8) as usize, what as u8);
    let Some(outbox) = OUTBOXES.get_ptr_mut(row) else { return };
    // The verifier is to see that it lies in the array.
    if of >= Optional::COUNT {
        return;
    }
    // SAFETY: the helper takes no argument and cannot fail.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the pointer is to a whole outbox in a map's memory, and `of` is in its arrays. Two CPUs may both find the
    // time passed and both send; each of them counts what it sends.
    unsafe {
        let next_ns = (&raw mut (*outbox).next_ns).cast::<u64>().add(of);
        if now_ns < *next_ns {
            return;
        }
        *next_ns = now_ns + EVENT_INTERVAL_NS.load();
    }
    let mut place = MaybeUninit::uninit();
    let Some(tuple) = tuple_at(tuple, &mut place) else { return };
    let mut record = record(kind, now_ns, netns, tuple, row);
    if by != 0 {
        let mut place = MaybeUninit::uninit();
        if let Some(requester) = tuple_at(by, &mut place) {
            record.by = requester.source;
            record.by_family = requester.family;
            record.by_protocol = requester.protocol;
        }
    } else if kind == KIND_END_DELETED {
        // Deletions run in a task of their own or in that of whoever asked for it, never in a softirq.
        record.by = bpf_get_current_comm().unwrap_or_default();
        record.by_process = (bpf_get_current_pid_tgid() >> 32) as u32;
    }
    // SAFETY: as above.
    let counters =
        unsafe { if submit(&record) { &raw mut (*outbox).sent } else { &raw mut (*outbox).lost } };
    add_one(counters.cast(), of);
}

/// Sends the beginning or end of an entry while user space wants to see each of them.
#[inline(always)]
pub(crate) fn trace(kind: u8, key: &SourceKey, tuple: &Tuple, row: u32) {
    if is_tracing() {
        trace_one(kind, key.netns, tuple, row);
    }
}

/// As [`trace`], for the tuple at an address, which is read only if it is wanted.
#[inline(always)]
pub(crate) fn trace_at(kind: u8, netns: u32, tuple: u64, row: u32) {
    if is_tracing() {
        read_and_trace(kind, netns, tuple, row);
    }
}

#[inline(always)]
fn is_tracing() -> bool {
    CONTROL.get(control::TRACE).is_some_and(|wanted| *wanted != 0)
}

/// Not inlined, as it is rare.
#[inline(never)]
fn read_and_trace(kind: u8, netns: u32, tuple: u64, row: u32) {
    match tuple_at(tuple, &mut MaybeUninit::uninit()) {
        Some(tuple) => trace_one(kind, netns, tuple, row),
        None => witness(Witness::TracesLost),
    }
}

/// Not inlined, as it is rare.
#[inline(never)]
fn trace_one(kind: u8, netns: u32, tuple: &Tuple, row: u32) {
    // SAFETY: the helper takes no argument and cannot fail.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    if !submit(&record(kind, time_ns, netns, tuple, row)) {
        witness(Witness::TracesLost);
    }
}

/// Puts a record into the ring and wakes the reader past the watermark; says whether there was room.
#[inline(always)]
fn submit(record: &EventRecord) -> bool {
    let Some(mut place) = EVENTS.reserve::<EventRecord>(0) else { return false };
    place.write(*record);
    let waiting_bytes = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let flags =
        if waiting_bytes >= WAKE_UP_BYTES.load() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    place.submit(u64::from(flags));
    true
}
