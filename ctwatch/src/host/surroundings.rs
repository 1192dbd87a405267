//! Where this program runs: in which namespace, in a container or not, and what is mounted so that it cannot be written;
//! reads only.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::namespace::NetworkNamespace;
use crate::advise::facts::Surroundings;

/// Written to by root in the machine's first network namespace alone; in any other one its mode has no `w`
/// (`nf_conntrack_standalone_init_sysctl`, net/netfilter/nf_conntrack_standalone.c).
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
const OWNER_MAY_WRITE: u32 = 0o200;
const WRITTEN: [&str; 2] = ["/proc/sys", "/sys"];

/// Looks around, for changes to the table of `namespace`.
pub fn read_in(namespace: &NetworkNamespace) -> Surroundings {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let read_only =
        WRITTEN.into_iter().filter(|path| is_read_only(&mounts, Path::new(path)) == Some(true));
    Surroundings {
        is_initial_namespace: namespace.run(|| is_writable(Path::new(BUCKETS))).ok().flatten(),
        container: container(Path::new("/")),
        read_only: read_only.map(Into::into).collect(),
    }
}

/// Whether limit and buckets, which are the whole machine's, can be changed by root from there; `None` if that cannot be told.
pub fn may_change_machine(surroundings: &Surroundings) -> Option<bool> {
    Some(surroundings.is_initial_namespace? && surroundings.read_only.is_empty())
}

fn is_writable(path: &Path) -> Option<bool> {
    Some(fs::metadata(path).ok()?.permissions().mode() & OWNER_MAY_WRITE != 0)
}

/// Whether the mount that `path` lies on takes no writes, by the lines `ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS …` of
/// mountinfo (proc_pid_mountinfo(5)). Of several mounts at one place the last hides the others.
fn is_read_only(mountinfo: &str, path: &Path) -> Option<bool> {
    let mut best: Option<(PathBuf, bool)> = None;
    for line in mountinfo.lines() {
        let mut words = line.split(' ').skip(4);
        let (Some(point), Some(options)) = (words.next(), words.next()) else { continue };
        let point = PathBuf::from(point);
        let is_closer = best.as_ref().is_none_or(|(best, _)| point.starts_with(best));
        if path.starts_with(&point) && is_closer {
            best = Some((point, options.split(',').any(|option| option == "ro")));
        }
    }
    best.map(|(_, is_read_only)| is_read_only)
}

/// What runs the container, by the files that it leaves for this purpose, or by the names of control groups.
fn container(root: &Path) -> Option<String> {
    let told = fs::read_to_string(root.join("run/systemd/container")).ok();
    if let Some(told) = told.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
        return Some(told);
    }
    for (file, runtime) in [("run/.containerenv", "podman"), (".dockerenv", "docker")] {
        if root.join(file).exists() {
            return Some(runtime.to_owned());
        }
    }
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let known = ["kubepods", "docker", "libpod", "lxc", "containerd"];
    let is_in = |name: &str| {
        groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
            // The program that runs containers is itself in a service's group, as in /system.slice/docker.service.
            path.split('/').any(|part| part.starts_with(name) && !part.ends_with(".service"))
        })
    };
    known.into_iter().find(|name| is_in(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / / rw,relatime - overlay overlay rw
23 22 0:22 / /proc rw,relatime - proc proc rw
24 23 0:22 /sys /proc/sys ro,relatime - proc proc rw
25 22 0:23 / /sys ro,nosuid - sysfs sysfs ro
26 22 0:23 / /sysroot rw - ext4 /dev/vda rw
short line
";

    #[test]
    fn the_closest_mount_says_whether_it_can_be_written() {
        assert_eq!(is_read_only(MOUNTS, Path::new("/proc/sys")), Some(true));
        assert_eq!(is_read_only(MOUNTS, Path::new("/proc/self")), Some(false));
        assert_eq!(is_read_only(MOUNTS, Path::new("/sys")), Some(true));
        let over = format!("{MOUNTS}27 25 0:9 / /sys rw - tmpfs tmpfs rw\n");
        assert_eq!(is_read_only(&over, Path::new("/sys")), Some(false));
        assert_eq!(is_read_only("", Path::new("/sys")), None);
    }

    #[test]
    fn limit_and_buckets_take_the_first_namespace_and_something_to_write_to() {
        let may = |initial, read_only: &[&'static str]| {
            may_change_machine(&Surroundings {
                is_initial_namespace: initial,
                container: None,
                read_only: read_only.iter().copied().map(Into::into).collect(),
            })
        };
        assert_eq!(may(Some(true), &[]), Some(true));
        assert_eq!(may(Some(false), &[]), Some(false));
        assert_eq!(may(Some(true), &["/proc/sys"]), Some(false));
        assert_eq!(may(None, &[]), None);
    }

    #[test]
    fn a_container_is_known_by_what_it_leaves() {
        let found = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            container(root.path())
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("run/systemd/container", "lxc\n")]).as_deref(), Some("lxc"));
        assert_eq!(found(&[("run/.containerenv", "")]).as_deref(), Some("podman"));
        assert_eq!(found(&[(".dockerenv", "")]).as_deref(), Some("docker"));
        let group = |path: &str| found(&[("proc/self/cgroup", &format!("0::{path}\n"))]);
        assert_eq!(group("/kubepods.slice/pod1").as_deref(), Some("kubepods"));
        assert_eq!(group("/system.slice/docker-12ab.scope").as_deref(), Some("docker"));
        assert_eq!(group("/system.slice/docker.service"), None);
        assert_eq!(group("/user.slice"), None);
    }
}
