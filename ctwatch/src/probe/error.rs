//! Why a hook, or what it needs, could not be had.

use std::{error::Error, io, path::PathBuf};

use aya::{BtfError, EbpfError, maps::MapError, programs::ProgramError};

/// Why the kernel side could not be loaded, attached or used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file given instead of the built-in object could not be read.
    #[error("cannot read the BPF object {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel or aya refused the object.
    #[error("cannot load the BPF object: {0}")]
    Load(#[from] EbpfError),
    /// The object lacks a program or map.
    #[error("the BPF object has no {0}: it was not built by this version of ctwatch")]
    Lacks(&'static str),
    /// The kernel's BTF could not be read.
    #[error("this kernel's BTF could not be read: {0}")]
    Btf(#[from] BtfError),
    /// The kernel refused a program.
    #[error("{0}")]
    Program(#[from] ProgramError),
    /// A map could not be used.
    #[error("{0}")]
    Map(#[from] MapError),
    /// A map could not be mapped or polled.
    #[error("a BPF map could not be mapped into memory: {0}")]
    Memory(#[from] io::Error),
    /// The queue of free rows did not take them.
    #[error("only {offered} of {wanted} rows could be offered to the kernel side")]
    RowsNotOffered {
        /// How many were to be offered.
        wanted: u32,
        /// How many were.
        offered: u32,
    },
}

/// A sentence for an error, with those of its causes that it does not already say.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
