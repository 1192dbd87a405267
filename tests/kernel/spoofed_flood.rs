//! A flood from addresses that are made up: one line says where it goes, nobody innocent is listed, and the real heavy
//! hitter beside it stays first.

use std::net::Ipv4Addr;
use std::time::Duration;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{FlowPlan, counters, wait};

use crate::observed::{
    assert_consistent, assert_lossless, gateway, ip, line_after_now, number, of_source, rows, stop,
    watch,
};

const SPOOFED: u64 = 20_000;
const REAL: u64 = 3000;
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// After a walk there is a pause of twenty times what it took, and an emulated machine takes seconds for so many entries.
const PATIENCE: Duration = Duration::from_secs(400);

#[test]
fn spoofed_flood_is_one_line_and_no_list_of_innocents() {
    let Some(gateway) = gateway() else { return };
    let _room = [GlobalSetting::buckets(131_072).unwrap(), GlobalSetting::limit(524_288).unwrap()];
    gateway.do_not_masquerade(VICTIM).unwrap();
    let (mut watch, first) = watch(&gateway, &["--top", "1000"]);
    assert_eq!(first.json["floods"].as_array().map(Vec::len), Some(0), "{}", first.json);
    FlowPlan::tcp_syn(ip("10.0.1.66"), REAL).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.2"), SPOOFED)
        .to(VICTIM.into(), 443)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
        .send(gateway.client())
        .unwrap();
    wait::until(wait::PATIENCE, "the flood", || {
        Ok((counters::entries(gateway.gateway())? == REAL + SPOOFED).then_some(()))
    })
    .unwrap();

    let whole = i64::try_from(SPOOFED).unwrap();
    let line = watch
        .find(PATIENCE, "the whole flood", |line| {
            let flood = &line.json["floods"][0];
            Ok((flood["entries"] == whole).then(|| line.json.clone()))
        })
        .unwrap();
    assert_eq!(line["floods"].as_array().unwrap().len(), 1, "{line}");
    let flood = &line["floods"][0];
    assert_eq!(
        (&flood["destination"], &flood["destination_port"], &flood["protocol"]),
        (&VICTIM.to_string().into(), &443.into(), &"tcp".into()),
        "{flood}"
    );
    assert_eq!(flood["unreplied_share"], 1.0, "{flood}");
    // Four standard errors.
    let sources = number(flood, "sources");
    assert!((sources - whole).abs() <= whole / 4, "{flood}");
    // They come from everywhere in a /8, so no prefix is to blame.
    assert_eq!(flood["prefixes"].as_array().map(Vec::len), Some(0), "{flood}");

    // From then on every line is of the one who is really there.
    let line = line_after_now(&mut watch);
    let listed: Vec<&str> = rows(&line).map(|row| row["source"].as_str().unwrap()).collect();
    assert_eq!(listed, ["10.0.1.66"]);
    assert_eq!(of_source(&line, "10.0.1.66", Some("tcp"), "entries"), i64::try_from(REAL).unwrap());
    assert_eq!(number(&line, "others.entries"), whole, "{line}");
    assert_eq!(number(&line, "others.unreplied"), whole, "{line}");
    assert_consistent(&gateway, &line);
    assert_lossless(&line);
    println!("{flood}; walked {} s ago", line["census"]["age_s"]);
    stop(watch).unwrap();
}
