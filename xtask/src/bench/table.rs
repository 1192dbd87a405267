//! Renders measurements as Markdown; it measures nothing.

use super::measurement::{Least, Results};

/// What everything is compared with.
pub(super) const BASE: &str = "none";

/// Workloads in which nothing happens; their unit is a second.
const IDLE_EMPTY: &str = "idle_empty";
const IDLE_HELD: &str = "idle_held";

/// How the configurations are called in a table.
const LABELS: [(&str, &str); 9] = [
    (BASE, "nobody watches"),
    ("ctwatch_fexit", "`ctwatch watch`, fexit"),
    ("ctwatch_kprobe", "`ctwatch watch`, kprobes"),
    ("ctwatch_fexit_wide", "`ctwatch watch --max-sources 1048576`, fexit"),
    ("ctwatch_kprobe_wide", "`ctwatch watch --max-sources 1048576`, kprobes"),
    ("ctwatch_netlink", "`ctwatch watch`, degraded (no hooks)"),
    ("conntrack_events", "`conntrack -E` to a file"),
    ("conntrack_list", "`conntrack -L` once a second"),
    ("bpftrace", "`bpftrace`, new entries by source"),
];

/// A table of what something costs each time it is done.
struct Table {
    title: &'static str,
    unit: &'static str,
    /// Workloads that are summed.
    workloads: &'static [&'static str],
}

const TABLES: [Table; 2] = [
    Table {
        title: "A connection through the gateway, from its first packet to the end of its entry",
        unit: "connection",
        workloads: &["create", "end"],
    },
    Table {
        title: "A packet that is refused, because the table is full and nothing in it can be evicted",
        unit: "packet",
        workloads: &["refused"],
    },
];

/// All tables, with what they need to be understood.
pub(crate) fn markdown(results: &Results, release: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    if !results.configurations.is_empty() {
        blocks.push(format!(
            "Instructions on Linux {release} with one processor, the least of {} repeats that take turns. What a process does anyway once a second is in the last table alone.",
            results.repeats
        ));
        blocks.extend(TABLES.iter().map(|table| cost(results, table)));
        blocks.push(idle(results));
    }
    if !results.hooks.is_empty() {
        blocks.push(hooks(results, release));
    }
    for reason in &results.left_out {
        blocks.push(format!("Not measured: {reason}."));
    }
    blocks.join("\n\n")
}

fn cost(results: &Results, table: &Table) -> String {
    let unit = table.unit;
    let mut lines = vec![
        format!("{}:\n", table.title),
        format!("| | instructions per {unit} | added | in its own process | {unit}s missed |"),
        "|---|---:|---:|---:|---:|".to_owned(),
    ];
    let base = results.least(table.workloads, BASE).map(|base| each(base.path, &base));
    for configuration in &results.configurations {
        let Some(least) = results.least(table.workloads, configuration) else { continue };
        let path = each(least.path, &least);
        let cells = match base.filter(|_| configuration != BASE) {
            None => [String::new(), String::new(), String::new()],
            Some(base) => {
                let idle = idle_share(results, configuration, &least);
                // A process that does less than when it is idle has just missed its second.
                let process = (each(least.process, &least) - idle).max(0);
                [with_share(path - base, base), with_share(process, base), missed(&least)]
            }
        };
        lines.push(format!(
            "| {} | {} | {} |",
            label(configuration),
            grouped(path),
            cells.join(" | ")
        ));
    }
    lines.join("\n")
}

/// What the process would have taken anyway in the same time, by unit.
fn idle_share(results: &Results, configuration: &str, least: &Least) -> i64 {
    let idle = results.least(&[IDLE_EMPTY], configuration);
    idle.map_or(0, |idle| {
        each(idle.process, &idle) * signed(least.seconds) / signed(least.units).max(1)
    })
}

fn idle(results: &Results) -> String {
    let mut lines = vec![
        "A second in which nothing happens:\n".to_owned(),
        "| | added with an empty table | added with 20 000 entries |".to_owned(),
        "|---|---:|---:|".to_owned(),
    ];
    for configuration in results.configurations.iter().filter(|name| *name != BASE) {
        let added = |workload| -> Option<String> {
            let all = |configuration| {
                let least = results.least(&[workload], configuration)?;
                Some(each(least.path + least.process, &least))
            };
            Some(grouped(all(configuration)? - all(BASE)?))
        };
        let cell = |workload| added(workload).unwrap_or_default();
        lines.push(format!(
            "| {} | {} | {} |",
            label(configuration),
            cell(IDLE_EMPTY),
            cell(IDLE_HELD)
        ));
    }
    lines.join("\n")
}

fn hooks(results: &Results, release: &str) -> String {
    let mut lines = vec![
        format!("Instructions of each hook, Linux {release}, the counting of them included:\n"),
        "| hook | workload | runs | instructions per run |".to_owned(),
        "|---|---|---:|---:|".to_owned(),
    ];
    for hook in &results.hooks {
        lines.push(format!(
            "| `{}` | {} | {} | {} |",
            hook.name,
            hook.workload,
            grouped(signed(hook.runs)),
            grouped(signed(hook.instructions) / signed(hook.runs).max(1))
        ));
    }
    lines.join("\n")
}

/// Instructions of each unit.
pub(super) fn each(instructions: u64, least: &Least) -> i64 {
    signed(instructions) / signed(least.units).max(1)
}

/// What was not counted; a count that is too high is shown as one.
fn missed(least: &Least) -> String {
    match least.counted {
        None => "counts none".to_owned(),
        Some(counted) => grouped(signed(least.units) - signed(counted)),
    }
}

pub(super) fn with_share(part: i64, whole: i64) -> String {
    let per_mille = part * 1000 / whole.max(1);
    let sign = if per_mille < 0 { "-" } else { "" };
    let per_mille = per_mille.abs();
    format!("{} ({sign}{}.{} %)", grouped(part), per_mille / 10, per_mille % 10)
}

pub(super) fn label(configuration: &str) -> &str {
    let known = LABELS.iter().find(|(name, _)| *name == configuration);
    known.map_or(configuration, |(_, label)| label)
}

/// The number with a space between each three digits.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// No count of instructions comes near the end of either type.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_compared_with_nobody_watching() {
        let console = "\
ctwatch-bench: workload=create configuration=none repeat=1 units=10 seconds=2 instructions=400000 process_instructions=0 worker_instructions=0
ctwatch-bench: workload=end configuration=none repeat=1 units=10 seconds=1 instructions=100000 process_instructions=0 worker_instructions=0
ctwatch-bench: workload=idle_empty configuration=none repeat=1 units=5 seconds=5 instructions=5000 process_instructions=0 worker_instructions=0
ctwatch-bench: workload=create configuration=ctwatch_kprobe repeat=1 units=10 seconds=2 instructions=457000 process_instructions=41000 worker_instructions=1000 counted=10
ctwatch-bench: workload=end configuration=ctwatch_kprobe repeat=1 units=10 seconds=1 instructions=125000 process_instructions=20000 worker_instructions=0
ctwatch-bench: workload=idle_empty configuration=ctwatch_kprobe repeat=1 units=5 seconds=5 instructions=105000 process_instructions=100000 worker_instructions=0
ctwatch-bench: skipped configuration=bpftrace reason=it is not there
";
        let results = Results::parse(console).unwrap();
        assert_eq!(
            markdown(&results, "6.12"),
            "\
Instructions on Linux 6.12 with one processor, the least of 1 repeats that take turns. What a process does anyway once a second is in the last table alone.

A connection through the gateway, from its first packet to the end of its entry:

| | instructions per connection | added | in its own process | connections missed |
|---|---:|---:|---:|---:|
| nobody watches | 50 000 |  |  |  |
| `ctwatch watch`, kprobes | 52 000 | 2 000 (4.0 %) | 100 (0.2 %) | 0 |

A packet that is refused, because the table is full and nothing in it can be evicted:

| | instructions per packet | added | in its own process | packets missed |
|---|---:|---:|---:|---:|

A second in which nothing happens:

| | added with an empty table | added with 20 000 entries |
|---|---:|---:|
| `ctwatch watch`, kprobes | 20 000 |  |

Not measured: bpftrace: it is not there."
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 12_345_678, -1_234].map(grouped),
            ["0", "999", "1 000", "12 345 678", "-1 234"]
        );
        assert_eq!(with_share(-3, 1_000), "-3 (-0.3 %)");
    }
}
