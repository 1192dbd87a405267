//! Every network namespace has its own line where nothing is hooked, as well; those that come are found, those that go are let
//! go of.

use std::path::Path;
use std::process::{Child, Command};

use ctwatch_lab::gateway::UPLINK;
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, GatewayPlan, counters, wait};
use serde_json::Value;

use crate::observed::{at, ctwatch, gateway, has_kprobes, ip, row};

#[test]
fn all_namespaces_have_their_own_numbers_as_they_come_and_go() {
    let Some(first) = gateway() else { return };
    let second = another();
    FlowPlan::udp(ip("10.0.1.2"), 30).send(first.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 20).send(second.client()).unwrap();
    let attach: &[&str] = if has_kprobes() { &["--attach", "netlink"] } else { &[] };
    let arguments = ["watch", "--json", "--interval", "100ms", "--netns", "all"];
    let mut watch = Ctwatch::start(&ctwatch(), &[&arguments, attach].concat()).unwrap();
    let line = line_of(&mut watch, &first, 30);
    assert_eq!(row(&line, "10.0.1.2", "udp").unwrap()["entries"], 30, "{line}");
    let line = line_of(&mut watch, &second, 20);
    assert_eq!(row(&line, "10.0.1.2", "udp").unwrap()["entries"], 20, "{line}");
    assert!(at(&line, "mode.attached_at").is_string() && at(&line, "mode.pins_module").is_null());

    let third = another();
    FlowPlan::udp(ip("10.0.1.7"), 10).send(third.client()).unwrap();
    let line = line_of(&mut watch, &third, 10);
    assert_eq!(row(&line, "10.0.1.7", "udp").unwrap()["entries"], 10, "{line}");

    // The kernel ends a namespace when nobody holds it any more, and its interfaces with it.
    second.gateway().delete().unwrap();
    wait::until(wait::PATIENCE, "the end of the namespace", || {
        Ok(counters::link(second.client(), UPLINK).is_err().then_some(()))
    })
    .unwrap();
    // What was under way when it went may still name it.
    watch.forget().unwrap();
    line_of(&mut watch, &first, 30);
    let name = second.gateway().name();
    watch
        .find(wait::PATIENCE, "ten lines in a row without it", {
            let mut without = 0;
            move |line| {
                without = if line.json["netns_name"] == name { 0 } else { without + 1 };
                Ok((without == 10).then_some(()))
            }
        })
        .unwrap();
    line_of(&mut watch, &third, 10);
    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// A namespace that has lost its name lives on in its processes, and is called by the first of them.
#[test]
fn all_namespaces_of_processes_are_seen_as_long_as_these_live() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 30).send(gateway.client()).unwrap();
    let inside = ["netns", "exec", gateway.gateway().name(), "sleep", "600"];
    let mut process = Killed(Command::new("ip").args(inside).spawn().unwrap());
    let number = gateway.gateway().number().unwrap();
    let link = Path::new("/proc").join(process.0.id().to_string()).join("ns/net");
    wait::until(wait::PATIENCE, "the process to be inside", || {
        Ok((rustix::fs::stat(&link)?.st_ino == number).then_some(()))
    })
    .unwrap();
    let attach: &[&str] = if has_kprobes() { &["--attach", "netlink"] } else { &[] };
    let arguments = ["watch", "--json", "--interval", "100ms", "--netns", "all"];
    let mut watch = Ctwatch::start(&ctwatch(), &[&arguments, attach].concat()).unwrap();
    line_of(&mut watch, &gateway, 30);
    gateway.gateway().delete().unwrap();
    let name = format!("pid {} (sleep)", process.0.id());
    let renamed = watch.find(wait::PATIENCE, &name, |line| {
        Ok((line.json["netns_name"] == name.as_str()).then(|| line.json.clone()))
    });
    let line = renamed.unwrap();
    assert_eq!((line["netns"].as_u64(), at(&line, "totals.entries")), (Some(number), &30.into()));
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    wait::until(wait::PATIENCE, "the end of the namespace", || {
        Ok(counters::link(gateway.client(), UPLINK).is_err().then_some(()))
    })
    .unwrap();
    watch.stop().unwrap();
}

/// A process that is killed in the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn all_is_over_where_the_only_namespace_is_deleted() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    let (watch, first) = crate::observed::watch(&gateway, "100ms");
    assert_eq!(first.json["netns_name"], gateway.gateway().name(), "{}", first.json);
    gateway.gateway().delete().unwrap();
    let ended = watch.ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("has been deleted"), "{}", ended.stderr);
}

fn another() -> Gateway {
    Gateway::build(&GatewayPlan::default()).unwrap()
}

/// Waits for the gateway's line with so many entries by source.
#[track_caller]
fn line_of(watch: &mut Ctwatch, gateway: &Gateway, entries: u64) -> Value {
    let name = gateway.gateway().name();
    watch
        .find(wait::PATIENCE, &format!("{entries} entries of {name}"), |line| {
            let is_it =
                line.json["netns_name"] == name && line.json["totals"]["entries"] == entries;
            Ok(is_it.then(|| line.json.clone()))
        })
        .unwrap()
}
