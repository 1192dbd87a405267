//! Other walls than the limit: the ports of source NAT, and the table of expectations.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{FlowPlan, Gateway, address, wait};

use super::{Table, advice, advise, advise_during, assert_cause, evidence, follow, refusal};
use crate::insert_failures::masquerade_to_ten_ports;
use crate::observed::{gateway, ip};

#[test]
fn causes_snat_ports_are_named_and_a_larger_limit_refused() {
    let Some(gateway) = gateway() else { return };
    let _table = Table::of(4096, 4096);
    masquerade_to_ten_ports(&gateway);
    let plan =
        FlowPlan::tcp_syn(ip("10.0.2.1"), 100_000).from_sources(NonZeroU64::new(50).unwrap());
    let diagnosis = advise_during(&gateway, plan, 100);
    assert_cause(&diagnosis, "snat_ports");
    assert!(evidence(&diagnosis, "insert_failed") > 100.0, "{diagnosis}");
    assert!(refusal(&diagnosis, "raise_limit").contains("source NAT"), "{diagnosis}");
}

/// As many expectations as there may be, each of a client that has asked for a file by TFTP.
#[test]
fn causes_expectations_are_named_and_more_of_them_advised() {
    let Some(gateway) = gateway() else { return };
    let most = 16;
    let _expectations = GlobalSetting::set("net/netfilter/nf_conntrack_expect_max", most).unwrap();
    let rules = "table inet helpers {\n ct helper tftp {\n type \"tftp\" protocol udp\n }\n \
         chain prerouting {\n type filter hook prerouting priority 0\n udp dport 69 ct helper set \"tftp\"\n }\n}\n";
    gateway.add_rules(rules).unwrap();
    let client = ip("10.0.2.1");
    ask_for_files(&gateway, client, 0..u16::try_from(most + 8).unwrap());
    wait_for_expectations(&gateway, most);
    let diagnosis = advise(&gateway);
    assert_cause(&diagnosis, "expectations");
    assert_eq!(evidence(&diagnosis, "expectations") as u64, most, "{diagnosis}");
    assert!(refusal(&diagnosis, "raise_limit").contains("expectations"), "{diagnosis}");
    let advice = advice(&diagnosis, "raise-expectations");
    assert_eq!(advice["unasked"], false, "{advice}");
    assert_eq!(follow(&gateway, advice), 2 * most);
    // Those who were turned away ask again, and others.
    ask_for_files(&gateway, client, 100..100 + u16::try_from(most).unwrap());
    wait_for_expectations(&gateway, 2 * most);
    println!("expectations: before {most}, predicted {}, after {}", 2 * most, 2 * most);
}

/// A read request (RFC 1350 section 5) from each of these ports, counted from 2000.
fn ask_for_files(gateway: &Gateway, client: IpAddr, ports: std::ops::Range<u16>) {
    gateway
        .client()
        .within(|| {
            for port in ports {
                let socket = UdpSocket::bind(SocketAddr::new(client, 2000 + port))?;
                socket.send_to(b"\0\x01file\0octet\0", (address::server(client), 69))?;
            }
            Ok(())
        })
        .unwrap();
}

fn wait_for_expectations(gateway: &Gateway, count: u64) {
    wait::until(wait::PATIENCE, &format!("{count} expectations"), || {
        let path = "/proc/thread-self/net/nf_conntrack_expect";
        let text = gateway.gateway().within(|| Ok(std::fs::read_to_string(path)?))?;
        Ok((text.lines().count() as u64 == count).then_some(()))
    })
    .unwrap();
}
