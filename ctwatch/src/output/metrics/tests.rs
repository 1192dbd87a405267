use super::*;
use crate::output::sample;

fn of(snapshots: Vec<Snapshot>, floor_entries: u64) -> Page {
    Page {
        snapshots: snapshots.into_iter().map(Arc::new).collect(),
        age: Age::Current,
        floor_entries,
        process: Some(Process { cpu_s: 1.5, resident_memory_bytes: 4096 }),
        recording: Some(Recording { is_written: true, snapshots: 3, ..Recording::default() }),
    }
}

pub(in crate::output) fn text(snapshots: Vec<Snapshot>, floor_entries: u64) -> String {
    of(snapshots, floor_entries).text(Form::OpenMetrics).unwrap()
}

fn page(change: impl FnOnce(&mut Snapshot), floor_entries: u64) -> String {
    let mut snapshot = sample::snapshot();
    change(&mut snapshot);
    text(vec![snapshot], floor_entries)
}

#[test]
fn numbers_have_the_names_that_prometheus_expects() {
    let page = page(|_| {}, 0);
    for line in [
        "# TYPE ctwatch_entries gauge",
        "ctwatch_entries{netns=\"gateway\"} 62000",
        "ctwatch_entries_limit{netns=\"gateway\"} 65536",
        "ctwatch_utilization_ratio{netns=\"gateway\"} 0.946",
        "ctwatch_time_to_full_seconds{netns=\"gateway\"} 8.6",
        "ctwatch_drift_entries{netns=\"gateway\"} 0",
        "# TYPE ctwatch_refused counter",
        "ctwatch_refused_total{netns=\"gateway\"} 7",
        "ctwatch_source_entries{netns=\"gateway\",source=\"10.0.1.2\",protocol=\"udp\"} 61000",
        "ctwatch_source_refused_total{netns=\"gateway\",source=\"10.0.1.2\",protocol=\"udp\"} 7",
        "ctwatch_source_entry_seconds_total{netns=\"gateway\",source=\"10.0.1.2\",protocol=\"udp\"} 2.5",
        "ctwatch_others_entries{netns=\"gateway\"} 1000",
        "ctwatch_loss_ring_full_total{netns=\"gateway\"} 2",
        "ctwatch_census_age_seconds{netns=\"gateway\"} 3.25",
        "ctwatch_state_entries{netns=\"gateway\",protocol=\"tcp\",state=\"ESTABLISHED\"} 1000",
        "ctwatch_flood_half_open_ratio{netns=\"gateway\",destination=\"198.51.100.1\",port=\"443\",protocol=\"tcp\"} 0.99",
        "ctwatch_mode_info{netns=\"gateway\",alloc=\"kprobe\",early_drop=\"kprobe\",free=\"kprobe\"} 1",
    ] {
        assert!(page.lines().any(|each| each == line), "{line} in:\n{page}");
    }
    assert!(page.contains("# HELP ctwatch_entries_limit entries that fit (nf_conntrack_max); absent if unlimited: the maximum, or limit"), "{page}");
    assert!(page.ends_with("# EOF\n") && !page.contains("per_s"), "{page}");
}

#[test]
fn every_metric_has_one_description_before_its_samples() {
    let page = page(|_| {}, 0);
    let mut described = std::collections::BTreeSet::new();
    let mut current = String::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(described.insert(current.clone()), "{current} twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} is not of {current}");
        }
    }
}

#[test]
fn what_cannot_be_seen_has_no_sample() {
    let page = page(
        |snapshot| {
            (snapshot.totals.refused, snapshot.sources[0].refused) = (None, None);
            (snapshot.drift_entries, snapshot.table.limit) = (None, None);
            (snapshot.census, snapshot.floods) = (None, None);
        },
        0,
    );
    for name in ["refused", "drift", "limit", "census", "state", "flood", "snat"] {
        let sample = format!("ctwatch_{name}");
        assert!(!page.lines().any(|line| line.starts_with(&sample)), "{name}");
    }
}

#[test]
fn an_idle_source_has_no_series() {
    let idle = |snapshot: &mut Snapshot| {
        let source = &mut snapshot.sources[0];
        (source.entries, source.new_per_s, source.refused_per_s) = (Some(9), Some(0.0), None);
    };
    assert!(!page(idle, 10).contains("10.0.1.2"));
    assert!(page(idle, 9).contains("10.0.1.2"));
    assert!(page(|snapshot| snapshot.sources[0].entries = Some(0), 10).contains("10.0.1.2"));
}

#[test]
fn namespaces_are_told_apart_within_each_metric() {
    let (mut one, mut other) = (sample::snapshot(), sample::snapshot());
    (one.netns_name, other.netns) = (Some("a\"b".into()), 2);
    other.netns_name = None;
    let page = text(vec![one, other], 0);
    let entries: Vec<&str> =
        page.lines().filter(|line| line.starts_with("ctwatch_entries{")).collect();
    assert_eq!(
        entries,
        ["ctwatch_entries{netns=\"a\\\"b\"} 62000", "ctwatch_entries{netns=\"2\"} 62000"]
    );
}

/// The sum over all samples of metrics with these names.
fn sum(page: &str, names: &[&str]) -> u64 {
    let samples = page.lines().filter_map(|line| {
        let (name, rest) = line.split_once('{')?;
        names.contains(&name).then(|| rest.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    });
    samples.sum()
}

#[test]
fn those_without_a_series_are_in_the_others() {
    let mut snapshot = sample::snapshot();
    let one = snapshot.sources[0];
    snapshot.sources = (1..=100)
        .map(|held| SourceNumbers {
            entries: Some(held),
            new_per_s: None,
            refused_per_s: None,
            ..one
        })
        .collect();
    for (floor_entries, series) in [(0, 100), (51, 50), (1000, 0)] {
        let page = text(vec![snapshot.clone()], floor_entries);
        let entries = ["ctwatch_source_entries", "ctwatch_others_entries"];
        assert_eq!(sum(&page, &entries), 5050 + 1000, "{floor_entries}");
        let samples = page.lines().filter(|line| line.starts_with("ctwatch_source_entries{"));
        assert_eq!(samples.count(), series, "{floor_entries}");
    }
}

#[test]
fn a_million_sources_take_no_more_room_than_those_that_are_listed() {
    use crate::model::{
        limits::{Limits, SortBy},
        ranking,
    };
    let one = sample::snapshot();
    let rows = |count: u32| -> Vec<SourceNumbers> {
        let address = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
        let row = |number| SourceNumbers {
            key: Some(source::key(1, address(number), 17)),
            entries: Some(1_000_000_000 + u64::from(number)),
            ..one.totals
        };
        (0..count).map(row).collect()
    };
    let limits = Limits {
        listed_sources: 100,
        sort_by: SortBy::Entries,
        kinds: crate::model::event::Kinds::NONE,
        events: 0,
        remembered_sources: 0,
        only: None,
        census_every: None,
    };
    let page = |count| {
        let nothing = SourceNumbers { entries: Some(0), ..SourceNumbers::default() };
        let (sources, others, totals) = ranking::rank(rows(count), nothing, &limits, |_| true);
        let page = text(vec![Snapshot { sources, others, totals, ..one.clone() }], 0);
        let entries = ["ctwatch_source_entries", "ctwatch_others_entries"];
        assert_eq!(Some(sum(&page, &entries)), totals.entries);
        page
    };
    let [few, many] = [101, 1_000_000].map(page);
    assert_eq!(few.lines().count(), many.lines().count());
    // Numbers and addresses of the same lines may have more digits.
    assert!(many.len() < few.len() * 11 / 10, "{} and {} bytes", few.len(), many.len());
    // What the documentation says of a source with series.
    assert!(many.len() < 60_000 + 100 * 2000, "{} bytes", many.len());
}

#[test]
fn numbers_that_are_outdated_are_not_shown_as_if_they_were_of_now() {
    let page = Page { age: Age::Outdated, ..of(vec![sample::snapshot()], 0) };
    let page = page.text(Form::Classic).unwrap();
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let names: Vec<&str> =
        samples.iter().map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "ctwatch_build_info",
            "ctwatch_snapshot_timestamp_seconds",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "ctwatch_recording_active",
            "ctwatch_recording_snapshots_total",
            "ctwatch_recording_written_bytes_total",
            "ctwatch_recording_failures_total",
            "ctwatch_recording_left_out_total",
        ]
    );
    assert_eq!(samples[1], "ctwatch_snapshot_timestamp_seconds{netns=\"gateway\"} 1795442400.0");
}
