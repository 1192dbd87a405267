//! Boots a virtual machine in QEMU and follows its serial console; what the console says is judged in `console`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{self, OptionalActions};

use super::console::Console;
use crate::outcome::Outcome;
use crate::packages::{self, Archive, Distribution};
use crate::process;
use crate::toolchain;
use crate::workspace::Workspace;

const PROGRAM: &str = "qemu-system-x86_64";

/// A QEMU that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    program: PathBuf,
    /// Libraries and firmware, if it is not the machine's own.
    private: Option<PathBuf>,
}

/// What to boot.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// The kernel's image.
    pub(crate) kernel: &'a Path,
    /// The file with its initramfs.
    pub(crate) initramfs: &'a Path,
    /// What follows our own words on the kernel's command line.
    pub(crate) arguments: String,
    /// What its clock goes by.
    pub(crate) clock: Clock,
    /// How many processors it has.
    pub(crate) processors: Processors,
    /// Files that hold what the machine writes to its further serial ports, the first of them /dev/ttyS1.
    pub(crate) further_ports: &'a [PathBuf],
}

/// How many processors a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processors {
    /// One: whatever the packets are, nothing is interrupted at a bad moment.
    One,
    /// Two, taking turns on one thread: with a thread each, some machines never come up.
    Two,
}

/// What a machine's clock goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time.
    Time,
    /// One nanosecond an instruction, and straight on to the next timer when there is nothing to do: so durations in the
    /// machine are counts of instructions, whatever else this machine does meanwhile.
    Instructions,
}

impl Qemu {
    /// The machine's own QEMU, or the distribution's, unpacked under `target/tools`.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        if let Some(program) = process::find_program(PROGRAM) {
            return Ok(Self { program, private: None });
        }
        let root = workspace.target("tools/qemu");
        let complete = workspace.target("tools/qemu.complete");
        if !complete.exists() {
            let distribution = Distribution::of_this_machine();
            if !distribution.has_apt() {
                anyhow::bail!(
                    "there is no {PROGRAM} here: install your distribution's QEMU for x86 (without a desktop, often `qemu-system-x86`)"
                );
            }
            process::say("fetching QEMU (about 40 MB, once)");
            packages::remove_directory(&root)?;
            let codename = distribution.codename;
            let suites =
                [codename.clone(), format!("{codename}-updates"), format!("{codename}-security")];
            let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
            let archive = Archive::open(workspace.target("tools/apt-qemu"), &suites)?;
            let wanted = archive.closure(&["qemu-system-x86"])?;
            archive.unpack(&toolchain::without_what_is_had_anyway(wanted), &root)?;
            packages::write(&complete, "")?;
        }
        Ok(Self { program: root.join("usr/bin").join(PROGRAM), private: Some(root) })
    }

    /// Boots a machine without a keyboard, keeps its console in `log`, and returns what it found.
    ///
    /// Only the verdict counts, never QEMU's exit status: an emulated machine that reached the end said so.
    /// Each line is passed to `show` while it runs. The machine is killed at the deadline, or once its kernel is lost.
    pub(crate) fn test(
        &self,
        machine: &Machine<'_>,
        log: &Path,
        deadline: Duration,
        show: impl Fn(&str),
    ) -> Result<Result<Outcome, String>> {
        let mut file =
            File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut child = self
            .command(machine, "stdio")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone().context("cannot share the console's log")?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let ended = follow(&mut child, &mut file, Instant::now() + deadline, show);
        // Whatever happened, no machine is left running.
        let _ = child.kill();
        child.wait().context("cannot wait for QEMU")?;
        let (console, in_time) =
            ended.with_context(|| format!("cannot follow the console into {}", log.display()))?;
        Ok(match in_time {
            InTime::Yes => console.verdict(),
            InTime::No => Err(format!("the machine did not end within {} s", deadline.as_secs())),
        })
    }

    /// Boots a machine whose console is this terminal, and gives the terminal back as it was.
    pub(crate) fn talk(&self, machine: &Machine<'_>) -> Result<()> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin).ok();
        // `mon:` passes Ctrl-C on to the machine instead of ending QEMU; Ctrl-A X ends QEMU.
        let status = process::status(&mut self.command(machine, "mon:stdio"));
        if let Some(before) = before {
            termios::tcsetattr(&stdin, OptionalActions::Drain, &before)
                .context("cannot restore the terminal")?;
        }
        status.map(drop)
    }

    /// The one set of arguments with which Debian's kernels boot without hardware help, every time.
    fn command(&self, machine: &Machine<'_>, serial: &str) -> Command {
        // The machine must not outlive whoever started it, not even one that was killed.
        let mut command = match process::find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.env_remove("LD_LIBRARY_PATH");
        if let Some(root) = &self.private {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
                .map(|path| root.join(path).display().to_string());
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            command
                .arg("-L")
                .arg(root.join("usr/share/seabios"))
                .arg("-L")
                .arg(root.join("usr/share/qemu"));
        }
        command
            .args(match (machine.clock, machine.processors) {
                (Clock::Time, Processors::One) => {
                    ["-accel", "tcg,thread=multi", "-m", "2048"].as_slice()
                }
                (Clock::Time, Processors::Two) => &["-accel", "tcg,thread=single", "-m", "1024"],
                (Clock::Instructions, _) => {
                    &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-m", "3072"]
                }
            })
            .args(["-M", "q35", "-cpu", "max"])
            .args(match machine.processors {
                Processors::One => ["-smp", "1"],
                Processors::Two => ["-smp", "2"],
            })
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
                "-serial",
                serial,
            ]);
        for port in machine.further_ports {
            command.arg("-serial").arg(format!("file:{}", port.display()));
        }
        command
            .arg("-kernel")
            .arg(machine.kernel)
            .arg("-initrd")
            .arg(machine.initramfs)
            // "table full" is a warning: it is on the console from level 5 on.
            .args([
                "-append",
                &format!("console=ttyS0 panic=-1 quiet loglevel=5 {}", machine.arguments),
            ]);
        command
    }
}

/// Whether a machine ended before its deadline.
enum InTime {
    Yes,
    No,
}

fn follow(
    child: &mut Child,
    log: &mut File,
    deadline: Instant,
    show: impl Fn(&str),
) -> Result<(Console, InTime)> {
    let mut output = child.stdout.take().context("QEMU has no console")?;
    let mut console = Console::default();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok((console, InTime::No));
        }
        let timeout = Timespec::try_from(left).context("the deadline is too far away")?;
        let mut readable = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut readable, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            result => result.context("cannot wait for the console")?,
        };
        let count = output.read(&mut buffer).context("cannot read the console")?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok((console, InTime::Yes));
        }
        log.write_all(bytes).context("cannot write the console's log")?;
        for line in &console.push(bytes) {
            show(line);
        }
        if console.fatal().is_some() {
            return Ok((console, InTime::Yes));
        }
    }
}
