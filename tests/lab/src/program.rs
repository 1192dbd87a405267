//! Running the system's own programs (`ip`, `nft`, `conntrack`) with their input and a useful error. It must not
//! interpret what they print.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `program` in the calling thread's network namespace, writes `input` to its standard input, and returns its
/// output.
///
/// # Errors
/// When the program cannot be started, or ends with another status than 0: the error holds what it wrote to stderr.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let spoken = format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot start `{spoken}`: install the package that has {program}")
        })?;
    feed(&mut child, input);
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{spoken}`"))?;
    if !output.status.success() {
        bail!(
            "`{spoken}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output)
}

/// Writes `input` to a program's standard input, and ends it.
pub(crate) fn feed(child: &mut Child, input: &str) {
    if let Some(mut stdin) = child.stdin.take() {
        // A program that refuses its arguments closes its input: its status says more than the broken pipe.
        let _broken_pipe = stdin.write_all(input.as_bytes());
    }
}

/// Where `program` is found in PATH, if it is there.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
