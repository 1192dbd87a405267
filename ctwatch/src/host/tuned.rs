//! What the active profile of TuneD sets of conntrack, by its files; reads only.

use std::{fs, path::PathBuf};

use crate::advise::facts::Writer;

const ACTIVE: &str = "/etc/tuned/active_profile";
/// Where profiles are, the administrator's first.
const PROFILES: [&str; 4] =
    ["/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"];
/// Profiles include each other; more than this is a circle.
const INCLUDES_MAX: usize = 20;

/// The running TuneD as a writer; `None` if its profile sets nothing of conntrack.
pub fn writer(who: String) -> Option<Writer> {
    let active = fs::read_to_string(ACTIVE).ok()?;
    let mut waiting: Vec<String> = active.split_whitespace().map(str::to_owned).collect();
    let (mut keys, mut files) = (Vec::new(), Vec::new());
    let mut read = 0;
    while let Some(profile) = waiting.pop().filter(|_| read < INCLUDES_MAX) {
        read += 1;
        let Some((path, text)) = profile_file(&profile) else { continue };
        let found = keys_of(&text);
        if !found.is_empty() {
            files.push(path.display().to_string());
        }
        keys.extend(found);
        waiting.extend(included(&text));
    }
    keys.sort();
    keys.dedup();
    (!keys.is_empty()).then(|| Writer {
        who,
        keys,
        how: format!("its profile {} sets them: change {}", active.trim(), files.join(" and ")),
    })
}

fn profile_file(profile: &str) -> Option<(PathBuf, String)> {
    PROFILES.iter().find_map(|directory| {
        let path = PathBuf::from(directory).join(profile).join("tuned.conf");
        Some((path.clone(), fs::read_to_string(path).ok()?))
    })
}

/// The keys of conntrack that a profile sets, under the name that settings have here.
fn keys_of(profile: &str) -> Vec<String> {
    let keys = profile.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim());
    keys.filter_map(|key| match key {
        "net.nf_conntrack_max" => Some("net.netfilter.nf_conntrack_max".to_owned()),
        "nf_conntrack_hashsize" => Some("nf_conntrack.hashsize".to_owned()),
        key => key.starts_with("net.netfilter.nf_conntrack_").then(|| key.to_owned()),
    })
    .collect()
}

fn included(profile: &str) -> Vec<String> {
    let lines = profile.lines().filter_map(|line| line.split_once('='));
    let included = lines.filter(|(key, _)| key.trim() == "include");
    included
        .flat_map(|(_, value)| value.split([',', ' ']))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_s_keys_and_includes_are_read() {
        let profile = "\
[main]
summary=Optimize systems running OpenShift (provider specific parent profile)
include=throughput-performance, network-latency
[net]
nf_conntrack_hashsize=1048576
[sysctl]
net.netfilter.nf_conntrack_max = 1048576
net.nf_conntrack_max=1048576
net.core.somaxconn=1024
# net.netfilter.nf_conntrack_buckets=1
";
        assert_eq!(
            keys_of(profile),
            [
                "nf_conntrack.hashsize",
                "net.netfilter.nf_conntrack_max",
                "net.netfilter.nf_conntrack_max"
            ]
        );
        assert_eq!(included(profile), ["throughput-performance", "network-latency"]);
    }
}
