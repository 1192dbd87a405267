//! Programs that are not installed: a directory with the distribution's packages, entered as a root directory in a network
//! namespace. It must not touch the directory: what is written there lies in memory, and is gone with the last process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::program;

/// The environment variable that names the directory.
pub const PROGRAMS: &str = "CTWATCH_PROGRAMS";

/// What the first process does: it mounts the root directory and, once it is in there, says which process it is and stays until
/// its input ends. All others end with it, as the kernel ends a process namespace with its first process (pid_namespaces(7)).
const FIRST_PROCESS: &str = r#"set -e
read -r process _ </proc/self/stat
mount -t tmpfs tmpfs "$1/boot"
cd "$1/boot"
mkdir upper work root
mount -t overlay -o lowerdir=..,upperdir=upper,workdir=work overlay root
mount -t proc proc root/proc
mount --rbind /dev root/dev
rmdir root/var/run
ln -s /run root/var/run
ip link set lo up
exec chroot root sh -c 'echo "$1"; exec cat' sh "$process"
"#;

/// A root directory with programs, in a network namespace. Dropping it ends whatever runs in it.
#[derive(Debug)]
pub struct Unpacked {
    first: Child,
    /// The first process, by its number outside.
    process: String,
    further: Vec<Child>,
}

impl Unpacked {
    /// Why there are no such programs here, if that is so.
    #[must_use]
    pub fn why_not() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("running unpacked programs in namespaces needs root".to_owned());
        }
        let Some(directory) = std::env::var_os(PROGRAMS) else {
            return Some(format!(
                "{PROGRAMS} names no directory with programs: `cargo xtask test` fetches them"
            ));
        };
        (!Path::new(&directory).join("boot").is_dir())
            .then(|| format!("there are no programs in {}", Path::new(&directory).display()))
    }

    /// Mounts the root directory for programs that are to run in `namespace`.
    ///
    /// # Errors
    /// Where [`Unpacked::why_not`] has a reason, or the kernel has no overlayfs.
    pub fn enter(namespace: &Namespace) -> Result<Self> {
        let directory = std::env::var_os(PROGRAMS).context("no directory with programs")?;
        let mut first = namespace.within(|| {
            Command::new("unshare")
                .args(["--mount", "--pid", "--fork", "--kill-child"])
                .args(["sh", "-c", FIRST_PROCESS, "sh"])
                .arg(directory)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start `unshare`: install the package util-linux")
        })?;
        let mut process = String::new();
        if let Some(output) = first.stdout.take() {
            BufReader::new(output).read_line(&mut process)?;
        }
        let process = process.trim().to_owned();
        let entered = Self { first, process, further: Vec::new() };
        ensure!(
            !entered.process.is_empty(),
            "cannot mount the root directory of the unpacked programs: stderr says why"
        );
        // What is written there must not be written to this machine.
        let [inside, outside] = [entered.path("/"), PathBuf::from("/")].map(rustix::fs::stat);
        let (inside, outside) = (inside?, outside?);
        ensure!(
            (inside.st_dev, inside.st_ino) != (outside.st_dev, outside.st_ino),
            "the unpacked programs have the root directory of this machine"
        );
        Ok(entered)
    }

    /// A file of the root directory, as it is found from outside.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{file}", self.process))
    }

    /// Writes a file, and makes the directories that it needs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path(file);
        let directory = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {file} for the unpacked programs"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there or is no text.
    pub fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.path(file))
            .with_context(|| format!("cannot read {file} of the unpacked programs"))
    }

    /// Runs a program to its end and returns its output, whatever its status is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .command(program, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `nsenter`: install the package util-linux")?;
        program::feed(&mut child, input);
        child.wait_with_output().with_context(|| format!("cannot wait for {program}"))
    }

    /// Runs a program to its end, which must be a good one, and returns what it prints.
    ///
    /// # Errors
    /// When it cannot be started, or ends with another status than 0: the error holds what it has said.
    pub fn run_well(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.run(program, arguments, input)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let spoken = arguments.join(" ");
            bail!("`{program} {spoken}` ended with {}: {printed}{said}", output.status);
        }
        Ok(printed)
    }

    /// Starts a program that runs until this value is dropped. What it says goes to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, program: &str, arguments: &[&str], says: &str) -> Result<()> {
        self.write(says, "")?;
        let says = std::fs::File::options().append(true).open(self.path(says))?;
        let child = self
            .command(program, arguments)
            .stdin(Stdio::null())
            .stdout(says.try_clone()?)
            .stderr(says)
            .spawn()
            .context("cannot start `nsenter`: install the package util-linux")?;
        self.further.push(child);
        Ok(())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.process, "--mount", "--net", "--pid", "--root", "--wd"])
            .arg("--")
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root");
        command
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Its input ends, and with it the first process and then the others.
        drop(self.first.stdin.take());
        for child in std::iter::once(&mut self.first).chain(&mut self.further) {
            let _ended = child.wait();
        }
    }
}
