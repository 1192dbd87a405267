//! What was recorded of one network namespace, in place of a look.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    look::{self, ModeReport},
    progress::Progress,
};
use crate::{
    advise::{machine_state::MachineState, wording::list},
    exit::CommandError,
    host::namespace::NamespaceTarget,
    model::snapshot::Snapshot,
    output::json::time,
    recording::{
        item::Beginning,
        parts::{Parts, PartsError},
    },
};

/// What there is besides the snapshots.
#[derive(Debug)]
pub(super) struct RecordedLook {
    /// What the recording says of itself.
    pub(super) beginning: Beginning,
    /// The namespace, by number.
    pub(super) netns: u32,
    /// What it was called last.
    pub(super) name: Option<Arc<str>>,
    /// What the machine was, read last; `None` where nobody has recorded that.
    pub(super) machine_state: Option<MachineState>,
    listed_most: usize,
}

/// Hands over, one after another, the snapshots of the one namespace that is asked for; then says what is missing.
///
/// # Errors
///
/// If it is no recording, cannot be read, or leaves open which namespace is meant.
pub(super) fn read(
    path: &Path,
    asked: &NamespaceTarget,
    mut take: impl FnMut(&Arc<Snapshot>),
) -> Result<RecordedLook, CommandError> {
    let mut parts = Parts::open(path).map_err(|error| CommandError::Usage(not_read(&error)))?;
    let mut recorded = Recorded::new(asked);
    let mut progress = Progress::begin();
    while let Some(snapshot) = parts.next() {
        progress.tell(|_| {
            let (read, all) = (parts.read_bytes() >> 20, parts.bytes() >> 20);
            format!("reading the recording: {read} of {all} MB")
        });
        let snapshot =
            snapshot.map_err(|error| CommandError::Failed(anyhow::anyhow!(not_read(&error))))?;
        if recorded.has(&snapshot) {
            take(&snapshot);
        }
    }
    drop(progress);
    parts.defects().iter().for_each(|defect| look::say(defect));
    let (netns, name) = recorded.chosen()?;
    Ok(RecordedLook {
        beginning: parts.beginning().clone(),
        netns,
        name,
        machine_state: parts.machine_state(netns).cloned(),
        listed_most: recorded.listed_most,
    })
}

impl RecordedLook {
    /// The machine that it was recorded on.
    pub(super) fn host(&self) -> &str {
        // Where that is damaged.
        if self.beginning.host.is_empty() { "another machine" } else { &self.beginning.host }
    }

    /// Says what is looked into, up to when, and which sources were not recorded: with them `consequence`.
    pub(super) fn tell(&self, until_wall_ns: i128, consequence: &str) {
        look::say(&format!(
            "the end of the recording of {} on {}, at {}",
            called(self.netns, self.name.as_deref()),
            self.host(),
            time(until_wall_ns)
        ));
        for which in not_recorded(&self.beginning, self.listed_most) {
            look::say(&format!("sources {which}: {consequence}"));
        }
    }
}

/// What is read of a recording, and the namespaces in it.
struct Recorded<'a> {
    asked: &'a NamespaceTarget,
    namespaces: BTreeMap<u32, Namespace>,
    /// The first one that is what was asked for.
    netns: Option<u32>,
    /// The most sources that were listed at once.
    listed_most: usize,
    report: ModeReport,
}

/// A namespace that was recorded.
#[derive(Default)]
struct Namespace {
    name: Option<Arc<str>>,
    is_asked_for: bool,
}

impl<'a> Recorded<'a> {
    fn new(asked: &'a NamespaceTarget) -> Self {
        Self {
            asked,
            namespaces: BTreeMap::new(),
            netns: None,
            listed_most: 0,
            report: ModeReport::default(),
        }
    }

    /// Whether a snapshot is of what is asked for.
    fn has(&mut self, snapshot: &Snapshot) -> bool {
        let netns = snapshot.netns;
        let namespace = self.namespaces.entry(netns).or_default();
        namespace.name.clone_from(&snapshot.netns_name);
        // It stays what it is when it gets another name.
        namespace.is_asked_for |= is_called(netns, namespace.name.as_deref(), self.asked);
        let is_it = namespace.is_asked_for && *self.netns.get_or_insert(netns) == netns;
        // An interval without a length has no place in any time.
        let counts = is_it && snapshot.interval_s.is_finite();
        if counts {
            self.report.tell(snapshot);
            self.listed_most = self.listed_most.max(snapshot.sources.len());
        }
        counts
    }

    /// The one namespace that was asked for, by number and name.
    fn chosen(&self) -> Result<(u32, Option<Arc<str>>), CommandError> {
        let mut asked_for = self.namespaces.iter().filter(|(_, namespace)| namespace.is_asked_for);
        match (asked_for.next(), asked_for.next()) {
            (Some((netns, namespace)), None) => Ok((*netns, namespace.name.clone())),
            _ if self.namespaces.is_empty() => {
                Err(CommandError::Failed(anyhow::anyhow!("nothing was recorded")))
            }
            (found, _) => {
                let why = match found {
                    Some(_) => "more than one network namespace was recorded".to_owned(),
                    None => format!("no network namespace '{}' was recorded", self.asked),
                };
                let there_are: Vec<String> = self
                    .namespaces
                    .iter()
                    .map(|(netns, namespace)| called(*netns, namespace.name.as_deref()))
                    .collect();
                Err(CommandError::Usage(format!(
                    "{why}: name with --netns, by its name or number, one of {}",
                    list(&there_are)
                )))
            }
        }
    }
}

/// Whether a namespace is what was asked for: by its name or number, and by `self`, which is asked for unless told, any.
fn is_called(netns: u32, name: Option<&str>, asked: &NamespaceTarget) -> bool {
    let text = asked.to_string();
    *asked == NamespaceTarget::OwnNamespace || name == Some(&*text) || netns.to_string() == text
}

fn called(netns: u32, name: Option<&str>) -> String {
    format!("{} (netns {netns})", name.unwrap_or("unknown"))
}

/// Who was not recorded, and may have been there.
fn not_recorded(beginning: &Beginning, listed_most: usize) -> Vec<String> {
    let top = beginning.listed_sources;
    let is_full = top > 0 && listed_most as u64 >= top;
    let top = is_full.then(|| format!("beyond the first {top} were not recorded (record --top)"));
    let only =
        beginning.only.map(|only| format!("outside {only} were not recorded (record --source)"));
    top.into_iter().chain(only).collect()
}

fn not_read(error: &PartsError) -> String {
    format!("cannot read {}: {}", error.path.display(), error.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn snapshot(netns: u32, name: &str, interval_s: f64) -> Snapshot {
        Snapshot { netns, netns_name: Some(name.into()), interval_s, ..sample::snapshot() }
    }

    /// How many intervals of whom are chosen out of two namespaces, one of which gets another name.
    fn chosen(asked: &str) -> Result<(u32, usize), String> {
        let asked = asked.parse().unwrap();
        let (mut recorded, mut intervals) = (Recorded::new(&asked), 0);
        for (first, interval_s) in [("gateway", 1.0), ("gateway", f64::NAN), ("renamed", 1.0)] {
            for (netns, name) in [(7, first), (8, "other")] {
                intervals += usize::from(recorded.has(&snapshot(netns, name, interval_s)));
            }
        }
        let (netns, _) = recorded.chosen().map_err(|error| error.to_string())?;
        Ok((netns, intervals))
    }

    #[test]
    fn a_namespace_is_chosen_by_name_or_number_and_keeps_its_place_when_renamed() {
        assert_eq!(chosen("gateway"), Ok((7, 2)));
        assert_eq!(chosen("7"), Ok((7, 2)));
        assert_eq!(chosen("8"), Ok((8, 2)));
        assert_eq!(chosen("renamed"), Ok((7, 1)));
    }

    #[test]
    fn where_it_is_open_which_one_is_meant_all_are_named() {
        for (asked, why) in [
            ("self", "more than one network namespace was recorded"),
            ("third", "no network namespace 'third' was recorded"),
        ] {
            let error = chosen(asked).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(error.ends_with("renamed (netns 7) and other (netns 8)"), "{error}");
        }
    }

    #[test]
    fn the_only_one_need_not_be_named_and_two_of_one_name_are_told_apart_by_number() {
        let own = NamespaceTarget::OwnNamespace;
        let mut recorded = Recorded::new(&own);
        assert!(matches!(recorded.chosen(), Err(CommandError::Failed(_))));
        recorded.has(&snapshot(7, "gateway", 1.0));
        assert_eq!(recorded.chosen().unwrap(), (7, Some("gateway".into())));
        let asked = "gateway".parse().unwrap();
        let mut recorded = Recorded::new(&asked);
        recorded.has(&snapshot(7, "gateway", 1.0));
        recorded.has(&snapshot(9, "gateway", 1.0));
        assert!(matches!(recorded.chosen(), Err(CommandError::Usage(_))));
    }

    #[test]
    fn who_was_not_recorded_is_said_where_somebody_may_be_missing() {
        let beginning = Beginning { listed_sources: 20, ..Beginning::default() };
        assert!(not_recorded(&beginning, 19).is_empty());
        assert!(not_recorded(&beginning, 20)[0].contains("beyond the first 20 "));
        let only = Some("10.0.1.0/24".parse().unwrap());
        let said = not_recorded(&Beginning { only, ..Beginning::default() }, 3);
        assert!(said.len() == 1 && said[0].contains("10.0.1.0/24"), "{said:?}");
    }
}
