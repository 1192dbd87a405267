//! From the table that refuses to the one that does not, by ctwatch alone: the plan that is shown is what is done, its effect is
//! measured beside what was foretold, and all of it can be taken back.

use std::num::NonZeroU64;
use std::process::Command;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{Flood, FlowPlan, address, counters, wait};
use serde_json::Value;

use crate::changed::{HASHSIZE, LIMIT, Said, number, said};
use crate::observed::{ctwatch, gateway, ip};
use crate::top::Top;

const ENTRIES: u64 = 450;
const BUCKETS: u64 = 512;

#[test]
fn apply_does_what_it_showed_and_shows_what_it_did() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(ENTRIES).unwrap();
    let state = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Said {
        let mut command = Command::new(ctwatch());
        command.args(arguments).env("CTWATCH_STATE_DIR", state.path().join("state"));
        said(command.output().unwrap())
    };
    let sizes = || (number(LIMIT), number(HASHSIZE));
    // Connections of many that stay, and flows of many that live for a second: more than fit.
    gateway.set_timeout("udp_timeout", 1).unwrap();
    let source = ip("10.0.3.1");
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let _open = FlowPlan::tcp_handshake(source, 420)
        .from_sources(NonZeroU64::new(70).unwrap())
        .to(address::server(source), 8080)
        .send(gateway.client())
        .unwrap();
    let flows = FlowPlan::udp(ip("10.0.4.1"), 1_000_000)
        .from_sources(NonZeroU64::new(80).unwrap())
        .at_rate(NonZeroU64::new(60).unwrap());
    let flood = Flood::start(gateway.client(), flows).unwrap();
    wait::until(wait::PATIENCE, "a full table", || {
        Ok((counters::entries(gateway.gateway())? >= ENTRIES - 10).then_some(()))
    })
    .unwrap();

    let netns = gateway.gateway().name();
    let look = ["--netns", netns, "--for", "10s"];
    let shown = run(&[&["apply"], &look[..]].concat()).fine();
    println!("{}", shown.stdout);
    assert_eq!(sizes(), (ENTRIES, BUCKETS), "showing a plan changes nothing");
    let planned = |sign: &str, key: &str| -> Option<u64> {
        let prefix = format!("{sign} {key} = ");
        shown.stdout.lines().find_map(|line| line.trim().strip_prefix(&prefix)?.parse().ok())
    };
    let key = "net.netfilter.nf_conntrack_max";
    assert_eq!(planned("-", key), Some(ENTRIES), "{}", shown.stdout);
    let limit = planned("+", key).unwrap();
    let buckets = planned("+", "nf_conntrack.hashsize").unwrap_or(BUCKETS);
    assert!(shown.stdout.contains(&format!("sysctl -w {key}={limit}")), "{}", shown.stdout);

    let done = run(&[&["apply", "--yes"], &look[..]].concat()).fine();
    println!("{}", done.stdout);
    assert_eq!(sizes(), (limit, buckets), "what was shown is what is done");
    let table = done.stdout.lines().find(|line| line.starts_with("refused share"));
    assert!(table.is_some_and(|line| line.ends_with(" 0.00 %")), "{}", done.stdout);
    let changes = run(&["changes", "--json"]).fine();
    let json: Value = serde_json::from_str(&changes.stdout).unwrap();
    let change = &json["changes"][0];
    let share = |of: &Value| of.as_f64().unwrap_or_else(|| panic!("{change}"));
    assert!(share(&change["before"]["refused_share"]) > 0.02, "{change}");
    // A look that sees too few entries end foretells nothing; one that does, that there is room for all.
    assert!(
        change["predicted_refused_share"].as_f64().is_none_or(|share| share == 0.0),
        "{change}"
    );
    assert_eq!(share(&change["after"]["refused_share"]), 0.0, "{change}");
    assert_eq!(change["after"]["limit"].as_u64(), Some(limit), "{change}");

    run(&["rollback"]).fine();
    assert_eq!(sizes(), (ENTRIES, BUCKETS));

    // The same on the screen.
    let directory = state.path().join("state").display().to_string();
    let mut top = Top::start(&gateway, &[("CTWATCH_STATE_DIR", &directory)]);
    let advised = top.shows("4", "raise-limit (");
    let line = advised.lines().find(|line| line.contains("raise-limit (")).unwrap();
    let number = line.trim().split('.').next().unwrap();
    let planned = top.shows(&format!("a{number}"), "y carry it out");
    println!("{planned}");
    assert_eq!(sizes(), (ENTRIES, BUCKETS), "showing a plan changes nothing");
    top.shows("y", "c keeps it, U undoes it");
    assert!(sizes().0 > ENTRIES, "{:?}", sizes());
    top.shows("U", "Undoes what was applied last");
    top.shows("y", "done");
    assert_eq!(sizes(), (ENTRIES, BUCKETS));
    top.quit();
    flood.stop().unwrap();
}
