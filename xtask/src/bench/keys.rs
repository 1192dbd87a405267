//! How long the screen takes to answer a key, on this machine: the one measurement that is of time.

use anyhow::{Context, Result};

use crate::cargo;
use crate::dist;
use crate::process;
use crate::workspace::Workspace;

/// Measures, and prints a table.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let ctwatch = dist::build(workspace)?;
    process::say("building the lab");
    let mut lab = cargo::static_cargo(
        workspace,
        &["build", "--quiet", "--locked", "--package", "ctwatch-lab"],
    );
    let lab = cargo::executable(&mut lab, "ctwatch-lab")?;
    process::say("a key at a time, under a flood of this machine's own");
    let mut command = process::as_root(lab, &[])?;
    command.arg("keys").arg("--ctwatch").arg(ctwatch);
    process::status(&mut command).map(drop).context("nothing was measured")
}
