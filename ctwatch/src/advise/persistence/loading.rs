//! Who loads conntrack's module when the machine starts, and who sets its sysctls if it is loaded later.

use serde::{Deserialize, Serialize};

use super::{
    Machine, Module,
    files::{
        COMMAND_LINE, ETC_MODULES, Files, MODULES_LOAD, Place, UDEV_RULES, UNITS, joined_lines,
        numbered,
    },
    modprobe::{Directives, MODULE},
};

/// Modules that need conntrack's, so that loading them loads it (the `depends=` of each).
const NEED_IT: [&str; 8] = [
    "nf_nat",
    "nf_conntrack_netlink",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "xt_conntrack",
    "iptable_nat",
    "xt_MASQUERADE",
];

/// Something that sets sysctls when the module is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applier {
    /// Where it is said.
    pub place: Place,
    /// Which sysctls, by what their paths below /proc/sys begin with; all if empty.
    pub prefixes: Vec<String>,
}

/// Who loads the module, and who sets sysctls when it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loading {
    /// Whether the kernel has it in its image.
    pub is_built_in: bool,
    /// What loads it before sysctls are set.
    pub early: Option<Place>,
    /// What sets sysctls when it is loaded, whenever that is.
    pub appliers: Vec<Applier>,
}

/// When a sysctl is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// With all others, when the machine starts, as it is there by then.
    AtStart,
    /// When the module is loaded.
    WhenLoaded,
    /// Never, if nothing else happens to load the module early: it is not there when sysctls are set.
    Never,
}

impl Loading {
    /// When that sysctl is set.
    pub fn applied(&self, key: &str) -> Applied {
        if self.is_built_in || self.early.is_some() {
            return Applied::AtStart;
        }
        let path = key.replace('.', "/");
        let covers = |applier: &Applier| {
            applier.prefixes.is_empty()
                || applier.prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()))
        };
        if self.appliers.iter().any(covers) { Applied::WhenLoaded } else { Applied::Never }
    }
}

pub(super) fn read(files: &Files, machine: &Machine, directives: &Directives) -> Loading {
    let install = directives.install.iter().filter(|(_, command)| command.contains("sysctl"));
    let mut appliers: Vec<Applier> =
        install.map(|(place, _)| Applier { place: place.clone(), prefixes: Vec::new() }).collect();
    appliers.extend(udev_appliers(files));
    appliers.extend(unit_appliers(files));
    Loading {
        is_built_in: machine.module == Module::BuiltIn,
        early: early(files, machine),
        appliers,
    }
}

/// modules-load.d(5): a name a line. The word on the command line is systemd's too.
fn early(files: &Files, machine: &Machine) -> Option<Place> {
    let mut lists = files.of(MODULES_LOAD);
    if let Some(text) = files.text(ETC_MODULES).filter(|_| !machine.has_systemd) {
        lists.push((ETC_MODULES, text));
    }
    let in_list = lists.iter().find_map(|(path, text)| {
        let mut lines = numbered(text).map(|(line, text)| (line, text.trim()));
        // /etc/modules may have options behind a name.
        let (line, _) = lines.find(|(_, text)| {
            text.split_whitespace().next().is_some_and(|name| loads_it(&name.replace('-', "_")))
        })?;
        Some(Place { file: (*path).to_owned(), line })
    });
    let command_line = files.text(COMMAND_LINE).unwrap_or_default();
    let on_command_line = command_line.split_whitespace().any(|word| {
        word.strip_prefix("modules_load=")
            .or(word.strip_prefix("modules-load="))
            .is_some_and(|names| names.split(',').any(loads_it))
    });
    in_list.or(on_command_line.then(|| Place { file: COMMAND_LINE.to_owned(), line: 1 }))
}

fn loads_it(name: &str) -> bool {
    name == MODULE || NEED_IT.contains(&name)
}

/// Rules of udev's that run a program named sysctl, or systemd's, when the module is added (udev(7)).
fn udev_appliers(files: &Files) -> Vec<Applier> {
    let mut found = Vec::new();
    for (path, text) in files.of(UDEV_RULES) {
        for (line, rule) in joined_lines(text) {
            let rule = rule.trim();
            let compact: String = rule.split_whitespace().collect();
            let is_about_it = compact.contains("SUBSYSTEM==\"module\"")
                && (compact.contains("KERNEL==\"nf_conntrack\"")
                    || compact.contains("KERNEL==\"nf_conntrack*\"")
                    || compact.contains("KERNEL==\"nf_*\""));
            if rule.starts_with('#') || !is_about_it || !rule.contains("sysctl") {
                continue;
            }
            found.push(Applier {
                place: Place { file: path.to_owned(), line },
                prefixes: prefixes(rule),
            });
        }
    }
    found
}

/// Units that set conntrack's sysctls by themselves; whether they run after the module is loaded is their author's care.
fn unit_appliers(files: &Files) -> Vec<Applier> {
    let mut found = Vec::new();
    for (path, text) in files.of(UNITS) {
        for (line, command) in joined_lines(text) {
            let is_command = command.trim_start().starts_with("Exec");
            if is_command && command.contains("sysctl") && command.contains("conntrack") {
                let place = Place { file: path.to_owned(), line };
                found.push(Applier { place, prefixes: prefixes(&command) });
            }
        }
    }
    found
}

/// The values of systemd-sysctl's `--prefix=`, as paths below /proc/sys (systemd-sysctl.service(8)).
fn prefixes(command: &str) -> Vec<String> {
    let words = command.split([' ', '\t', '"', '\'']);
    let prefixes = words.filter_map(|word| word.strip_prefix("--prefix="));
    prefixes
        .map(|prefix| {
            prefix.trim_start_matches("/proc/sys").trim_start_matches('/').replace('.', "/")
        })
        .collect()
}
