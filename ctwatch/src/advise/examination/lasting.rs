//! What will be after a reboot, who else sets it, and from where it can be changed at all.

use super::{Sign, Subject};
use crate::advise::{
    advice::{Datum, Severity},
    persistence::files::Place,
};

/// Names that old guides teach.
pub(super) fn legacy_names(subject: &Subject) -> Vec<Sign> {
    let names = &subject.facts.legacy_names;
    if names.is_empty() {
        return Vec::new();
    }
    let sentence = format!(
        "this kernel still has {} settings under the names of Linux 2.6 ({}, …): use those that begin with net.netfilter.nf_conntrack_, as today's \
         kernels have no others",
        names.len(),
        names.first().map_or("", String::as_str)
    );
    vec![Sign::warning(sentence)]
}

/// Files that do not do what they seem to.
pub(super) fn files(subject: &Subject) -> Vec<Sign> {
    let persistence = &subject.facts.persistence;
    let mut signs: Vec<Sign> = persistence
        .findings
        .iter()
        .map(|finding| {
            let place = match finding.line {
                Some(line) => Place { file: finding.file.clone(), line }.to_string(),
                None => finding.file.clone(),
            };
            let sentence = format!(
                "{place}: {}: {}. What to do: {}",
                finding.what, finding.why, finding.what_to_do
            );
            Sign::warning(sentence).with(Datum::text("finding", &*finding.id, place))
        })
        .collect();
    for (key, after) in &persistence.after_reboot {
        let sentence = format!("after a reboot {key} = {}, by {}", after.value, after.place);
        let value = Datum::text("after_reboot", after.value.clone(), after.place.to_string());
        signs.push(Sign::new(Severity::Info, sentence, vec![value]));
    }
    if signs.is_empty() {
        let sentence = "no file sets anything of conntrack: after a reboot it is as the kernel makes it, whatever is set now";
        signs.push(Sign::info(sentence));
    }
    signs
}

/// Programs and files that set what may be changed here.
pub(super) fn writers(subject: &Subject) -> Vec<Sign> {
    let writers = subject.facts.writers.iter().map(|writer| {
        let keys = if writer.keys.is_empty() {
            "some settings".to_owned()
        } else {
            writer.keys.join(", ")
        };
        Sign::info(format!("{} sets {keys}: {}", writer.who, writer.how))
    });
    writers.collect()
}

/// From where limit and buckets can be changed.
pub(super) fn place(subject: &Subject) -> Vec<Sign> {
    let around = &subject.facts.surroundings;
    let mut signs = Vec::new();
    if let Some(container) = &around.container {
        signs.push(Sign::info(match around.is_initial_namespace {
            Some(true) => format!(
                "there are signs of a container ({container}), which shares its host's network namespace, or is none"
            ),
            _ => format!(
                "this runs in a container ({container}): the table is that of its network namespace, limit and buckets are the host's"
            ),
        }));
    }
    match around.is_initial_namespace {
        Some(true) => signs.push(Sign::info(
            "this is the machine's first network namespace: limit and buckets can be changed from here",
        )),
        Some(false) => signs.push(Sign::info(
            "this is not the machine's first network namespace: limit and buckets can be read here and changed on the host only \
             ('nsenter -t 1 -n'); timeouts and switches are this namespace's own",
        )),
        None => {}
    }
    if !around.read_only.is_empty() {
        let sentence = format!(
            "{} mounted read-only: nothing can be set from here, only on the host",
            match around.read_only.as_slice() {
                [one] => format!("{one} is"),
                many => format!("{} are", many.join(" and ")),
            }
        );
        signs.push(Sign::warning(sentence));
    }
    signs
}

/// What could not be read, and what to do about it.
pub(super) fn unread(subject: &Subject) -> Vec<Sign> {
    let unread = subject.facts.unread.iter();
    unread.map(|unread| Sign::unknown(format!("{}: {}", unread.what, unread.why))).collect()
}
