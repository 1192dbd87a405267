//! How fast the culprit is named: within two intervals of its first packet, beside a client that holds more.

use std::num::NonZeroU64;

use ctwatch_lab::{Flood, FlowPlan, counters, wait};

use crate::observed::{INTERVAL, gateway, ip, of_source, rows, stop, watch};

#[test]
fn ranking_names_the_culprit_within_two_intervals() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::tcp_syn(ip("10.0.1.2"), 3000).send(gateway.client()).unwrap();
    wait::until(wait::PATIENCE, "3000 entries", || {
        Ok((counters::entries(gateway.gateway())? == 3000).then_some(()))
    })
    .unwrap();
    let (mut watch, first) = watch(&gateway, &["--sort", "new", "--top", "5"]);
    assert_eq!(
        first_source(&first.json),
        "10.0.1.2",
        "the idle client alone is in the table: {}",
        first.json
    );
    assert_eq!(of_source(&first.json, "10.0.1.2", None, "entries"), 3000);

    let rate_per_s = NonZeroU64::new(400).unwrap();
    let flood =
        Flood::start(gateway.client(), FlowPlan::udp(ip("10.0.1.66"), 10_000).at_rate(rate_per_s))
            .unwrap();
    let named = watch
        .find(wait::PATIENCE, "the culprit first", |line| {
            Ok((first_source(&line.json) == "10.0.1.66").then(|| line.clone()))
        })
        .unwrap();
    let delay = named.at.duration_since(flood.began().unwrap());
    println!("named {} ms after its first packet", delay.as_millis());
    assert!(of_source(&named.json, "10.0.1.66", None, "entries") < 3000, "{}", named.json);
    assert!(delay <= 2 * INTERVAL, "{delay:?}: {}", named.json);
    flood.stop().unwrap();
    stop(watch).unwrap();
}

fn first_source(json: &serde_json::Value) -> &str {
    rows(json).next().and_then(|row| row["source"].as_str()).unwrap_or_default()
}
