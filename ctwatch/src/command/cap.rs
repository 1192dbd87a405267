//! `ctwatch cap`: lets a source hold so many entries and no more. It is dropped behind conntrack, before its entry is confirmed.

use std::iter;

use super::{
    blocking::{
        ChangeError, firewall_error, now_s, on_a_thread, open, place, report_of_caps,
        spare_protected,
    },
    look,
};
use crate::{
    blocklist::ruleset::element,
    change::{
        firewall::{
            self, FirewallError,
            cap_plan::{self, CapOutcome},
            listing::Listing,
            plan::{Terms, Wish},
        },
        source_entries::end_entries,
    },
    cli::CapArguments,
    exit::CommandError,
    host::{
        modules::{self, Presence},
        namespace::NetworkNamespace,
        user,
    },
    output::blocks,
    privilege,
};

/// Caps.
///
/// # Errors
///
/// If the source must not or cannot be capped: then nothing is changed. If its entries could not be ended: then the cap holds.
pub async fn run(arguments: &CapArguments) -> Result<(), CommandError> {
    let namespace = open(&arguments.netns)?;
    if privilege::missing().is_some() {
        return Err(firewall_error(FirewallError::NotPermitted));
    }
    let source = arguments.source;
    spare_protected(&arguments.protected, &namespace, iter::once(source), "capped")?;
    if modules::conntrack() == Presence::Absent {
        // The rule would load conntrack, and so begin what it is to keep small.
        return Err(CommandError::CannotRun(
            "nothing tracks connections here (nf_conntrack is not loaded), so there is nothing to cap"
                .to_owned(),
        ));
    }
    let place = place(&namespace)?;
    let wish = Wish { network: source, why: arguments.why.clone() };
    let terms = Terms { now_s: now_s(), by: user::name(), duration: arguments.duration };
    let entries_max = arguments.entries_max;
    let planned = move |listing: &Listing| {
        Ok::<_, ChangeError>(cap_plan::cap(&listing.caps, &wish, entries_max, &terms)?)
    };
    let change = move |namespace: &NetworkNamespace| firewall::change(namespace, planned);
    let (_, outcome) = on_a_thread(&namespace, change).await??;
    if outcome == CapOutcome::Changed {
        look::say(&format!(
            "the entries of {} are counted anew: those it holds do not count",
            element(&source)
        ));
    }
    let mut unended = None;
    if arguments.end_entries {
        let ended = on_a_thread(&namespace, move |namespace| end_entries(namespace, &[source]));
        match ended.await? {
            Ok(report) => look::say(&format!("ended {} entries that it held", report.ended())),
            Err(error) => unended = Some(anyhow::Error::new(error).context("it is capped, but")),
        }
    }
    let listing = on_a_thread(&namespace, firewall::read).await?.map_err(firewall_error)?;
    let held = listing.caps.held.iter().filter(|cap| cap.network == source);
    let report = report_of_caps(&place, &listing, held);
    let printed = if arguments.json { blocks::json(&report) + "\n" } else { blocks::text(&report) };
    look::print(printed).await?;
    unended.map_or(Ok(()), |error| Err(CommandError::Failed(error)))
}
