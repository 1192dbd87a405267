//! `ctwatch unblock`: lets sources in again and lifts their caps, in one transaction.

use super::{
    blocking::{ChangeError, on_a_thread, open},
    look,
};
use crate::{
    blocklist::ruleset::element,
    change::firewall::{self, listing::Listing, plan},
    cli::UnblockArguments,
    exit::CommandError,
    host::namespace::NetworkNamespace,
};

/// Lets in again.
///
/// # Errors
///
/// If one of the sources is neither blocked nor capped, or the rules cannot be changed: then nothing is.
pub async fn run(arguments: &UnblockArguments) -> Result<(), CommandError> {
    let namespace = open(&arguments.netns)?;
    let (sources, all) = (arguments.sources.clone(), arguments.all);
    let planned = move |listing: &Listing| {
        let script =
            if all { plan::unblock_all(listing) } else { plan::unblock(listing, &sources)? };
        let is_nothing = script.is_empty();
        Ok::<_, ChangeError>((script, is_nothing))
    };
    let change = move |namespace: &NetworkNamespace| firewall::change(namespace, planned);
    let (listing, is_nothing) = on_a_thread(&namespace, change).await??;
    if is_nothing {
        return look::print("nobody is blocked or capped\n".to_owned()).await;
    }
    if arguments.all {
        let (blocks, caps) = (listing.blocks.len(), listing.caps.held.len());
        return look::print(format!(
            "{blocks} let in again, {caps} caps lifted; no rule of ctwatch blocks or caps any more\n"
        ))
        .await;
    }
    let left: Vec<_> = listing
        .blocks
        .iter()
        .map(|block| block.network)
        .filter(|of| !arguments.sources.contains(of))
        .collect();
    let mut text = String::new();
    for network in &arguments.sources {
        if listing.caps.held.iter().any(|cap| cap.network == *network) {
            text += &format!("{} is capped no more\n", element(network));
        }
        if !listing.blocks.iter().any(|block| block.network == *network) {
            continue;
        }
        text += &format!("{} is let in again\n", element(network));
        if let Some(around) = left.iter().find(|each| each.contains(network)) {
            look::say(&format!(
                "{} still lies in {}, which is blocked",
                element(network),
                element(around)
            ));
        }
    }
    look::print(text).await
}
