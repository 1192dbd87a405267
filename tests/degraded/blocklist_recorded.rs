//! Lists made from recordings: they name whom a look would have named, and say what the recording cannot tell.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, counters, skip, wait};

use crate::blocklist::{FEW, MANY, ROUTER, blocklist, blocks, listed, policy, said};
use crate::observed::{ctwatch, gateway, has_kprobes, ip, wait_for_entries, without_hooks};

#[test]
fn a_recording_gives_the_list_that_a_look_gives_meanwhile() {
    let Some(gateway) = gateway() else { return };
    let rate = NonZeroU64::new(400).unwrap();
    let flood = FlowPlan::udp(ip("10.0.1.66"), 1_000_000).at_rate(rate);
    let flood = Flood::start(gateway.client(), flood).unwrap();
    for source in [ROUTER, "fd00:10::1"] {
        FlowPlan::udp(ip(source), MANY).send(gateway.client()).unwrap();
    }
    FlowPlan::udp(ip("10.0.1.2"), FEW).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "entries of the flood", || {
        let expected = 3 * MANY + FEW;
        Ok((counters::entries(gateway.gateway())? > expected).then_some(()))
    })
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (file, top) = (directory.path().join("recording"), directory.path().join("top"));
    // Shorter intervals than those of a look.
    let recorder = record(&gateway, &file, &["--interval", "200ms"]);
    let recorder_of_one = record(&gateway, &top, &["--top", "1"]);
    let policy = ["--for", "3s", "--intervals", "3", "--max-share", "100"];
    let live = blocklist(&gateway, &policy);
    for recorder in [recorder, recorder_of_one] {
        let ended = recorder.stop().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    }
    flood.stop().unwrap();

    let recorded = blocklist_from(&file, &policy);
    assert_eq!(listed(&live), ["10.0.1.66", "fd00:10::/64"], "{}", said(&live));
    assert_eq!(listed(&recorded), listed(&live), "{}", said(&recorded));
    let name = gateway.gateway().name();
    for part in [
        &format!("spared {ROUTER}: it is a router that this machine's routes lead to"),
        &format!("the end of the recording of {name} (netns "),
        &format!("that this machine has now, also in the network namespace {name}"),
    ] {
        assert!(said(&recorded).contains(part), "{part}: {}", said(&recorded));
    }
    for part in ["was killed", "cut off", "--top"] {
        assert!(!said(&recorded).contains(part), "{part}: {}", said(&recorded));
    }
    let of_one = blocklist_from(&top, &["--max-share", "100"]);
    assert_eq!(listed(&of_one), ["10.0.1.66"], "{}", said(&of_one));
    assert!(said(&of_one).contains("beyond the first 1 were not recorded"), "{}", said(&of_one));

    // The machine is not the one that it was.
    let name = name.to_owned();
    drop(gateway);
    let later = blocklist_from(&file, &policy);
    assert_eq!(listed(&later), ["10.0.1.66", ROUTER, "fd00:10::/64"], "{}", said(&later));
    let part = format!("there is no network namespace {name} any more: name what must be spared");
    assert!(said(&later).contains(&part), "{}", said(&later));
}

#[test]
fn which_namespace_of_a_recording_is_meant_is_asked_where_there_are_several() {
    let (Some(first), Some(second)) = (gateway(), gateway()) else { return };
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(first.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.67"), MANY).send(second.client()).unwrap();
    wait_for_entries(&first, MANY);
    wait_for_entries(&second, MANY);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("recording");
    let attach: &[&str] = if has_kprobes() { &["--attach", "netlink"] } else { &[] };
    let command = ["record", file.to_str().unwrap(), "--netns", "all", "--duration", "2s"];
    let output = Command::new(ctwatch()).args([&command, attach].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let names = [&first, &second].map(|gateway| gateway.gateway().name());
    for further in [&[][..], &["--netns", "third"]] {
        let output = blocklist_from(&file, further);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(output.stdout.is_empty());
        assert!(names.iter().all(|name| said(&output).contains(name)), "{}", said(&output));
    }
    let number = fs::metadata(Path::new("/run/netns").join(names[1])).unwrap().ino().to_string();
    for (netns, source) in
        [(names[0], "10.0.1.66"), (names[1], "10.0.1.67"), (&*number, "10.0.1.67")]
    {
        let output = blocklist_from(&file, &["--netns", netns, "--max-share", "100"]);
        assert_eq!(listed(&output), [source], "{netns}: {}", said(&output));
    }
}

#[test]
fn a_recording_that_is_cut_off_or_none_is_said_to_be_and_the_file_stays_what_it_was() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, MANY);
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |name: &str| directory.path().join(name);
    let (file, list) = (in_directory("recording"), in_directory("list"));
    let recorder = record(&gateway, &file, &["--duration", "7s"]);
    assert_eq!(recorder.ended(wait::PATIENCE).unwrap().status.code(), Some(0));
    fs::write(&list, "old\n").unwrap();
    let output_to = ["--output", list.to_str().unwrap()];

    fs::write(in_directory("none"), "10.0.1.66 # a list\n").unwrap();
    let attach = [&output_to[..], &["--attach", "netlink"]].concat();
    let long = [&output_to[..], &["--for", "60s", "--intervals", "50"]].concat();
    for (name, further, status, part) in [
        ("missing", &output_to[..], 2, "missing: No such file"),
        ("none", &output_to, 2, "none: it is not a recording of ctwatch"),
        ("recording", &attach, 2, "cannot be used with"),
        ("recording", &long, 1, "of the 50 intervals"),
    ] {
        let output = blocklist_from(&in_directory(name), further);
        assert_eq!(output.status.code(), Some(status), "{name}: {}", said(&output));
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
        assert_eq!(fs::read_to_string(&list).unwrap(), "old\n");
    }

    // What is whole of it is enough.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 60]).unwrap();
    let output = blocklist_from(&file, &[&output_to[..], &["--max-share", "100"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("it is cut off"), "{}", said(&output));
    let text = fs::read_to_string(&list).unwrap();
    let sources: Vec<&str> = blocks(&text).map(|(source, _)| source).collect();
    assert_eq!(sources, ["10.0.1.66"], "{text}");
}

/// Recorded once, and judged as it was then (tests/data/recordings).
#[test]
fn recordings_of_real_floods_list_whoever_is_to_blame_and_nobody_else() {
    if let Some(reason) = skip::why_no_gateway() {
        return skip(&reason);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/recordings");
    for (name, expected) in
        [("quiet", &[][..]), ("one_source", &["10.0.1.66"]), ("flood_to_one_service", &[])]
    {
        let file = folder.join(format!("{name}.ctw"));
        let command = ["blocklist", "--format", "plain", "--from", file.to_str().unwrap()];
        let policy = ["--harm", "0", "--max-share", "100"];
        let output = Command::new(ctwatch()).args([&command[..], &policy].concat()).output();
        let output = output.unwrap();
        assert_eq!(listed(&output), expected, "{name}: {}", said(&output));
    }
}

/// Begins to record the gateway, and is under way when it returns.
#[track_caller]
fn record(gateway: &Gateway, file: &Path, further: &[&str]) -> Ctwatch {
    let command = [&["record", file.to_str().unwrap()], further].concat();
    let mut recorder = Ctwatch::start(&ctwatch(), &without_hooks(gateway, &command)).unwrap();
    recorder.hear(wait::PATIENCE, "recording to").unwrap();
    recorder
}

/// The same as [`blocklist`], from a recording.
fn blocklist_from(file: &Path, further: &[&str]) -> Output {
    let from = [&["--from", file.to_str().unwrap()], further].concat();
    Command::new(ctwatch()).args(policy(&from)).output().unwrap()
}
