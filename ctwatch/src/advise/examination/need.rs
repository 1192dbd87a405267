//! Who needs connections to be tracked, which modules keep conntrack in the kernel, and how to do without. Nothing is removed.

use super::{Sign, Subject};
use crate::advise::{
    advice::{Datum, Severity},
    facts::{Need, User},
};

/// Which rules, programs and modules need conntrack, and how to do without where nothing does.
pub(super) fn users(subject: &Subject) -> Vec<Sign> {
    let facts = subject.facts;
    let mut signs: Vec<Sign> = facts.users.iter().map(user).collect();
    if let Some(rules) = facts.notrack_rules.filter(|rules| *rules > 0) {
        let sentence = format!("rules that keep packets from being tracked (notrack): {rules}");
        signs.push(Sign::info(sentence).with(Datum::count("notrack_rules", rules, "the rules")));
    }
    if !facts.are_users_known {
        signs.push(Sign::unknown("not all rules could be read, so somebody else may need it too"));
        return signs;
    }
    let translates = facts.users.iter().any(|user| user.need == Need::Translation)
        || facts.translates_sources == Some(true);
    if translates || !facts.modules.is_loaded {
        return signs;
    }
    signs.push(if facts.users.is_empty() {
        Sign::info(
            "no rule of this namespace needs conntrack: where nothing in another namespace does either, it can be done without",
        )
    } else {
        Sign::info(
            "nothing here translates addresses, so conntrack can be done without: write these rules without 'ct' and 'conntrack' (accept answers \
             by port and flags), or keep busy stateless services out of it with notrack in both directions ('udp dport 53 notrack' in a \
             prerouting chain of priority -300 and 'udp sport 53 notrack' in an output chain)",
        )
    });
    signs
}

fn user(user: &User) -> Sign {
    let need = match user.need {
        Need::Translation => "translates, which takes conntrack",
        Need::State => "asks for connections",
        Need::Program => "is running",
    };
    Sign::info(format!("{} {need}: {}", user.who, user.why))
}

/// What holds the module, and the order in which all could be removed.
pub(super) fn modules(subject: &Subject) -> Vec<Sign> {
    let modules = &subject.facts.modules;
    if !modules.is_loaded {
        let sentence = "nf_conntrack is not loaded, and nothing was loaded to look: the first rule that translates or asks for connections loads it, as \
             Docker, Kubernetes and firewalld have";
        return vec![Sign::info(sentence)];
    }
    if modules.is_built_in {
        let sentence = "nf_conntrack is built into this kernel and cannot be removed; it tracks in a namespace only while something there asks for it";
        return vec![Sign::info(sentence)];
    }
    let order = &modules.removal_order;
    if order.is_empty() {
        return vec![Sign::unknown(
            "which modules need nf_conntrack is not known: /proc/modules cannot be read",
        )];
    }
    let mut signs: Vec<Sign> = Vec::new();
    let users: Vec<String> = order
        .iter()
        .rev()
        .filter(|module| !module.used_by.is_empty())
        .map(|module| format!("{} by {}", module.name, module.used_by.join(", ")))
        .collect();
    if !users.is_empty() {
        signs.push(Sign::info(format!("modules are needed by each other: {}", users.join("; "))));
    }
    let held: Vec<String> = order
        .iter()
        .filter(|module| module.held > 0)
        .map(|module| format!("{} ({})", module.name, module.held))
        .collect();
    if !held.is_empty() {
        let sentence = format!(
            "held by rules, sockets or hooks, so that they cannot be removed before these are gone: {}",
            held.join(", ")
        );
        signs.push(Sign::info(sentence));
    }
    let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
    let sentence = format!(
        "once no rule and no program needs them they can be removed in this order: {}. ctwatch removes none: on a gateway that \
         translates that cuts every connection through it",
        names.join(", ")
    );
    let order = Datum::text("removal_order", names.join(" "), "/proc/modules");
    signs.push(Sign::new(Severity::Info, sentence, vec![order]));
    signs
}
