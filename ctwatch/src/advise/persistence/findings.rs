//! What is wrong with a machine's files: each check is a function and a row of [`CHECKS`].

use super::{
    Cause, Machine, Module, Persistence, PersistenceFinding,
    files::{ETC_MODULES, Files, Place, SYSCTL_CONF, numbered},
    loading::Applied,
    modprobe::Hashsize,
    rounded_up,
    sysctl::{Assignment, LIMIT_ALIAS},
};
use crate::advise::settings::{BUCKETS, HASHSIZE, LIMIT};

const READ_ONLY: &str = "net.netfilter.nf_conntrack_count";

type Check = fn(&Persistence, &Files, &Machine) -> Vec<PersistenceFinding>;

/// Every check, the worst first.
const CHECKS: &[Check] = &[
    hashsize_without_number,
    before_the_module_loads,
    limit_from_hashsize,
    hashsize_too_late,
    read_only,
    legacy,
    without_number,
    unknown,
    overridden,
    by_two_names,
    not_read,
    differs_from_now,
];

pub(super) fn of(
    persistence: &Persistence,
    files: &Files,
    machine: &Machine,
) -> Vec<PersistenceFinding> {
    CHECKS.iter().flat_map(|check| check(persistence, files, machine)).collect()
}

fn finding(
    id: &'static str,
    place: &Place,
    what: String,
    why: impl Into<String>,
    what_to_do: impl Into<String>,
) -> PersistenceFinding {
    PersistenceFinding {
        id: id.into(),
        what,
        file: place.file.clone(),
        line: Some(place.line),
        why: why.into(),
        what_to_do: what_to_do.into(),
    }
}

fn hashsize_without_number(
    persistence: &Persistence,
    _: &Files,
    _: &Machine,
) -> Vec<PersistenceFinding> {
    let unusable = persistence.directives.hashsizes.iter().filter_map(|(place, size)| match size {
        Hashsize::Unusable(options) => Some((place, options)),
        Hashsize::Buckets(_) => None,
    });
    unusable
        .map(|(place, options)| {
            let why = if options.contains('=') && options.contains(' ') {
                "modprobe hands the words over as they are, so with a space before or after the `=` the kernel is given a \
                 `hashsize` without a value"
            } else {
                "the kernel takes a whole number only"
            };
            finding(
                "hashsize_without_number",
                place,
                format!("with the options `{options}` the module does not load at all, and rules that need conntrack do not either"),
                why,
                "write it without spaces and with a number: `options nf_conntrack hashsize=65536`",
            )
        })
        .collect()
}

fn before_the_module_loads(
    persistence: &Persistence,
    _: &Files,
    _: &Machine,
) -> Vec<PersistenceFinding> {
    let mut lost: Vec<&Assignment> = Vec::new();
    for assignment in &persistence.assignments {
        let is_lost = persistence.loading.applied(&assignment.name) == Applied::Never;
        if is_lost && !assignment.is_legacy() && assignment.key != READ_ONLY {
            match lost.last_mut().filter(|last| last.place.file == assignment.place.file) {
                Some(_) => {}
                None => lost.push(assignment),
            }
        }
    }
    lost.iter()
        .map(|first| {
            finding(
                "before_the_module_loads",
                &first.place,
                format!("{} and what follows it here has no effect when the machine starts", first.written),
                "sysctls are set before anything loads nf_conntrack, and until then the kernel has none of these names; \
                 nothing sets them when it is loaded",
                "load it early (`echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf`), or let a rule of udev's set \
                 them when it is loaded; `ctwatch confirm --persist` writes both",
            )
        })
        .collect()
}

fn limit_from_hashsize(
    persistence: &Persistence,
    _: &Files,
    _: &Machine,
) -> Vec<PersistenceFinding> {
    let after = persistence.after_reboot.get(LIMIT);
    let silently = after.filter(|after| after.cause == Cause::EightTimesBuckets);
    silently
        .map(|after| {
            finding(
                "limit_from_hashsize",
                &after.place,
                format!("this sets the limit too, silently, to eight times as many entries: {}", after.value),
                "when the module is given `hashsize` it takes 8 × that as nf_conntrack_max, and chains of 16 entries on \
                 average with it (nf_conntrack_init_start)",
                format!("set the limit in a file of sysctls as well, to about the number of buckets: `{LIMIT} = …`"),
            )
        })
        .into_iter()
        .collect()
}

fn hashsize_too_late(
    persistence: &Persistence,
    _: &Files,
    machine: &Machine,
) -> Vec<PersistenceFinding> {
    let Some((place, Hashsize::Buckets(given))) = &persistence.directives.hashsize else {
        return Vec::new();
    };
    let now = machine.values.get(HASHSIZE).and_then(|now| now.parse().ok());
    if machine.module == Module::BuiltIn && !place.file.starts_with("/proc/") {
        return vec![finding(
            "hashsize_built_in",
            place,
            "this has no effect: conntrack is built into this kernel".to_owned(),
            "modprobe gives options to modules, when it loads them",
            format!(
                "set `{BUCKETS} = {given}` in a file of sysctls, or `nf_conntrack.hashsize={given}` on the kernel's command line"
            ),
        )];
    }
    let by_sysctl =
        persistence.after_reboot.get(HASHSIZE).is_some_and(|after| after.cause == Cause::Sysctl);
    match now {
        Some(now)
            if machine.module == Module::Loaded
                && rounded_up(*given) != Some(now)
                && !by_sysctl =>
        {
            vec![finding(
                "hashsize_not_in_force",
                place,
                format!("this says {given} buckets, and the table has {now}"),
                "modprobe gives options when it loads a module: one that is loaded keeps what it has, and one that an \
                 initramfs loads may never see this file",
                format!(
                    "`echo {given} > /sys/module/nf_conntrack/parameters/hashsize` sets it now; while the table is large \
                         that stops all packets for half a microsecond an entry"
                ),
            )]
        }
        _ => Vec::new(),
    }
}

fn read_only(persistence: &Persistence, _: &Files, _: &Machine) -> Vec<PersistenceFinding> {
    of_assignments(persistence, |assignment| {
        (assignment.key == READ_ONLY).then(|| {
            finding(
                "read_only",
                &assignment.place,
                format!("{READ_ONLY} cannot be set"),
                "it says how many entries there are, and is read-only; the limit has another name",
                format!("remove the line; if the limit is meant: `{LIMIT} = {}`", assignment.value),
            )
        })
    })
}

fn legacy(persistence: &Persistence, _: &Files, _: &Machine) -> Vec<PersistenceFinding> {
    let mut found = of_assignments(persistence, |assignment| {
        assignment.is_legacy().then(|| {
            let today = assignment
                .key
                .replace("net.ipv4.netfilter.ip_conntrack_", "net.netfilter.nf_conntrack_")
                .replace("net.ipv4.ip_conntrack_", "net.netfilter.nf_conntrack_");
            finding(
                "legacy_name",
                &assignment.place,
                format!("{} is a name of Linux 2.6, which today's kernels do not have", assignment.written),
                "the names beginning with ip_conntrack were kept for a while when conntrack learned IPv6, and are gone",
                format!("write `{today} = {}`", assignment.value),
            )
        })
    });
    let old = persistence.directives.old_names.iter();
    found.extend(old.map(|old| {
        finding(
            "legacy_module",
            &old.place,
            format!(
                "this is used only by who loads the module by its old name {}, and nobody does",
                old.name
            ),
            "modprobe keeps what is said of one name apart from what is said of another",
            "write nf_conntrack instead",
        )
    }));
    found
}

fn without_number(persistence: &Persistence, _: &Files, _: &Machine) -> Vec<PersistenceFinding> {
    of_assignments(persistence, |assignment| {
        assignment.number().is_none().then(|| {
            finding(
                "not_a_number",
                &assignment.place,
                format!("`{}` is no number for {}", assignment.value, assignment.written),
                "these sysctls take whole numbers only, and a comment needs a line of its own",
                format!("write `{} = NUMBER`", assignment.key),
            )
        })
    })
}

fn unknown(persistence: &Persistence, _: &Files, machine: &Machine) -> Vec<PersistenceFinding> {
    if !machine.values.contains_key(LIMIT) {
        return Vec::new();
    }
    of_assignments(persistence, |assignment| {
        let is_known = machine.values.contains_key(&assignment.key)
            || [READ_ONLY, BUCKETS].contains(&assignment.key.as_str());
        (!is_known && !assignment.is_quiet && !assignment.is_legacy()).then(|| {
            finding(
                "unknown_name",
                &assignment.place,
                format!("this kernel has no {}", assignment.written),
                "a name that is misspelled, or of another kernel, sets nothing",
                "correct it, or remove the line",
            )
        })
    })
}

fn overridden(persistence: &Persistence, _: &Files, _: &Machine) -> Vec<PersistenceFinding> {
    let mut found = of_assignments(persistence, |assignment| {
        let last = persistence.last_assignment(&assignment.key)?;
        let is_overridden = last.place != assignment.place && last.number() != assignment.number();
        (is_overridden && !assignment.is_legacy()).then(|| {
            finding(
                "overridden",
                &assignment.place,
                format!("{} = {} is overridden by {}, which says {}", assignment.key, assignment.value, last.place, last.value),
                "files of sysctls are read in the order of their names, whatever directory they are in, and the last one wins",
                "remove one of the two lines",
            )
        })
    });
    if let Some((winner, Hashsize::Buckets(wins))) = &persistence.directives.hashsize {
        for (place, size) in &persistence.directives.hashsizes {
            if let Hashsize::Buckets(loses) = size
                && loses != wins
            {
                found.push(finding(
                    "overridden",
                    place,
                    format!("hashsize={loses} is overridden by {winner}, which says {wins}"),
                    "modprobe gives the module all options in the order of the files' names, and the kernel keeps the last",
                    "remove one of the two lines",
                ));
            }
        }
    }
    found
}

fn by_two_names(persistence: &Persistence, _: &Files, _: &Machine) -> Vec<PersistenceFinding> {
    let is_alias = |assignment: &&Assignment| assignment.name == LIMIT_ALIAS;
    let alias = persistence.assignments.iter().find(is_alias);
    let other = persistence
        .assignments
        .iter()
        .find(|assignment| assignment.key == LIMIT && !is_alias(assignment));
    match (alias, other) {
        (Some(alias), Some(other)) => vec![finding(
            "limit_by_two_names",
            &alias.place,
            format!(
                "the limit is set by its other name, {LIMIT_ALIAS}, as well as in {}",
                other.place
            ),
            "both names are one value: whichever is set last wins",
            format!("keep `{LIMIT}` only"),
        )],
        _ => Vec::new(),
    }
}

fn not_read(_: &Persistence, files: &Files, machine: &Machine) -> Vec<PersistenceFinding> {
    let is_linked =
        |path: &str| files.by_path.values().any(|file| file.link_to.as_deref() == Some(path));
    let about_it = |path: &str| {
        let mut lines = numbered(files.text(path)?);
        let (line, _) = lines.find(|(_, line)| {
            line.contains("conntrack") && !line.trim_start().starts_with(['#', ';'])
        })?;
        Some(Place { file: path.to_owned(), line })
    };
    let unread = |path: &str| about_it(path).filter(|_| machine.has_systemd && !is_linked(path));
    let settings = unread(SYSCTL_CONF).map(|place| {
        finding(
            "not_read",
            &place,
            format!("{SYSCTL_CONF} is not read when this machine starts"),
            "systemd-sysctl reads the files in sysctl.d only, and no link there leads to this one",
            "move the line into a file of /etc/sysctl.d",
        )
    });
    let modules = unread(ETC_MODULES).map(|place| {
        finding(
            "not_read",
            &place,
            format!("{ETC_MODULES} is not read when this machine starts"),
            "systemd-modules-load reads the files in modules-load.d only, and no link there leads to this one",
            "move the line into a file of /etc/modules-load.d",
        )
    });
    settings.into_iter().chain(modules).collect()
}

fn differs_from_now(
    persistence: &Persistence,
    _: &Files,
    machine: &Machine,
) -> Vec<PersistenceFinding> {
    let differing = persistence.after_reboot.iter().filter_map(|(key, after)| {
        let now = machine.values.get(key).filter(|now| **now != after.value)?;
        Some(finding(
            "differs_from_now",
            &after.place,
            format!("{key} is {now} now, and will be {} after a reboot", after.value),
            match after.cause {
                Cause::Sysctl => "this line sets it when the machine starts",
                Cause::ModuleOption => "the module is given it when it is loaded",
                Cause::EightTimesBuckets => "the module takes eight times its number of buckets",
            },
            "if what is in force now is right, write it here; else the file was changed and has not been applied",
        ))
    });
    differing.collect()
}

/// What a check says of every assignment.
fn of_assignments(
    persistence: &Persistence,
    judge: impl Fn(&Assignment) -> Option<PersistenceFinding>,
) -> Vec<PersistenceFinding> {
    persistence.assignments.iter().filter_map(judge).collect()
}
