//! `cargo xtask dist`: one static program, to be built here and copied to a gateway.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cargo::{self, Profile};
use crate::process;
use crate::workspace::Workspace;

/// Builds `target/dist/ctwatch`.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    process::say("building the static ctwatch");
    let arguments = ["build", "--quiet", "--locked", "--package", "ctwatch"];
    let mut command = cargo::static_cargo(workspace, Profile::Release, &arguments);
    let built = cargo::executable(&mut command, "ctwatch")?;
    let directory = workspace.target("dist");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let copy = directory.join("ctwatch");
    fs::copy(&built, &copy)
        .with_context(|| format!("cannot copy {} to {}", built.display(), copy.display()))?;
    Ok(copy)
}
