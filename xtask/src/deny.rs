//! `cargo xtask deny`: licences, bans and sources of everything that is built, judged offline by cargo-deny and `deny.toml`.

use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::process;
use crate::workspace::Workspace;

/// The release of cargo-deny that is built.
const VERSION: &str = "0.20.2";

/// Fails unless every dependency's licence is allowed, and it comes from the registry.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let tools = workspace.target("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        process::say(format!("building cargo-deny {VERSION} (under a minute, once)"));
        // Unoptimised: it runs for a second, and would otherwise be built for minutes.
        let mut install =
            cargo::cargo(workspace, &["install", "--quiet", "--locked", "--debug", "cargo-deny"]);
        install
            .args(["--version", VERSION, "--root"])
            .arg(&tools)
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        install.env("CARGO_TARGET_DIR", workspace.target("tools/build"));
        process::capture(&mut install)?;
        crate::packages::remove_directory(&workspace.target("tools/build"))?;
    }
    // What is judged must be there: the manifests of all dependencies, for every platform.
    process::run(&mut cargo::cargo(workspace, &["fetch", "--quiet", "--locked"]))?;
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH").current_dir(workspace.root());
    process::run(command.args(["--offline", "check", "licenses", "bans", "sources"]))
}
