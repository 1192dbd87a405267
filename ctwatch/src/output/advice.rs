//! Advice as programs read it: one JSON object, the same numbers as in the text.

mod text;

use serde_json::{Map, Value, json};

use super::json::{SCHEMA, number, significant, time};
use crate::advise::{
    Diagnosis,
    advice::{Advice, Amount, Change, Datum, Expected},
    case::Case,
};

pub use text::text;

/// One JSON object (docs/advise.schema.json), without the line's end.
pub fn json(case: &Case, diagnosis: &Diagnosis) -> String {
    let finding = &diagnosis.finding;
    let refused = diagnosis.refused.iter();
    json!({
        "schema": SCHEMA,
        "ts": time(case.last.wall_ns),
        "netns": case.last.netns,
        "netns_name": case.last.netns_name.as_deref(),
        "looked_s": number(case.seconds),
        "degraded": case.last.mode.degraded,
        "cause": finding.cause.name(),
        "explanation": finding.explanation,
        "evidence": evidence(&finding.evidence),
        "advice": diagnosis.advice.iter().map(advice).collect::<Vec<Value>>(),
        "refused_advice": refused
            .map(|refused| json!({ "rule": refused.rule, "why": refused.why }))
            .collect::<Vec<Value>>(),
    })
    .to_string()
}

fn advice(advice: &Advice) -> Value {
    json!({
        "id": advice.id,
        "rule": advice.rule,
        "severity": advice.severity.name(),
        "what": advice.what,
        "why": advice.why,
        "evidence": evidence(&advice.evidence),
        "changes": advice.changes.iter().map(change).collect::<Vec<Value>>(),
        "unasked": advice.is_unasked,
        "expected": expected(&advice.expected),
        "risk": advice.risk,
        "commands": advice.commands,
        "until": advice.until,
    })
}

fn change(change: &Change) -> Value {
    json!({ "key": change.key, "from": change.from, "to": change.to })
}

fn expected(expected: &Expected) -> Value {
    json!({
        "entries_freed": expected.entries_freed,
        "memory_bytes": expected.memory_bytes,
        "refused_share": expected.refused_share.map(number),
        "further": evidence(&expected.further),
    })
}

/// Each number by its name, with where it comes from.
pub(super) fn evidence(data: &[Datum]) -> Value {
    let data = data.iter().map(|datum| {
        let value = match &datum.amount {
            Amount::Count(count) => Value::from(*count),
            Amount::Real(real) => significant(*real),
            Amount::Text(text) => Value::from(text.as_str()),
        };
        (datum.name.to_owned(), json!({ "value": value, "from": datum.from }))
    });
    Value::Object(data.collect::<Map<String, Value>>())
}

#[cfg(test)]
pub(crate) mod sample;
