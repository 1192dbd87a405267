//! Snapshots and events as JSON, one object a line, with the keys of the field tables in their order.

mod census;

use ctwatch_common::source::SourceKey;
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::model::{
    event::{By, Event, Kind},
    fields::{self, Field, Value},
    mode::Mode,
    protocol,
    snapshot::{Snapshot, SourceNumbers},
    source,
    told::{Numbers, Told},
};

/// The version of the format. Within it keys are added, never renamed or removed.
pub(super) const SCHEMA: u32 = 1;

/// One line of `watch --json`, without the line's end.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let sources: Vec<Json> = snapshot.sources.iter().map(source_object).collect();
    let object = json!({
        "schema": SCHEMA,
        "ts": time(snapshot.wall_ns),
        "netns": snapshot.netns,
        "netns_name": snapshot.netns_name.as_deref(),
        "interval_s": number(snapshot.interval_s),
        "table": object(fields::TABLE, &snapshot.table),
        "totals": object(fields::SOURCE, &snapshot.totals),
        "sources": sources,
        "others": object(fields::SOURCE, &snapshot.others),
        "prefixes": snapshot.prefixes.as_deref().map(|prefixes| list(prefixes, census::prefix)),
        "floods": snapshot.floods.as_deref().map(|floods| list(floods, census::flood)),
        "census": census::census(snapshot),
        "kernel": object(fields::KERNEL, &snapshot.kernel),
        "drift_entries": snapshot.drift_entries,
        "witness": snapshot.witness.as_ref().map(|witness| object(fields::WITNESS, witness)),
        "loss": object(fields::LOSS, &snapshot.loss),
        "mode": mode(&snapshot.mode),
    });
    object.to_string()
}

/// One line of `events --json`, without the line's end.
///
/// `netns_name` is what the network namespace is called, where that is known.
pub fn event(event: &Event, netns_name: Option<&str>) -> String {
    let (requester, process) = match &event.by {
        Some(By::Requester { source, protocol }) => (Some((source, protocol)), None),
        Some(By::Process { name, id }) => (None, Some((name, id))),
        None => (None, None),
    };
    let block = event.block.as_ref();
    let object = json!({
        "schema": SCHEMA,
        "ts": time(event.wall_ns),
        "netns": event.netns,
        "netns_name": netns_name,
        "kind": event.kind.kind().name(),
        "reason": event.kind.reason(),
        "source": source::text(&event.source),
        "source_port": event.source_port,
        "destination": event.destination.map(|destination| destination.to_string()),
        "destination_port": event.destination_port,
        "protocol": protocol_of_event(event),
        "suppressed": event.suppressed,
        "requester": requester.map(|(source, _)| source.to_string()),
        "requester_protocol": requester.map(|(_, protocol)| protocol::name(*protocol)),
        "process": process.map(|(name, _)| name),
        "pid": process.map(|(_, id)| id),
        "by": block.and_then(|block| block.by.as_deref()),
        "why": block.and_then(|block| block.why.as_deref()),
        "until": block.and_then(|block| block.until_wall_ns).map(time),
        "entries_max": block.and_then(|block| block.entries_max),
        "dropped_packets": block.and_then(|block| block.dropped_packets),
    });
    object.to_string()
}

/// What was told of events, as one line of `events --json`, without the line's end.
pub fn told(told: &Told) -> String {
    let mut line = Map::from_iter([
        ("schema".to_owned(), SCHEMA.into()),
        ("ts".to_owned(), time(told.wall_ns).into()),
        ("netns".to_owned(), told.netns.into()),
        ("netns_name".to_owned(), told.netns_name.as_deref().into()),
        ("kind".to_owned(), "summary".into()),
    ]);
    for kind in Kind::ALL {
        let numbers = told.of(kind).map(|Numbers { events, suppressed, lost }| {
            json!({"events": events, "suppressed": suppressed, "lost": lost})
        });
        line.insert(kind.name().to_owned(), numbers.into());
    }
    line.insert("events_dropped".to_owned(), told.events_dropped.into());
    line.insert("port_unknown".to_owned(), told.port_unknown.into());
    Json::Object(line).to_string()
}

/// The name of an event's protocol; `any` where it is of all of them.
pub(super) fn protocol_of_event(event: &Event) -> String {
    if event.kind.kind() == Kind::Blocked { "any".to_owned() } else { protocol_of(&event.source) }
}

/// A time as RFC 3339 has it, in UTC, to the millisecond.
pub fn time(wall_ns: i128) -> String {
    let timestamp = Timestamp::from_nanosecond(wall_ns).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// The name of a key's protocol; `any` for a key that stands for all of them.
pub fn protocol_of(key: &SourceKey) -> String {
    if key.family == 0 { "any".to_owned() } else { protocol::name(key.protocol).into_owned() }
}

fn source_object(numbers: &SourceNumbers) -> Json {
    let mut source_object = Map::new();
    if let Some(key) = &numbers.key {
        source_object.insert("source".to_owned(), source::text(key).into());
        source_object.insert("protocol".to_owned(), protocol_of(key).into());
    }
    source_object.extend(object(fields::SOURCE, numbers));
    Json::Object(source_object)
}

fn mode(mode: &Mode) -> Json {
    json!({
        "alloc": mode.alloc.name(),
        "early_drop": mode.early_drop.name(),
        "free": mode.free.name(),
        "gc": mode.gc.name(),
        "deletion": mode.deletion.name(),
        "confirm": mode.confirm.rung().name(),
        "confirm_since": mode.confirm.since_wall_ns().map(time),
        "degraded": mode.degraded,
        "why_not_higher": mode.why_not_higher,
        "attached_at": mode.attached_at_wall_ns.map(time),
        "pins_module": mode.pins_module,
    })
}

fn list<T>(items: &[T], of: fn(&T) -> Json) -> Json {
    items.iter().map(of).collect()
}

fn object<T>(fields: &[Field<T>], of: &T) -> Map<String, Json> {
    fields.iter().map(|field| (field.name.to_owned(), value((field.value)(of)))).collect()
}

fn value(value: Value) -> Json {
    match value {
        Value::Count(count) => count.into(),
        Value::Difference(difference) => difference.into(),
        Value::Real(real) => number(real),
        Value::Unknown => Json::Null,
    }
}

/// Six significant digits, for what may be as small as a probability is.
pub(super) fn significant(real: f64) -> Json {
    // The text of a number is parsed again: what is finite stays so.
    Json::from(format!("{real:.5e}").parse().unwrap_or(real))
}

/// Three digits after the point: finer than anything that is measured here.
pub(super) fn number(real: f64) -> Json {
    Json::from((real * 1000.0).round() / 1000.0)
}
