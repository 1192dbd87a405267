//! Renders what a connection costs with few and with many sources; it measures nothing.

use super::measurement::Results;
use super::table::{BASE, each, grouped, label, with_share};

/// How many sources, and the names of what was measured with them.
const ROWS: [(&str, &str, Option<&str>, &str); 4] = [
    ("10", "known_10", None, "idle_10"),
    ("1 000", "known_1000", None, "idle_1000"),
    ("100 000", "known_100000", Some("first_100000"), "idle_100000"),
    ("1 000 000", "known_1000000", Some("first_1000000"), "idle_1000000"),
];

/// The table, with what it needs to be understood.
pub(super) fn markdown(results: &Results, release: &str) -> String {
    let mut lines = vec![
        format!(
            "Instructions that watching adds to a connection on Linux {release} with one processor, by the number of sources, the least of {} repeats. A known source has been seen before; the last column is what the process takes in a second in which nothing happens, at an interval of ten seconds.\n",
            results.repeats
        ),
        "| | sources | nobody watches | added, known sources | added, first seen | a second |"
            .to_owned(),
        "|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for configuration in results.configurations.iter().filter(|name| *name != BASE) {
        for (sources, known, first_seen, idle) in ROWS {
            let path = |workload: &str, configuration: &str| {
                results.least(&[workload], configuration).map(|least| each(least.path, &least))
            };
            let Some(base) = path(known, BASE) else { continue };
            let Some(with) = path(known, configuration) else { continue };
            let first = first_seen.and_then(|name| {
                let base = path(name, BASE)?;
                Some(with_share(path(name, configuration)? - base, base))
            });
            let idle = results
                .least(&[idle], configuration)
                .map(|least| grouped(each(least.process, &least)));
            lines.push(format!(
                "| {} | {sources} | {} | {} | {} | {} |",
                label(configuration),
                grouped(base),
                with_share(with - base, base),
                first.unwrap_or_default(),
                idle.unwrap_or_default()
            ));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_told_for_each_number_of_sources() {
        let console = "\
ctwatch-bench: workload=known_10 configuration=none repeat=1 units=10 seconds=10 instructions=200000 process_instructions=0 worker_instructions=0
ctwatch-bench: workload=known_10 configuration=ctwatch_fexit repeat=1 units=10 seconds=10 instructions=211000 process_instructions=1000 worker_instructions=0
ctwatch-bench: workload=idle_10 configuration=ctwatch_fexit repeat=1 units=10 seconds=10 instructions=9000 process_instructions=8000 worker_instructions=0
";
        let results = Results::parse(console).unwrap();
        let text = markdown(&results, "6.12");
        assert_eq!(
            text.lines().last().unwrap(),
            "| `ctwatch watch`, fexit | 10 | 20 000 | 1 000 (5.0 %) |  | 800 |"
        );
        assert_eq!(text.lines().count(), 5);
    }
}
