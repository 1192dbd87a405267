//! Snapshots as text that Prometheus scrapes. Names, kinds and help come from the table of fields; how many series there are is
//! bounded by what a snapshot lists, and by [`Page::floor_entries`].

mod classic;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::model::{
    census::destinations::Destination,
    fields::{self, Field, Kind, Value, census, own},
    mode::Rung,
    own::{Process, Recording},
    protocol,
    snapshot::{Snapshot, SourceNumbers},
    source,
};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The older text format, for whoever does not ask for that.
    Classic,
}

impl Form {
    /// The best one that whoever asks says to understand, by the header `Accept`.
    pub fn wanted_by(accepted: &str) -> Self {
        if accepted.contains(OPEN_METRICS) { Self::OpenMetrics } else { Self::Classic }
    }

    /// What the page is, as HTTP says it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Whether numbers are of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// They are.
    Current,
    /// None have come for too long: that they are old is all that is told of them.
    Outdated,
}

/// What is put on one page.
#[derive(Clone, Debug)]
pub struct Page {
    /// The latest snapshot of each namespace.
    pub snapshots: Vec<Arc<Snapshot>>,
    /// How old they are.
    pub age: Age,
    /// Sources that hold fewer entries and neither open any nor are refused have no series.
    pub floor_entries: u64,
    /// What this process has taken, if that is known.
    pub process: Option<Process>,
    /// What became of the recording, if there is to be one.
    pub recording: Option<Recording>,
}

/// Labels and their values.
type Labels = Vec<(&'static str, String)>;
/// A sample.
type Sample = (Labels, Value);

impl Page {
    /// The page as text.
    ///
    /// # Errors
    ///
    /// If the text cannot be made, which memory alone can prevent.
    pub fn text(self, form: Form) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(match form {
            Form::OpenMetrics => text,
            Form::Classic => classic::of_open_metrics(&text),
        })
    }

    fn of_each<T>(&self, of: impl Fn(&Snapshot) -> Vec<(Labels, T)>) -> Vec<(Labels, T)> {
        let namespaces = self.snapshots.iter().flat_map(|snapshot| {
            let netns = ("netns", namespace(snapshot));
            let labelled = of(snapshot)
                .into_iter()
                .map(move |(labels, value)| ([vec![netns.clone()], labels].concat(), value));
            labelled.collect::<Vec<_>>()
        });
        namespaces.collect()
    }

    fn is_busy(&self, numbers: &SourceNumbers) -> bool {
        let moves = |rate: Option<f64>| rate.is_some_and(|rate| rate > 0.0);
        numbers.entries.is_some_and(|entries| entries >= self.floor_entries)
            || moves(numbers.new_per_s)
            || moves(numbers.refused_per_s)
    }

    fn sources(&self) -> Vec<(Labels, SourceNumbers)> {
        self.of_each(|snapshot| {
            let busy = snapshot.sources.iter().filter(|numbers| self.is_busy(numbers));
            busy.filter_map(|numbers| {
                let key = numbers.key.as_ref()?;
                let protocol = protocol::name(key.protocol).into_owned();
                Some((vec![("source", source::text(key)), ("protocol", protocol)], *numbers))
            })
            .collect()
        })
    }

    /// The sum over those that have no series, so that nothing is missing from the sum over all series.
    fn others(&self) -> Vec<(Labels, SourceNumbers)> {
        self.of_each(|snapshot| {
            let mut others = snapshot.others;
            let idle = snapshot.sources.iter().filter(|numbers| !self.is_busy(numbers));
            idle.for_each(|numbers| others.include(numbers));
            vec![(vec![], others)]
        })
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let help = "the version of ctwatch";
        write(to, "ctwatch_build_info", help, Kind::Gauge, &[(version, Value::Count(1))])?;
        self.itself(to)?;
        if self.age == Age::Outdated {
            return Ok(());
        }
        self.how_it_is_seen(to)?;
        let table = self.of_each(|snapshot| vec![(vec![], snapshot.table)]);
        write_fields(to, "ctwatch", fields::TABLE, &table)?;
        let totals = self.of_each(|snapshot| vec![(vec![], snapshot.totals)]);
        // What is held by all is in the table's own count.
        let of_all = fields::SOURCE.iter().filter(|field| field.name != "entries");
        write_fields(to, "ctwatch", of_all, &totals)?;
        write_fields(to, "ctwatch_source", fields::SOURCE, &self.sources())?;
        // Its counts fall when a source is listed: they are no counters.
        let held = fields::SOURCE.iter().filter(|field| field.kind == Kind::Gauge);
        write_fields(to, "ctwatch_others", held, &self.others())?;
        let kernel = self.of_each(|snapshot| vec![(vec![], snapshot.kernel)]);
        write_fields(to, "ctwatch_kernel", fields::KERNEL, &kernel)?;
        let loss = self.of_each(|snapshot| vec![(vec![], snapshot.loss)]);
        write_fields(to, "ctwatch_loss", fields::LOSS, &loss)?;
        self.walked(to)
    }
}

impl Page {
    /// What the agent has to tell of itself.
    fn itself(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let taken =
            self.of_each(|snapshot| vec![(vec![], Value::Real(snapshot.wall_ns as f64 / 1e9))]);
        let help = "when these numbers were true, in seconds since 1970";
        write(to, "ctwatch_snapshot_timestamp_seconds", help, Kind::Gauge, &taken)?;
        let process = self.process.map(|process| (Labels::new(), process));
        // The names that any other exporter has for them.
        write_fields(to, "process", own::PROCESS, process.as_slice())?;
        let recording = self.recording.map(|recording| (Labels::new(), recording));
        write_fields(to, "ctwatch_recording", own::RECORDING, recording.as_slice())
    }

    fn how_it_is_seen(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let drift = self.of_each(|snapshot| {
            let drift = snapshot.drift_entries.map_or(Value::Unknown, Value::Difference);
            vec![(vec![], drift)]
        });
        let help = "distance of the sum over all sources from nf_conntrack_count";
        write(to, "ctwatch_drift_entries", help, Kind::Gauge, &drift)?;
        let mode = self.of_each(|snapshot| {
            let rung = |name, rung: Rung| (name, rung.name().to_owned());
            let mode = &snapshot.mode;
            let labels = vec![
                rung("alloc", mode.alloc),
                rung("early_drop", mode.early_drop),
                rung("free", mode.free),
            ];
            vec![(labels, Value::Count(1))]
        });
        write(to, "ctwatch_mode_info", "what the hooks stand on", Kind::Gauge, &mode)?;
        let missing = self.of_each(|snapshot| {
            let missing = u64::try_from(snapshot.mode.degraded.len()).unwrap_or(u64::MAX);
            vec![(vec![], Value::Count(missing))]
        });
        let help = "things that cannot be seen in this mode; their names are in snapshot.json";
        write(to, "ctwatch_degraded", help, Kind::Gauge, &missing)?;
        let since = self.of_each(|snapshot| {
            let since = snapshot.mode.attached_at_wall_ns;
            let seconds = since.map_or(Value::Unknown, |since| Value::Real(since as f64 / 1e9));
            vec![(vec![], seconds)]
        });
        let help = "when the counters began, in seconds since 1970";
        write(to, "ctwatch_attached_timestamp_seconds", help, Kind::Gauge, &since)
    }

    /// What the last walk of the table told.
    fn walked(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let walk = self.of_each(|snapshot| {
            snapshot.census.iter().map(|walk| (vec![], walk.clone())).collect()
        });
        write_fields(to, "ctwatch_census", census::WALK, &walk)?;
        let census =
            |snapshot: &Snapshot| snapshot.census.as_ref().map(|walk| Arc::clone(&walk.census));
        let states = self.of_each(|snapshot| {
            let states = census(snapshot).into_iter().flat_map(|census| census.states.clone());
            let labelled = states.map(|state| {
                let labels = vec![
                    ("protocol", state.protocol.clone().into_owned()),
                    ("state", state.state.clone().into_owned()),
                ];
                (labels, state)
            });
            labelled.collect()
        });
        write_fields(to, "ctwatch_state", census::STATE, &states)?;
        let pools = self.of_each(|snapshot| {
            let pools = census(snapshot).into_iter().flat_map(|census| census.snat_pools.clone());
            let labelled = pools.map(|numbers| {
                let address = ("address", numbers.pool.address.to_string());
                ([vec![address], place(&numbers.pool.destination)].concat(), numbers)
            });
            labelled.collect()
        });
        write_fields(to, "ctwatch_snat", census::SNAT_POOL, &pools)?;
        let floods = self.of_each(|snapshot| {
            let floods = snapshot.floods.iter().flat_map(|floods| floods.iter());
            floods.map(|flood| (place(&flood.destination), flood.clone())).collect()
        });
        write_fields(to, "ctwatch_flood", census::FLOOD, &floods)
    }
}

/// A namespace by its name; by its number where it has none that is known.
fn namespace(snapshot: &Snapshot) -> String {
    snapshot.netns_name.as_deref().map_or_else(|| snapshot.netns.to_string(), str::to_owned)
}

fn place(destination: &Destination) -> Labels {
    vec![
        ("destination", destination.address.to_string()),
        ("port", destination.port.map_or_else(String::new, |port| port.to_string())),
        ("protocol", protocol::name(destination.protocol).into_owned()),
    ]
}

/// A metric for each field that one is made of, with a sample for each of what is labelled.
fn write_fields<'a, T: 'static>(
    to: &mut DescriptorEncoder<'_>,
    prefix: &str,
    fields: impl IntoIterator<Item = &'a Field<T>>,
    labelled: &[(Labels, T)],
) -> fmt::Result {
    for field in fields {
        let Some(name) = name(field.name) else { continue };
        let samples: Vec<Sample> =
            labelled.iter().map(|(labels, of)| (labels.clone(), (field.value)(of))).collect();
        write(to, &format!("{prefix}_{name}"), &help(field), field.kind, &samples)?;
    }
    Ok(())
}

/// The name of a field as that of a metric, by Prometheus' conventions; `None` for rates, which are computed there.
fn name(field: &str) -> Option<String> {
    match field {
        // What node_exporter calls it.
        "limit" => Some("entries_limit".to_owned()),
        "utilization" => Some("utilization_ratio".to_owned()),
        rate if rate.ends_with("_per_s") => None,
        name => Some(match (name.strip_suffix("_s"), name.strip_suffix("_share")) {
            (Some(time), _) => format!("{time}_seconds"),
            (_, Some(share)) => format!("{share}_ratio"),
            _ => name.to_owned(),
        }),
    }
}

/// What is `null` in JSON has no sample here.
fn help<T>(field: &Field<T>) -> String {
    let help = field.help.replace("null", "absent");
    match field.name {
        "limit" => format!("{help}: the maximum, or limit"),
        _ => help,
    }
}

/// A metric with its samples; none is written if no value is known.
fn write(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    samples: &[Sample],
) -> fmt::Result {
    if samples.iter().all(|(_, value)| *value == Value::Unknown) {
        return Ok(());
    }
    let metric_type = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = to.encode_descriptor(name, help, None, metric_type)?;
    // An empty set of labels would be written as one.
    if let [(labels, value)] = samples
        && labels.is_empty()
    {
        return encode(kind, *value, metric);
    }
    for (labels, value) in samples {
        encode(kind, *value, metric.encode_family(labels)?)?;
    }
    Ok(())
}

fn encode(kind: Kind, value: Value, sample: MetricEncoder<'_>) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => ConstCounter::new(count).encode(sample),
        (Kind::Counter, Value::Real(real)) => ConstCounter::new(real).encode(sample),
        (Kind::Gauge, Value::Count(count)) => ConstGauge::new(count).encode(sample),
        (Kind::Gauge, Value::Real(real)) => ConstGauge::new(real).encode(sample),
        (_, Value::Difference(difference)) => ConstGauge::new(difference).encode(sample),
        (_, Value::Unknown) => Ok(()),
    }
}

#[cfg(test)]
mod conventions;
#[cfg(test)]
pub(super) mod tests;
