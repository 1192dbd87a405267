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
    /// The kernel's own description of its types lacks something.
    #[error(transparent)]
    KernelTypes(#[from] super::btf::BtfError),
    /// The kernel's structures are not where the hooks expect them.
    #[error(transparent)]
    Layout(#[from] super::layout::LayoutError),
    /// A function is not there under its own name.
    #[error("this kernel's BTF has no function {0} (renamed by its compiler?)")]
    NoFunction(&'static str),
    /// A function is not as in every kernel known.
    #[error("in this kernel {function} has {found} parameters: this ctwatch is too old for it")]
    OtherParameters {
        /// The function.
        function: &'static str,
        /// How many it has.
        found: usize,
    },
    /// The kernel's BTF objects cannot be looked through.
    #[error("the kernel's BTF objects cannot be listed, which needs CAP_SYS_ADMIN: {0}")]
    BtfObject(io::Error),
    /// The module has no BTF object.
    #[error("the kernel keeps no BTF of the module {0}")]
    NoBtfObject(&'static str),
    /// The object could not be taken apart.
    #[error("the BPF object cannot be read: {0}")]
    Parse(#[from] aya_obj::ParseError),
    /// The object's programs could not be put together.
    #[error("the BPF object cannot be linked: {0}")]
    Link(#[from] aya_obj::relocation::EbpfRelocationError),
    /// The kernel refused to trace a function.
    #[error("{function} cannot be traced: {error}{log}")]
    NotTraced {
        /// The function.
        function: &'static str,
        /// What the kernel said.
        error: io::Error,
        /// What its verifier said, after a colon; or nothing.
        log: String,
    },
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
