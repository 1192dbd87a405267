use proptest::prelude::*;

use super::*;

const NOW_S: u64 = 1_700_000_000;

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn listing(blocks: &[(&str, Option<u64>)]) -> Listing {
    let blocks = blocks.iter().map(|(source, left_s)| Blocked {
        network: network(source),
        left_s: *left_s,
        note: Some(Note { since_s: 7, by: "root".into(), why: "old".into() }),
        dropped: Some(Dropped { packets: 3, bytes: 9 }),
    });
    Listing { has_table: true, blocks: blocks.collect(), chain: Chain::Right, ..Listing::default() }
}

fn plan(listing: &Listing, sources: &[&str], why: Option<&str>) -> Result<BlockPlan, PlanError> {
    let wish = |source: &&str| Wish { network: network(source), why: why.map(str::to_owned) };
    let wishes: Vec<Wish> = sources.iter().map(wish).collect();
    let terms = Terms { now_s: NOW_S, by: "me".into(), duration: Duration::from_secs(600) };
    block(listing, &wishes, &terms)
}

/// What is done to elements, without the rules before.
fn elements(script: &str) -> Vec<&str> {
    script.lines().filter(|line| line.contains(" element ")).collect()
}

#[test]
fn who_is_not_blocked_yet_is_added_with_its_note() {
    let plan =
        plan(&Listing::default(), &["10.0.1.66/32", "2001:db8::/64"], Some("a flood")).unwrap();
    assert_eq!(
        elements(&plan.script),
        [
            "add element inet ctwatch block4 { 10.0.1.66 counter packets 0 bytes 0 timeout 600s comment \"since=1700000000 by=me why=a flood\" }",
            "add element inet ctwatch block6_64 { 2001:db8:: counter packets 0 bytes 0 timeout 600s comment \"since=1700000000 by=me why=a flood\" }",
        ]
    );
    assert!(plan.script.starts_with("add table inet ctwatch\n"), "{}", plan.script);
    assert_eq!(plan.outcomes[&network("10.0.1.66/32")], (Outcome::Blocked, NOW_S));
}

#[test]
fn who_is_blocked_already_keeps_its_count_and_since_when() {
    let old = listing(&[("10.0.1.66/32", Some(5))]);
    let extended = plan(&old, &["10.0.1.66/32"], None).unwrap();
    assert_eq!(
        elements(&extended.script),
        [
            "delete element inet ctwatch block4 { 10.0.1.66 }",
            "add element inet ctwatch block4 { 10.0.1.66 counter packets 3 bytes 9 timeout 600s comment \"since=7 by=me why=old\" }",
        ]
    );
    assert_eq!(extended.outcomes[&network("10.0.1.66/32")], (Outcome::Extended, 7));
    let said = plan(&old, &["10.0.1.66/32"], Some("new")).unwrap();
    assert!(said.script.contains("since=7 by=me why=new"), "{}", said.script);
}

#[test]
fn who_lies_in_a_blocked_network_is_blocked_already_if_that_lasts() {
    for left_s in [Some(600), None] {
        let old = listing(&[("10.0.0.0/16", left_s)]);
        let plan = plan(&old, &["10.0.1.66/32", "10.0.2.0/24"], None).unwrap();
        assert_eq!(elements(&plan.script), [""; 0]);
        let covered = (Outcome::Covered(network("10.0.0.0/16")), 7);
        assert!(plan.outcomes.values().all(|outcome| *outcome == covered), "{:?}", plan.outcomes);
    }
    let shorter = listing(&[("10.0.0.0/16", Some(599))]);
    // An address has a set of its own; the kernel has no network within another one.
    let address = plan(&shorter, &["10.0.1.66/32"], None).unwrap();
    assert_eq!(elements(&address.script).len(), 1);
    let error = plan(&shorter, &["10.0.2.0/24"], None).unwrap_err();
    assert!(matches!(&error, PlanError::Longer { .. }), "{error}");
    assert!(error.to_string().contains("10.0.0.0/16 for longer"), "{error}");
}

#[test]
fn a_network_takes_the_place_of_those_in_it_that_end_before() {
    let old =
        listing(&[("10.0.1.0/24", Some(600)), ("10.0.9.9/32", Some(9000)), ("10.1.0.0/24", None)]);
    let absorbed = plan(&old, &["10.0.0.0/16"], None).unwrap();
    let pair = (network("10.0.1.0/24"), network("10.0.0.0/16"));
    assert_eq!(absorbed.absorbed, [pair]);
    assert_eq!(
        elements(&absorbed.script)[0],
        "delete element inet ctwatch block4_networks { 10.0.1.0/24 }"
    );
    let longer = listing(&[("10.0.1.0/24", Some(601))]);
    let error = plan(&longer, &["10.0.0.0/16"], None).unwrap_err();
    assert!(error.to_string().contains("unblock 10.0.1.0/24"), "{error}");
}

#[test]
fn what_a_call_says_twice_is_done_once() {
    let plan =
        plan(&Listing::default(), &["10.0.1.66/32", "10.0.1.0/24", "10.0.1.0/24"], None).unwrap();
    assert_eq!(elements(&plan.script).len(), 1, "{}", plan.script);
    let covered = (Outcome::Covered(network("10.0.1.0/24")), NOW_S);
    assert_eq!(plan.outcomes[&network("10.0.1.66/32")], covered);
}

#[test]
fn a_chain_in_the_wrong_place_goes_first_and_a_foreign_set_is_left_alone() {
    let moved = Listing { chain: Chain::OtherHook, ..listing(&[]) };
    let script = plan(&moved, &["10.0.0.1/32"], None).unwrap().script;
    let at = |line: &str| script.find(line).unwrap();
    assert!(at("delete chain inet ctwatch block") < at("add chain inet ctwatch block"));
    let foreign = Listing { foreign_sets: vec!["block4"], ..listing(&[]) };
    assert_eq!(plan(&foreign, &["10.0.0.1/32"], None), Err(PlanError::ForeignSet("block4")));
}

#[test]
fn only_who_is_blocked_is_unblocked() {
    let old =
        listing(&[("10.0.1.0/24", Some(1)), ("10.0.2.1/32", Some(1)), ("10.0.2.2/32", Some(1))]);
    let script = unblock(&old, &[network("10.0.2.1/32"), network("10.0.1.0/24")]).unwrap();
    assert_eq!(
        script,
        "delete element inet ctwatch block4_networks { 10.0.1.0/24 }\ndelete element inet ctwatch block4 { 10.0.2.1 }\n"
    );
    for (source, near) in [("10.0.1.9/32", "10.0.1.0/24"), ("10.0.2.0/24", "10.0.2.1, 10.0.2.2")] {
        let said =
            unblock(&old, &[network("10.0.2.1/32"), network(source)]).unwrap_err().to_string();
        assert!(said.contains(near), "{said}");
    }
    assert!(unblock(&Listing::default(), &[network("10.0.0.1/32")]).is_err());
}

#[test]
fn all_that_blocks_goes_and_what_is_somebody_elses_stays() {
    let mut all = listing(&[]);
    all.objects = [("set", "block4"), ("chain", "block")]
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        .into();
    assert_eq!(unblock_all(&all), "delete table inet ctwatch\n");
    all.objects.insert(("chain".to_owned(), "cap-sources".to_owned()));
    assert_eq!(
        unblock_all(&all),
        "flush chain inet ctwatch block\ndelete chain inet ctwatch block\ndelete set inet ctwatch block4\n"
    );
    all.objects = [("map".to_owned(), "block4".to_owned())].into();
    assert_eq!(unblock_all(&all), "");
    assert_eq!(unblock_all(&Listing::default()), "");
}

/// Networks of a small part of the address space, so that many lie in others.
fn sources() -> impl Strategy<Value = Vec<IpNet>> {
    let source = (0u32..64, 27u8..=32).prop_map(|(host, length)| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + host);
        IpNet::new(address.into(), length).unwrap().trunc()
    });
    prop::collection::vec(source, 0..12)
}

proptest! {
    /// What the kernel would refuse: a network within another one. What nobody wants: somebody named who is not kept out.
    #[test]
    fn whatever_is_blocked_already_no_network_lies_in_another(
        old in sources(), new in sources(), left_s in 1u64..1200,
    ) {
        let names: Vec<String> = new.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = plan(&Listing::default(), &old.iter().map(ToString::to_string).collect::<Vec<_>>()
            .iter().map(String::as_str).collect::<Vec<_>>(), None).unwrap();
        let blocks: Vec<String> = first.outcomes.iter()
            .filter(|(_, outcome)| outcome.0 == Outcome::Blocked)
            .map(|(network, _)| network.to_string()).collect();
        let blocks: Vec<(&str, Option<u64>)> =
            blocks.iter().map(|network| (network.as_str(), Some(left_s))).collect();
        let before = listing(&blocks);
        if let Ok(plan) = plan(&before, &names, None) {
            let absorbed: Vec<IpNet> = plan.absorbed.iter().map(|pair| pair.0).collect();
            let kept = before.blocks.iter().map(|block| block.network).filter(|network| !absorbed.contains(network));
            let added = plan.outcomes.iter()
                .filter(|(_, outcome)| outcome.0 == Outcome::Blocked).map(|(network, _)| *network);
            let after: Vec<IpNet> = kept.chain(added).collect();
            let networks: Vec<&IpNet> = after.iter().filter(|network| !is_address(network)).collect();
            for one in &networks {
                prop_assert!(networks.iter().filter(|other| other.contains(*one)).count() == 1, "{:?}", after);
            }
            for wanted in &new {
                prop_assert!(after.iter().any(|network| network.contains(wanted)), "{wanted} in {:?}", after);
            }
            for line in elements(&plan.script) {
                prop_assert!(line.starts_with("add") || before.blocks.iter().any(|block| line.contains(&element(&block.network))));
            }
        } else {
            prop_assert!(left_s != 600, "networks that last as long are never in the way");
        }
    }
}
