//! What this process has taken so far.

use std::{fs, io};

use crate::model::own::Process;

/// Reads it.
///
/// # Errors
///
/// If `/proc` is not there, or has another form.
pub fn read() -> io::Result<Process> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let pages = rustix::param::page_size() as u64;
    parse(&text, rustix::param::clock_ticks_per_second(), pages).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has another form")
    })
}

/// Times are in ticks, memory in pages (proc(5); `do_task_stat`, fs/proc/array.c).
fn parse(text: &str, ticks_per_s: u64, page_bytes: u64) -> Option<Process> {
    // The name of the program may hold anything, and ends with the last bracket.
    let behind_name = text.rsplit_once(')')?.1;
    let number = |place: usize| behind_name.split_whitespace().nth(place)?.parse::<u64>().ok();
    let (user, system, resident) = (number(11)?, number(12)?, number(21)?);
    Some(Process {
        cpu_s: (user + system) as f64 / ticks_per_s as f64,
        resident_memory_bytes: resident * page_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_stand_behind_a_name_that_may_hold_anything() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 90 0 0 0 150 50 0 0 20 0 3 0 9 1000 300 18446744073709551615 1\n";
        let expected = Process { cpu_s: 2.0, resident_memory_bytes: 1_228_800 };
        assert_eq!(parse(text, 100, 4096), Some(expected));
        assert_eq!(parse("7 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(read().unwrap().resident_memory_bytes > 1 << 20);
    }
}
