//! Which settings this kernel still has under their names of Linux 2.6; reads only.

use std::{fs, path::Path};

/// Kernels up to 4.8 could have them (`CONFIG_NF_CONNTRACK_PROC_COMPAT`, net/ipv4/netfilter/Kconfig).
const DIRECTORY: &str = "/proc/sys/net/ipv4/netfilter";
const PREFIX: &str = "ip_conntrack_";

/// Their names in dotted form, sorted; empty on today's kernels.
pub fn read() -> Vec<String> {
    read_from(Path::new(DIRECTORY))
}

fn read_from(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX))
        .map(|name| format!("net.ipv4.netfilter.{name}"))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_told_in_dotted_form() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["ip_conntrack_max", "ip_conntrack_buckets", "nf_log"] {
            fs::write(directory.path().join(name), "1\n").unwrap();
        }
        assert_eq!(
            read_from(directory.path()),
            ["net.ipv4.netfilter.ip_conntrack_buckets", "net.ipv4.netfilter.ip_conntrack_max"]
        );
        assert!(read_from(&directory.path().join("none")).is_empty());
    }
}
