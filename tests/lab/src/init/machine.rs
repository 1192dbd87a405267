//! Preparing a machine that has only an initramfs, and powering it off. It must not know what the machine is for.

use std::ffi::CStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::system::{RebootCommand, reboot};

use super::{INIT, INSIDE_LAB, inside_lab};
use crate::{modules, program};

/// A file system to mount: where, its type, and what to do where the kernel has none of that type.
struct FileSystem {
    target: &'static str,
    kind: &'static str,
    need: Need,
}

#[derive(PartialEq, Eq)]
enum Need {
    Required,
    WherePresent,
}

const FILE_SYSTEMS: &[FileSystem] = &[
    FileSystem { target: "/proc", kind: "proc", need: Need::Required },
    FileSystem { target: "/sys", kind: "sysfs", need: Need::Required },
    FileSystem { target: "/dev", kind: "devtmpfs", need: Need::Required },
    FileSystem { target: "/dev/pts", kind: "devpts", need: Need::WherePresent },
    FileSystem { target: "/tmp", kind: "tmpfs", need: Need::Required },
    FileSystem { target: "/run", kind: "tmpfs", need: Need::Required },
    FileSystem { target: "/sys/kernel/debug", kind: "debugfs", need: Need::WherePresent },
    FileSystem { target: "/sys/kernel/tracing", kind: "tracefs", need: Need::WherePresent },
    FileSystem { target: "/sys/fs/cgroup", kind: "cgroup2", need: Need::WherePresent },
    FileSystem { target: "/sys/fs/bpf", kind: "bpf", need: Need::WherePresent },
];

/// Where the machine's programs lie.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Gives this process an environment, which a kernel does not, by starting the program anew: a running one must not
/// change its own. Does nothing when that has been done.
///
/// # Errors
/// When the program cannot be started.
pub(super) fn begin_in_environment() -> Result<()> {
    if inside_lab() {
        return Ok(());
    }
    let error = Command::new(INIT)
        .env(INSIDE_LAB, "1")
        .env("PATH", PATH)
        .env("HOME", "/")
        .env("RUST_BACKTRACE", "1")
        .exec();
    Err(error).with_context(|| format!("cannot start {INIT} anew"))
}

/// Mounts the kernel's file systems, takes the console, and brings the loopback interface up.
///
/// # Errors
/// When something that everything else needs is missing.
pub(super) fn prepare() -> Result<()> {
    for system in FILE_SYSTEMS {
        // A directory below a file system of the kernel's own exists or cannot be made: mounting says so.
        let _exists = std::fs::create_dir_all(system.target);
        let mounted =
            mount(system.kind, system.target, system.kind, MountFlags::empty(), None::<&CStr>);
        match mounted {
            // The kernel may have mounted /dev itself (CONFIG_DEVTMPFS_MOUNT).
            Ok(()) | Err(Errno::BUSY) => {}
            Err(_) if system.need == Need::WherePresent => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot mount {} at {}", system.kind, system.target));
            }
        }
    }
    take_console().context("cannot take the console")?;
    program::run("ip", &["link", "set", "lo", "up"], "").map(|_output| ())
}

/// Makes the console's terminal this session's, so that Ctrl-C on it reaches the program in the foreground.
/// `/dev/console` itself cannot be a controlling terminal, the device behind it can.
fn take_console() -> Result<()> {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").context("no console")?;
    let device = active.split_whitespace().next_back().unwrap_or("console");
    let path = Path::new("/dev").join(device);
    let terminal = open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
        .with_context(|| format!("cannot open {}", path.display()))?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    dup2_stderr(&terminal)?;
    // Only Ctrl-C needs what follows: a kernel that already gave process 1 a session is no reason to stop.
    let _leads_one = rustix::process::setsid();
    let _without_keys = rustix::process::ioctl_tiocsctty(&terminal);
    Ok(())
}

/// Loads the modules that `list` names, in its order. A list that is not there means that there are none.
///
/// # Errors
/// When one cannot be loaded.
pub(super) fn load_modules(list: &Path) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(list) else {
        return Ok(());
    };
    for path in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        modules::load(path)?;
    }
    Ok(())
}

/// Powers the machine off. It returns only if the kernel refuses.
pub(super) fn power_off() {
    // What was written may still wait in the serial port.
    let _nothing_waits = rustix::termios::tcdrain(rustix::stdio::stdout());
    let _refused = reboot(RebootCommand::PowerOff);
}
