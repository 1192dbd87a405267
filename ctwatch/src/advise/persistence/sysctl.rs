//! Files of sysctls, as systemd-sysctl and procps read them (sysctl.d(5), sysctl.conf(5)): which settings of conntrack's
//! they make, and in which order. What the settings do is not said here.

use serde::{Deserialize, Serialize};

use super::{
    Machine,
    files::{Files, Place, SYSCTL, SYSCTL_CONF, numbered},
};
use crate::advise::{
    settings::{BUCKETS, EXPECTATIONS, LIMIT, PREFIX, TCP_LOOSE},
    timeouts::TIMEOUTS,
};

/// Another name of the limit, in the initial namespace only.
pub const LIMIT_ALIAS: &str = "net.nf_conntrack_max";
/// Names of early Linux 2.6, kept for a while (`CONFIG_NF_CONNTRACK_PROC_COMPAT`); kernels from 5.4 on have none of them.
pub const LEGACY: [&str; 2] = ["net.ipv4.netfilter.ip_conntrack_", "net.ipv4.ip_conntrack_"];

/// A line that sets a sysctl of conntrack's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The sysctl, dotted; of the limit always [`LIMIT`].
    pub key: String,
    /// The sysctl that is written to: that key, or the limit's other name.
    pub name: String,
    /// What is before the `=`, as it is written there.
    pub written: String,
    /// What is behind it, without white space around it.
    pub value: String,
    /// Whether a `-` before the name keeps failures quiet.
    pub is_quiet: bool,
    /// Where it is.
    pub place: Place,
}

impl Assignment {
    /// The value, if it is a whole number; the kernel takes them in base 8 and 16 too (`strtoul_lenient`,
    /// kernel/sysctl.c).
    pub fn number(&self) -> Option<i64> {
        let (negative, digits) = match self.value.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, self.value.as_str()),
        };
        let magnitude = i64::try_from(unsigned(digits)?).ok()?;
        Some(if negative { -magnitude } else { magnitude })
    }

    /// Whether the name is one of those that kernels have no more.
    pub fn is_legacy(&self) -> bool {
        LEGACY.iter().any(|start| self.key.starts_with(start))
    }
}

/// A whole number as the kernel's own parser takes it: decimal, or octal behind `0`, or hexadecimal behind `0x` (lib/kstrtox.c).
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let is_digits = |digits: &str, radix| {
        !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
    };
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') && text.len() > 1 => (text, 8),
        None => (text, 10),
    };
    is_digits(digits, radix).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// Every assignment to a sysctl of conntrack's in the order in which they are made, later ones winning.
///
/// A name with a wild card stands for every sysctl that it matches and that no other line names in full: one that begins
/// with `-` and has no `=` does nothing but that, and with a wild card of its own not even that (`apply_all`,
/// src/sysctl/sysctl.c of systemd; `write_setting_list`, src/sysctl.c of procps).
pub fn in_order(files: &Files, machine: &Machine) -> Vec<Assignment> {
    let mut read = files.of(SYSCTL);
    // procps reads it whatever happens, and last of all (sysctl(8), `--system`); systemd only by a link.
    if let Some(text) = files.text(SYSCTL_CONF).filter(|_| !machine.has_systemd) {
        read.retain(|(path, _)| *path != SYSCTL_CONF);
        read.push((SYSCTL_CONF, text));
    }
    let lines: Vec<Line> = read.iter().flat_map(|(path, text)| parse(path, text)).collect();
    let is_named = |key: &str| lines.iter().any(|line| line.key == key);
    let mut made: Vec<Assignment> = Vec::new();
    for line in &lines {
        let Some(value) = &line.value else { continue };
        let keys = match line.is_glob() {
            true => known_keys(machine)
                .into_iter()
                .filter(|key| matches(&line.key, key) && !is_named(key))
                .collect(),
            false => vec![line.key.clone()],
        };
        for key in keys.into_iter().filter(|key| is_conntrack(key)) {
            let is_repeated = |earlier: &Assignment| earlier.name == key && earlier.value == *value;
            // systemd keeps what says the same in its earlier place (`parse_file`, src/sysctl/sysctl.c), which only
            // matters where another name of the same value comes between.
            if machine.has_systemd && made.iter().any(is_repeated) {
                let clash = made.iter().rfind(|earlier| earlier.key == canonical(&key));
                if clash.is_some_and(|last| last.name != key) {
                    continue;
                }
            }
            made.push(Assignment {
                key: canonical(&key).to_owned(),
                name: key,
                written: line.written.clone(),
                value: value.clone(),
                is_quiet: line.is_quiet,
                place: line.place.clone(),
            });
        }
    }
    made
}

/// The name that one value is known by.
fn canonical(key: &str) -> &str {
    if key == LIMIT_ALIAS { LIMIT } else { key }
}

fn is_conntrack(key: &str) -> bool {
    key.starts_with(PREFIX)
        || key == LIMIT_ALIAS
        || LEGACY.iter().any(|start| key.starts_with(start))
}

/// What a wild card can stand for.
fn known_keys(machine: &Machine) -> Vec<String> {
    let timeouts = TIMEOUTS.iter().map(|timeout| format!("{PREFIX}{}", timeout.name));
    let others = [LIMIT, BUCKETS, EXPECTATIONS, TCP_LOOSE].map(str::to_owned);
    let mut keys: Vec<String> = timeouts.chain(others).collect();
    keys.extend(machine.values.keys().filter(|key| key.starts_with(PREFIX)).cloned());
    keys.sort_unstable();
    keys.dedup();
    keys
}

struct Line {
    key: String,
    written: String,
    value: Option<String>,
    is_quiet: bool,
    place: Place,
}

impl Line {
    fn is_glob(&self) -> bool {
        self.key.contains(['*', '?', '['])
    }
}

fn parse(file: &str, text: &str) -> Vec<Line> {
    let lines = numbered(text).map(|(number, line)| (number, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';']));
    let parsed = lines.filter_map(|(number, line)| {
        let (written, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
            // Without `=` it is an exclusion, if it begins so, and else nothing.
            None => (line.starts_with('-').then_some(line)?, None),
        };
        let (name, is_quiet) = match written.strip_prefix('-') {
            Some(name) => (name.trim_start(), true),
            None => (written, false),
        };
        Some(Line {
            key: dotted(name),
            written: name.to_owned(),
            value,
            is_quiet,
            place: Place { file: file.to_owned(), line: number },
        })
    });
    parsed.collect()
}

/// The dotted form of a name: whichever of `/` and `.` comes first separates its parts, and the other is part of a name.
fn dotted(written: &str) -> String {
    let written = written.trim_start_matches('/');
    match written.chars().find(|character| matches!(character, '.' | '/')) {
        Some('/') => written
            .chars()
            .map(|character| match character {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => written.to_owned(),
    }
}

/// Whether a pattern stands for a name: `*` for anything but a dot, `?` for one character, `[…]` for one of several.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let ends = name.char_indices().map(|(position, _)| position).chain([name.len()]);
            let within = name.find('.').unwrap_or(name.len());
            ends.take_while(|end| *end <= within)
                .filter_map(|end| name.get(end..))
                .any(|tail| matches(rest.as_str(), tail))
        }
        Some(first) => {
            let mut tail = name.chars();
            let Some(next) = tail.next() else { return false };
            match (first, rest.as_str().split_once(']')) {
                ('[', Some((class, rest))) => in_class(class, next) && matches(rest, tail.as_str()),
                _ => (first == '?' || first == next) && matches(rest.as_str(), tail.as_str()),
            }
        }
    }
}

fn in_class(class: &str, character: char) -> bool {
    let (negated, class) = match class.strip_prefix(['!', '^']) {
        Some(class) => (true, class),
        None => (false, class),
    };
    let mut members = class.chars().peekable();
    let mut is_member = false;
    while let Some(first) = members.next() {
        let mut range = members.clone();
        match (range.next(), range.next()) {
            (Some('-'), Some(last)) => {
                is_member |= (first..=last).contains(&character);
                members = range;
            }
            _ => is_member |= first == character,
        }
    }
    is_member != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_cards_stop_at_a_dot() {
        assert!(matches("net.netfilter.nf_*_timeout", "net.netfilter.nf_conntrack_udp_timeout"));
        assert!(matches("net.netfilter.nf_conntrack_ma?", LIMIT));
        assert!(matches("net.netfilter.nf_conntrack_[l-n]ax", LIMIT));
        assert!(!matches("net.netfilter.nf_conntrack_[!m]ax", LIMIT));
        assert!(!matches("net.*", LIMIT));
        assert!(!matches("net.netfilter.nf_conntrack_max?", LIMIT));
    }

    #[test]
    fn the_first_separator_says_which_it_is() {
        assert_eq!(dotted("net/ipv4/conf/eth0.1/forwarding"), "net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(dotted("net.ipv4.conf.eth0/1.forwarding"), "net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(dotted("/net/netfilter/nf_conntrack_max"), LIMIT);
    }

    #[test]
    fn numbers_are_the_kernel_s() {
        assert_eq!(
            ["17", "0x10", "010", "", "0x", "08", "1 2", "-1", "+1", "65536 # big"].map(unsigned),
            [Some(17), Some(16), Some(8), None, None, None, None, None, None, None]
        );
    }
}
