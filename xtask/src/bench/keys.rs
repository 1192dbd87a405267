//! How long the screen takes to answer a key, on this machine: the one measurement that is of time.

use anyhow::{Context, Result};

use crate::dist;
use crate::lab;
use crate::process;
use crate::workspace::Workspace;

/// Measures, and prints a table.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let ctwatch = dist::build(workspace)?;
    let lab = lab::build_lab(workspace)?;
    process::say("a key at a time, under a flood of this machine's own");
    let mut command = process::as_root(lab, &[])?;
    command.arg("keys").arg("--ctwatch").arg(ctwatch);
    process::status(&mut command).map(drop).context("nothing was measured")
}
