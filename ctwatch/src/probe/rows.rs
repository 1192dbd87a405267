//! The kernel side's rows: reading them, and giving idle ones to new sources.
//!
//! A row is taken from its source in two steps, since a hook may have found it just before: it is unlinked,
//! so that no hook finds it any more, and after a grace period, when none that had found it still runs, its
//! last numbers are read and it is offered again.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsFd, BorrowedFd},
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
};
use ctwatch_common::{
    counter::{Counter, Witness},
    event::{OUTBOX_BYTES, Outbox},
    row::{ROW_BYTES, Row, Tier, UNATTRIBUTED},
    source::SourceKey,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    error::ProbeError,
    memory::{Access, SharedWords},
    object::Sizes,
};
use crate::model::{
    counters::{Counters, Sent},
    rows::RowReading,
};

const ROW_WORDS: usize = ROW_BYTES / size_of::<u64>();
const OUTBOX_WORDS: usize = OUTBOX_BYTES / size_of::<u64>();
/// The word of a row that is 0 if and only if the row is free: it has the number of the namespace.
const NETNS_WORD: usize = offset_of!(Row, key.netns) / size_of::<u64>();
const ENDED_WORD: usize = offset_of!(Row, counters) / size_of::<u64>() + Counter::Ended as usize;
/// What the kernel side offers in one run at most (its hooks/maintain.rs).
const OFFERED_MAX: u32 = 1024;
/// Rows are given out in their order, so where so many in a row have never been used none behind them has. That
/// holds until the first is released; a CPU may be behind others by a few.
const NEVER_USED_RUN: u32 = 1024;
const MAINTENANCE: [&str; 3] = ["offer_rows", "unlink_row", "release_row"];

/// The rows and per-CPU totals, with the object that they belong to. Dropping it detaches every hook of the
/// object: nothing is pinned.
#[derive(Debug)]
pub struct RowMemory {
    rows: SharedWords,
    witnesses: SharedWords,
    /// Only where events are asked for that have one.
    outboxes: Option<SharedWords>,
    sizes: Sizes,
    cpus: u32,
    has_released: bool,
    object: Ebpf,
}

impl RowMemory {
    /// Maps the memory and offers all rows for use; to be called before a hook is attached.
    ///
    /// # Errors
    ///
    /// If the object is not this version's, or the kernel refuses.
    pub fn new(mut object: Ebpf, sizes: Sizes, cpus: u32) -> Result<Self, ProbeError> {
        for name in MAINTENANCE {
            let program: &mut RawTracePoint =
                object.program_mut(name).ok_or(ProbeError::Lacks(name))?.try_into()?;
            program.load()?;
        }
        let row_words = sizes.rows() as usize * ROW_WORDS;
        let witness_words = cpus as usize * Witness::COUNT;
        let rows = SharedWords::map(fd_of(&object, "ROWS")?, row_words, Access::Read)?;
        let witnesses =
            SharedWords::map(fd_of(&object, "WITNESSES")?, witness_words, Access::Read)?;
        let outboxes = sizes.has_outboxes().then(|| {
            let words = sizes.rows() as usize * OUTBOX_WORDS;
            SharedWords::map(fd_of(&object, "OUTBOXES")?, words, Access::Read)
                .map_err(ProbeError::from)
        });
        let outboxes = outboxes.transpose()?;
        let memory = Self { rows, witnesses, outboxes, sizes, cpus, has_released: false, object };
        let Sizes { sources, prefixes, namespaces, .. } = sizes;
        memory.offer(1, sources, Tier::Source)?;
        memory.offer(1 + sources, prefixes, Tier::Prefix)?;
        memory.offer(1 + sources + prefixes, namespaces, Tier::Namespace)?;
        Ok(memory)
    }

    /// The object, to attach its programs.
    pub fn object_mut(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// Reads all rows and totals.
    pub fn read(&self) -> RowReading {
        let unattributed = Box::new(self.counted(UNATTRIBUTED).1);
        let mut reading = RowReading { unattributed, ..RowReading::default() };
        for tier in [Tier::Source, Tier::Prefix, Tier::Namespace] {
            let mut never_used = 0;
            for index in self.indexes(tier) {
                if self.is_taken(index) {
                    never_used = 0;
                    let (key, counters) = self.counted(index);
                    reading.add_counted(key, counters);
                } else if !self.has_released && never_used >= NEVER_USED_RUN {
                    break;
                } else {
                    never_used += 1;
                }
            }
        }
        for cpu in 0..self.cpus as usize {
            for (place, total) in reading.witness.iter_mut().enumerate() {
                *total += self.witnesses.load(cpu * Witness::COUNT + place).unwrap_or(0);
            }
        }
        reading
    }

    /// Whether a row has a source.
    fn is_taken(&self, index: u32) -> bool {
        self.rows.load(index as usize * ROW_WORDS + NETNS_WORD).is_some_and(|word| word != 0)
    }

    /// The key of a row, and what it has counted and sent by now.
    pub fn counted(&self, index: u32) -> (SourceKey, Counters) {
        let row = self.row(index);
        let mut counters = Counters::from_row(&row.counters);
        if let Some(outboxes) = &self.outboxes {
            let mut words = [0_u64; OUTBOX_WORDS];
            for (place, word) in words.iter_mut().enumerate() {
                *word = outboxes.load(index as usize * OUTBOX_WORDS + place).unwrap_or(0);
            }
            let outbox = Outbox::read_from_bytes(words.as_bytes()).unwrap_or_default();
            counters.outbox = Sent::from(&outbox);
        }
        (row.key, counters)
    }

    /// One row as it is now.
    pub fn row(&self, index: u32) -> Row {
        let mut words = [0_u64; ROW_WORDS];
        for (place, word) in words.iter_mut().enumerate() {
            *word = self.rows.load(index as usize * ROW_WORDS + place).unwrap_or(0);
        }
        // Reasons for ends are counted after the ends: read before them, they are never more.
        if let Some(word) = words.get_mut(ENDED_WORD) {
            *word = self.rows.load(index as usize * ROW_WORDS + ENDED_WORD).unwrap_or(0);
        }
        let row = Row::read_from_bytes(words.as_bytes()).unwrap_or_default();
        Row { key: row.key.as_linked(), ..row }
    }

    /// The rows of a tier, the taken ones as well as the free ones.
    pub fn indexes(&self, tier: Tier) -> std::ops::Range<u32> {
        let Sizes { sources, prefixes, namespaces, .. } = self.sizes;
        let first_prefix = 1 + sources;
        let first_namespace = first_prefix + prefixes;
        match tier {
            Tier::Source => 1..first_prefix,
            Tier::Prefix => first_prefix..first_namespace,
            Tier::Namespace => first_namespace..first_namespace + namespaces,
        }
    }

    /// Takes a row away from its source; says whether it had one.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn unlink(&self, row: u32) -> Result<bool, ProbeError> {
        Ok(self.run("unlink_row", [row, 0, 0])? == 1)
    }

    /// Offers an unlinked row again, after the grace period; says whether the kernel side took it.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn release(&mut self, row: u32, tier: Tier) -> Result<bool, ProbeError> {
        self.has_released = true;
        Ok(self.run("release_row", [row, tier as u32, 0])? == 1)
    }

    fn offer(&self, first: u32, count: u32, tier: Tier) -> Result<(), ProbeError> {
        let end = first + count;
        let mut next = first;
        while next < end {
            let wanted = OFFERED_MAX.min(end - next);
            let offered = self.run("offer_rows", [next, wanted, tier as u32])?;
            if offered != wanted {
                return Err(ProbeError::RowsNotOffered { wanted, offered });
            }
            next += offered;
        }
        Ok(())
    }

    fn run(&self, name: &'static str, arguments: [u32; 3]) -> Result<u32, ProbeError> {
        let program: &RawTracePoint =
            self.object.program(name).ok_or(ProbeError::Lacks(name))?.try_into()?;
        let mut options = RawTracePointRunOptions::new();
        for (place, argument) in options.args.iter_mut().zip(arguments) {
            *place = u64::from(argument);
        }
        Ok(program.test_run(options)?.return_value)
    }
}

/// Waits until every hook that runs now has ended. May take some tens of milliseconds.
///
/// membarrier(2) with MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c), and hooks run
/// under rcu_read_lock.
///
/// # Errors
///
/// What the kernel says; on a kernel without membarrier rows cannot be given up.
pub fn wait_for_grace_period() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: membarrier takes no pointer and only waits.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The file descriptor of one of the object's arrays.
///
/// # Errors
///
/// If there is no such map.
pub fn fd_of<'a>(object: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, ProbeError> {
    match object.map(name) {
        Some(Map::Array(data)) => Ok(data.fd().as_fd()),
        _ => Err(ProbeError::Lacks(name)),
    }
}
