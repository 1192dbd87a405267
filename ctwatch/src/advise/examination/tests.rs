//! What is told of a case, by table; each sentence is looked for by what it says, not by all its words.

use super::*;
use crate::{
    advise::{
        bounds::Bounds,
        diagnose,
        facts::{LogSigns, ModuleUse, Need, Surroundings, Unread, User, Writer},
        persistence::{Machine, Module, Persistence, files::Files},
        samples,
        settings::{BUCKETS, LIMIT, PREFIX},
    },
    model::{census::Census, snapshot::CensusNow, snapshot::KernelStatistics},
};

/// An idle gateway that was seen, changed.
fn seen(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = samples::case(|snapshot| {
        let census = Census { entries: 1000, assured: 900, ..Census::default() };
        snapshot.census = Some(CensusNow { age_s: 0.5, census: std::sync::Arc::new(census) });
    });
    case.facts.modules.is_loaded = true;
    case.facts.are_users_known = true;
    change(&mut case);
    case
}

fn told(case: &Case) -> Vec<Section> {
    let diagnosis = diagnose(case, &Bounds::default());
    let look = Ok(Look { case, diagnosis: &diagnosis });
    let netns = case.last.netns;
    examine(&Subject { netns, settings: Some(&case.settings), facts: &case.facts, look })
}

fn unseen(settings: Option<&Settings>, facts: &Facts) -> Vec<Section> {
    examine(&Subject { netns: 1, settings, facts, look: Err("nothing is tracked here") })
}

/// The first sign of a check whose sentence has these words.
#[track_caller]
fn sign<'a>(sections: &'a [Section], check: &str, words: &str) -> &'a Sign {
    let section = sections.iter().find(|section| section.id == check);
    let mut signs = section.into_iter().flat_map(|section| &section.signs);
    let found = signs.find(|sign| sign.sentence.contains(words));
    found.unwrap_or_else(|| panic!("no '{words}' in {check} of {sections:#?}"))
}

fn set(case: &mut Case, name: &str, value: i64) {
    case.settings.values.insert(format!("{PREFIX}{name}"), value);
}

#[test]
fn each_check_has_a_name_of_its_own() {
    let mut ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CHECKS.len());
}

#[test]
fn no_section_is_empty_and_each_sentence_is_whole() {
    let case = seen(|_| {});
    for sections in [told(&case), unseen(None, &Facts::default())] {
        for section in &sections {
            assert!(!section.signs.is_empty(), "{}", section.id);
            for sign in &section.signs {
                assert!(!sign.sentence.is_empty() && !sign.sentence.contains("  "), "{sign:?}");
            }
        }
    }
}

#[test]
fn the_log_s_lines_are_told_with_what_was_suppressed() {
    let log = |change: fn(&mut LogSigns)| {
        seen(|case| {
            case.facts.log =
                LogSigns { is_known: true, covers_s: Some(7200), ..LogSigns::default() };
            change(&mut case.facts.log);
        })
    };
    let none = told(&log(|_| {}));
    assert_eq!(sign(&none, "kernel_log", "no line of a full table").severity, Some(Severity::Info));
    let now = told(&log(|log| {
        (log.table_full, log.suppressed, log.last_full_s_ago) = (12, 3400, Some(60));
    }));
    let full = sign(&now, "kernel_log", "stands 12 times");
    assert_eq!(full.severity, Some(Severity::Critical));
    assert!(full.sentence.contains("60 s ago"), "{full:?}");
    sign(&now, "kernel_log", "3400 lines");
    let long_ago = told(&log(|log| (log.table_full, log.last_full_s_ago) = (1, Some(86_400))));
    assert_eq!(sign(&long_ago, "kernel_log", "1 times").severity, Some(Severity::Warning));
    // Unread is not unsuspicious.
    let unread = told(&seen(|case| {
        case.facts
            .unread
            .push(Unread { what: "the kernel's log".into(), why: "for root".to_owned() });
    }));
    assert!(unread.iter().all(|section| section.id != "kernel_log"));
    assert_eq!(sign(&unread, "unread", "the kernel's log: for root").severity, None);
}

#[test]
fn every_namespace_s_table_is_told_and_the_fullest_first() {
    let sections = told(&seen(|case| {
        for (netns, name, entries) in [(7, "small", 5), (8, "full", 65_536)] {
            let name = name.to_owned();
            case.facts.namespaces.push(crate::advise::facts::NamespaceFacts {
                netns,
                name,
                entries,
            });
        }
    }));
    let tables = sections.iter().find(|section| section.id == "tables").unwrap();
    let begins: Vec<(&str, Option<Severity>)> = tables
        .signs
        .iter()
        .map(|sign| (sign.sentence.split(':').next().unwrap(), sign.severity))
        .collect();
    assert_eq!(
        begins,
        [
            ("this namespace", Some(Severity::Info)),
            ("namespace full", Some(Severity::Critical)),
            ("namespace small", Some(Severity::Info)),
        ]
    );
}

#[test]
fn a_counter_that_moves_now_is_worse_than_one_that_has_moved() {
    let cpu = |drop| KernelStatistics { drop: Some(drop), found: Some(0), ..Default::default() };
    let sections = told(&seen(|case| case.facts.statistics_by_cpu = vec![cpu(0), cpu(40)]));
    let drop = sign(&sections, "statistics", "drop 40 since the start, on 1 of 2 CPUs");
    assert_eq!(drop.severity, Some(Severity::Info), "{drop:?}");
    assert!(drop.evidence.contains(&Datum::text("by_cpu", "0 40", "/proc/net/stat/nf_conntrack")));
    let mut case = seen(|case| case.facts.statistics_by_cpu = vec![cpu(40)]);
    std::sync::Arc::make_mut(&mut case.last).kernel.drop = Some(7);
    let sections = told(&case);
    let drop = sign(&sections, "statistics", "of these 7 in the last 10 s");
    assert_eq!(drop.severity, Some(Severity::Critical), "{drop:?}");
}

#[test]
fn load_and_refusals_follow_from_limit_and_buckets() {
    let fine = told(&seen(|_| {}));
    assert_eq!(sign(&fine, "chains", "λ = 2.00").severity, Some(Severity::Info));
    // A tenth can be evicted: 20 % at as many buckets as entries.
    let refused = sign(&fine, "eviction", "would refuse 20 %");
    assert_eq!(refused.severity, Some(Severity::Warning));
    let few = told(&seen(|case| {
        case.settings.values.insert(BUCKETS.to_owned(), 512);
    }));
    assert_eq!(sign(&few, "chains", "at the limit").severity, Some(Severity::Warning));
    sign(&few, "eviction", "would refuse 0");
    let unlimited = told(&seen(|case| {
        case.settings.values.insert(LIMIT.to_owned(), 0);
    }));
    assert!(sign(&unlimited, "tables", "no limit").severity == Some(Severity::Info));
    assert!(unlimited.iter().all(|section| section.id != "eviction"));
}

#[test]
fn memory_names_what_gives_entries_extensions() {
    let plain = told(&seen(|case| case.facts.memory.extension_bytes = Some(0)));
    sign(&plain, "memory", "takes 256 B; nothing gives entries extensions");
    let accounted = told(&seen(|case| {
        case.facts.memory.extension_reasons = vec!["nf_conntrack_acct = 1 counts".into()];
        case.facts.memory.entry_objects = Some(1000);
        case.facts.memory.extension_objects_max = Some(250);
    }));
    sign(&accounted, "memory", "takes 384 B; of these 128 B of extensions");
    sign(&accounted, "memory", "at most 25 % have extensions");
    let small = told(&seen(|case| case.facts.memory.total_bytes = Some(256 << 20)));
    let full = sign(&small, "memory", "a full table of 65536 entries");
    assert_eq!(full.severity, Some(Severity::Warning), "{full:?}");
}

#[test]
fn timeouts_are_held_against_defaults_and_floors() {
    let change = |translates| {
        told(&seen(|case| {
            set(case, "tcp_timeout_close_wait", 3600);
            set(case, "udp_timeout_stream", 60);
            case.facts.translates_sources = translates;
        }))
    };
    let nat = change(Some(true));
    let long = sign(&nat, "timeouts", "tcp_timeout_close_wait is 3600 s");
    assert_eq!(long.severity, Some(Severity::Warning));
    let short = sign(&nat, "timeouts", "must not go below 120 s (RFC 4787 REQ-5)");
    assert_eq!(short.severity, Some(Severity::Warning));
    let host = change(Some(false));
    assert_eq!(sign(&host, "timeouts", "udp_timeout_stream").severity, Some(Severity::Info));
}

#[test]
fn only_values_that_mean_something_are_told() {
    let sections = told(&seen(|case| {
        set(case, "acct", 1);
        set(case, "timestamp", 0);
        set(case, "tcp_loose", 0);
    }));
    sign(&sections, "switches", "acct = 1");
    sign(&sections, "switches", "tcp_loose = 0");
    let switches = sections.iter().find(|section| section.id == "switches").unwrap();
    assert_eq!(switches.signs.len(), 2, "{switches:?}");
}

#[test]
fn whether_it_can_be_done_without_depends_on_who_needs_it() {
    let user = |need| User { who: "nft table inet a".into(), why: "1 rule".into(), need };
    let needed = told(&seen(|case| case.facts.users = vec![user(Need::Translation)]));
    let need = needed.iter().find(|section| section.id == "need").unwrap();
    assert_eq!(need.signs.len(), 1, "{need:?}");
    let state = told(&seen(|case| case.facts.users = vec![user(Need::State)]));
    sign(&state, "need", "notrack in both directions");
    let nobody = told(&seen(|_| {}));
    sign(&nobody, "need", "no rule of this namespace needs conntrack");
    // Where not all could be read nobody is told to do without.
    let unknown = told(&seen(|case| case.facts.are_users_known = false));
    let need = unknown.iter().find(|section| section.id == "need").unwrap();
    assert_eq!(need.signs.len(), 1, "{need:?}");
    assert_eq!(need.signs[0].severity, None);
}

#[test]
fn modules_are_told_in_the_order_of_their_removal() {
    let module = |name: &str, used_by: &[&str], held| ModuleUse {
        name: name.to_owned(),
        used_by: used_by.iter().map(|user| (*user).to_owned()).collect(),
        held,
    };
    let sections = told(&seen(|case| {
        case.facts.modules.removal_order =
            vec![module("nft_ct", &[], 2), module("nf_conntrack", &["nft_ct"], 0)];
    }));
    sign(&sections, "modules", "nf_conntrack by nft_ct");
    sign(&sections, "modules", "nft_ct (2)");
    let order =
        sign(&sections, "modules", "in this order: nft_ct, nf_conntrack. ctwatch removes none");
    let expected = Datum::text("removal_order", "nft_ct nf_conntrack", "/proc/modules");
    assert_eq!(order.evidence, [expected]);
}

#[test]
fn from_where_nothing_can_be_changed_it_is_told_where_it_can() {
    let around = |initial, container: Option<&str>, read_only: &[&'static str]| {
        told(&seen(|case| {
            case.facts.surroundings = Surroundings {
                is_initial_namespace: initial,
                container: container.map(str::to_owned),
                read_only: read_only.iter().copied().map(Into::into).collect(),
            };
        }))
    };
    sign(&around(Some(true), None, &[]), "place", "can be changed from here");
    let child = around(Some(false), Some("podman"), &["/proc/sys", "/sys"]);
    sign(&child, "place", "on the host only");
    sign(&child, "place", "container (podman)");
    sign(&child, "place", "/proc/sys and /sys are mounted read-only");
    let writers = told(&seen(|case| {
        let keys = vec![LIMIT.to_owned()];
        case.facts.writers.push(Writer { who: "tuned".into(), keys, how: "change it".into() });
    }));
    sign(&writers, "writers", "tuned sets net.netfilter.nf_conntrack_max: change it");
}

#[test]
fn files_that_do_not_do_what_they_seem_to_are_told() {
    let files = Files::from_texts([
        ("/etc/sysctl.d/10-limit.conf", "net.netfilter.nf_conntrack_count = 131072\n"),
        ("/etc/sysctl.d/20-old.conf", "net.ipv4.netfilter.ip_conntrack_max = 131072\n"),
        ("/etc/modprobe.d/ct.conf", "options nf_conntrack hashsize=16384\n"),
    ]);
    let machine = Machine { has_systemd: true, module: Module::Loaded, ..Machine::default() };
    let sections = told(&seen(|case| case.facts.persistence = Persistence::of(&files, &machine)));
    for (file, words) in [
        ("/etc/sysctl.d/10-limit.conf line 1", "read-only"),
        ("/etc/sysctl.d/20-old.conf line 1", "net.netfilter.nf_conntrack_max"),
        ("/etc/modprobe.d/ct.conf line 1", "eight times"),
    ] {
        let told = sign(&sections, "files", file);
        assert_eq!(told.severity, Some(Severity::Warning), "{told:?}");
        assert!(told.sentence.contains(words), "{told:?}");
    }
    sign(&sections, "files", "after a reboot nf_conntrack.hashsize = 16384");
    sign(&told(&seen(|_| {})), "files", "no file sets anything of conntrack");
}

#[test]
fn without_a_look_what_is_set_is_told_and_the_cause_is_not() {
    let mut facts = Facts::default();
    facts.modules.is_loaded = true;
    let settings = samples::settings();
    let sections = unseen(Some(&settings), &facts);
    assert_eq!(sign(&sections, "verdict", "nothing is tracked here").severity, None);
    assert_eq!(sign(&sections, "eviction", "is not known").severity, None);
    sign(&sections, "timeouts", "are the kernel's defaults");
    sign(&sections, "next", "run 'ctwatch doctor' as root");

    let sections = unseen(None, &Facts::default());
    sign(&sections, "verdict", "nothing is tracked on this machine");
    sign(&sections, "modules", "nothing was loaded to look");
    assert!(sections.iter().all(|section| section.id != "timeouts"));
}
