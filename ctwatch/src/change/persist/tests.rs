//! What is written, what it will do, and what is refused; each file is read back by the parser that doctor uses.

use proptest::prelude::*;

use super::*;
use crate::advise::persistence::Cause;

const UDP: &str = "net.netfilter.nf_conntrack_udp_timeout";

fn machine(values: &[(&str, u64)]) -> Machine {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), value.to_string()));
    Machine { has_systemd: true, module: Module::Loaded, values: values.collect() }
}

fn change(key: &str, to: u64) -> Change {
    Change { key: key.to_owned(), from: "1".to_owned(), to: to.to_string() }
}

fn request(set: u64, changes: &[Change]) -> Request<'_> {
    Request {
        set,
        when: "2026-11-24T19:00:00Z".to_owned(),
        changes,
        child_namespace: None,
        force: Force::Refuse,
    }
}

/// The files with those of the plan.
fn with(mut files: Files, plan: &Plan) -> Files {
    for file in &plan.files {
        files.put(file.path.to_str().unwrap(), String::from_utf8(file.new.clone()).unwrap());
    }
    files
}

fn made_persistent(files: &Files, set: u64, changes: &[(&str, u64)]) -> Files {
    let wanted: Vec<Change> = changes.iter().map(|(key, to)| change(key, *to)).collect();
    with(files.clone(), &plan_files(files, &machine(changes), &request(set, &wanted)).unwrap())
}

#[test]
fn the_four_files_put_every_value_in_force_early_and_late() {
    let changes = [(HASHSIZE, 200_192), (LIMIT, 200_000), (UDP, 20)];
    let files = made_persistent(&Files::default(), 3, &changes);
    let paths: Vec<&str> = files.by_path.keys().map(String::as_str).collect();
    assert_eq!(paths, [MODPROBE_FILE, MODULES_FILE, SYSCTL_FILE, UDEV_FILE]);
    for missing in [None, Some(MODULES_FILE), Some(UDEV_FILE), Some(MODPROBE_FILE)] {
        let mut files = files.clone();
        missing.map(|path| files.by_path.remove(path));
        let after = Persistence::of(&files, &machine(&[]));
        for (key, value) in changes {
            assert_eq!(after.after_reboot[key].value, value.to_string(), "{missing:?}");
            assert_eq!(after.after_reboot[key].cause, Cause::Sysctl);
        }
        assert_eq!(after.findings, [], "{missing:?}");
    }
    let sysctl = files.text(SYSCTL_FILE).unwrap();
    assert!(sysctl.contains("ctwatch rollback 3") && sysctl.contains("2026-11-24"), "{sysctl}");
    assert!(
        files.text(MODPROBE_FILE).unwrap().ends_with("\noptions nf_conntrack hashsize=200192\n")
    );
    // Once more changes nothing.
    let wanted = changes.map(|(key, to)| change(key, to));
    let again = plan_files(&files, &machine(&changes), &request(3, &wanted)).unwrap();
    assert_eq!(again, Plan::default());
}

#[test]
fn wherever_writing_is_cut_off_the_limit_is_not_eight_times_the_buckets() {
    let changes = [(HASHSIZE, 1024), (LIMIT, 1000)];
    let wanted = changes.map(|(key, to)| change(key, to));
    let whole = plan_files(&Files::default(), &machine(&changes), &request(1, &wanted)).unwrap();
    for written in 0..=whole.files.len() {
        let cut_off = Plan { files: whole.files[..written].to_vec(), ..Plan::default() };
        let after = Persistence::of(&with(Files::default(), &cut_off), &machine(&[]));
        let causes: Vec<Cause> = after.after_reboot.values().map(|after| after.cause).collect();
        assert!(causes.iter().all(|cause| *cause == Cause::Sysctl), "{written}: {after:?}");
    }
    assert_eq!(whole.files.len(), 4);
}

#[test]
fn the_limit_is_written_with_the_buckets() {
    let changes = [change(HASHSIZE, 1000)];
    let in_force = machine(&[(HASHSIZE, 1024), (LIMIT, 900)]);
    let plan = plan_files(&Files::default(), &in_force, &request(1, &changes)).unwrap();
    let after = Persistence::of(&with(Files::default(), &plan), &in_force);
    assert_eq!(after.after_reboot[LIMIT].value, "900");
    assert_eq!(after.after_reboot[HASHSIZE].value, "1024");
}

#[test]
fn earlier_sets_stay_and_a_key_is_its_last_set_s() {
    let files =
        made_persistent(&Files::default(), 1, &[(HASHSIZE, 1024), (LIMIT, 1000), (UDP, 20)]);
    let files = made_persistent(&files, 2, &[(UDP, 25)]);
    let files = made_persistent(&files, 7, &[(LIMIT, 2000)]);
    let blocks = format::read_sysctl(files.text(SYSCTL_FILE).unwrap()).unwrap();
    let sets: Vec<(u64, Vec<u64>)> =
        blocks.iter().map(|block| (block.set, block.values.values().copied().collect())).collect();
    assert_eq!(sets, [(1, vec![1024]), (2, vec![25]), (7, vec![2000])]);
    let after = Persistence::of(&files, &machine(&[]));
    assert_eq!(after.after_reboot[LIMIT].value, "2000");
    assert_eq!(after.after_reboot[HASHSIZE].value, "1024");
    assert!(after.findings.is_empty(), "{:?}", after.findings);
}

#[test]
fn a_kernel_that_has_conntrack_built_in_needs_one_file() {
    let in_force =
        Machine { module: Module::BuiltIn, ..machine(&[(HASHSIZE, 1024), (LIMIT, 1000)]) };
    let changes = [change(HASHSIZE, 1024), change(LIMIT, 1000)];
    let plan = plan_files(&Files::default(), &in_force, &request(1, &changes)).unwrap();
    assert_eq!(plan.files.len(), 1);
    let after = Persistence::of(&with(Files::default(), &plan), &in_force);
    assert_eq!(after.after_reboot[HASHSIZE].value, "1024");
}

#[test]
fn a_file_that_would_win_is_named() {
    let changes = [change(LIMIT, 1000)];
    let in_force = machine(&[(LIMIT, 1000)]);
    let other = "/etc/sysctl.d/99-local.conf";
    let files = Files::from_texts([(other, "\nnet.nf_conntrack_max = 65536\n")]);
    let error = plan_files(&files, &in_force, &request(1, &changes)).unwrap_err();
    let PersistError::Loses(winners) = &error else { panic!("{error}") };
    let place = Place { file: other.to_owned(), line: 2 };
    assert_eq!(winners[0].found, Some(("65536".to_owned(), place)));
    assert!(error.to_string().contains("99-local.conf line 2 would make"), "{error}");
    let forced = Request { force: Force::Write, ..request(1, &changes) };
    let plan = plan_files(&files, &in_force, &forced).unwrap();
    assert_eq!((plan.files.len(), plan.who_wins.len()), (3, 1));
    // The same value is no quarrel, and one that loses is told.
    let agreeing = Files::from_texts([(other, "net.nf_conntrack_max = 1000\n")]);
    assert!(plan_files(&agreeing, &in_force, &request(1, &changes)).unwrap().who_wins.is_empty());
    let losing = Files::from_texts([("/usr/lib/sysctl.d/50-x.conf", "net.nf_conntrack_max = 7\n")]);
    let plan = plan_files(&losing, &in_force, &request(1, &changes)).unwrap();
    assert_eq!(
        plan.who_wins,
        [format!(
            "{LIMIT}: {SYSCTL_FILE} line 4 wins over /usr/lib/sysctl.d/50-x.conf line 1, which says 7"
        )]
    );
}

#[test]
fn options_that_keep_the_module_from_loading_are_named() {
    let files =
        Files::from_texts([("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize = 7\n")]);
    let changes = [change(LIMIT, 1000)];
    let error = plan_files(&files, &machine(&[(LIMIT, 1000)]), &request(1, &changes)).unwrap_err();
    assert!(error.to_string().contains("/etc/modprobe.d/a.conf line 1"), "{error}");
}

#[test]
fn what_cannot_be_made_persistent_is_refused() {
    let plan = |files: &Files, request: &Request<'_>| {
        plan_files(files, &machine(&[(LIMIT, 1000)]), request).unwrap_err()
    };
    let changes = [change(LIMIT, 2000), change(UDP, 20)];
    let lost = plan(&Files::default(), &request(4, &changes));
    assert!(
        matches!(&lost, PersistError::NotInForce { set: 4, found } if found.len() == 2),
        "{lost}"
    );
    assert_eq!(plan(&Files::default(), &request(4, &[])), PersistError::Nothing(4));
    let child = Request { child_namespace: Some("blue".to_owned()), ..request(4, &changes) };
    let child = plan(&Files::default(), &child).to_string();
    assert!(child.contains(&format!("ip netns exec blue sysctl -w {UDP}=20")), "{child}");
    let right = [change(LIMIT, 1000)];
    for path in [SYSCTL_FILE, UDEV_FILE, MODULES_FILE] {
        let theirs = Files::from_texts([(path, "# mine\n")]);
        assert_eq!(plan(&theirs, &request(4, &right)), PersistError::NotOurs(path.to_owned()));
    }
    let mut files = made_persistent(&Files::default(), 1, &[(UDP, 20)]);
    let edited = format!("{}# keep\nnet.core.somaxconn = 1\n", files.text(SYSCTL_FILE).unwrap());
    files.put(SYSCTL_FILE, edited);
    assert_eq!(plan(&files, &request(4, &right)), PersistError::Edited(SYSCTL_FILE.to_owned()));
    let mut files = made_persistent(&Files::default(), 1, &[(UDP, 20)]);
    files.by_path.get_mut(SYSCTL_FILE).unwrap().link_to = Some("/etc/x".to_owned());
    assert_eq!(plan(&files, &request(4, &right)), PersistError::NotOurs(SYSCTL_FILE.to_owned()));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(sets in prop::collection::vec((1..9_u64, prop::collection::btree_map("net\\.netfilter\\.nf_conntrack_[a-z_]{1,9}|nf_conntrack\\.hashsize", any::<u64>(), 1..5)), 0..5)) {
        let mut blocks = Vec::new();
        for (set, values) in sets {
            format::add(&mut blocks, Block { set, when: "2026-11-24T19:00:00Z".to_owned(), values });
        }
        let text = format::sysctl(&blocks);
        prop_assert_eq!(format::read_sysctl(&text), Some(blocks.clone()));
        let sysctls = Persistence::of(&Files::from_texts([(SYSCTL_FILE, text.as_str())]), &machine(&[])).assignments;
        let written = blocks.iter().flat_map(|block| &block.values);
        let written: Vec<(&str, String)> = written.map(|(key, value)| (if key == HASHSIZE { BUCKETS } else { key }, value.to_string())).collect();
        let read: Vec<(&str, String)> = sysctls.iter().map(|set| (set.key.as_str(), set.value.clone())).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_file_of_ours_is_too_strange(text in "(# Change set [0-9]{0,3}, persistent since x; to undo it: |[a-z.]{0,9} = [0-9]{0,30}|[ -~\\n]{0,20}|\\n){0,9}") {
        let text = format!("{MARK}\n{text}");
        if let Some(blocks) = format::read_sysctl(&text) {
            prop_assert_eq!(format::sysctl(&blocks), text);
        }
    }
}
