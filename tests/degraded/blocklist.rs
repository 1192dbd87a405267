//! Lists of who is to be kept out, from real traffic where no hook is on conntrack: who is on them, who is spared and why, and
//! that a file stays what it was when there is no list.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, Namespace, wait};
use rustix::process::Signal;

use crate::observed::{ctwatch, gateway, has_kprobes, ip, wait_for_entries, without_hooks};

/// Whoever holds so many is listed here: the limit is the machine's, and much too high to be reached.
const ENTRIES_MIN: &str = "500";
pub(crate) const MANY: u64 = 600;
pub(crate) const FEW: u64 = 100;
/// The client's address on its link to the gateway, which is the router that the gateway's routes to all clients lead to.
pub(crate) const ROUTER: &str = "10.255.0.2";
const GATEWAY_INSIDE: &str = "10.255.0.1";

#[test]
fn who_holds_most_is_listed_with_the_reason_and_ipv6_by_the_customer() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), FEW).send(gateway.client()).unwrap();
    // None of the eight has many.
    FlowPlan::udp(ip("fd00:10::1"), MANY)
        .from_sources(8.try_into().unwrap())
        .send(gateway.client())
        .unwrap();
    FlowPlan::udp(ip("fd00:10:0:1::1"), FEW).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 2 * (MANY + FEW));
    let output = blocklist(&gateway, &["--max-share", "100"]);
    assert_eq!(listed(&output), ["10.0.1.66", "fd00:10::/64"], "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(blocks(&text).all(|(_, why)| why.contains(" holds ")), "{text}");
    // What cannot be seen is said, and nothing else is.
    assert!(!said(&output).contains("nobody is listed"), "{}", said(&output));

    // Half of four.
    let output = blocklist(&gateway, &["--max-share", "50", "--max-blocks", "1"]);
    assert_eq!(listed(&output).len(), 1, "{}", said(&output));
    assert!(said(&output).contains("--max-blocks"), "{}", said(&output));
    let output = blocklist(&gateway, &["--allow", "10.0.0.0/9", "--proxy", "fd00:10::8"]);
    assert!(listed(&output).is_empty());
    for part in [
        "10.0.1.66: it lies in 10.0.0.0/9: what --allow names",
        "fd00:10::/64: it contains fd00:10::8",
    ] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
}

#[test]
fn the_router_that_many_are_behind_is_spared_and_so_are_the_gateway_itself_and_its_resolver() {
    let Some(gateway) = gateway() else { return };
    let resolver = "10.0.1.53";
    let _resolver = Resolver::named(gateway.gateway(), resolver);
    for source in [ROUTER, resolver] {
        FlowPlan::udp(ip(source), MANY).send(gateway.client()).unwrap();
    }
    from_here(gateway.gateway(), Ipv4Addr::new(192, 0, 2, 2));
    FlowPlan::udp(ip("10.0.1.2"), FEW).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3 * MANY + FEW);
    let output = blocklist(&gateway, &[]);
    assert!(listed(&output).is_empty(), "{}", said(&output));
    for (source, why) in [
        (ROUTER, "it is a router that this machine's routes lead to"),
        (resolver, "it is a resolver that this machine asks for names"),
        ("192.0.2.2", "it is an address of this machine itself"),
    ] {
        let line = format!("spared {source}: {why}");
        assert!(said(&output).contains(&line), "{line}: {}", said(&output));
    }
    assert!(!said(&output).contains("10.0.1.2:"), "{}", said(&output));
}

#[test]
fn every_path_of_a_route_leads_to_a_router() {
    let Some(gateway) = gateway() else { return };
    let routers = ["10.0.3.1", "10.0.3.2", "10.0.3.3", "10.0.3.4"];
    // Of a route with several paths, of a table of its own, and of next hop objects.
    for arguments in [
        "route add 203.0.113.0/24 nexthop via 10.255.0.2 nexthop via 10.0.3.1 dev clients onlink",
        "route add default via 10.0.3.2 dev clients onlink table 100",
        "nexthop add id 7 via 10.0.3.3 dev clients onlink",
        "nexthop add id 8 via 10.0.3.4 dev clients onlink",
        "nexthop add id 9 group 7/8",
        "route add 192.0.2.128/25 nhid 9",
    ] {
        let mut ip = Command::new("ip");
        ip.args(["-netns", gateway.gateway().name()]).args(arguments.split(' '));
        let output = ip.output().unwrap();
        assert!(
            output.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for router in routers {
        FlowPlan::udp(ip(router), MANY).send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 4 * MANY);
    let output = blocklist(&gateway, &[]);
    assert!(listed(&output).is_empty(), "{}", said(&output));
    for router in routers {
        let line = format!("spared {router}: it is a router");
        assert!(said(&output).contains(&line), "{line}: {}", said(&output));
    }
}

#[test]
fn who_is_connected_over_ssh_is_spared_on_whatever_port_and_in_any_namespace() {
    let Some(gateway) = gateway() else { return };
    let operators = ["10.0.1.66", "10.0.1.67"];
    let _listening = TcpListener::start(gateway.gateway(), 22).unwrap();
    let _odd = Sshd::listening(gateway.gateway(), 2222);
    let _odd_connections = TcpListener::start(gateway.gateway(), 2223).unwrap();
    let mut connections = Vec::new();
    for (source, port) in operators.into_iter().zip([22, 2222]) {
        let connection = FlowPlan::tcp_handshake(ip(source), 1).to(ip(GATEWAY_INSIDE), port);
        connections.push(connection.send(gateway.client()).unwrap());
    }
    // A connection to something else spares nobody.
    let other = FlowPlan::tcp_handshake(ip("10.0.1.68"), 1).to(ip(GATEWAY_INSIDE), 2223);
    connections.push(other.send(gateway.client()).unwrap());
    for source in ["10.0.1.66", "10.0.1.67", "10.0.1.68"] {
        FlowPlan::udp(ip(source), MANY).send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 3 * MANY + 3);
    let output = blocklist(&gateway, &["--max-share", "100"]);
    assert_eq!(listed(&output), ["10.0.1.68"], "{}", said(&output));
    for source in operators {
        let line = format!("spared {source}: it is at the other end of an SSH connection");
        assert!(said(&output).contains(&line), "{line}: {}", said(&output));
    }
    // Nor is their prefix listed for the others in it.
    let output = blocklist(&gateway, &["--max-share", "100", "--aggregate", "24"]);
    assert_eq!(listed(&output), ["10.0.1.68"], "{}", said(&output));

    // Gone, so there is nothing to spare.
    drop(connections);
    wait::until(wait::PATIENCE, "the end of the connections", || {
        let output = blocklist(&gateway, &["--max-share", "100"]);
        Ok((listed(&output).len() == 3).then_some(()))
    })
    .unwrap();
}

#[test]
fn an_empty_list_is_no_failure_and_its_reason_is_said() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), FEW).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FEW);
    let output = blocklist(&gateway, &[]);
    assert!(listed(&output).is_empty());
    assert!(said(&output).contains("no source stands out"), "{}", said(&output));
    // Whoever harms nobody stands out in vain.
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, MANY + FEW);
    let output = blocklist(&gateway, &["--harm", "1"]);
    assert!(listed(&output).is_empty());
    assert!(
        said(&output).contains("10.0.1.66 (holds ") && said(&output).contains("--harm 0"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_file_is_replaced_at_once_and_stays_what_it_was_when_there_is_no_list() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, MANY);
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("list"), directory.path().join("link"));
    let protected = directory.path().join("protected");
    fs::write(&file, "old\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    symlink("list", &link).unwrap();
    fs::write(&protected, "10.0.9.0/24 # monitoring\n10.0.1 # a typo\n").unwrap();
    let (to, protected_name) = (link.to_str().unwrap(), protected.to_str().unwrap());

    let is_untouched = || assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
    let output = blocklist(&gateway, &["--output", to, "--protected", protected_name]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains(&format!("{protected_name}, line 2: '10.0.1' is neither")),
        "{}",
        said(&output)
    );
    is_untouched();
    if !has_kprobes() {
        let arguments = ["blocklist", "--format", "plain", "--output", to, "--attach", "kprobe"];
        let status = Command::new(ctwatch())
            .args(arguments)
            .args(["--netns", gateway.gateway().name()])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(77));
        is_untouched();
    }
    let missing = ["blocklist", "--format", "plain", "--output", to, "--netns", "no-such-gateway"];
    let status = Command::new(ctwatch()).args(missing).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    is_untouched();
    // A look that was cut short has seen too little to say that there is nobody.
    let waiting = arguments(&gateway, &["--output", to, "--for", "60s", "--intervals", "50"]);
    let waiting: Vec<&str> = waiting.iter().map(String::as_str).collect();
    let mut waiting = Ctwatch::start(&ctwatch(), &waiting).unwrap();
    waiting.hear(wait::PATIENCE, "looking for").unwrap();
    let ended = waiting.stop().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("of the 50 intervals"), "{}", ended.stderr);
    is_untouched();

    fs::write(&protected, "10.0.9.0/24 # monitoring\n").unwrap();
    let output =
        blocklist(&gateway, &["--output", to, "--protected", protected_name, "--max-share", "100"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{}", said(&output));
    let text = fs::read_to_string(&file).unwrap();
    let sources: Vec<&str> = blocks(&text).map(|(source, _)| source).collect();
    assert_eq!(sources, ["10.0.1.66"], "{text}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let names = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 3);
}

#[test]
fn a_namespace_that_goes_while_it_is_looked_at_makes_no_list() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), MANY).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, MANY);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list");
    fs::write(&file, "old\n").unwrap();
    let arguments = arguments(&gateway, &["--output", file.to_str().unwrap(), "--for", "60s"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = Ctwatch::start(&ctwatch(), &arguments).unwrap();
    running.hear(wait::PATIENCE, "looking for").unwrap();
    drop(gateway);
    running.signal(Signal::INT).unwrap();
    let ended = running.ended(wait::PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\n", "{}", ended.stderr);
}

#[test]
fn what_makes_no_sense_ends_with_status_two() {
    for wrong in [
        &["--format", "plain", "--netns", "all"][..],
        &["--format", "plain", "--for", "2s"],
        &["--format", "plain", "--share", "120"],
        &["--format", "nonsense"],
        &["--format", "plain", "--files", "/tmp"],
        &[],
    ] {
        let output = Command::new(ctwatch()).arg("blocklist").args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

/// Arguments under which whoever holds [`ENTRIES_MIN`] is listed, whether others are harmed or not.
pub(crate) fn policy<'a>(further: &[&'a str]) -> Vec<&'a str> {
    let amounts = ["--share", "0", "--min-entries", ENTRIES_MIN];
    let basis = ["blocklist", "--format", "plain"];
    let is_given = |name| further.contains(&name);
    let intervals: &[&str] = if is_given("--intervals") { &[] } else { &["--intervals", "1"] };
    let harm: &[&str] = if is_given("--harm") { &[] } else { &["--harm", "0"] };
    let time: &[&str] = if is_given("--for") { &[] } else { &["--for", "1s"] };
    [&basis[..], &amounts, intervals, harm, time, further].concat()
}

fn arguments(gateway: &Gateway, further: &[&str]) -> Vec<String> {
    without_hooks(gateway, &policy(further)).into_iter().map(str::to_owned).collect()
}

pub(crate) fn blocklist(gateway: &Gateway, further: &[&str]) -> Output {
    Command::new(ctwatch()).args(arguments(gateway, further)).output().unwrap()
}

/// Who is on a list.
#[track_caller]
pub(crate) fn listed(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    blocks(&text).map(|(source, _)| source.to_owned()).collect()
}

/// The lines of a list in plain format: each source, and what is said of it.
pub(crate) fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter_map(|line| line.split_once('#'));
    lines.map(|(source, why)| (source.trim(), why)).filter(|(source, _)| !source.is_empty())
}

pub(crate) fn said(output: &Output) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&output.stderr)
}

/// As many entries of the namespace's own as of somebody who is listed.
fn from_here(namespace: &Namespace, source: Ipv4Addr) {
    let send = || {
        let socket = UdpSocket::bind((source, 0))?;
        for port in 0..u16::try_from(MANY)? {
            socket.send_to(&[0], (Ipv4Addr::new(198, 51, 100, 9), 10_000 + port))?;
        }
        Ok(())
    };
    namespace.within(send).unwrap();
}

/// A resolver of a namespace alone; dropping it leaves none.
struct Resolver(PathBuf);

impl Resolver {
    fn named(namespace: &Namespace, resolver: &str) -> Self {
        let directory = Path::new("/etc/netns").join(namespace.name());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("resolv.conf"), format!("nameserver {resolver}\n")).unwrap();
        Self(directory)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
        // Others may have theirs there.
        let _not_empty = fs::remove_dir("/etc/netns");
    }
}

/// A process named `sshd` that has a listening socket; the kernel finishes the handshakes for it.
struct Sshd {
    process: Child,
    _directory: tempfile::TempDir,
}

impl Sshd {
    fn listening(namespace: &Namespace, port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("sshd");
        fs::copy("/bin/sleep", &program).unwrap();
        let bind = || Ok(std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
        let socket = OwnedFd::from(namespace.within(bind).unwrap());
        let process = Command::new(program).arg("600").stdin(Stdio::from(socket)).spawn().unwrap();
        Self { process, _directory: directory }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
