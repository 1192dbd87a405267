//! Runs a command of this program as a process of its own, as a person would in a shell: what it changes goes on to its end
//! whatever becomes of the caller and its terminal.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// Runs it and returns what it said: its words for people behind its output. `Err` if it did not succeed, with the same.
pub fn run(arguments: &[OsString]) -> Result<String, String> {
    // The program that runs, even if its file has been replaced meanwhile.
    let output = Command::new("/proc/self/exe")
        .args(arguments)
        // A Ctrl-C in the caller's terminal is not meant for it.
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .map_err(|error: io::Error| format!("it cannot be started: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{said}\n({})", output.status)) }
}
