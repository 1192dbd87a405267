//! Events on their way to user space: limited by source, counted when suppressed or lost, and sent without
//! waking the reader for each.

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::bpf_ktime_get_ns,
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::EventRecord,
};

use crate::{
    account::{count, witness},
    maps::{EVENTS, NEXT_EVENT_NS},
};

/// A row sends no second event before this time has passed, in nanoseconds.
#[unsafe(no_mangle)]
static EVENT_INTERVAL_NS: Global<u64> = Global::new(0);
/// The reader is woken when this many bytes wait for it.
#[unsafe(no_mangle)]
static WAKE_UP_BYTES: Global<u64> = Global::new(0);

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

/// Sends a refusal's record, or counts it as lost.
#[inline(always)]
pub(crate) fn send(record: &EventRecord) {
    let row = record.row;
    match EVENTS.reserve::<EventRecord>(0) {
        Some(mut place) => {
            place.write(*record);
            let waiting_bytes = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
            let flags = if waiting_bytes >= WAKE_UP_BYTES.load() {
                BPF_RB_FORCE_WAKEUP
            } else {
                BPF_RB_NO_WAKEUP
            };
            place.submit(u64::from(flags));
            count(row, Counter::EventsSent);
            witness(Witness::EventsSent);
        }
        None => {
            count(row, Counter::EventsLost);
            witness(Witness::EventsLost);
        }
    }
}
