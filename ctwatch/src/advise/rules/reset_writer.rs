//! Change a value where somebody else sets it, or it will be set again: kube-proxy, tuned, a file of sysctl.

use super::RULES;
use crate::advise::{
    advice::{Advice, Change, Datum, Expected, Severity},
    bounds::Bounds,
    case::Case,
    cause::Finding,
    facts::Writer,
    settings::{BUCKETS, HASHSIZE, LIMIT, PREFIX},
    timeouts,
    verdict::Verdict,
    wording::list,
};

/// In the JSON.
pub const ID: &str = "reset_writer";
const KUBE_PROXY: &str = "kube-proxy";
const CLOSE_WAIT: &str = "tcp_timeout_close_wait";
/// So many times its default is more than connections need that are closed on one side; kube-proxy sets sixty times.
const TIMES_DEFAULT_MAX: u32 = 10;

/// What kube-proxy sets, and where (`KubeProxyConntrackConfiguration`).
const KUBE_PROXY_FIELDS: &[(&str, &str)] = &[
    ("tcp_timeout_established", "conntrack.tcpEstablishedTimeout"),
    (CLOSE_WAIT, "conntrack.tcpCloseWaitTimeout"),
    ("udp_timeout", "conntrack.udpTimeout"),
    ("udp_timeout_stream", "conntrack.udpStreamTimeout"),
];

/// Judges a case.
pub fn judge(case: &Case, finding: &Finding, bounds: &Bounds) -> Verdict {
    if case.facts.writers.is_empty() {
        return Verdict::Silent;
    }
    let mut wanted = advised_elsewhere(case, finding, bounds);
    let too_long =
        too_long(case).filter(|change| wanted.iter().all(|known| known.key != change.key));
    wanted.extend(too_long);
    let advice = case.facts.writers.iter().filter_map(|writer| advice(writer, &wanted));
    let advice: Vec<Advice> = advice.collect();
    if advice.is_empty() { Verdict::Silent } else { Verdict::Advise(advice) }
}

/// Says with each advice whose value somebody else sets as well that it will not last.
pub fn mention(case: &Case, advice: &mut [Advice]) {
    for advice in advice.iter_mut().filter(|advice| !advice.changes.is_empty()) {
        let sets =
            |writer: &&Writer| advice.changes.iter().any(|change| is_set_by(writer, &change.key));
        let said: Vec<String> = case
            .facts
            .writers
            .iter()
            .filter(sets)
            .map(|writer| {
                format!(" {} sets this too, and will again: see '{}'.", name(writer), id(writer))
            })
            .collect();
        advice.risk += &said.concat();
    }
}

/// What the other rules would change.
fn advised_elsewhere(case: &Case, finding: &Finding, bounds: &Bounds) -> Vec<Change> {
    let verdicts =
        RULES.iter().filter(|rule| rule.id != ID).map(|rule| (rule.judge)(case, finding, bounds));
    let advice = verdicts.filter_map(|verdict| match verdict {
        Verdict::Advise(advice) => Some(advice),
        _ => None,
    });
    advice.flatten().flat_map(|advice| advice.changes).collect()
}

/// The value that kube-proxy is known for, back to the kernel's default.
fn too_long(case: &Case) -> Option<Change> {
    let default_s = timeouts::by_name(CLOSE_WAIT)?.default_s;
    let now_s = case.settings.timeout_s(CLOSE_WAIT)?;
    (now_s >= default_s.saturating_mul(TIMES_DEFAULT_MAX)).then(|| Change {
        key: format!("{PREFIX}{CLOSE_WAIT}"),
        from: now_s.to_string(),
        to: default_s.to_string(),
    })
}

fn is_set_by(writer: &Writer, key: &str) -> bool {
    // The buckets have two names.
    let key = if key == HASHSIZE { BUCKETS } else { key };
    writer.keys.iter().any(|set| set == key || (set == HASHSIZE && key == BUCKETS))
}

fn kube_proxy_field(key: &str) -> Option<&'static str> {
    if key == LIMIT || key == BUCKETS || key == HASHSIZE {
        return Some("conntrack.maxPerCore");
    }
    let name = key.strip_prefix(PREFIX)?;
    KUBE_PROXY_FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
}

/// A program's name without the number of its process, or a file.
fn name(writer: &Writer) -> &str {
    writer.who.split_once(" (").map_or(writer.who.as_str(), |(name, _)| name)
}

fn id(writer: &Writer) -> String {
    format!("reset-at-{}", name(writer).replace(char::is_whitespace, "-"))
}

fn advice(writer: &Writer, wanted: &[Change]) -> Option<Advice> {
    let changed: Vec<&Change> =
        wanted.iter().filter(|change| is_set_by(writer, &change.key)).collect();
    let values: Vec<String> = changed
        .iter()
        .map(|change| format!("{} ({} now, {} advised)", change.key, change.from, change.to))
        .collect();
    if values.is_empty() {
        return None;
    }
    let keys: Vec<String> = changed.iter().map(|change| change.key.clone()).collect();
    let who = name(writer);
    let is_kube_proxy = who == KUBE_PROXY;
    let where_to = if is_kube_proxy { kube_proxy(&changed) } else { String::new() };
    let commands = if is_kube_proxy {
        vec![
            "kubectl -n kube-system edit configmap kube-proxy".to_owned(),
            "kubectl -n kube-system rollout restart daemonset kube-proxy".to_owned(),
        ]
    } else {
        Vec::new()
    };
    Some(Advice {
        id: id(writer),
        rule: ID,
        severity: Severity::Warning,
        what: format!("Change it at {who} as well, which would set it back. {where_to}")
            .trim_end()
            .to_owned(),
        why: format!(
            "{} sets {}: {}.",
            writer.who,
            list(&values),
            writer.how.trim_end_matches('.')
        ),
        evidence: vec![Datum::text("set_elsewhere", list(&keys), writer.who.clone())],
        changes: Vec::new(),
        is_unasked: false,
        expected: Expected::default(),
        risk: if is_kube_proxy {
            "Restarting kube-proxy leaves its rules and the connections as they are. The commands are for a cluster made by \
             kubeadm: others keep the configuration elsewhere, and every node that uses it gets it."
                .to_owned()
        } else {
            "Whoever put the value there may have had a reason: look before you change it."
                .to_owned()
        },
        commands,
        until: format!("{who} does not set these values any more."),
    })
}

/// The fields of its configuration, with what to write there.
fn kube_proxy(changed: &[&Change]) -> String {
    let mut fields = Vec::new();
    for change in changed {
        let Some(field) = kube_proxy_field(&change.key) else { continue };
        let said = if field == "conntrack.maxPerCore" {
            format!("{field}: 0 (the limit is then left alone, and conntrack.min ignored)")
        } else {
            format!("{field}: {}s", change.to)
        };
        if !fields.contains(&said) {
            fields.push(said);
        }
    }
    format!("In its configuration: {}.", list(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::{cause::Cause, samples};

    fn writer(who: &str, keys: &[&str]) -> Writer {
        Writer {
            who: who.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            how: "take the line out".to_owned(),
        }
    }

    fn case(writers: Vec<Writer>, close_wait_s: i64) -> Case {
        let mut case = samples::of_sources(&[]);
        case.facts.writers = writers;
        case.settings.values.insert(format!("{PREFIX}{CLOSE_WAIT}"), close_wait_s);
        case
    }

    fn judge(case: &Case) -> Verdict {
        super::judge(case, &samples::finding(Cause::LingeringState), &Bounds::default())
    }

    fn change(key: &str) -> Change {
        Change { key: key.to_owned(), from: "65536".to_owned(), to: "131072".to_owned() }
    }

    #[test]
    fn an_hour_of_close_wait_is_reset_at_kube_proxy() {
        let keys = [LIMIT, "net.netfilter.nf_conntrack_tcp_timeout_close_wait"];
        for who in [KUBE_PROXY, "kube-proxy (process 812)"] {
            let verdict = judge(&case(vec![writer(who, &keys)], 3600));
            let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
            let [advice] = advice.as_slice() else { panic!("{advice:?}") };
            assert_eq!(advice.id, "reset-at-kube-proxy");
            assert!(advice.what.contains("conntrack.tcpCloseWaitTimeout: 60s"), "{}", advice.what);
            assert!(advice.why.contains("3600 now, 60 advised"), "{}", advice.why);
            assert!(advice.changes.is_empty());
        }
    }

    #[test]
    fn a_file_is_named_with_what_to_do_there() {
        let file = "/etc/sysctl.d/99-old.conf";
        let key = "net.netfilter.nf_conntrack_tcp_timeout_close_wait";
        let verdict = judge(&case(vec![writer(file, &[key])], 3600));
        let Verdict::Advise(advice) = verdict else { panic!("{verdict:?}") };
        assert_eq!(advice[0].id, format!("reset-at-{file}"));
        assert!(advice[0].why.ends_with("60 advised): take the line out."), "{}", advice[0].why);
        assert!(advice[0].commands.is_empty());
    }

    #[test]
    fn what_nobody_changes_is_left_to_its_writer() {
        assert_eq!(judge(&case(vec![writer(KUBE_PROXY, &[LIMIT])], 60)), Verdict::Silent);
        assert_eq!(judge(&case(Vec::new(), 3600)), Verdict::Silent);
        // Somebody of whom it is not known what he sets is not accused.
        assert_eq!(judge(&case(vec![writer("tuned", &[])], 3600)), Verdict::Silent);
        assert_eq!(judge(&case(vec![writer("tuned", &[LIMIT])], 3600)), Verdict::Silent);
    }

    #[test]
    fn a_raised_limit_is_left_alone_by_kube_proxy() {
        let writer = writer(KUBE_PROXY, &[LIMIT, HASHSIZE]);
        let advice = advice(&writer, &[change(LIMIT), change(HASHSIZE)]).unwrap();
        let said =
            "conntrack.maxPerCore: 0 (the limit is then left alone, and conntrack.min ignored).";
        assert!(advice.what.ends_with(said), "{}", advice.what);
        assert_eq!(advice.what.matches("maxPerCore").count(), 1);
    }

    #[test]
    fn other_advice_says_that_it_will_not_last() {
        let case = case(
            vec![
                writer("kube-proxy (process 812)", &[HASHSIZE]),
                writer("/etc/sysctl.conf", &[BUCKETS]),
            ],
            60,
        );
        let advice = |key: &str| Advice {
            id: "raise".to_owned(),
            rule: "raise",
            severity: Severity::Warning,
            what: String::new(),
            why: String::new(),
            evidence: Vec::new(),
            changes: vec![change(key)],
            is_unasked: true,
            expected: Expected::default(),
            risk: "Memory.".to_owned(),
            commands: Vec::new(),
            until: String::new(),
        };
        let mut given = [advice(HASHSIZE), advice("net.netfilter.nf_conntrack_tcp_loose")];
        mention(&case, &mut given);
        let [buckets, loose] = given;
        assert_eq!(
            buckets.risk,
            "Memory. kube-proxy sets this too, and will again: see 'reset-at-kube-proxy'. /etc/sysctl.conf sets this too, \
             and will again: see 'reset-at-/etc/sysctl.conf'."
        );
        assert_eq!(loose.risk, "Memory.");
    }
}
