//! Decisions for `cscli decisions import`, which CrowdSec's bouncers carry out.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{DropIn, Entry, Format, ParseError};
use crate::blocklist::{Block, Blocklist, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "crowdsec",
    // Unless it is told none, cscli 1.4 takes the scope Ip for all, whatever the file says.
    what: "CrowdSec decisions, for 'cscli decisions import --scope \"\" --input FILE.json'",
    render,
    parse,
    kept: |_, block| {
        let duration = block.duration.min(Duration::from_secs(DURATION_S_MAX));
        Some(Entry { duration: Some(duration), ..Entry::whole(block) })
    },
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

/// The longest that Go's `time.ParseDuration` takes: 63 bits of nanoseconds.
const DURATION_S_MAX: u64 = 9_223_372_036;

fn render(list: &Blocklist) -> String {
    let decisions: Vec<String> = list.blocks.iter().map(decision).collect();
    format!("[\n{}\n]\n", decisions.join(",\n"))
}

/// One decision, in the words of cmd/crowdsec-cli/decisions.go. Whose it is cannot be told: all that is imported is
/// `cscli-import`'s.
fn decision(block: &Block) -> String {
    let is_one = block.network.prefix_len() == block.network.max_prefix_len();
    let decision = json!({
        "duration": format!("{}s", block.duration.as_secs().clamp(1, DURATION_S_MAX)),
        "scope": if is_one { "Ip" } else { "Range" },
        "value": ruleset::element(&block.network),
        "type": "ban",
        "reason": block.why,
    });
    decision.to_string()
}

/// What is read of a decision.
#[derive(Debug, Deserialize)]
struct Decision {
    duration: String,
    value: String,
    reason: String,
}

impl Decision {
    fn entry(self) -> Option<Entry> {
        let duration_s = self.duration.strip_suffix('s')?.parse().ok()?;
        Some(Entry {
            network: super::network(&self.value)?,
            duration: Some(Duration::from_secs(duration_s)),
            why: Some(self.reason),
        })
    }
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let decisions: Vec<Decision> = serde_json::from_str(text)
        .map_err(|error| ParseError { line: error.line(), what: error.to_string() })?;
    // Each stands on a line of its own, behind the bracket.
    let entries = (2..).zip(decisions).map(|(line, decision)| {
        let what =
            format!("no decision on an address: '{}' for '{}'", decision.value, decision.duration);
        decision.entry().ok_or(ParseError { line, what })
    });
    entries.collect()
}
