//! What this program occupies.

use std::fs;

/// Bytes of memory of this process, what it shares with the kernel included; `None` if /proc does not tell.
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    // Size and resident size, in pages (fs/proc/array.c, proc_pid_statm).
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_occupies_some_memory() {
        assert!(super::resident_bytes().is_some_and(|bytes| (100_000..1 << 40).contains(&bytes)));
    }
}
