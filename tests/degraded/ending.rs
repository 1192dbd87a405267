//! How it ends: at once and with 0 when it is told to or nobody reads any more, also while it cannot write.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use ctwatch_lab::{Ctwatch, FlowPlan, wait};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::observed::{Unread, ctwatch, gateway, ip, wait_for_entries, watch, without_hooks};

/// A person who pressed Ctrl-C does not wait longer.
const AT_ONCE: Duration = Duration::from_secs(2);
/// What a pipe holds (pipe(7)).
const PIPE_BYTES: u64 = 65_536;
const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    for output in [["--json"].as_slice(), &[]] {
        let arguments = [&["watch", "--interval", "100ms"], output].concat();
        let mut watch = Unread::start(&without_hooks(&gateway, &arguments));
        let mut line = String::new();
        BufReader::new(watch.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let status = watch.ended(wait::PATIENCE).expect("it ends");
        let mut said = String::new();
        watch.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        // What cannot be seen, and nothing else.
        assert!(said.lines().all(|line| line.starts_with("ctwatch: degraded: ")), "{said}");
    }
}

#[test]
fn signals_end_it_at_once_and_well() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3);
    for told in [Signal::INT, Signal::TERM] {
        let (watch, _) = watch(&gateway, "100ms");
        watch.signal(told).unwrap();
        let ended = watch.ended(AT_ONCE).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{told:?}: {}", ended.stderr);
    }
}

#[test]
fn signals_end_it_well_while_it_is_starting() {
    let Some(gateway) = gateway() else { return };
    // The first listing of so many takes a while.
    FlowPlan::udp(ip("10.0.1.2"), 100_000).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 100_000);
    for command in ["watch", "events"] {
        let arguments = without_hooks(&gateway, &[command, "--json"]);
        let command = Ctwatch::start(&ctwatch(), &arguments).unwrap();
        wait_for_signal_handlers(command.id());
        let told = Instant::now();
        command.signal(Signal::TERM).unwrap();
        let ended = command.ended(wait::PATIENCE).unwrap();
        let took = told.elapsed();
        println!("ended {} ms after it was told to", took.as_millis());
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(ended.lines.is_empty());
    }
}

#[test]
fn a_reader_that_does_not_read_is_told_what_it_missed_and_cannot_keep_it_alive() {
    let Some(gateway) = gateway() else { return };
    // Long lines fill the pipe soon.
    for last in 1..=50 {
        FlowPlan::udp(ip(&format!("10.0.1.{last}")), 2).send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 100);
    let arguments = ["watch", "--json", "--interval", "100ms", "--top", "50"];
    let arguments = without_hooks(&gateway, &arguments);

    let mut watch = Unread::start(&arguments);
    let pipe = watch.0.stdout.take().unwrap();
    wait_until_it_cannot_write(&pipe);
    let mut reader = BufReader::new(pipe);
    let (mut read_bytes, mut skipped) = (0, 0);
    while skipped == 0 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let json: Value = serde_json::from_str(&line).unwrap();
        skipped = json["loss"]["skipped_ticks"].as_u64().unwrap();
        read_bytes += line.len() as u64;
        assert!(read_bytes < 4 * PIPE_BYTES, "no skipped interval is told: {line}");
    }
    drop(reader);
    assert_eq!(watch.ended(wait::PATIENCE).expect("it ends").code(), Some(0));

    for told in [Signal::INT, Signal::TERM] {
        let mut watch = Unread::start(&arguments);
        let pipe = watch.0.stdout.take().unwrap();
        wait_until_it_cannot_write(&pipe);
        signal(watch.0.id(), told);
        let status = watch.ended(AT_ONCE).expect("it ends though nobody reads");
        assert_eq!(status.code(), Some(0), "{told:?}");
    }
}

/// Waits until SIGINT and SIGTERM are caught (`SigCgt` of proc_pid_status(5)).
#[track_caller]
fn wait_for_signal_handlers(id: u32) {
    let both = [Signal::INT, Signal::TERM].map(|signal| 1_u64 << (signal.as_raw() - 1));
    wait::until(wait::PATIENCE, "signal handlers", || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16)?;
        Ok(both.iter().all(|signal| caught & signal != 0).then_some(()))
    })
    .unwrap();
}

/// Waits until the pipe takes no more: it holds much, and for several intervals nothing has come.
#[track_caller]
fn wait_until_it_cannot_write(pipe: &ChildStdout) {
    let unread_bytes = || Ok(ioctl_fionread(pipe)?);
    wait::until(wait::PATIENCE, "a full pipe", || {
        Ok((unread_bytes()? > PIPE_BYTES / 2).then_some(()))
    })
    .unwrap();
    wait::until_quiet(wait::PATIENCE, 7 * INTERVAL, "the pipe", unread_bytes).unwrap();
}

fn signal(id: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
