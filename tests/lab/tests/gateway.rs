//! The lab proved by the kernel's own counters: what the generator says it made is what the gateway's table holds, and
//! nothing is left when a gateway goes. Needs root and the programs ip, nft and conntrack.

#[cfg(test)]
mod exact {
    use std::net::IpAddr;
    use std::num::NonZeroU64;

    use ctwatch_lab::flow::FLOWS_PER_DESTINATION;
    use ctwatch_lab::gateway::{CLIENT_SIDE, SERVER_SIDE};
    use ctwatch_lab::service::{TcpListener, UdpEcho};
    use ctwatch_lab::{Flood, FlowPlan, Gateway, GatewayPlan, address, counters, skip, wait};

    fn gateway() -> Option<Gateway> {
        match skip::why_no_gateway() {
            Some(reason) => {
                skip(&reason);
                None
            }
            None => Some(Gateway::build(&GatewayPlan::default()).unwrap()),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[track_caller]
    fn assert_entries(gateway: &Gateway, expected: u64) {
        let mut last = 0;
        let reached = wait::until(wait::PATIENCE, "the entries of all flows", || {
            last = counters::entries(gateway.gateway())?;
            Ok((last == expected).then_some(()))
        });
        assert!(reached.is_ok(), "expected {expected} entries, found {last}");
    }

    #[test]
    fn each_client_holds_exactly_its_flows() {
        let Some(gateway) = gateway() else { return };
        let plans = [
            FlowPlan::udp(ip("10.0.1.2"), 640),
            FlowPlan::tcp_syn(ip("10.0.1.3"), 192),
            FlowPlan::icmp_echo(ip("10.0.1.4"), 64),
            FlowPlan::udp(ip("fd00:10::5"), 100),
        ];
        for plan in &plans {
            assert_eq!(plan.send(gateway.client()).unwrap().flows, plan.count);
        }
        assert_entries(&gateway, 996);
        for plan in &plans {
            let source = plan.sources.first();
            assert_eq!(
                counters::listed(gateway.gateway(), source).unwrap(),
                plan.count,
                "{source}"
            );
        }
        // The wires carried every packet, and besides only multicast listener reports, which conntrack does not track.
        let link = counters::link(gateway.gateway(), CLIENT_SIDE).unwrap();
        assert!(link.received >= 996 && link.received < 1010, "{link:?}");
        assert_eq!(link.receive_dropped, 0);
        assert!(counters::link(gateway.gateway(), SERVER_SIDE).unwrap().transmitted >= 996);
        let statistics = counters::statistics(gateway.gateway()).unwrap();
        assert_eq!(["drop", "insert_failed", "invalid"].map(|name| statistics.get(name)), [0; 3]);

        assert_eq!(counters::flush_source(gateway.gateway(), ip("10.0.1.3")).unwrap(), 192);
        assert_entries(&gateway, 804);
        counters::flush(gateway.gateway()).unwrap();
        assert_entries(&gateway, 0);
    }

    #[test]
    fn every_protocol_works_over_both_families() {
        let Some(gateway) = gateway() else { return };
        let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
        let mut expected = 0;
        let mut held = Vec::new();
        for source in [ip("10.0.2.1"), ip("fd00:10::2:1")] {
            for plan in [
                FlowPlan::udp(source, 30),
                FlowPlan::tcp_syn(source, 31),
                FlowPlan::icmp_echo(source, 32),
                FlowPlan::tcp_handshake(source, 33),
            ] {
                expected += plan.count;
                held.push(plan.send(gateway.client()).unwrap());
                assert_entries(&gateway, expected);
            }
            assert_eq!(counters::listed(gateway.gateway(), source).unwrap(), 126);
        }
        assert_eq!(held.iter().map(|sent| sent.connections.len()).sum::<usize>(), 66);
    }

    #[test]
    fn many_sources_share_a_plan_evenly() {
        let Some(gateway) = gateway() else { return };
        let plan = FlowPlan::udp(ip("10.0.8.0"), 3000).from_sources(NonZeroU64::new(1000).unwrap());
        plan.send(gateway.client()).unwrap();
        let plan_v6 =
            FlowPlan::tcp_syn(ip("fd00:10::8:0"), 200).from_sources(NonZeroU64::new(100).unwrap());
        plan_v6.send(gateway.client()).unwrap();
        assert_entries(&gateway, 3200);
        assert_eq!(counters::listed(gateway.gateway(), ip("10.0.8.0")).unwrap(), 3);
        assert_eq!(counters::listed(gateway.gateway(), ip("10.0.11.231")).unwrap(), 3);
        assert_eq!(counters::listed(gateway.gateway(), ip("10.0.11.232")).unwrap(), 0);
        assert_eq!(counters::listed(gateway.gateway(), ip("fd00:10::8:63")).unwrap(), 2);
    }

    #[test]
    fn a_plan_longer_than_the_ports_of_one_address_stays_exact() {
        let Some(gateway) = gateway() else { return };
        let plan = FlowPlan::udp(ip("10.0.1.2"), 2 * FLOWS_PER_DESTINATION + 500);
        let sent = plan.send(gateway.client()).unwrap();
        let rate = sent.flows * 1000
            / u64::try_from(sent.began.unwrap().elapsed().as_millis()).unwrap().max(1);
        println!("{} flows at {rate} a second", sent.flows);
        assert_entries(&gateway, plan.count);
        assert_eq!(counters::statistics(gateway.gateway()).unwrap().get("drop"), 0);
    }

    #[test]
    fn a_flood_that_is_stopped_says_what_it_made() {
        let Some(gateway) = gateway() else { return };
        let plan =
            FlowPlan::udp(ip("10.0.1.66"), 1_000_000).at_rate(NonZeroU64::new(2000).unwrap());
        let flood = Flood::start(gateway.client(), plan.clone()).unwrap();
        wait::until(
            wait::PATIENCE,
            "500 flows",
            || Ok((flood.flows_so_far() >= 500).then_some(())),
        )
        .unwrap();
        let sent = flood.stop().unwrap();
        assert!(sent.flows >= 500 && sent.flows < 100_000, "{}", sent.flows);
        assert_entries(&gateway, sent.flows);
        // What follows is new, not the same again.
        plan.starting_at(sent.flows).take(10).send(gateway.client()).unwrap();
        assert_entries(&gateway, sent.flows + 10);
    }

    #[test]
    fn an_echo_answers_and_makes_no_entry_of_its_own() {
        let Some(gateway) = gateway() else { return };
        let _echo = UdpEcho::start(gateway.server(), 7).unwrap();
        let plan = FlowPlan::udp(ip("10.0.1.2"), 50).to(address::SERVER_V4.into(), 7);
        plan.send(gateway.client()).unwrap();
        wait::until(wait::PATIENCE, "50 answers", || {
            Ok((counters::link(gateway.gateway(), CLIENT_SIDE)?.transmitted >= 50).then_some(()))
        })
        .unwrap();
        assert_entries(&gateway, 50);
    }
}

#[cfg(test)]
mod cleanup {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use ctwatch_lab::namespace::delete_leftovers;
    use ctwatch_lab::{Gateway, GatewayPlan, Names, Namespace, skip, wait};

    #[test]
    fn a_panic_leaves_nothing() {
        if let Some(reason) = skip::why_no_gateway() {
            return skip(&reason);
        }
        let seen = std::thread::spawn(|| {
            let gateway = Gateway::build(&GatewayPlan::default()).unwrap();
            let names = [gateway.client(), gateway.gateway(), gateway.server()]
                .map(|it| it.name().to_owned());
            assert!(names.iter().all(|name| Namespace::named(name).exists()));
            std::panic::panic_any(names);
        });
        let names = seen.join().unwrap_err().downcast::<[String; 3]>().unwrap();
        assert!(names.iter().all(|name| !Namespace::named(name).exists()), "{names:?}");
    }

    #[test]
    fn a_taken_name_is_refused_and_left_alone() {
        if let Some(reason) = skip::why_no_gateway() {
            return skip(&reason);
        }
        let names = |gateway: &str| Names::Fixed {
            client: format!("ctlab-taken-{}-client", std::process::id()),
            gateway: gateway.to_owned(),
            server: format!("ctlab-taken-{}-server", std::process::id()),
        };
        let first = Gateway::build(&GatewayPlan::default()).unwrap();
        let plan = GatewayPlan { names: names(first.gateway().name()), ..GatewayPlan::default() };
        let error = Gateway::build(&plan).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert!(first.gateway().exists());
    }

    /// The program, not the library: a killed process cannot clean up, the next start does; an interrupted one does.
    #[test]
    fn a_killed_run_is_cleaned_up_after() {
        if let Some(reason) = skip::why_no_gateway() {
            return skip(&reason);
        }
        let start = || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_ctwatch-lab"))
                .arg("gateway")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let names: serde_json::Value = serde_json::from_str(&line).unwrap();
            (child, Namespace::named(names["gateway"].as_str().unwrap()))
        };
        let (mut killed, leftover) = start();
        assert!(leftover.exists());
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(leftover.exists());
        delete_leftovers(ctwatch_lab::gateway::PREFIX).unwrap();
        wait::until(wait::PATIENCE, "the end of the leftover", || {
            Ok((!leftover.exists()).then_some(()))
        })
        .unwrap();

        let (mut interrupted, namespace) = start();
        let flows = Command::new(env!("CARGO_BIN_EXE_ctwatch-lab"))
            .args([
                "flows",
                "--namespace",
                &namespace.name().replace("-gw", "-client"),
                "--count",
                "12",
            ])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&flows.stdout), "{\"flows\":12}\n");
        let id = rustix::process::Pid::from_raw(i32::try_from(interrupted.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        assert!(interrupted.wait().unwrap().success());
        assert!(!namespace.exists());
    }
}
