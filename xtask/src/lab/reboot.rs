//! The scenarios of a reboot: machines one after another, each of which is handed the files that an earlier one kept, and
//! is set up by the distribution's own programs. What they find is judged in the machines.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Lab, console_of, show_test};
use crate::outcome::Outcome;
use crate::packages;
use crate::process;
use crate::vm::console;
use crate::vm::initramfs;
use crate::vm::kernel::Kernel;
use crate::vm::programs;
use crate::vm::qemu::{Clock, Machine, Processors};

/// What the names of those scenarios have in common that are of a reboot.
pub(super) const REBOOT: &str = "reboot_";

/// How long one of these machines may take.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// What a machine leaves behind, as an archive that the next one's kernel unpacks over its own files: the first is what is
/// there before changes are confirmed, the second what is there afterwards.
const KEPT: [&str; 2] = ["unconfirmed", "persisted"];

/// A start of the machine: what the names of the scenarios begin with that are run in it, and which of the archives it finds.
struct Start {
    scenarios: &'static str,
    finds: Option<usize>,
}

/// The first writes the archives.
const STARTS: [Start; 4] = [
    Start { scenarios: "reboot_0_changes_are_made", finds: None },
    Start { scenarios: "reboot_1_", finds: Some(0) },
    Start { scenarios: "reboot_2_", finds: Some(1) },
    Start { scenarios: "reboot_3_", finds: Some(1) },
];

impl Lab<'_> {
    /// Starts the machine again and again, and sees what is in force then.
    pub(super) fn reboot(&self, kernel: &Kernel) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let boot = match programs::fetch_boot(self.workspace) {
            Ok(boot) => boot,
            Err(error) => {
                process::say(format!("reboots are left out: {error:#}"));
                outcome.skip(format!("reboots: {error:#}"));
                return Ok(outcome);
            }
        };
        let start = Instant::now();
        process::say(format!("kernel {}: reboots", kernel.release));
        let own = initramfs::build(kernel, &self.ours, &self.programs, Some(&boot))?;
        let file = |name: String| self.workspace.target("vm").join(name);
        let kept = KEPT.map(|what| file(format!("{}-{what}.cpio", kernel.series)));
        for Start { scenarios, finds } in STARTS {
            let mut whole = own.clone();
            if let Some(archive) = finds.and_then(|position| kept.get(position)) {
                let archive = fs::read(archive)
                    .with_context(|| format!("the first start left no {}", archive.display()))?;
                whole.extend(archive);
            }
            let initramfs = file(format!("{}-reboot.cpio", kernel.series));
            packages::write(&initramfs, whole)?;
            let ports = if finds.is_none() { kept.as_slice() } else { &[] };
            let found = self.start(kernel, &initramfs, scenarios, ports)?;
            let failed = found.has_failed();
            outcome.add(found);
            if failed && finds.is_none() {
                break;
            }
        }
        process::say(format!(
            "kernel {}: reboots: {outcome} in {} s",
            kernel.release,
            start.elapsed().as_secs()
        ));
        Ok(outcome)
    }

    fn start(
        &self,
        kernel: &Kernel,
        initramfs: &PathBuf,
        scenarios: &str,
        further_ports: &[PathBuf],
    ) -> Result<Outcome> {
        let machine = Machine {
            kernel: &kernel.image,
            initramfs,
            arguments: self.kernel_arguments("test", &[scenarios.to_owned()], &[]),
            clock: Clock::Time,
            processors: Processors::One,
            further_ports,
        };
        let log = self.workspace.target("vm").join(format!(
            "{}-{}.log",
            kernel.series,
            scenarios.trim_end_matches('_')
        ));
        let start = Instant::now();
        let show = |line: &str| show_test(&kernel.series, start.elapsed(), line);
        let outcome = match self.qemu.test(&machine, &log, DEADLINE, show)? {
            Ok(outcome) if outcome == Outcome::default() => {
                Outcome::failed(format!("kernel {}: there is no {scenarios}", kernel.release))
            }
            Ok(outcome) => outcome,
            Err(reason) => {
                Outcome::failed(format!("kernel {}: {scenarios}: {reason}", kernel.release))
            }
        };
        if outcome.has_failed() {
            for line in console::what_went_wrong(&console_of(&log)?) {
                process::print(format!("  {line}"));
            }
            process::say(format!("the whole console is in {}", log.display()));
        }
        Ok(outcome)
    }
}
