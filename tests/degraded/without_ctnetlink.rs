//! Where ctnetlink is not loaded, as on most gateways: the table is listed through /proc, nothing is loaded for it, and
//! what only ctnetlink could tell is said to be missing.

use std::path::Path;

use ctwatch_lab::{Ctwatch, FlowPlan, wait};

use crate::observed::{at, ctwatch, degraded, gateway, ip, row, wait_for_entries, without_hooks};

/// Runs a program where the kernel does not seem to have ctnetlink: neither as a module nor among its functions.
const WITHOUT_CTNETLINK: &str = "\
mount --bind /dev/null /proc/kallsyms && mount -t tmpfs none /sys/module && exec \"$0\" \"$@\"";

#[test]
fn entries_come_from_proc_and_the_rest_is_not_known() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 3000).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.2"), 70).send(gateway.client()).unwrap();
    FlowPlan::icmp_echo(ip("fd00:10::5"), 7).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 3077);
    let program = ctwatch();
    let hidden = [
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        WITHOUT_CTNETLINK,
        program.to_str().unwrap(),
    ];
    let arguments = without_hooks(&gateway, &["watch", "--json", "--once"]);
    let ended =
        Ctwatch::run(Path::new("unshare"), &[&hidden[..], &arguments].concat(), wait::PATIENCE)
            .unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let line = &ended.lines[0].json;

    assert_eq!(at(line, "totals.entries"), 3077, "{line}");
    assert_eq!(line["sources"][0]["source"], "10.0.1.66", "{line}");
    for (source, protocol, entries) in
        [("10.0.1.66", "udp", 3000), ("10.0.1.2", "tcp", 70), ("fd00:10::5", "icmpv6", 7)]
    {
        assert_eq!(row(line, source, protocol).unwrap()["entries"], entries, "{line}");
    }
    for unknown in ["new", "ended", "new_per_s"] {
        assert!(line["totals"][unknown].is_null(), "{unknown} in {line}");
    }
    assert_eq!(line["mode"]["alloc"], "none", "{line}");
    let said = degraded(line).join("\n");
    assert!(said.contains("modprobe nf_conntrack_netlink"), "{said}");
    assert!(ended.stderr.contains("modprobe nf_conntrack_netlink"), "{}", ended.stderr);
}
