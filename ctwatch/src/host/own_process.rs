//! What this process has taken so far.

use std::fs;

use crate::{clock, model::own::Process};

/// Reads it; `None` if `/proc` is not there, or has another form.
pub fn read() -> Option<Process> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
    Some(Process {
        cpu_s: clock::process_cpu_ns() as f64 / 1e9,
        resident_memory_bytes: resident_pages(&statm)?.checked_mul(page_bytes)?,
    })
}

/// The second number, behind the size (`proc_pid_statm`, fs/proc/array.c).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_pages_are_the_second_number() {
        assert_eq!(resident_pages("1000 300 200 50 0 400 0\n"), Some(300));
        assert_eq!(resident_pages("1000"), None);
    }

    #[test]
    fn this_process_has_taken_something() {
        let Process { cpu_s, resident_memory_bytes } = read().unwrap();
        assert!(cpu_s > 0.0 && (1 << 20..1 << 40).contains(&resident_memory_bytes));
    }
}
