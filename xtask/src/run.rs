//! `cargo xtask run`: builds ctwatch and becomes it, as root.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;
use crate::process;
use crate::workspace::Workspace;

/// The subcommand where none is named.
const USUAL: &str = "watch";

/// Why ctwatch cannot be run as root here; the exit status for "cannot run here" belongs to it.
#[derive(Debug)]
pub(crate) struct NoPrivilege(pub(crate) anyhow::Error);

/// The command that runs ctwatch with these arguments, or why there is none.
///
/// # Errors
/// If ctwatch does not build.
pub(crate) fn command(
    workspace: &Workspace,
    arguments: &[String],
) -> Result<Result<Command, NoPrivilege>> {
    process::say("building ctwatch");
    let mut build = cargo::cargo(
        workspace,
        &["build", "--quiet", "--locked", "--release", "--package", "ctwatch"],
    );
    let program = cargo::executable(&mut build, "ctwatch")?;
    let command = process::as_root(program, &["NO_COLOR", "TERM"]).map(|mut command| {
        command.args(with_subcommand(arguments)).env_remove("LD_LIBRARY_PATH");
        command
    });
    Ok(command.map_err(NoPrivilege))
}

/// Becomes the command, so that its signals and its exit status are its own.
///
/// # Errors
/// Always, if it returns at all: the command could not be started.
pub(crate) fn become_it(mut command: Command) -> Result<Infallible> {
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::describe(&command)))
}

fn with_subcommand(arguments: &[String]) -> Vec<String> {
    let is_named = arguments.first().is_some_and(|first| !first.starts_with('-'));
    let usual = (!is_named).then(|| USUAL.to_owned());
    usual.into_iter().chain(arguments.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn watch_is_what_runs_unless_another_subcommand_is_named() {
        assert_eq!(with_subcommand(&[]), words(&["watch"]));
        assert_eq!(with_subcommand(&words(&["--once"])), words(&["watch", "--once"]));
        assert_eq!(with_subcommand(&words(&["events", "--json"])), words(&["events", "--json"]));
    }
}
