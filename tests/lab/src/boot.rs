//! Setting the machine up as a distribution does when it starts, with its own programs: udev, systemd's and kmod's. It
//! must not know which values are expected.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{modules, program, wait};

const SYSTEMD: &str = "/usr/lib/systemd";
const CONTROL: &str = "/run/udev/control";

/// udev's daemon while it runs; dropping it ends it.
#[derive(Debug)]
pub struct Udev(Child);

impl Udev {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub fn start() -> Result<Self> {
        let daemon = format!("{SYSTEMD}/systemd-udevd");
        let mut command = Command::new(&daemon);
        let command = command.args(["--resolve-names=never"]).stdin(Stdio::null());
        let udev = Self(command.spawn().with_context(|| format!("cannot start {daemon}"))?);
        wait::until(wait::PATIENCE, CONTROL, || Ok(Path::new(CONTROL).exists().then_some(())))?;
        program::run("udevadm", &["control", "--ping"], "")?;
        Ok(udev)
    }

    /// Has everything that is there already announced again, as a distribution does once the daemon runs, and waits until
    /// all rules have been followed.
    ///
    /// # Errors
    /// When `udevadm` fails.
    pub fn announce_all(&self) -> Result<()> {
        for what in ["subsystems", "devices"] {
            let of_type = format!("--type={what}");
            program::run("udevadm", &["trigger", &of_type, "--action=add"], "")?;
        }
        self.settle()
    }

    /// Waits until all rules have been followed.
    ///
    /// # Errors
    /// When `udevadm` fails.
    pub fn settle(&self) -> Result<()> {
        program::run("udevadm", &["settle"], "").map(drop)
    }

    /// Has the rules read again.
    ///
    /// # Errors
    /// When `udevadm` fails.
    pub fn reload(&self) -> Result<()> {
        program::run("udevadm", &["control", "--reload"], "").map(drop)
    }
}

impl Drop for Udev {
    fn drop(&mut self) {
        // It has ended already, or ends now: a drop has nobody to tell.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Makes the list of modules by which `modprobe` and the kernel find them, which a distribution makes when it installs a
/// kernel.
///
/// # Errors
/// When `depmod` fails.
pub fn index_modules() -> Result<()> {
    program::run("/sbin/depmod", &["-a"], "").map(drop)
}

/// Loads what the files in modules-load.d name.
///
/// # Errors
/// When `systemd-modules-load` fails.
pub fn load_listed_modules() -> Result<()> {
    program::run(&format!("{SYSTEMD}/systemd-modules-load"), &[], "").map(drop)
}

/// Sets what the files in sysctl.d say.
///
/// # Errors
/// When `systemd-sysctl` fails.
pub fn set_sysctls() -> Result<()> {
    program::run(&format!("{SYSTEMD}/systemd-sysctl"), &[], "").map(drop)
}

/// Who sets sysctls from files when a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setter {
    /// systemd's program, from sysctl.d.
    Systemd,
    /// procps' `sysctl --system`, from sysctl.d and /etc/sysctl.conf.
    Procps,
}

impl Setter {
    /// Has it set what it can; a line that it cannot use makes it fail, but does not keep it from the others.
    ///
    /// # Errors
    /// When it cannot be started, or is killed.
    pub fn set_what_it_can(self) -> Result<()> {
        let (name, arguments) = match self {
            Self::Systemd => ("systemd-sysctl", &[][..]),
            Self::Procps => ("sysctl", &["--system"][..]),
        };
        let program = format!("{SYSTEMD}/{name}");
        let output = Command::new(&program).args(arguments).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {program}"))?;
        ensure!(output.status.code().is_some(), "{program} ended with {}", output.status);
        Ok(())
    }
}

/// Loads a module with what it needs.
///
/// # Errors
/// What `modprobe` says.
pub fn modprobe(module: &str) -> Result<()> {
    program::run("/sbin/modprobe", &[module], "").map(drop)
}

/// Unloads conntrack and what the first rule has loaded besides.
///
/// # Errors
/// When it stays in use.
pub fn unload_conntrack() -> Result<()> {
    wait::until(wait::PATIENCE, "conntrack to be unused", || {
        // It refuses while the kernel's workers have not been at a rule that is gone.
        let _refused = program::run("/sbin/modprobe", &["-r", "nft_ct"], "");
        Ok((!modules::is_conntrack_loaded()).then_some(()))
    })
}

/// A rule that needs conntrack, as the first that a firewall adds: the kernel loads the module for it, by `modprobe`.
///
/// # Errors
/// When `nft` fails.
pub fn add_first_rule() -> Result<()> {
    let rules = "table ip first {\n chain forward {\n type filter hook forward priority 0;\n ct state established accept\n }\n}\n";
    program::run("nft", &["-f", "-"], rules).map(drop)
}

/// Removes that rule.
///
/// # Errors
/// When `nft` fails.
pub fn remove_first_rule() -> Result<()> {
    program::run("nft", &["delete", "table", "ip", "first"], "").map(drop)
}

/// Writes files and directories to a further serial port of the machine's as an archive that a kernel unpacks when it starts.
/// What is not there is left out.
///
/// # Errors
/// When it cannot be written.
pub fn keep(port: &str, paths: &[&str]) -> Result<()> {
    let here: Vec<&str> = paths.iter().copied().filter(|path| Path::new(path).exists()).collect();
    let relative: Vec<&str> = here.iter().map(|path| path.trim_start_matches('/')).collect();
    // Parents come first: the kernel makes no directory that it is not told of.
    let parents = "var\nvar/lib\n";
    let script = format!(
        "stty -F {port} raw && cd / && (printf '{parents}'; find {}) | cpio -o -H newc >{port}",
        relative.join(" ")
    );
    program::run("/bin/busybox", &["sh", "-c", &script], "").map(drop)
}
