//! What kube-proxy sets of conntrack, by its arguments and its configuration; pure.
//!
//! It sets these when it starts (cmd/kube-proxy/app/conntrack.go in Kubernetes), so a change made elsewhere lasts until then.

use crate::advise::{
    facts::Writer,
    settings::{HASHSIZE, LIMIT, PREFIX},
};

/// One of its settings.
struct Setting {
    /// As an argument.
    flag: &'static str,
    /// In the section `conntrack` of its configuration.
    key: &'static str,
    /// Unless given.
    default: &'static str,
    /// What it sets; nothing where it is 0.
    sets: &'static [&'static str],
}

const SETTINGS: [Setting; 4] = [
    Setting {
        flag: "--conntrack-max-per-core",
        key: "maxPerCore",
        default: "32768",
        sets: &["max"],
    },
    Setting { flag: "--conntrack-min", key: "min", default: "131072", sets: &["max"] },
    Setting {
        flag: "--conntrack-tcp-timeout-established",
        key: "tcpEstablishedTimeout",
        default: "24h0m0s",
        sets: &["tcp_timeout_established"],
    },
    Setting {
        flag: "--conntrack-tcp-timeout-close-wait",
        key: "tcpCloseWaitTimeout",
        default: "1h0m0s",
        sets: &["tcp_timeout_close_wait"],
    },
];

/// Where its configuration is, in its own root directory.
pub fn configuration_path(arguments: &[String]) -> Option<String> {
    argument(arguments, "--config")
}

/// What it sets, and where that is to be changed.
pub fn writer(who: String, arguments: &[String], configuration: Option<&str>) -> Writer {
    // With a configuration the arguments of the same meaning are ignored.
    let value = |setting: &Setting| {
        let given = match configuration {
            Some(text) => in_section(text, "conntrack", setting.key),
            None => argument(arguments, setting.flag),
        };
        given.unwrap_or_else(|| setting.default.to_owned())
    };
    let values: Vec<(&Setting, String)> =
        SETTINGS.iter().map(|setting| (setting, value(setting))).collect();
    let mut keys = Vec::new();
    for (setting, value) in &values {
        if !is_zero(value) {
            keys.extend(setting.sets.iter().map(|name| format!("{PREFIX}{name}")));
        }
    }
    if keys.iter().any(|key| key == LIMIT) {
        keys.push(HASHSIZE.to_owned());
    }
    keys.sort();
    keys.dedup();
    let values: Vec<String> = values
        .iter()
        .map(|(setting, value)| format!("conntrack.{}: {value}", setting.key))
        .collect();
    Writer {
        who,
        keys,
        how: format!(
            "it sets them when it starts, by its configuration (in clusters of kubeadm the ConfigMap kube-proxy in kube-system), now {}; 0 leaves the kernel's value alone",
            values.join(", ")
        ),
    }
}

/// `--flag=VALUE` or `--flag VALUE`.
fn argument(arguments: &[String], flag: &str) -> Option<String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == flag {
            return arguments.next().cloned();
        }
        let value = argument.strip_prefix(flag).and_then(|rest| rest.strip_prefix('='));
        if let Some(value) = value {
            return Some(value.to_owned());
        }
    }
    None
}

/// The value of a key that is one step further in than the line `section:`. That is how kubeadm and its kin write YAML; what is
/// written otherwise, or is `null`, is not given.
fn in_section(yaml: &str, section: &str, key: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = yaml.lines().filter(|line| !line.trim().is_empty());
    let outer = indent(lines.find(|line| line.trim_end().trim_start() == format!("{section}:"))?);
    let inside = lines.take_while(|line| indent(line) > outer);
    let value = inside
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .next()?;
    (value != "null" && !value.is_empty()).then_some(value)
}

fn is_zero(value: &str) -> bool {
    value.bytes().filter(u8::is_ascii_digit).all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn by_default_it_sets_limit_buckets_and_two_timeouts() {
        let writer = writer("kube-proxy".into(), &arguments(&["kube-proxy"]), None);
        let expected = [
            "net.netfilter.nf_conntrack_max",
            "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
            "net.netfilter.nf_conntrack_tcp_timeout_established",
            "nf_conntrack.hashsize",
        ];
        assert_eq!(writer.keys, expected);
        assert!(writer.how.contains("tcpCloseWaitTimeout: 1h0m0s"), "{}", writer.how);
    }

    #[test]
    fn what_is_zero_is_left_alone() {
        let given = arguments(&[
            "kube-proxy",
            "--conntrack-max-per-core=0",
            "--conntrack-min",
            "0",
            "--conntrack-tcp-timeout-close-wait=0s",
        ]);
        let writer = writer("kube-proxy".into(), &given, None);
        assert_eq!(writer.keys, ["net.netfilter.nf_conntrack_tcp_timeout_established"]);
    }

    #[test]
    fn a_configuration_is_read_by_its_section() {
        let yaml = "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
clusterCIDR: 10.244.0.0/16
conntrack:
  maxPerCore: 0
  min: null
  tcpCloseWaitTimeout: 10m0s

  tcpEstablishedTimeout: \"0s\"
enableProfiling: false
min: 7
";
        let given = arguments(&["kube-proxy", "--config=/var/lib/kube-proxy/config.conf"]);
        assert_eq!(configuration_path(&given).unwrap(), "/var/lib/kube-proxy/config.conf");
        let writer = writer("kube-proxy".into(), &given, Some(yaml));
        // `min` is not given, and so its default holds.
        assert!(writer.how.contains("conntrack.min: 131072"), "{}", writer.how);
        assert!(writer.how.contains("tcpCloseWaitTimeout: 10m0s"), "{}", writer.how);
        let established = "net.netfilter.nf_conntrack_tcp_timeout_established".to_owned();
        assert!(!writer.keys.contains(&established), "{:?}", writer.keys);
        assert_eq!(in_section("a: 1", "conntrack", "min"), None);
    }
}
