//! ctwatch as somebody runs it who has no privilege at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::observed::ctwatch;

/// Nobody, on every Linux.
const NOBODY: u32 = 65_534;

/// The binary under test where nobody may go too: it may lie elsewhere.
pub(crate) struct Nobody {
    program: PathBuf,
    _directory: tempfile::TempDir,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("ctwatch");
        fs::copy(ctwatch(), &program).unwrap();
        Self { program, _directory: directory }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        // Also with a backtrace asked for, as a curious user has it, an error is a sentence.
        Command::new(&self.program)
            .args(arguments)
            .env("RUST_BACKTRACE", "1")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap()
    }
}
