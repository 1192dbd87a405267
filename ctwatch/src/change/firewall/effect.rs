//! What blocks did: how others fared before and after, and how many entries were freed. The kernel keeps nothing of it, so it is
//! in a file of the state directory; what that says of blocks that are gone is forgotten with the next one that is written.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::listing::{Blocked, Listing};
use crate::change::{machine::Machine, record::Place, state::State, system::System as _};

/// More are not remembered; the oldest are forgotten.
pub const EFFECTS_MAX: usize = 4096;
/// Refusals that fall to no less than this share of what they were have not fallen.
const NOT_FALLEN: f64 = 0.9;
/// What is blocked for so long, in seconds, and has dropped nothing, drops nothing.
const PROVING_S: u64 = 3;

/// What was seen for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// For how long, in seconds.
    pub seconds: f64,
    /// Packets refused a second, but for those of the sources that are blocked; `None` where that cannot be seen.
    pub refused_of_others_per_s: Option<f64>,
    /// Entries that the sources held at the end; `None` where that is not known.
    pub entries_of_sources: Option<u64>,
    /// Entries of all at the end.
    pub entries: u64,
    /// Entries that fitted; `None` if unlimited.
    pub limit: Option<u64>,
}

/// What a block did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The start of the machine that it belongs to.
    pub boot: String,
    /// The number of its namespace.
    pub netns: u32,
    /// Who is blocked.
    pub network: IpNet,
    /// Since when, in seconds since 1970: what a later block of the same source differs in.
    pub since_s: u64,
    /// How many sources were blocked by the same call: the numbers are of all of them together.
    pub together: usize,
    /// Entries that were ended; `None` if they were kept, or it is not known.
    pub ended_entries: Option<u64>,
    /// What was seen right before; `None` if nobody looked.
    pub before: Option<Seen>,
    /// What was seen right after; `None` if nobody looked.
    pub after: Option<Seen>,
}

/// Whether a block does what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It dropped packets, or freed entries, and nothing speaks against it.
    Effective,
    /// It has dropped nothing, and freed nothing.
    DropsNothing,
    /// Others are refused as often as before.
    OthersRefusedStill,
    /// It is too early to say, or not known.
    Unknown,
}

impl Verdict {
    /// The verdict on a block, `now_s` seconds after 1970.
    pub fn of(block: &Blocked, effect: Option<&Effect>, now_s: u64) -> Self {
        let refused =
            |seen: fn(&Effect) -> Option<Seen>| effect.and_then(seen)?.refused_of_others_per_s;
        let before = refused(|effect| effect.before).filter(|before| *before > 0.0);
        if let (Some(before), Some(after)) = (before, refused(|effect| effect.after))
            && after > before * NOT_FALLEN
        {
            return Self::OthersRefusedStill;
        }
        let freed = effect.and_then(|effect| effect.ended_entries).unwrap_or(0);
        let is_proven =
            block.note.as_ref().is_some_and(|note| now_s.saturating_sub(note.since_s) >= PROVING_S);
        match block.dropped.map(|dropped| dropped.packets) {
            _ if freed > 0 => Self::Effective,
            Some(0) if is_proven => Self::DropsNothing,
            Some(0) | None => Self::Unknown,
            Some(_) => Self::Effective,
        }
    }

    /// Whether it has an effect; `None` if that is not known.
    pub fn is_effective(self) -> Option<bool> {
        match self {
            Self::Effective => Some(true),
            Self::DropsNothing | Self::OthersRefusedStill => Some(false),
            Self::Unknown => None,
        }
    }
}

/// What is remembered of the blocks in one place. There may be many of both, so none is searched for.
pub struct Remembered<'a>(HashMap<(IpNet, u64), &'a Effect>);

impl<'a> Remembered<'a> {
    /// Those of these effects that belong to this place.
    pub fn new(effects: &'a [Effect], place: &Place) -> Self {
        let here = |effect: &&Effect| effect.boot == place.boot && effect.netns == place.netns;
        let of_block = |effect: &'a Effect| ((effect.network, effect.since_s), effect);
        Self(effects.iter().filter(here).map(of_block).collect())
    }

    /// The effect of a block.
    pub fn of(&self, block: &Blocked) -> Option<&'a Effect> {
        let since_s = block.note.as_ref()?.since_s;
        self.0.get(&(block.network, since_s)).copied()
    }
}

impl Effect {
    fn is_believable(&self) -> bool {
        let is_sane = |seen: &Seen| {
            let rates = [Some(seen.seconds), seen.refused_of_others_per_s];
            rates.into_iter().flatten().all(|rate| rate.is_finite() && rate >= 0.0)
        };
        self.network == self.network.trunc()
            && [&self.before, &self.after].into_iter().flatten().all(is_sane)
    }
}

/// What is remembered. A file that is not there, or is not ours, tells nothing: blocks do not depend on it.
pub fn read(state: &State) -> Vec<Effect> {
    let Ok(Some(bytes)) = Machine::new(None).file(&state.effects()) else { return Vec::new() };
    if state.check().is_err() {
        return Vec::new();
    }
    let read: Vec<Effect> = serde_json::from_slice(&bytes).unwrap_or_default();
    read.into_iter().filter(Effect::is_believable).take(EFFECTS_MAX).collect()
}

/// Remembers effects, in the place of what was remembered of the same blocks, and forgets those of blocks that are gone.
///
/// # Errors
///
/// Why it cannot, in words.
pub fn remember(
    state: &State,
    place: &Place,
    listing: &Listing,
    new: &[Effect],
) -> Result<(), String> {
    let in_words = |error| format!("{:#}", anyhow::Error::new(error));
    state.prepare().map_err(in_words)?;
    let _lock = state.lock().map_err(in_words)?;
    let merged = merged(read(state), place, listing, new);
    let json = serde_json::to_vec(&merged).map_err(|error| error.to_string())?;
    Machine::new(None).replace_file(&state.effects(), &json).map_err(|error| error.to_string())
}

/// The old ones that still hold, and the new ones. A block that has its time anew keeps what was seen before it began.
fn merged(old: Vec<Effect>, place: &Place, listing: &Listing, new: &[Effect]) -> Vec<Effect> {
    let in_force: BTreeSet<(IpNet, u64)> = listing
        .blocks
        .iter()
        .filter_map(|block| Some((block.network, block.note.as_ref()?.since_s)))
        .collect();
    let block = |effect: &Effect| (effect.netns, effect.network, effect.since_s);
    let renewed: HashMap<_, usize> =
        new.iter().enumerate().map(|(index, effect)| (block(effect), index)).collect();
    let mut merged: Vec<Effect> = new.to_vec();
    for effect in old.into_iter().filter(|effect| effect.boot == place.boot) {
        let newer = renewed.get(&block(&effect)).and_then(|index| merged.get_mut(*index));
        if let Some(newer) = newer {
            newer.before = effect.before.or(newer.before);
            newer.after = newer.after.or(effect.after);
            newer.ended_entries = match (effect.ended_entries, newer.ended_entries) {
                (Some(old), Some(new)) => Some(old.saturating_add(new)),
                (old, new) => old.or(new),
            };
        } else if effect.netns != place.netns
            || in_force.contains(&(effect.network, effect.since_s))
        {
            merged.push(effect);
        }
    }
    merged.truncate(EFFECTS_MAX);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blocklist::note::Note, change::firewall::listing::Dropped};

    fn place() -> Place {
        Place { boot: "b".into(), netns: 7, netns_name: "gateway".into(), is_initial: false }
    }

    fn seen(refused: f64) -> Option<Seen> {
        Some(Seen { seconds: 1.0, refused_of_others_per_s: Some(refused), ..Seen::default() })
    }

    fn effect(network: &str) -> Effect {
        Effect {
            boot: "b".into(),
            netns: 7,
            network: network.parse().unwrap(),
            since_s: 100,
            together: 1,
            ended_entries: Some(5),
            before: seen(50.0),
            after: seen(0.0),
        }
    }

    fn block(network: &str, packets: u64) -> Blocked {
        Blocked {
            network: network.parse().unwrap(),
            left_s: Some(60),
            note: Some(Note { since_s: 100, by: "root".into(), why: String::new() }),
            dropped: Some(Dropped { packets, bytes: 0 }),
        }
    }

    #[test]
    fn a_block_without_effect_is_found() {
        let of = |packets, effect: Option<&Effect>, now_s| {
            Verdict::of(&block("10.0.0.1/32", packets), effect, now_s)
        };
        let good = effect("10.0.0.1/32");
        assert_eq!(of(9, Some(&good), 200), Verdict::Effective);
        assert_eq!(of(0, Some(&good), 200), Verdict::Effective);
        let useless = Effect { after: seen(49.0), ..good.clone() };
        assert_eq!(of(9, Some(&useless), 200), Verdict::OthersRefusedStill);
        let nothing = Effect { ended_entries: Some(0), before: seen(0.0), ..good };
        assert_eq!(of(0, Some(&nothing), 200), Verdict::DropsNothing);
        assert_eq!(of(0, Some(&nothing), 101), Verdict::Unknown);
        assert_eq!(of(0, None, 200), Verdict::DropsNothing);
        assert_eq!(of(9, None, 101), Verdict::Effective);
    }

    #[test]
    fn what_was_seen_before_the_first_block_is_kept_and_entries_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(Some(&directory.path().join("state")));
        let blocks = vec![block("10.0.0.1/32", 1), block("10.0.0.2/32", 1)];
        let listing = Listing { blocks, ..Listing::default() };
        let remember =
            |listing: &Listing, new: &[Effect]| remember(&state, &place(), listing, new).unwrap();
        let elsewhere = Effect { netns: 8, ..effect("10.0.0.9/32") };
        let restarted = Effect { boot: "a".into(), ..effect("10.0.0.1/32") };
        remember(
            &listing,
            &[effect("10.0.0.1/32"), effect("10.0.0.2/32"), elsewhere.clone(), restarted],
        );
        let again = Effect {
            before: seen(1.0),
            after: seen(3.0),
            ended_entries: Some(2),
            ..effect("10.0.0.1/32")
        };
        let listing = Listing { blocks: listing.blocks[..1].to_vec(), ..listing };
        remember(&listing, std::slice::from_ref(&again));
        let kept = Effect { before: seen(50.0), after: seen(3.0), ended_entries: Some(7), ..again };
        let read = read(&state);
        assert_eq!(read, [kept.clone(), elsewhere]);
        let remembered = Remembered::new(&read, &place());
        assert_eq!(remembered.of(&listing.blocks[0]), Some(&kept));
        assert_eq!(remembered.of(&block("10.0.0.9/32", 1)), None, "it is another namespace's");
    }

    #[test]
    fn a_file_that_is_not_ours_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(Some(&directory.path().join("state")));
        state.prepare().unwrap();
        assert_eq!(read(&state), []);
        let odd = Effect { before: seen(-1.0), ..effect("10.0.0.1/32") };
        let texts = ["", "[1]", "{", "[]", &serde_json::to_string(&[odd]).unwrap()];
        for text in texts {
            std::fs::write(state.effects(), text).unwrap();
            assert_eq!(read(&state), [], "{text}");
        }
    }
}
