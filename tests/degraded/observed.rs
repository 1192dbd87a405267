//! What these tests share: a gateway, ctwatch on it without hooks, and its lines read by key. It must not judge a number
//! that only one test cares for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ctwatch_lab::ctwatch::{Line, binary};
use ctwatch_lab::{Ctwatch, Gateway, GatewayPlan, counters, skip, wait};
use serde_json::Value;

/// A gateway, or none, which is said as a skip.
pub(crate) fn gateway() -> Option<Gateway> {
    if let Some(reason) = skip::why_no_gateway() {
        skip(&reason);
        return None;
    }
    Some(Gateway::build(&GatewayPlan::default()).unwrap())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The binary under test.
pub(crate) fn ctwatch() -> PathBuf {
    binary(env!("CARGO_BIN_EXE_ctwatch"))
}

/// Whether a kprobe can be attached on this kernel (`perf_kprobe`, kernel/events/core.c).
pub(crate) fn has_kprobes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
}

/// Arguments that look at the gateway without hooks, also where hooks would be possible. They are not looked for either, which
/// takes seconds in a program that is not optimised; that they are not found is what `all_namespaces` begins with.
pub(crate) fn without_hooks<'a>(gateway: &'a Gateway, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--netns", gateway.gateway().name(), "--attach", "netlink"]].concat()
}

/// Starts `ctwatch watch --json` on the gateway and waits for its first line: from then on everything is followed.
#[track_caller]
pub(crate) fn watch(gateway: &Gateway, interval: &str) -> (Ctwatch, Line) {
    let arguments = ["watch", "--json", "--top", "50", "--interval", interval];
    let mut watch = Ctwatch::start(&ctwatch(), &without_hooks(gateway, &arguments)).unwrap();
    let first = watch.next(wait::PATIENCE).unwrap();
    (watch, first)
}

/// Waits until the gateway's table holds so many entries.
#[track_caller]
pub(crate) fn wait_for_entries(gateway: &Gateway, expected: u64) {
    let what = format!("{expected} entries");
    wait::until(wait::PATIENCE, &what, || {
        Ok((counters::entries(gateway.gateway())? == expected).then_some(()))
    })
    .unwrap();
}

/// Waits for the first line of which `is_it` is true.
#[track_caller]
pub(crate) fn line_with(watch: &mut Ctwatch, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    watch
        .find(wait::PATIENCE, what, |line| Ok(is_it(&line.json).then(|| line.json.clone())))
        .unwrap()
}

/// What is under `path`, as in `totals.new`.
pub(crate) fn at<'a>(json: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(json, |value, key| &value[key])
}

/// The row of a source and protocol.
pub(crate) fn row<'a>(json: &'a Value, source: &str, protocol: &str) -> Option<&'a Value> {
    json["sources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["source"] == source && row["protocol"] == protocol)
}

/// What is said to be missing.
pub(crate) fn degraded(json: &Value) -> Vec<&str> {
    json["mode"]["degraded"].as_array().unwrap().iter().map(|said| said.as_str().unwrap()).collect()
}

/// A command whose output is not read while it runs. Dropping it kills it.
pub(crate) struct Unread(pub(crate) Child);

impl Unread {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let child = Command::new(ctwatch())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its end, if it comes in time.
    pub(crate) fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait::until(patience, "the end of ctwatch", || Ok(self.0.try_wait()?)).ok()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}
