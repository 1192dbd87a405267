//! Where nothing is tracked: say so, name what can be looked at instead, and wait or end.

use ctwatch_lab::{Ctwatch, FlowPlan, Namespace, skip, wait};

use crate::observed::{at, ctwatch, gateway, ip, line_with, wait_for_entries, without_hooks};

/// An empty namespace that is deleted in the end.
struct Empty(Namespace);

impl Empty {
    fn create() -> Self {
        let name = format!("{}{}-empty", ctwatch_lab::gateway::PREFIX, std::process::id());
        Self(Namespace::create(&name).unwrap())
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        self.0.delete().unwrap();
    }
}

#[test]
fn an_empty_namespace_ends_with_77_and_says_where_to_look() {
    if let Some(reason) = skip::why_no_gateway() {
        return skip(&reason);
    }
    let empty = Empty::create();
    let Some(gateway) = gateway() else { return };
    for command in
        [["watch", "--once"].as_slice(), &["watch", "--no-wait"], &["events", "--no-wait"]]
    {
        let arguments = [command, &["--netns", empty.0.name()]].concat();
        let said = assert_cannot_run(&arguments);
        assert!(said.contains("cargo xtask lab"), "{said}");
        assert!(!said.contains(gateway.gateway().name()), "nothing is tracked there yet: {said}");
    }
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    let said = assert_cannot_run(&["watch", "--once", "--netns", empty.0.name()]);
    assert!(said.contains(gateway.gateway().name()), "{said}");
}

#[test]
fn it_waits_for_the_first_connection_and_counts_it() {
    let Some(gateway) = gateway() else { return };
    let arguments = without_hooks(&gateway, &["watch", "--json", "--interval", "100ms"]);
    let mut watch = Ctwatch::start(&ctwatch(), &arguments).unwrap();
    line_with(&mut watch, "an empty table", |line| at(line, "totals.entries") == 0);
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    line_with(&mut watch, "the first three entries", |line| at(line, "totals.entries") == 3);
    let ended = watch.stop().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing is tracked"), "{}", ended.stderr);
    assert!(ended.stderr.contains("waiting"), "{}", ended.stderr);
}

#[track_caller]
fn assert_cannot_run(arguments: &[&str]) -> String {
    let ended = Ctwatch::run(&ctwatch(), arguments, wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(77), "{arguments:?}: {}", ended.stderr);
    assert!(ended.lines.is_empty(), "{arguments:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {}", ended.stderr);
    ended.stderr
}
