//! Running other programs and talking about it: what is run, on which line it failed, and what came out.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// One progress line on stderr, so that a long step is never silent.
pub(crate) fn say(message: impl Display) {
    // A closed stderr is no reason to stop working.
    let _ = writeln!(io::stderr().lock(), "xtask: {message}");
}

/// One line of data on stdout; a closed pipe is a quiet end.
pub(crate) fn print(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Runs a program that shares the terminal, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs a program that shares the terminal.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start `{}`", describe(command)))
}

/// Runs a program without input and returns its stdout; if it fails, the error carries the end of what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "`{}` failed: {}\n{}",
            describe(command),
            output.status,
            last_lines(&String::from_utf8_lossy(&said), 20)
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not print UTF-8", describe(command)))
}

/// The first line that a program prints, for instance its version.
pub(crate) fn first_line(command: &mut Command) -> Result<String> {
    let text = capture(command)?;
    text.lines()
        .next()
        .map(|line| line.trim().to_owned())
        .with_context(|| format!("`{}` printed nothing", describe(command)))
}

/// A program on the search path, or in the system directories that an ordinary user's path leaves out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs as root: the program itself for root, otherwise through sudo, which is told to keep `kept` variables.
pub(crate) fn as_root(program: impl AsRef<OsStr>, kept: &[&str]) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = find_program("sudo") else {
        bail!("this needs root, and there is no sudo here: run it again as root");
    };
    let mut command = Command::new(sudo);
    if !kept.is_empty() {
        command.arg(format!("--preserve-env={}", kept.join(",")));
    }
    command.arg("--").arg(program);
    Ok(command)
}

/// The command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo reason >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3") && error.contains("reason"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-program-has-this-name"), None);
    }
}
