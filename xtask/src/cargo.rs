//! Builds this workspace's programs with the cargo that runs this, and says where they are.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;
use crate::workspace::Workspace;

/// The platform that static programs are built for; naming it keeps the flags away from what runs while building.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A cargo command in the workspace.
pub(crate) fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).env_remove("LD_LIBRARY_PATH").args(arguments);
    command
}

/// What is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Users, and whoever measures what they have.
    Release,
    /// Tests of the whole program: see Cargo.toml.
    Lab,
}

/// A cargo command whose programs need no library of the machine that they run on.
pub(crate) fn static_cargo(workspace: &Workspace, profile: Profile, arguments: &[&str]) -> Command {
    let mut command = cargo(workspace, arguments);
    let profile = match profile {
        Profile::Release => "release",
        Profile::Lab => "lab",
    };
    command
        .args(["--profile", profile, "--target", STATIC_TARGET])
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    command
}

/// Runs a building command and returns the program or test binary of the given name.
pub(crate) fn executable(command: &mut Command, name: &str) -> Result<PathBuf> {
    let [path] = executables(command, [name])?;
    Ok(path)
}

/// Runs a building command and returns the programs or test binaries of the given names.
pub(crate) fn executables<const N: usize>(
    command: &mut Command,
    names: [&str; N],
) -> Result<[PathBuf; N]> {
    command
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", process::describe(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", process::describe(command), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut paths = names.map(|_| PathBuf::new());
    for (path, name) in paths.iter_mut().zip(names) {
        let found = messages.lines().find_map(|line| executable_of_message(line, name));
        *path = found
            .with_context(|| format!("`{}` built no program {name}", process::describe(command)))?;
    }
    Ok(paths)
}

/// The path in cargo's message about a program of the given name (Cargo's book, "External tools").
fn executable_of_message(line: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    message.executable.filter(|_| message.target.is_some_and(|target| target.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name_in_cargo_s_messages() {
        let program = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"ctwatch"},"executable":"/t/ctwatch","fresh":true}"#;
        assert_eq!(executable_of_message(program, "ctwatch"), Some(PathBuf::from("/t/ctwatch")));
        assert_eq!(executable_of_message(program, "other"), None);
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"ctwatch"},"executable":null}"#;
        assert_eq!(executable_of_message(library, "ctwatch"), None);
        assert_eq!(
            executable_of_message(r#"{"reason":"build-finished","success":true}"#, "ctwatch"),
            None
        );
    }
}
