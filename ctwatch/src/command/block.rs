//! `ctwatch block`: keeps sources out before conntrack sees them, ends their entries, and tells what that did.

use std::{collections::BTreeSet, fs, io::Read as _, path::Path, sync::Arc};

use super::{
    blocking::{
        ChangeError, firewall_error, now_s, on_a_thread, open, place, report, spare_protected,
    },
    effect_look::{Begun, EffectLook},
    look::{self, Interrupts},
};
use crate::{
    blocklist::{formats, protected::unmapped, ruleset::element},
    change::{
        firewall::{
            self, FirewallError,
            effect::{self, Effect},
            listing::Listing,
            plan::{self, BlockPlan, Outcome, Terms, Wish},
        },
        record::Place,
        source_entries::end_entries,
        state::State,
    },
    cli::BlockArguments,
    exit::CommandError,
    host::{
        modules::{self, Presence},
        namespace::{NamespaceChoice, NetworkNamespace},
        user,
    },
    output::blocks,
    privilege,
};
use ipnet::IpNet;

/// More than a list with as many blocks as fit has.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// More blocks of a call are not told to a person, nor more that is unusual.
const TOLD_MAX: usize = 20;

/// Blocks, all or none.
///
/// # Errors
///
/// If one of the sources must not or cannot be blocked: then none is. If entries could not be ended: then the block holds.
pub async fn run(arguments: &BlockArguments) -> Result<(), CommandError> {
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "sources are blocked in one namespace: name it with --netns".to_owned(),
        ));
    };
    let wishes = wishes(arguments)?;
    let namespace = open(target)?;
    if privilege::missing().is_some() {
        return Err(firewall_error(FirewallError::NotPermitted));
    }
    let named = wishes.iter().map(|wish| wish.network);
    spare_protected(&arguments.protected, &namespace, named, "blocked")?;
    let place = place(&namespace)?;
    let terms = Terms { now_s: now_s(), by: user::name(), duration: arguments.duration };
    let mut interrupts = Interrupts::new()?;
    let sources: BTreeSet<IpNet> = wishes.iter().map(|wish| wish.network).collect();
    let mut effect_look = None;
    if !arguments.now {
        // What cannot be done is told before anybody waits for a look.
        let listing = on_a_thread(&namespace, firewall::read).await?.map_err(firewall_error)?;
        plan::block(&listing, &wishes, &terms).map_err(ChangeError::from)?;
        match EffectLook::begin(&arguments.look, sources, arguments.look_within, &mut interrupts)
            .await?
        {
            Begun::Looking(begun) => effect_look = Some(begun),
            Begun::Blind(why) => look::say(&format!("what it does will not be known: {why}")),
            Begun::Interrupted => {
                return Err(CommandError::Failed(anyhow::anyhow!(
                    "interrupted before anybody was blocked"
                )));
            }
        }
    }
    let plan_now = move |listing: &Listing| {
        let terms = Terms { now_s: now_s(), ..terms.clone() };
        let plan = plan::block(listing, &wishes, &terms)?;
        Ok::<_, ChangeError>((plan.script.clone(), plan))
    };
    let change = move |namespace: &NetworkNamespace| firewall::change(namespace, plan_now);
    let (_, plan) = on_a_thread(&namespace, change).await??;
    say_unusual(&plan);

    let fresh: Vec<(IpNet, u64)> = plan
        .outcomes
        .iter()
        .filter(|(_, (outcome, _))| !matches!(outcome, Outcome::Covered(_)))
        .map(|(network, (_, since_s))| (*network, *since_s))
        .collect();
    let (ended, unended) = end(arguments, &namespace, &fresh).await?;
    let before = effect_look.as_ref().map(|look| look.before);
    let after = match effect_look {
        Some(look) if !fresh.is_empty() => look.after(&mut interrupts).await,
        _ => None,
    };
    let effects: Vec<Effect> = fresh
        .iter()
        .map(|(network, since_s)| Effect {
            boot: place.boot.clone(),
            netns: place.netns,
            network: *network,
            since_s: *since_s,
            together: fresh.len(),
            ended_entries: ended,
            before,
            after,
        })
        .collect();
    tell(arguments, &namespace, &place, &plan, &effects).await?;
    unended.map_or(Ok(()), Err)
}

/// Who is to be blocked: the arguments, and the lines of the file.
fn wishes(arguments: &BlockArguments) -> Result<Vec<Wish>, CommandError> {
    let why = &arguments.why;
    let named =
        arguments.sources.iter().map(|network| Wish { network: *network, why: why.clone() });
    let mut wishes: Vec<Wish> = named.collect();
    let Some(file) = &arguments.file else { return Ok(wishes) };
    let wrong = |what: String| CommandError::Usage(format!("{}: {what}", file.display()));
    let format = formats::by_name("plain").ok_or_else(|| wrong("cannot be read".to_owned()))?;
    let entries = (format.parse)(&text(file)?).map_err(|error| wrong(error.to_string()))?;
    for entry in entries {
        let network = entry.network;
        if network != network.trunc() {
            return Err(wrong(format!(
                "{network} has bits behind its prefix length; the network is {}",
                network.trunc()
            )));
        }
        let why = why.clone().or(entry.why).filter(|why| !why.is_empty());
        wishes.push(Wish { network: unmapped(&network), why });
    }
    if wishes.is_empty() {
        return Err(wrong("nobody is listed in it".to_owned()));
    }
    Ok(wishes)
}

fn text(file: &Path) -> Result<String, CommandError> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    let failed = |error| CommandError::Usage(format!("cannot read {}: {error}", file.display()));
    read.map(|_| text).map_err(failed)
}

/// Says what somebody who blocks might not expect.
fn say_unusual(plan: &BlockPlan) {
    let covered = plan.outcomes.iter().filter_map(|(network, (outcome, _))| {
        let Outcome::Covered(around) = outcome else { return None };
        let (network, around) = (element(network), element(around));
        Some(format!("{network} lies in {around}, which is blocked for at least as long"))
    });
    let absorbed = plan.absorbed.iter().map(|(network, around)| {
        let (network, around) = (element(network), element(around));
        format!("{around} takes the place of the block of {network}")
    });
    let mut unusual = covered.chain(absorbed);
    unusual.by_ref().take(TOLD_MAX).for_each(|what| look::say(&what));
    match unusual.count() {
        0 => {}
        more => look::say(&format!("and so with {more} more")),
    }
}

/// Ends the entries of those who are blocked now: how many, and why not all. The block holds whatever comes of it.
async fn end(
    arguments: &BlockArguments,
    namespace: &Arc<NetworkNamespace>,
    blocked: &[(IpNet, u64)],
) -> Result<(Option<u64>, Option<CommandError>), CommandError> {
    if arguments.keep_entries || blocked.is_empty() || modules::conntrack() == Presence::Absent {
        return Ok((None, None));
    }
    let sources: Vec<IpNet> = blocked.iter().map(|(network, _)| *network).collect();
    let ended = on_a_thread(namespace, move |namespace| end_entries(namespace, &sources)).await?;
    Ok(match ended {
        Ok(report) => (Some(report.ended()), None),
        Err(error) => {
            let error = anyhow::Error::new(error).context("they are blocked, but");
            (None, Some(CommandError::Failed(error)))
        }
    })
}

/// Remembers what it did, and prints it.
async fn tell(
    arguments: &BlockArguments,
    namespace: &Arc<NetworkNamespace>,
    place: &Place,
    plan: &BlockPlan,
    effects: &[Effect],
) -> Result<(), CommandError> {
    let listing = on_a_thread(namespace, firewall::read).await?.map_err(firewall_error)?;
    let state = State::at(arguments.state.state_dir.as_deref());
    let kept = effects.get(..effects.len().min(effect::EFFECTS_MAX)).unwrap_or_default();
    let remembered = if let Err(why) = effect::remember(&state, place, &listing, kept) {
        look::say(&format!("they are blocked, but what it did is not remembered: {why}"));
        effects.to_vec()
    } else {
        effect::read(&state)
    };
    look::print(of_call(arguments, place, plan, &listing, &remembered)).await
}

fn of_call(
    arguments: &BlockArguments,
    place: &Place,
    plan: &BlockPlan,
    listing: &Listing,
    effects: &[Effect],
) -> String {
    let meant = plan.outcomes.iter().map(|(network, (outcome, _))| match outcome {
        Outcome::Covered(around) => *around,
        Outcome::Blocked | Outcome::Extended => *network,
    });
    let meant: BTreeSet<IpNet> = meant.collect();
    let blocks = listing.blocks.iter().filter(|block| meant.contains(&block.network));
    if arguments.json {
        return blocks::json(&report(place, listing, blocks, effects)) + "\n";
    }
    if meant.len() > TOLD_MAX {
        look::say(&format!(
            "{} are blocked, of whom {TOLD_MAX} are listed here; 'ctwatch blocks' lists all",
            meant.len()
        ));
    }
    blocks::text(&report(place, listing, blocks.take(TOLD_MAX), effects))
}
