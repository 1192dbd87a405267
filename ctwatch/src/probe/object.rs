//! The kernel side's object: which bytes, with what sizes and globals, loaded.

use std::{fs, path::PathBuf, thread::available_parallelism, time::Duration};

use aya::{Ebpf, EbpfLoader};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    error::ProbeError,
    layout::{ConntrackLayout, DropLayout},
    symbols::Arguments,
};

/// The object that `cargo xtask bpf` built and that was committed.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/x86_64.o"));

/// How much memory the kernel side gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows for single sources.
    pub sources: u32,
    /// Rows for prefixes.
    pub prefixes: u32,
    /// Rows for namespaces.
    pub namespaces: u32,
    /// Bytes of the ring buffer: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// A source sends no second event before this time has passed.
    pub event_interval: Duration,
    /// Which kinds of events are sent besides refusals, by their bits ([`ctwatch_common::event::Optional`]).
    pub events_wanted: u32,
}

/// Rows for single sources unless told otherwise: with everything else 46 MB of kernel memory.
pub const SOURCES_DEFAULT: u32 = 131_072;

/// Bytes of the ring buffer unless told otherwise.
pub const RING_BYTES_DEFAULT: u32 = 1 << 20;

impl Sizes {
    /// The sizes that go with a number of sources.
    pub fn for_sources(sources: u32) -> Self {
        Self {
            sources,
            prefixes: (sources / 8).clamp(1024, 65_536),
            namespaces: 256,
            ring_bytes: RING_BYTES_DEFAULT,
            event_interval: Duration::from_millis(100),
            events_wanted: 0,
        }
    }

    /// Whether rows have outboxes.
    pub fn has_outboxes(&self) -> bool {
        self.events_wanted != 0
    }

    /// Places for guesses: so many that few of the sources share one, and a power of two.
    fn guesses(&self) -> u32 {
        const GUESSES_FOR_A_SOURCE: u32 = 8;
        let wanted = self.sources.saturating_mul(GUESSES_FOR_A_SOURCE);
        wanted.clamp(1 << 16, 1 << 23).next_power_of_two()
    }

    /// All rows, the unattributed one included.
    pub fn rows(&self) -> u32 {
        1 + self.sources + self.prefixes + self.namespaces
    }
}

/// What the object is loaded with.
#[derive(Debug)]
pub struct Loading<'a> {
    /// The object, as [`bytes`] read it.
    pub bytes: &'a [u8],
    /// Sizes of its maps.
    pub sizes: Sizes,
    /// Offsets for the hooks on conntrack; `None` if these are not to be attached.
    pub conntrack: Option<ConntrackLayout>,
    /// Offsets for the program on dropped packets; `None` if it is not to be attached.
    pub drops: Option<DropLayout>,
    /// Whether the functions that are probed are called as they are declared.
    pub arguments: Arguments,
    /// Possible CPUs.
    pub cpus: u32,
}

/// The object in a file, or the built-in one.
///
/// # Errors
///
/// If the file cannot be read.
pub fn bytes(file: Option<&PathBuf>) -> Result<Vec<u8>, ProbeError> {
    match file {
        Some(path) => {
            fs::read(path).map_err(|source| ProbeError::Read { path: path.clone(), source })
        }
        None => Ok(OBJECT.to_vec()),
    }
}

/// Makes the maps and relocates the programs; loads none of them yet.
///
/// # Errors
///
/// If the object is broken, or the kernel refuses the maps.
pub fn load(loading: &Loading<'_>) -> Result<Ebpf, ProbeError> {
    raise_locked_memory_limit();
    let Sizes { sources, prefixes, namespaces, ring_bytes, event_interval, events_wanted } =
        loading.sizes;
    let interval_ns = u64::try_from(event_interval.as_nanos()).unwrap_or(u64::MAX);
    let wake_up_bytes = u64::from(ring_bytes / 4);
    let rows = loading.sizes.rows();
    let guesses = loading.sizes.guesses();
    let guess_shift = u64::BITS - guesses.ilog2();
    let renamed = u32::from(loading.arguments == Arguments::PerhapsOthers);
    let btf = aya::Btf::from_sys_fs().ok();
    let mut loader = EbpfLoader::new();
    loader
        .btf(btf.as_ref())
        .map_max_entries("ROWS", rows)
        .map_max_entries("ROW_OF", rows)
        .map_max_entries("NEXT_EVENT_NS", rows)
        .map_max_entries("OUTBOXES", if loading.sizes.has_outboxes() { rows } else { 1 })
        .map_max_entries("FREE_SOURCE_ROWS", sources)
        .map_max_entries("FREE_PREFIX_ROWS", prefixes)
        .map_max_entries("FREE_NAMESPACE_ROWS", namespaces)
        .map_max_entries("WITNESSES", loading.cpus)
        .map_max_entries("EVENTS", ring_bytes)
        .map_max_entries("GUESSES", guesses)
        .override_global("GUESS_SHIFT", &guess_shift, true)
        .override_global("EVENT_INTERVAL_NS", &interval_ns, true)
        .override_global("WAKE_UP_BYTES", &wake_up_bytes, true)
        .override_global("WANTED", &events_wanted, true)
        .override_global("RENAMED", &renamed, true);
    if let Some(layout) = &loading.conntrack {
        loader
            .override_global("NF_CONN_TUPLE", &layout.nf_conn_tuple, true)
            .override_global("NF_CONN_NET", &layout.nf_conn_net, true)
            .override_global("NF_CONN_STATUS", &layout.nf_conn_status, true)
            .override_global("NF_CONN_TIMEOUT", &layout.nf_conn_timeout, true)
            .override_global("NET_INUM", &layout.net_inum, true)
            .override_global("SKB_NFCT", &layout.skb_nfct, true);
    }
    if let Some(layout) = &loading.drops {
        loader
            .override_global("NF_HOOK_SLOW_START", &layout.nf_hook_slow_start, true)
            .override_global("NF_HOOK_SLOW_END", &layout.nf_hook_slow_end, true)
            .override_global("NETFILTER_DROP", &layout.netfilter_drop, true)
            .override_global("SKB_HEAD", &layout.skb_head, true)
            .override_global("SKB_NETWORK_HEADER", &layout.skb_network_header, true)
            .override_global("SKB_DEV", &layout.skb_dev, true)
            .override_global("DEV_NET", &layout.dev_net, true);
    }
    Ok(loader.load(loading.bytes)?)
}

/// The number of CPUs that this machine may ever have (`/sys/devices/system/cpu/possible`, as `0-63`).
pub fn possible_cpus() -> u32 {
    let listed = fs::read_to_string("/sys/devices/system/cpu/possible").ok();
    let last = listed
        .as_deref()
        .and_then(|text| text.trim().rsplit(['-', ',']).next()?.parse::<u32>().ok());
    let online = || available_parallelism().ok().and_then(|cpus| u32::try_from(cpus.get()).ok());
    last.map(|last| last.saturating_add(1)).or_else(online).unwrap_or(1)
}

/// Before 5.11 the memory of maps counts against RLIMIT_MEMLOCK (kernel/bpf/syscall.c, bpf_charge_memlock).
/// Where that cannot be raised the maps' creation says so.
fn raise_locked_memory_limit() {
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_some() {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
}
