//! The memory that the hooks share with each other and with user space.
//!
//! User space sets the sizes before it loads the object and reads [`ROWS`] and [`WITNESSES`] through mmap
//! only: a map read by bpf(2) raises `bpf_prog_active` on that CPU (kernel/bpf/syscall.c,
//! bpf_disable_instrumentation), and the kprobe programs there are skipped meanwhile without a trace.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, Queue, RingBuf},
};
use ctwatch_common::{
    counter::Witness, event::Outbox, layout::control, row::Row, source::SourceKey,
};

/// The counters; row 0 is [`ctwatch_common::row::UNATTRIBUTED`].
#[map]
pub(crate) static ROWS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Which row a key is counted in.
#[map]
pub(crate) static ROW_OF: HashMap<SourceKey, u32> = HashMap::with_max_entries(1, 0);

/// Rows that no source has yet.
#[map]
pub(crate) static FREE_SOURCE_ROWS: Queue<u32> = Queue::with_max_entries(1, 0);

/// Rows that no prefix has yet.
#[map]
pub(crate) static FREE_PREFIX_ROWS: Queue<u32> = Queue::with_max_entries(1, 0);

/// Rows that no namespace has yet.
#[map]
pub(crate) static FREE_NAMESPACE_ROWS: Queue<u32> = Queue::with_max_entries(1, 0);

/// Totals by CPU, counted without any of the above; one element a CPU, each a cache line.
#[map]
pub(crate) static WITNESSES: Array<[u64; Witness::COUNT]> =
    Array::with_max_entries(1, BPF_F_MMAPABLE);

/// When each row may send its next event, in nanoseconds of CLOCK_MONOTONIC.
#[map]
pub(crate) static NEXT_EVENT_NS: Array<u64> = Array::with_max_entries(1, 0);

/// What each row has sent of the kinds of events that user space asks for; one element where it asks for none.
#[map]
pub(crate) static OUTBOXES: Array<Outbox> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Events on their way to user space.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What user space tells the hooks while they run, by the constants of [`control`].
#[map]
pub(crate) static CONTROL: Array<u64> = Array::with_max_entries(control::WORDS, BPF_F_MMAPABLE);
