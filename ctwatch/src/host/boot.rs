//! Which start of the machine this is; reads only.

use std::{fs, io};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's random name of its present start (random(4)).
///
/// # Errors
///
/// It cannot be read.
pub fn id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}
