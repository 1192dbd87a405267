//! How the program ends: the exit status that other programs rely on, and the sentence for the person.

use std::{io, process::ExitCode};

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Fine = 0,
    /// The operation failed.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// It looked, and found something wrong.
    Findings = 3,
    /// It cannot run here: a privilege or a feature of the kernel is missing, or nothing is tracked.
    CannotRun = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    /// It cannot run here.
    #[error("{0}")]
    CannotRun(String),
    /// Something was found wrong.
    #[error("{0}")]
    Findings(String),
    /// Whoever reads the output has closed it; not an error.
    #[error("the output was closed")]
    OutputClosed,
    /// The operation failed.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl CommandError {
    /// The exit status that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::CannotRun(_) => Exit::CannotRun,
            Self::Findings(_) => Exit::Findings,
            Self::OutputClosed => Exit::Fine,
            Self::Failed(_) => Exit::Failed,
        }
    }
}

impl From<io::Error> for CommandError {
    /// For errors of writing to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(anyhow::Error::new(error).context("cannot write the output")),
        }
    }
}
