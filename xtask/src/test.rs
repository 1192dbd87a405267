//! `cargo xtask test`: every layer of tests, one after another, and their sum.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo;
use crate::lab::{self, Boot, Lab, Scale};
use crate::libtest;
use crate::outcome::Outcome;
use crate::packages::{self, Distribution};
use crate::process;
use crate::unpacked::Packages;
use crate::vm::kernel;
use crate::workspace::Workspace;

/// Programs that the tests call on the machine itself, with the Debian packages that bring them: none of them starts a
/// service or adds a firewall rule (Debian's `nftables` ships a unit, but leaves it disabled).
const PROGRAMS: [(&str, &str); 3] =
    [("nft", "nftables"), ("conntrack", "conntrack"), ("ip", "iproute2")];

/// Programs that blocklists are loaded into, and what they run; and one that scrapes. They are not installed: some of them would
/// start services.
const UNINSTALLED: Packages = Packages {
    part: "degraded",
    directory: "programs",
    names: &[
        "base-files",
        "coreutils",
        "crowdsec",
        "dash",
        "fail2ban",
        "grep",
        "ipset",
        "iptables",
        "nftables",
    ],
    // It depends on what its pages show in a browser.
    alone: &["prometheus"],
};
/// Names the directory that they are unpacked into.
const UNPACKED: &str = "CTWATCH_PROGRAMS";

/// The scenarios that prove the numbers: of what comes and goes, of what is refused, each against the kernel's own, and of
/// what is missed.
const EXACT: [&str; 3] = [lab::EXACTNESS, "table_full", lab::TWO_PROCESSORS];

/// The scenarios that have a long form.
const LONG: [&str; 2] = ["soak", "many_sources"];

/// How much is run in virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every scenario on one kernel, and those that prove the numbers on the others.
    Usual,
    /// Every scenario on every kernel, for as long as each needs.
    All,
}

/// Runs all layers; a layer that fails does not keep the next from running.
pub(crate) fn run(workspace: &Workspace, extent: Extent) -> Result<Outcome> {
    let start = Instant::now();
    let mut outcome = Outcome::default();
    let layers: [(&str, Layer); 3] =
        [("unit tests", unit), ("degraded mode", degraded), ("virtual machines", machines)];
    for (name, layer) in layers {
        process::say(format!("{name}: starting after {} s", start.elapsed().as_secs()));
        let found = layer(workspace, extent)
            .unwrap_or_else(|error| Outcome::failed(format!("{name}: {error:#}")));
        process::say(format!("{name}: {found}"));
        outcome.add(found);
    }
    process::say(format!("all tests took {} s", start.elapsed().as_secs()));
    Ok(outcome)
}

type Layer = fn(&Workspace, Extent) -> Result<Outcome>;

/// Unit, property and command line tests: whatever cargo runs unasked.
fn unit(workspace: &Workspace, _: Extent) -> Result<Outcome> {
    // The lab's own tests need them too, and say so where they are missing.
    if let Err(error) = provide_programs() {
        process::say(format!("{error:#}"));
    }
    let mut command =
        cargo::cargo(workspace, &["test", "--quiet", "--locked", "--workspace", "--no-fail-fast"]);
    libtest::run(&mut command, "unit tests", &workspace.target("skipped.unit"))
}

/// What ctwatch sees without hooks, in network namespaces of this machine.
fn degraded(workspace: &Workspace, _: Extent) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if let Err(error) = provide_programs() {
        outcome.skip(format!("degraded mode: {error:#}"));
        return Ok(outcome);
    }
    let program = lab::build_for_tests(workspace)?.degraded_tests;
    let mut command = match process::as_root(program, &["CTWATCH_SKIP_LOG", "PATH", UNPACKED]) {
        Ok(command) => command,
        Err(error) => {
            outcome.skip(format!("degraded mode: {error:#}"));
            return Ok(outcome);
        }
    };
    // The programs of a gateway lie where an ordinary user's path does not lead.
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .env_remove("LD_LIBRARY_PATH");
    command.current_dir(workspace.root().join("ctwatch")).args(["--test-threads", "1"]);
    match UNINSTALLED.fetch(workspace) {
        Ok(root) => {
            command.env(UNPACKED, root);
        }
        // The tests that need them say so.
        Err(error) => process::say(format!("{error:#}")),
    }
    libtest::run(&mut command, "degraded mode", &workspace.target("skipped.degraded"))
}

/// The scenarios on real kernels.
fn machines(workspace: &Workspace, extent: Extent) -> Result<Outcome> {
    let series: Vec<String> =
        kernel::usual_series().iter().map(|series| (*series).to_owned()).collect();
    let (kernels, mut outcome) = lab::fetch_all(workspace, &series)?;
    let lab = Lab::for_tests(workspace)?;
    let exact = EXACT.map(str::to_owned);
    let filters = |position| match extent {
        Extent::Usual if position > 0 => exact.as_slice(),
        Extent::Usual | Extent::All => &[],
    };
    let mut boots: Vec<Boot<'_>> = (kernels.iter().enumerate())
        .flat_map(|(position, kernel)| Boot::of(kernel, filters(position), Scale::Usual))
        .collect();
    outcome.add(lab.run(&boots)?);
    if let (Extent::All, Some(first)) = (extent, kernels.first()) {
        boots = Boot::of(first, &LONG.map(str::to_owned), Scale::Long);
        outcome.add(lab.run(&boots)?);
    }
    Ok(outcome)
}

/// Installs the programs that are missing, where that can be done unasked.
fn provide_programs() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| process::find_program(program).is_none());
    let wanted: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.join(", ");
    if !Distribution::of_this_machine().has_apt() {
        anyhow::bail!("install these programs' packages first: {names}");
    }
    packages::install(&wanted).with_context(|| format!("cannot install {names}"))
}
