//! What the kernel side takes of the kernel's memory, by the kernel's own account.

use std::fs;

use crate::observed::{gateway, stop, watch};

/// The promise, for as many CPUs as any gateway has.
const BYTES_MAX: u64 = 64 << 20;
const CPUS_MAX: u64 = 64;
/// More than any of the maps takes for one CPU more: its totals, and a spare element of each hash.
const BYTES_FOR_A_CPU: u64 = 4096;

#[test]
fn memory_of_the_maps_is_bounded() {
    let Some(gateway) = gateway() else { return };
    let (watch, _) = watch(&gateway, &[]);
    let mut maps = 0;
    let mut bytes = 0;
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", watch.id())).unwrap() {
        let info = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        if info.contains("map_type:") {
            let memory = info.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap();
            bytes += memory.trim().parse::<u64>().unwrap();
            maps += 1;
        }
    }
    println!("{maps} maps of {bytes} bytes");
    assert!(maps >= 8, "{maps} maps");
    assert!(bytes + CPUS_MAX * BYTES_FOR_A_CPU <= BYTES_MAX, "{bytes} bytes");
    stop(watch).unwrap();
}
