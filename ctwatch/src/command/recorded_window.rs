//! The end of a recording, in place of a look.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use super::look::{self, ModeReport};
use crate::{
    advise::wording::list,
    blocklist::window::Window,
    exit::CommandError,
    host::{namespace::NamespaceTarget, namespace_list::all_namespaces},
    model::snapshot::Snapshot,
    output::json::time,
    recording::{
        item::Beginning,
        parts::{Parts, PartsError},
    },
};

/// Reads the last `duration` of what was recorded of `asked`, in intervals of about `interval`, and says what it is and what is
/// missing. Beside it stands the namespace of this machine that those who must be spared are asked of.
///
/// # Errors
///
/// If it is no recording, cannot be read, or leaves open which namespace is meant.
pub(super) fn read(
    path: &Path,
    asked: &NamespaceTarget,
    duration: Duration,
    interval: Duration,
) -> Result<(Window, NamespaceTarget), CommandError> {
    let mut parts = Parts::open(path).map_err(|error| CommandError::Usage(not_read(&error)))?;
    let mut recorded = Recorded::new(asked, interval);
    for snapshot in &mut parts {
        let snapshot =
            snapshot.map_err(|error| CommandError::Failed(anyhow::anyhow!(not_read(&error))))?;
        recorded.add(&snapshot);
    }
    parts.defects().iter().for_each(|defect| look::say(defect));
    let (netns, name) = recorded.chosen()?;
    let mut window = recorded.window;
    window.keep_last(duration.as_secs_f64());
    let (name, beginning) = (name.as_deref(), parts.beginning());
    // Where that is damaged.
    let recorded_on = if beginning.host.is_empty() { "another machine" } else { &beginning.host };
    look::say(&format!(
        "the end of the recording of {} on {recorded_on}, at {}",
        called(netns, name),
        time(window.wall_ns())
    ));
    bounds(beginning, recorded.listed_most).iter().for_each(|bound| look::say(bound));
    let here = counterpart(netns, name);
    let now_on = rustix::system::uname();
    let now_on = now_on.nodename().to_string_lossy();
    let there = name.unwrap_or("of that name");
    look::say(&spared_by(here.as_ref(), there, recorded_on, &now_on));
    Ok((window, here.unwrap_or(NamespaceTarget::OwnNamespace)))
}

/// What is read of a recording, and the namespaces in it.
struct Recorded<'a> {
    asked: &'a NamespaceTarget,
    namespaces: BTreeMap<u32, Namespace>,
    /// The first one that is what was asked for, and what was seen of it.
    netns: Option<u32>,
    window: Window,
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
    fn new(asked: &'a NamespaceTarget, interval: Duration) -> Self {
        Self {
            asked,
            namespaces: BTreeMap::new(),
            netns: None,
            window: Window::with_intervals_of(interval.as_secs_f64()),
            listed_most: 0,
            report: ModeReport::default(),
        }
    }

    fn add(&mut self, snapshot: &Snapshot) {
        let netns = snapshot.netns;
        let namespace = self.namespaces.entry(netns).or_default();
        namespace.name.clone_from(&snapshot.netns_name);
        // It stays what it is when it gets another name.
        namespace.is_asked_for |= is_called(netns, namespace.name.as_deref(), self.asked);
        let is_it = namespace.is_asked_for && *self.netns.get_or_insert(netns) == netns;
        // An interval without a length has no place in any time.
        if is_it && snapshot.interval_s.is_finite() {
            self.report.tell(snapshot);
            self.listed_most = self.listed_most.max(snapshot.sources.len());
            self.window.add(snapshot);
        }
    }

    /// The one namespace that was asked for, by number and name.
    fn chosen(&self) -> Result<(u32, Option<Arc<str>>), CommandError> {
        let mut asked_for = self.namespaces.iter().filter(|(_, namespace)| namespace.is_asked_for);
        match (asked_for.next(), asked_for.next()) {
            (Some((netns, namespace)), None) => Ok((*netns, namespace.name.clone())),
            _ if self.namespaces.is_empty() => {
                Err(CommandError::Failed(anyhow::anyhow!("nothing was recorded: there is no list")))
            }
            (found, _) => {
                let why = match found {
                    Some(_) => {
                        "a list is of one namespace, and more than one was recorded".to_owned()
                    }
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

/// The namespace of this machine that has the name or number of a recorded one.
fn counterpart(netns: u32, name: Option<&str>) -> Option<NamespaceTarget> {
    let here = all_namespaces();
    let named = here.iter().find(|found| Some(&*found.name) == name);
    named.or_else(|| here.iter().find(|found| found.inode == netns)).map(|it| it.target.clone())
}

/// Who was not recorded, and may have been there.
fn bounds(beginning: &Beginning, listed_most: usize) -> Vec<String> {
    let top = beginning.listed_sources;
    let is_full = top > 0 && listed_most as u64 >= top;
    let top = is_full.then(|| format!("beyond the first {top} were not recorded (record --top)"));
    let only =
        beginning.only.map(|only| format!("outside {only} were not recorded (record --source)"));
    let all = top.into_iter().chain(only);
    all.map(|which| {
        format!("sources {which}: they are not listed, and --max-share does not count them")
    })
    .collect()
}

/// Whose addresses, routers and peers are spared, and what is to be done if that is another machine or namespace.
fn spared_by(
    here: Option<&NamespaceTarget>,
    there: &str,
    recorded_on: &str,
    now_on: &str,
) -> String {
    let mut text =
        "spared are the addresses, routers, resolvers and SSH peers that this machine has now"
            .to_owned();
    if let Some(NamespaceTarget::Name(_) | NamespaceTarget::Path(_)) = here {
        text += &format!(", also in the network namespace {there}");
    }
    let missing = if recorded_on != now_on {
        format!("those of {recorded_on} are not known here")
    } else if here.is_none() {
        format!("there is no network namespace {there} any more")
    } else {
        return text;
    };
    text + &format!("; {missing}: name what must be spared there with --allow")
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
        let mut recorded = Recorded::new(&asked, Duration::from_secs(1));
        for (first, interval_s) in [("gateway", 1.0), ("gateway", f64::NAN), ("renamed", 1.0)] {
            recorded.add(&snapshot(7, first, interval_s));
            recorded.add(&snapshot(8, "other", interval_s));
        }
        let (netns, _) = recorded.chosen().map_err(|error| error.to_string())?;
        Ok((netns, recorded.window.intervals().len()))
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
            ("self", "more than one was recorded"),
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
        let mut recorded = Recorded::new(&own, Duration::from_secs(1));
        assert!(matches!(recorded.chosen(), Err(CommandError::Failed(_))));
        recorded.add(&snapshot(7, "gateway", 1.0));
        assert_eq!(recorded.chosen().unwrap(), (7, Some("gateway".into())));
        let asked = "gateway".parse().unwrap();
        let mut recorded = Recorded::new(&asked, Duration::from_secs(1));
        recorded.add(&snapshot(7, "gateway", 1.0));
        recorded.add(&snapshot(9, "gateway", 1.0));
        assert!(matches!(recorded.chosen(), Err(CommandError::Usage(_))));
    }

    #[test]
    fn who_was_not_recorded_is_said_where_somebody_may_be_missing() {
        let beginning = Beginning { listed_sources: 20, ..Beginning::default() };
        assert!(bounds(&beginning, 19).is_empty());
        assert!(bounds(&beginning, 20)[0].contains("beyond the first 20 "));
        let only = Some("10.0.1.0/24".parse().unwrap());
        let said = bounds(&Beginning { only, ..Beginning::default() }, 3);
        assert!(said.len() == 1 && said[0].contains("10.0.1.0/24"), "{said:?}");
    }

    #[test]
    fn whose_addresses_are_spared_is_said() {
        let (own, name) = (NamespaceTarget::OwnNamespace, NamespaceTarget::Name("gateway".into()));
        let said = |here, recorded_on| spared_by(here, "gateway", recorded_on, "edge1");
        let here = said(Some(&own), "edge1");
        assert!(here.ends_with("this machine has now"), "{here}");
        let here = said(Some(&name), "edge1");
        assert!(here.ends_with("also in the network namespace gateway"), "{here}");
        for (text, part) in [
            (said(None, "edge1"), "no network namespace gateway any more"),
            (said(Some(&own), "edge2"), "those of edge2 are not known here"),
        ] {
            assert!(text.contains(part) && text.contains("--allow"), "{text}");
        }
    }
}
