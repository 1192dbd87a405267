//! `cargo xtask lab`: the gateway on real kernels in virtual machines, to look at or to test.

mod boot;
mod reboot;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(crate) use self::boot::Boot;
use self::boot::{Part, What, machines_at_once};
use crate::budget;
use crate::cargo::{self, Profile};
use crate::dist;
use crate::outcome::Outcome;
use crate::packages;
use crate::process;
use crate::vm::console;
use crate::vm::initramfs::{self, Ours};
use crate::vm::kernel::{self, Kernel};
use crate::vm::programs::{self, Peers, Programs};
use crate::vm::qemu::{Clock, Machine, Processors, Qemu};
use crate::workspace::Workspace;

/// The scenario that proves every number on a kernel, by the name that its tests have in common.
pub(crate) const EXACTNESS: &str = "exactness";
/// What the names of those scenarios have in common that need two processors.
pub(crate) const TWO_PROCESSORS: &str = "two_processors";
/// Tells scenarios that they may take as long as they need: the kernel hands the word to init as environment.
const LONG: &str = "CTWATCH_LONG=1";

/// How long scenarios may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Minutes for all of them.
    Usual,
    /// As long as they need.
    Long,
}

impl Scale {
    /// A machine that takes longer than this hangs: all scenarios on one emulated processor take minutes.
    fn deadline(self) -> Duration {
        match self {
            Self::Usual => Duration::from_secs(40 * 60),
            Self::Long => Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// What all machines share: built and fetched once, then booted with any kernel.
pub(crate) struct Lab<'a> {
    workspace: &'a Workspace,
    /// Two calls would write to the same console's log.
    _lock: File,
    ours: Ours,
    programs: Programs,
    qemu: Qemu,
}

/// What to boot a machine for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Test,
    Show,
    Bench,
}

/// Boots the gateway, floods it, and shows `ctwatch watch` in this terminal.
pub(crate) fn show(
    workspace: &Workspace,
    series: Option<&str>,
    arguments: &[String],
) -> Result<()> {
    let kernel = fetch_first(workspace, series)?;
    let lab = Lab::prepare(workspace, Purpose::Show, None)?;
    let initramfs = lab.initramfs(&kernel, &kernel.series, Purpose::Show)?;
    let qemu = lab.qemu.clone();
    // Someone may look on for as long as they like: tests need not wait for that.
    drop(lab);
    let arguments = kernel_arguments("shell", &[], arguments);
    process::say(format!(
        "booting {}: Ctrl-C ends it, Ctrl-A X switches the machine off",
        kernel.release
    ));
    qemu.talk(&Machine {
        kernel: &kernel.image,
        initramfs: &initramfs,
        arguments,
        clock: Clock::Time,
        processors: Processors::One,
        further_ports: &[],
    })
}

/// Runs the scenarios whose names contain one of the filters, all of them without filters, on each kernel.
///
/// A kernel that cannot be had is skipped by name, as long as one can.
pub(crate) fn test(
    workspace: &Workspace,
    series: &[String],
    filters: &[String],
    scale: Scale,
) -> Result<Outcome> {
    let (kernels, mut outcome) = fetch_all(workspace, series)?;
    let lab = Lab::prepare(workspace, Purpose::Test, None)?;
    let boots: Vec<Boot<'_>> =
        kernels.iter().flat_map(|kernel| Boot::of(kernel, filters, scale)).collect();
    outcome.add(lab.run(&boots)?);
    Ok(outcome)
}

/// Runs the exactness scenario with another BPF object than the one in ctwatch.
pub(crate) fn test_rebuilt_object(workspace: &Workspace, object: &Path) -> Result<Outcome> {
    let kernel = fetch_first(workspace, None)?;
    let boots = Boot::of(&kernel, &[EXACTNESS.to_owned()], Scale::Usual);
    Lab::prepare(workspace, Purpose::Test, Some(object.to_owned()))?.run(&boots)
}

/// Fetches kernels, skipping by name those that cannot be had; it is an error if none can.
pub(crate) fn fetch_all(
    workspace: &Workspace,
    series: &[String],
) -> Result<(Vec<Kernel>, Outcome)> {
    let mut kernels = Vec::new();
    let mut outcome = Outcome::default();
    for name in series {
        match kernel::fetch(workspace, name) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => {
                process::say(format!("kernel {name} is left out: {error:#}"));
                outcome.skip(format!("kernel {name}: {error:#}"));
            }
        }
    }
    if kernels.is_empty() {
        bail!("no kernel to be had: {}", outcome.reasons().join("; "));
    }
    Ok((kernels, outcome))
}

impl<'a> Lab<'a> {
    /// Everything for testing.
    pub(crate) fn for_tests(workspace: &'a Workspace) -> Result<Self> {
        Self::prepare(workspace, Purpose::Test, None)
    }

    /// Everything for the benchmark, and other people's programs that ctwatch is compared with.
    pub(crate) fn for_bench(
        workspace: &'a Workspace,
        bpf_object: Option<PathBuf>,
        peers: Option<Peers>,
    ) -> Result<Self> {
        let mut lab = Self::prepare(workspace, Purpose::Bench, bpf_object)?;
        if let Some(peers) = peers {
            lab.programs.add(peers);
        }
        Ok(lab)
    }

    fn prepare(
        workspace: &'a Workspace,
        purpose: Purpose,
        bpf_object: Option<PathBuf>,
    ) -> Result<Self> {
        let lock = workspace.lock("vm")?;
        let qemu = Qemu::prepare(workspace)?;
        let programs = programs::fetch(workspace)?;
        let (ctwatch, lab, kernel_tests) = match purpose {
            Purpose::Show | Purpose::Bench => {
                (dist::build(workspace)?, build_lab(workspace)?, None)
            }
            Purpose::Test => {
                let programs = build_for_tests(workspace)?;
                (programs.ctwatch, programs.lab, Some(programs.kernel_tests))
            }
        };
        Ok(Self {
            workspace,
            _lock: lock,
            ours: Ours { ctwatch, lab, kernel_tests, bpf_object },
            programs,
            qemu,
        })
    }

    /// Runs scenarios in machines side by side, as many as this one has processors. They begin in the order given.
    ///
    /// # Errors
    /// If a machine could not be started or its console not be kept; the others have run nevertheless.
    pub(crate) fn run(&self, boots: &[Boot<'_>]) -> Result<Outcome> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            while let Some(boot) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push(match boot.what {
                    What::Scenarios(processors, part) => self.boot(boot, processors, part),
                    What::Reboots => self.reboot(boot.kernel),
                });
            }
            found
        };
        let found: Vec<Result<Outcome>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..machines_at_once().min(boots.len())).map(|_| scope.spawn(work)).collect();
            let ended = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            ended.flatten().collect()
        });
        let mut outcome = Outcome::default();
        for found in found {
            outcome.add(found?);
        }
        let scenarios = boots.iter().filter(|boot| matches!(boot.what, What::Scenarios(..)));
        for boot in scenarios {
            budget::update(self.workspace, &boot.kernel.series, &console_of(&self.log(boot))?)?;
        }
        Ok(outcome)
    }

    /// Runs scenarios on one machine; one without a verdict is one failure, with its reason.
    fn boot(&self, boot: &Boot<'_>, processors: Processors, part: Part) -> Result<Outcome> {
        let initramfs = self.initramfs(boot.kernel, &boot.name(), Purpose::Test)?;
        let mut arguments = self.kernel_arguments("test", &boot.filters, &[]);
        if part != Part::WHOLE {
            arguments = format!("{arguments} ctwatch.part={}/{}", part.number, part.of);
        }
        if boot.scale == Scale::Long {
            arguments = format!("{arguments} {LONG}");
        }
        let log = self.log(boot);
        let release = &boot.kernel.release;
        let Part { number, of } = part;
        let filters = boot.filters.join(" ");
        process::say(format!("kernel {release}: scenarios {filters}, part {number} of {of}"));
        let start = Instant::now();
        let machine = Machine {
            kernel: &boot.kernel.image,
            initramfs: &initramfs,
            arguments,
            clock: Clock::Time,
            processors,
            further_ports: &[],
        };
        let name = boot.name();
        let show = |line: &str| show_test(&name, start.elapsed(), line);
        let found = self.qemu.test(&machine, &log, boot.scale.deadline(), show)?;
        let outcome = match found {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::failed(format!("kernel {release}: {reason}")),
        };
        process::say(format!("kernel {release}: {outcome} in {} s", start.elapsed().as_secs()));
        if outcome.has_failed() {
            for line in console::what_went_wrong(&console_of(&log)?) {
                process::print(format!("  {line}"));
            }
            process::say(format!("the whole console is in {}", log.display()));
        }
        Ok(outcome)
    }

    fn log(&self, boot: &Boot<'_>) -> PathBuf {
        self.workspace.target("vm").join(format!("{}.log", boot.name()))
    }

    /// Runs the benchmark on one kernel with the clock that counts instructions, and returns its console.
    ///
    /// # Errors
    /// If it does not reach its end; the reason then names the file with the console.
    pub(crate) fn bench(
        &self,
        kernel: &Kernel,
        arguments: &[String],
        deadline: Duration,
        show: impl Fn(&str),
    ) -> Result<String> {
        let initramfs = self.initramfs(kernel, &kernel.series, Purpose::Bench)?;
        let log = self.workspace.target("vm").join(format!("{}-bench.log", kernel.series));
        let machine = Machine {
            kernel: &kernel.image,
            initramfs: &initramfs,
            arguments: self.kernel_arguments("bench", &[], arguments),
            clock: Clock::Instructions,
            processors: Processors::One,
            further_ports: &[],
        };
        let found = self.qemu.test(&machine, &log, deadline, show)?;
        let text = console_of(&log)?;
        match found {
            Ok(_) => Ok(text),
            Err(reason) => {
                for line in console::what_went_wrong(&text) {
                    process::say(format!("  {line}"));
                }
                bail!("{reason}; the whole console is in {}", log.display())
            }
        }
    }

    /// The words for init, and where another BPF object lies if there is one.
    fn kernel_arguments(&self, mode: &str, filters: &[String], arguments: &[String]) -> String {
        let mut words = kernel_arguments(mode, filters, arguments);
        if self.ours.bpf_object.is_some() {
            // The kernel hands words with `=` and without a dot to init as environment.
            words.push_str(&format!(" CTWATCH_BPF_OBJECT={}", initramfs::BPF_OBJECT));
        }
        words
    }

    /// An initramfs for one machine, which has a file of its own: another may be reading its one.
    fn initramfs(&self, kernel: &Kernel, name: &str, purpose: Purpose) -> Result<PathBuf> {
        let name = match purpose {
            Purpose::Test => format!("{name}.cpio"),
            Purpose::Show => format!("{name}-show.cpio"),
            Purpose::Bench => format!("{name}-bench.cpio"),
        };
        let path = self.workspace.target("vm").join(name);
        packages::write(&path, initramfs::build(kernel, &self.ours, &self.programs, None)?)?;
        Ok(path)
    }
}

/// The lab's own program.
pub(crate) fn build_lab(workspace: &Workspace) -> Result<PathBuf> {
    process::say("building the lab");
    let arguments = ["build", "--quiet", "--locked", "--package", "ctwatch-lab"];
    let mut command = cargo::static_cargo(workspace, Profile::Release, &arguments);
    cargo::executable(&mut command, "ctwatch-lab")
}

/// What the tests of the whole program consist of.
pub(crate) struct TestPrograms {
    ctwatch: PathBuf,
    lab: PathBuf,
    kernel_tests: PathBuf,
    /// The tests without hooks, which this machine runs itself.
    pub(crate) degraded_tests: PathBuf,
}

/// All of them at once: one by one cargo would choose other features for what they have in common, and build it again for each.
pub(crate) fn build_for_tests(workspace: &Workspace) -> Result<TestPrograms> {
    process::say("building the static ctwatch, the lab, and the tests of the whole program");
    let arguments = [
        "build",
        "--quiet",
        "--locked",
        "--package=ctwatch",
        "--package=ctwatch-lab",
        "--bin=ctwatch",
        "--bin=ctwatch-lab",
        "--test=kernel",
        "--test=degraded",
    ];
    let names = ["ctwatch", "ctwatch-lab", "kernel", "degraded"];
    let mut command = cargo::static_cargo(workspace, Profile::Lab, &arguments);
    let [ctwatch, lab, kernel_tests, degraded_tests] = cargo::executables(&mut command, names)?;
    Ok(TestPrograms { ctwatch, lab, kernel_tests, degraded_tests })
}

/// The kernel that is named, or else the first of the usual ones.
pub(crate) fn fetch_first(workspace: &Workspace, series: Option<&str>) -> Result<Kernel> {
    let first = kernel::usual_series().first().copied();
    kernel::fetch(workspace, series.or(first).unwrap_or(kernel::NEWEST))
}

fn show_test(machine: &str, since_boot: Duration, line: &str) {
    if ["test ", "ctwatch-lab: ", "running "].iter().any(|start| line.starts_with(start)) {
        process::print(format!("  {machine} {:4} s: {line}", since_boot.as_secs()));
    }
}

fn console_of(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What init reads from the kernel's command line; spaces inside a value are percent-encoded.
fn kernel_arguments(mode: &str, filters: &[String], arguments: &[String]) -> String {
    let mut words = vec![format!("ctwatch.mode={mode}")];
    for (name, values) in [("filter", filters), ("args", arguments)] {
        if !values.is_empty() {
            words.push(format!("ctwatch.{name}={}", percent_encode(&values.join(" "))));
        }
    }
    words.join(" ")
}

/// Encodes everything that the kernel's command line would take apart (lib/cmdline.c, `next_arg`).
fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b'/' | b',' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_init_in_one_word_each() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(kernel_arguments("test", &[], &[]), "ctwatch.mode=test");
        assert_eq!(
            kernel_arguments(
                "shell",
                &words(&["exactness", "tiny map"]),
                &words(&["--sort=new", "\"x\""])
            ),
            "ctwatch.mode=shell ctwatch.filter=exactness%20tiny%20map ctwatch.args=--sort%3Dnew%20%22x%22"
        );
    }
}
