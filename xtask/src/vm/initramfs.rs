//! Puts the virtual machine's whole file system together: our static programs, other people's, and the kernel's modules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio;
use super::kernel::Kernel;
use super::modules;
use super::programs::{BootPrograms, Programs};

/// Our own programs; all of them are static.
#[derive(Debug)]
pub(crate) struct Ours {
    /// `/bin/ctwatch`.
    pub(crate) ctwatch: PathBuf,
    /// `/init`, the generator of flows and everything else of the lab.
    pub(crate) lab: PathBuf,
    /// `/bin/kernel-tests`, where tests are to be run.
    pub(crate) kernel_tests: Option<PathBuf>,
    /// `/etc/ctwatch-bpf.o`, a BPF object to be used instead of the one in ctwatch.
    pub(crate) bpf_object: Option<PathBuf>,
}

/// Where a BPF object lies in the machine that is to be used instead of the one in ctwatch.
pub(crate) const BPF_OBJECT: &str = "/etc/ctwatch-bpf.o";

const DIRECTORIES: [&str; 16] = [
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "lib/x86_64-linux-gnu",
    "lib64",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
];
/// What the programs that set a machine up expect to be there.
const BOOT_DIRECTORIES: [&str; 12] = [
    "usr/lib",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/lib/udev/rules.d",
    "etc/sysctl.d",
    "etc/modprobe.d",
    "etc/modules-load.d",
    "etc/udev",
    "etc/udev/rules.d",
    "etc/systemd",
    "var",
    "var/lib",
];
/// For looking around; `ip` and the like are the real ones.
const APPLETS: [&str; 27] = [
    "cat", "cpio", "dmesg", "env", "find", "free", "grep", "head", "kill", "ls", "lsmod", "mount",
    "nc", "ping", "ps", "sed", "setsid", "sh", "sleep", "stty", "sysctl", "tail", "top", "umount",
    "uname", "vi", "wc",
];

/// The initramfs as the kernel takes it: an uncompressed cpio archive, which needs no unpacking in an emulated machine.
///
/// With the programs that set a machine up when it starts, modules lie where those look for them, and init loads none.
pub(crate) fn build(
    kernel: &Kernel,
    ours: &Ours,
    programs: &Programs,
    boot: Option<&BootPrograms>,
) -> Result<Vec<u8>> {
    let mut archive = cpio::Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    // The kernel opens it for init before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    let lab = read(&ours.lab)?;
    archive.executable("init", &lab);
    archive.symbolic_link("bin/ctwatch-lab", "/init");
    archive.executable("bin/ctwatch", &read(&ours.ctwatch)?);
    if let Some(tests) = &ours.kernel_tests {
        archive.executable("bin/kernel-tests", &read(tests)?);
    }
    if let Some(object) = &ours.bpf_object {
        archive.file(BPF_OBJECT, &read(object)?);
    }
    for (name, path) in &programs.programs {
        archive.executable(&format!("bin/{name}"), &read(path)?);
        for directory in ["sbin", "usr/bin", "usr/sbin"] {
            archive.symbolic_link(&format!("{directory}/{name}"), &format!("/bin/{name}"));
        }
    }
    for (name, path) in &programs.libraries {
        archive.executable(&format!("lib/x86_64-linux-gnu/{name}"), &read(path)?);
    }
    archive.executable("lib64/ld-linux-x86-64.so.2", &read(&programs.loader)?);
    archive.executable("bin/busybox", &read(&programs.busybox)?);
    for applet in APPLETS {
        archive.symbolic_link(&format!("bin/{applet}"), "/bin/busybox");
    }
    let modules = modules::for_gateway(&kernel.modules, &programs.busybox)?;
    match boot {
        None => {
            let mut list = String::new();
            for module in modules {
                let path = format!("/lib/modules/{}.ko", module.name);
                archive.file(&path, &module.object);
                list.push_str(&path);
                list.push('\n');
            }
            archive.file("etc/modules.list", list.as_bytes());
        }
        Some(boot) => {
            let directory = format!("lib/modules/{}", kernel.release);
            archive.directory(&directory);
            archive.directory(&format!("{directory}/kernel"));
            for module in modules {
                archive.file(&format!("{directory}/kernel/{}.ko", module.name), &module.object);
            }
            add_boot_programs(&mut archive, boot)?;
        }
    }
    // glibc's programs look users and services up; without files they ask for libraries that are not there.
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", b"root:x:0:\n");
    archive.file(
        "etc/nsswitch.conf",
        b"passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    );
    Ok(archive.finish())
}

/// Programs under the names by which the kernel, services and rules call them.
fn add_boot_programs(archive: &mut cpio::Archive, boot: &BootPrograms) -> Result<()> {
    for directory in BOOT_DIRECTORIES {
        archive.directory(directory);
    }
    for (link, to) in [("lib/systemd", "/usr/lib/systemd"), ("lib/udev", "/usr/lib/udev")] {
        archive.symbolic_link(link, to);
    }
    for (name, path) in &boot.programs {
        archive.executable(&format!("usr/lib/systemd/{name}"), &read(path)?);
    }
    // These are one program each, which goes by the name that it is called by.
    for name in ["bin/udevadm", "usr/bin/udevadm", "usr/lib/systemd/systemd-udevd"] {
        archive.symbolic_link(name, "/usr/lib/systemd/udevadm");
    }
    for name in ["depmod", "modprobe", "rmmod"] {
        archive.symbolic_link(&format!("sbin/{name}"), "/usr/lib/systemd/kmod");
        archive.symbolic_link(&format!("usr/sbin/{name}"), "/usr/lib/systemd/kmod");
    }
    for (name, path) in &boot.libraries {
        archive.executable(&format!("lib/x86_64-linux-gnu/{name}"), &read(path)?);
    }
    for (name, path) in &boot.rules {
        archive.file(&format!("usr/lib/udev/rules.d/{name}"), &read(path)?);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
