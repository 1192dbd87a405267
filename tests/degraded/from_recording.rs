//! Advice from a recording is the advice of the look that was recorded; and what a recording cannot tell is said.

use std::fs;
use std::num::NonZeroU64;
use std::process::{Command, Output};

use ctwatch_lab::{Ctwatch, Flood, FlowPlan, Gateway, wait};
use serde_json::Value;

use crate::advise::{VICTIM, flood_of_a_part_of_the_table, flooded, spoofed_flood};
use crate::observed::{ctwatch, gateway, ip};

/// The same question of the same look: byte by byte the same answer, although the gateway is gone by then.
#[test]
fn a_recorded_look_gives_the_advice_that_was_given_live_byte_by_byte() {
    let Some(gateway) = flooded() else { return };
    let more = spoofed_flood(100_000).starting_at(100_000);
    let flood =
        Flood::start(gateway.client(), more.at_rate(NonZeroU64::new(500).unwrap())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut live = Vec::new();
    for (command, name) in [("advise", "advised"), ("doctor", "examined")] {
        let look = [command, "--json", "--for", "3s", "--record", &file(name)];
        live.push(output(&without_search(&gateway, &look)));
    }
    flood.stop().unwrap();
    drop(gateway);
    let cause = &json(&live[0])["cause"];
    assert_eq!(cause, "spoofed_flood", "{}", said(&live[0]));
    for (live, command, name) in [(&live[0], "advise", "advised"), (&live[1], "doctor", "examined")]
    {
        let later = output(&[command, "--json", "--for", "3s", "--from", &file(name)]);
        assert_eq!(text(&later), text(live), "{}", said(&later));
        for part in ["older ctwatch", "was killed", "cut off"] {
            assert!(!said(&later).contains(part), "{}", said(&later));
        }
    }
    // One recording answers every command.
    let text_of_other = output(&["doctor", "--from", &file("advised")]);
    assert!(text(&text_of_other).contains("spoofed"), "{}", text(&text_of_other));
    let checked = output(&["check", "-w", "5", "-c", "5", "--from", &file("advised")]);
    assert_eq!(checked.status.code(), Some(2), "{}", text(&checked));
    assert!(text(&checked).starts_with("CONNTRACK CRITICAL - "), "{}", text(&checked));
    let replayed = output(&["replay", "--json", &file("advised")]);
    let ends_at = &json(&live[0])["ts"];
    let last: Value = serde_json::from_str(text(&replayed).lines().last().unwrap()).unwrap();
    assert_eq!(&last["ts"], ends_at);
}

/// Recorded on and on, and looked into later: the end of it tells what a look meanwhile told.
#[test]
fn the_end_of_a_longer_recording_names_the_cause_that_a_look_named_meanwhile() {
    let Some(gateway) = gateway() else { return };
    gateway.do_not_masquerade(VICTIM).unwrap();
    let Some(flood) = flood_of_a_part_of_the_table() else { return };
    FlowPlan::udp(ip("10.0.2.1"), 300)
        .from_sources(NonZeroU64::new(60).unwrap())
        .send(gateway.client())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording");
    let path = file.to_str().unwrap();
    let record = ["record", path, "--interval", "200ms", "--census", "200ms"];
    let mut recorder = Ctwatch::start(&ctwatch(), &without_search(&gateway, &record)).unwrap();
    recorder.hear(wait::PATIENCE, "recording to").unwrap();
    // Nothing is wrong, for a while that the last seconds must not tell of.
    let quiet = output(&without_search(&gateway, &["advise", "--json", "--for", "2s"]));
    assert_eq!(json(&quiet)["cause"], "none", "{}", text(&quiet));
    flood.send(gateway.client()).unwrap();
    let live = output(&without_search(&gateway, &["advise", "--json", "--for", "3s"]));
    let ended = recorder.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);

    let later = output(&["advise", "--json", "--for", "3s", "--from", path]);
    let (live, recorded) = (json(&live), json(&later));
    assert_eq!(live["cause"], "spoofed_flood", "{live}");
    assert_eq!(recorded["cause"], live["cause"], "{recorded}");
    assert_eq!(
        recorded["evidence"]["flood_destination"], live["evidence"]["flood_destination"],
        "{recorded}"
    );
    let ids = |diagnosis: &Value| -> Vec<String> {
        let advice = diagnosis["advice"].as_array().unwrap().iter();
        advice.map(|advice| advice["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&recorded), ids(&live), "{recorded}\n{live}");
    assert!(said(&later).contains("for the machine that was recorded"), "{}", said(&later));
    // Killed before its end: what was read of the machine at the start is there.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 200]).unwrap();
    let cut = output(&["advise", "--json", "--from", path]);
    assert_eq!(cut.status.code(), Some(0), "{}", said(&cut));
    assert!(said(&cut).contains("it is cut off"), "{}", said(&cut));
    assert!(!said(&cut).contains("older ctwatch"), "{}", said(&cut));
}

/// Arguments that look at the gateway without even the search for hooks, which takes a debug build long.
fn without_search<'a>(gateway: &'a Gateway, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--netns", gateway.gateway().name(), "--attach", "netlink"]].concat()
}

#[track_caller]
fn output(arguments: &[&str]) -> Output {
    Command::new(ctwatch()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}
