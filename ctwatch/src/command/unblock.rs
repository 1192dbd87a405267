//! `ctwatch unblock`: lets sources in again, in one transaction.

use super::{
    blocking::{firewall_error, on_a_thread, open, plan_error},
    look,
};
use crate::{
    blocklist::ruleset::element,
    change::firewall::{self, plan},
    cli::UnblockArguments,
    exit::CommandError,
};

/// Lets in again.
///
/// # Errors
///
/// If one of the sources is not blocked, or the rules cannot be changed: then nothing is.
pub async fn run(arguments: &UnblockArguments) -> Result<(), CommandError> {
    let namespace = open(&arguments.netns)?;
    let listing = on_a_thread(&namespace, firewall::read).await?.map_err(firewall_error)?;
    let script = if arguments.all {
        plan::unblock_all(&listing)
    } else {
        plan::unblock(&listing, &arguments.sources).map_err(plan_error)?
    };
    if script.is_empty() {
        return look::print("nobody is blocked\n".to_owned()).await;
    }
    let done = on_a_thread(&namespace, move |namespace| firewall::transact(namespace, &script));
    done.await?.map_err(firewall_error)?;
    if arguments.all {
        let blocks = listing.blocks.len();
        return look::print(format!("{blocks} let in again; no rule of ctwatch blocks any more\n")).await;
    }
    let left: Vec<_> =
        listing.blocks.iter().map(|block| block.network).filter(|of| !arguments.sources.contains(of)).collect();
    let mut text = String::new();
    for network in &arguments.sources {
        text += &format!("{} is let in again\n", element(network));
        if let Some(around) = left.iter().find(|each| each.contains(network)) {
            look::say(&format!("{} still lies in {}, which is blocked", element(network), element(around)));
        }
    }
    look::print(text).await
}
