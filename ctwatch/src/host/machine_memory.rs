//! How much memory the machine has and how much of it can be had (proc_meminfo(5)); reads only.

use std::fs;

/// The machine's memory; `None` where it is not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// All of it (`MemTotal`).
    pub total_bytes: Option<u64>,
    /// What can be had without swapping (`MemAvailable`).
    pub available_bytes: Option<u64>,
}

/// Reads `/proc/meminfo`.
pub fn read() -> MachineMemory {
    fs::read_to_string("/proc/meminfo").map(|text| parse(&text)).unwrap_or_default()
}

fn parse(meminfo: &str) -> MachineMemory {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    MachineMemory { total_bytes: bytes("MemTotal"), available_bytes: bytes("MemAvailable") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_kilobytes() {
        let text = "MemTotal:       24000 kB\nMemFree:           10 kB\nMemAvailable:    1000 kB\n";
        let memory = parse(text);
        assert_eq!(memory.total_bytes, Some(24_000 * 1024));
        assert_eq!(memory.available_bytes, Some(1000 * 1024));
        assert_eq!(parse("MemTotal: many kB"), MachineMemory::default());
    }
}
