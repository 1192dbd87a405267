//! docs/reference.md: every number and every metric, from the one table of fields and from a page that has them all.

use std::{fs, path::Path};

use super::sample;
use crate::model::fields::{self, Field, Kind, census};

/// Set to rewrite the file instead of comparing it.
const UPDATE: &str = "CTWATCH_UPDATE_DOCS";

fn table<T>(text: &mut String, title: &str, path: &str, fields: &[Field<T>]) {
    *text += &format!(
        "\n### {title}\n\nIn JSON: `{path}`.\n\n| Field | Unit | Kind | Meaning |\n|---|---|---|---|\n"
    );
    for Field { name, unit, kind, help, .. } in fields {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        *text += &format!("| `{name}` | {unit} | {kind} | {} |\n", cell(help));
    }
}

/// Text that does not end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn fields() -> String {
    let mut text = String::new();
    let to = &mut text;
    table(to, "The table", ".table", fields::TABLE);
    table(to, "Sources", ".sources[], .others, .totals", fields::SOURCE);
    table(to, "The kernel's own counters", ".kernel", fields::KERNEL);
    table(to, "Loss", ".loss", fields::LOSS);
    table(to, "The independent count", ".witness", fields::WITNESS);
    table(to, "The walk of the table", ".census", census::CENSUS);
    table(to, "States", ".census.states[]", census::STATE);
    table(to, "Zones", ".census.zones[]", census::ZONE);
    table(to, "Destinations", ".census.destinations[]", census::DESTINATION);
    table(to, "Ports of source NAT", ".census.snat_pools[]", census::SNAT_POOL);
    table(to, "Prefixes", ".prefixes[]", census::PREFIX);
    table(to, "Floods", ".floods[]", census::FLOOD);
    text
}

/// The name of a label in each of a metric's samples.
fn labels(sample: &str) -> Vec<String> {
    let labels = sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
    let names = labels.map_or("", |(labels, _)| labels).split("\",");
    names.filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect()
}

fn metrics() -> String {
    let page = super::metrics::tests::text(vec![sample::snapshot()], 0);
    let mut text = "\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n".to_owned();
    let lines: Vec<&str> = page.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let (_, kind) = lines[at + 1].rsplit_once(' ').unwrap();
        let sample = lines[at + 2..].iter().find(|line| !line.starts_with('#'));
        let sample = sample.filter(|sample| sample.starts_with(name)).unwrap_or(&"");
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let labels: Vec<String> = labels(sample).iter().map(|label| format!("`{label}`")).collect();
        text += &format!("| `{name}` | {kind} | {} | {} |\n", labels.join(" "), cell(help));
    }
    text
}

#[test]
fn the_reference_in_docs_is_current() {
    let (fields, metrics) = (fields(), metrics());
    let current = format!(
        "# Every number, and what it means

This file is made from the source (`{UPDATE}=1 cargo test -p ctwatch --lib reference_tests`); a test fails when it is stale.

What a mode cannot see is `null` in JSON, `-` for people, and no sample among the metrics: never 0.

## Fields

As `ctwatch watch --json`, `ctwatch replay --json` and `/snapshot.json` have them; the whole form is in
[watch.schema.json](watch.schema.json).
{fields}
## Metrics

As `ctwatch agent` serves them at `/metrics`.
{metrics}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &current).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, current, "run the tests with {UPDATE}=1 and commit {}", path.display());
}
