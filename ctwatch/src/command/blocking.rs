//! What the commands that keep sources out share: what their errors mean, and what they tell of blocks.

use std::{iter, sync::Arc};

use ipnet::IpNet;

use super::{look::namespace_error, progress};
use crate::{
    blocklist::ruleset::element,
    change::{
        firewall::{
            FirewallError,
            cap_plan::CapError,
            caps::Capped,
            effect::{self, Effect, Remembered, Verdict},
            listing::{Blocked, Listing},
            plan::PlanError,
        },
        record::Place,
        state::State,
    },
    cli::ProtectedArguments,
    clock,
    exit::CommandError,
    host::{
        namespace::{NamespaceError, NamespaceTarget, NetworkNamespace},
        namespace_list::all_namespaces,
        protected_addresses,
    },
    output::blocks::{Report, Row},
};

const NS_PER_S: i128 = 1_000_000_000;

/// Opens a namespace.
pub(super) fn open(target: &NamespaceTarget) -> Result<Arc<NetworkNamespace>, CommandError> {
    NetworkNamespace::open(target).map(Arc::new).map_err(namespace_error)
}

/// Where that is.
pub(super) fn place(namespace: &NetworkNamespace) -> Result<Place, CommandError> {
    Place::now(namespace).map_err(|error| {
        CommandError::Failed(anyhow::Error::new(error).context("cannot tell where this is"))
    })
}

/// Makes sure that nobody is blocked or capped, as `what` says, who must not be.
pub(super) fn spare_protected(
    arguments: &ProtectedArguments,
    namespace: &NetworkNamespace,
    sources: impl Iterator<Item = IpNet>,
    what: &str,
) -> Result<(), CommandError> {
    let protected = protected_addresses::read_in(namespace, &arguments.named());
    let protected = protected.map_err(|error| CommandError::Failed(error.into()))?;
    let spared = sources.filter_map(|source| {
        let why = protected.why(&source)?;
        Some(format!("{} must not be {what}: {why}", element(&source)))
    });
    let spared: Vec<String> = spared.collect();
    if spared.is_empty() {
        return Ok(());
    }
    Err(CommandError::Failed(anyhow::anyhow!("nobody was {what}: {}", spared.join("; "))))
}

/// Now, in whole seconds since 1970.
pub(super) fn now_s() -> u64 {
    u64::try_from(clock::now().wall_ns / NS_PER_S).unwrap_or(0)
}

/// Does what blocks on a thread of its own, in a namespace.
pub(super) async fn on_a_thread<T: Send + 'static>(
    namespace: &Arc<NetworkNamespace>,
    work: impl FnOnce(&NetworkNamespace) -> T + Send + 'static,
) -> Result<T, CommandError> {
    let namespace = Arc::clone(namespace);
    let done = tokio::task::spawn_blocking(move || work(&namespace));
    let done = progress::during("nft and the kernel are at work", done).await;
    done.map_err(|error| {
        CommandError::Failed(anyhow::Error::new(error).context("please report this"))
    })
}

/// What an error of the firewall means for the command.
pub(super) fn firewall_error(error: FirewallError) -> CommandError {
    match error {
        FirewallError::NotInstalled
        | FirewallError::NotPermitted
        | FirewallError::NotSupported(_)
        | FirewallError::Namespace(NamespaceError::NotPermitted { .. }) => {
            CommandError::CannotRun(error.to_string())
        }
        error => CommandError::Failed(error.into()),
    }
}

/// Why nothing was changed.
pub(super) enum ChangeError {
    /// The rules cannot be read or changed.
    Firewall(FirewallError),
    /// It cannot be done as it was asked for.
    Plan(PlanError),
    /// Nor can this cap.
    Cap(CapError),
}

impl From<FirewallError> for ChangeError {
    fn from(error: FirewallError) -> Self {
        Self::Firewall(error)
    }
}

impl From<PlanError> for ChangeError {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<CapError> for ChangeError {
    fn from(error: CapError) -> Self {
        Self::Cap(error)
    }
}

impl From<ChangeError> for CommandError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Firewall(error) => firewall_error(error),
            ChangeError::Plan(error) => nothing_changed(&error.to_string()),
            ChangeError::Cap(error) => nothing_changed(&error.to_string()),
        }
    }
}

fn nothing_changed(why: &str) -> CommandError {
    CommandError::Failed(anyhow::anyhow!("nothing was changed: {why}"))
}

/// What is told of everything that is there.
pub(super) fn report_of_all(place: &Place, listing: &Listing, state: &State) -> Report {
    let blocks = report(place, listing, listing.blocks.iter(), &effect::read(state));
    Report { caps: listing.caps.held.clone(), ..blocks }
}

/// What is told of caps, and of what is wrong with the rules.
pub(super) fn report_of_caps<'a>(
    place: &Place,
    listing: &'a Listing,
    caps: impl Iterator<Item = &'a Capped>,
) -> Report {
    Report { caps: caps.cloned().collect(), ..report(place, listing, iter::empty(), &[]) }
}

/// What is told of blocks, and of what is wrong with the rules.
pub(super) fn report<'a>(
    place: &Place,
    listing: &'a Listing,
    blocks: impl Iterator<Item = &'a Blocked>,
    effects: &[Effect],
) -> Report {
    let now_s = now_s();
    let remembered = Remembered::new(effects, place);
    let row = |block: &Blocked| {
        let effect = remembered.of(block).cloned();
        let verdict = Verdict::of(block, effect.as_ref(), now_s);
        Row { block: block.clone(), effect, verdict }
    };
    let found = all_namespaces().into_iter().find(|found| found.inode == place.netns);
    Report {
        wall_ns: clock::now().wall_ns,
        netns: place.netns,
        netns_name: found.map(|found| found.name),
        rows: blocks.map(row).collect(),
        caps: Vec::new(),
        problems: listing.problems.clone(),
    }
}
