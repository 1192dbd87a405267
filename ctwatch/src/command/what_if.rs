//! `ctwatch advise --what-if`: walks the table once and says what would end now under other timeouts; attaches nothing.

use std::ops::ControlFlow;

use super::{look, progress};
use crate::{
    advise::{
        bounds::Bounds,
        settings::Settings,
        what_if::{Answer, Losers, Question, WhatIf, with_timeout},
    },
    cli::AdviseArguments,
    clock,
    conntrack::{listing::Listing, policies},
    exit::CommandError,
    host::{
        firewall,
        namespace::{NamespaceChoice, NetworkNamespace},
        settings,
    },
    model::census::{LISTED_MAX, Tally},
    output,
};

/// Walks, asks, and prints.
///
/// # Errors
///
/// A timeout is asked for that the RFCs forbid here or that this kernel does not have, or the table cannot be listed.
pub async fn run(arguments: &AdviseArguments) -> Result<(), CommandError> {
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "what if is asked of one namespace: name it with --netns".to_owned(),
        ));
    };
    let failed = |error: anyhow::Error| CommandError::Failed(error);
    let namespace = NetworkNamespace::open(target).map_err(look::namespace_error)?;
    let settings = settings::read_in(&namespace).map_err(|error| failed(error.into()))?;
    let bounds = Bounds::from(&arguments.bounds);
    let translates_sources = firewall::read_in(&namespace).translates_sources;
    for question in &arguments.what_if {
        refuse(question, &settings, translates_sources, &bounds)?;
    }
    let mut listing = Listing::open_in(&namespace).map_err(|error| failed(error.into()))?;
    let netns = namespace.inode();
    let asked = arguments.what_if.clone();
    let walk = move || {
        let of = |question: &Question| {
            Losers::new(&settings, &with_timeout(&settings, question.timeout, question.seconds))
        };
        let mut losers: Vec<Losers> = asked.iter().map(of).collect();
        let mut tally = Tally::default();
        listing.each(|entry| {
            let entry = entry.walked(netns);
            tally.add(&entry);
            losers.iter_mut().for_each(|losers| losers.add(&entry));
            ControlFlow::Continue(())
        })?;
        let walk = tally.end(clock::now());
        let answer = |(question, losers): (Question, Losers)| {
            let Question { timeout, seconds } = question;
            let what_if = WhatIf::of_timeout(&walk.census, &settings, timeout, seconds)?;
            let from_s = settings.timeout_s(timeout.name)?;
            Some(Answer { question, from_s, what_if, losers: losers.most(LISTED_MAX) })
        };
        let answers = asked.into_iter().zip(losers).filter_map(answer).collect();
        Ok::<(Vec<Answer>, _), anyhow::Error>((answers, walk))
    };
    if let Ok(count @ 1..) = policies::count_in(&namespace) {
        look::say(&format!(
            "rules have {count} timeouts of their own ('ct timeout' of nft, 'nfct timeout'): entries that these are for seem to be \
             idle, and nothing shows which ones they are"
        ));
    }
    let walked = tokio::task::spawn_blocking(walk);
    let walked = progress::during("walking the table", walked).await;
    let (answers, walk) = walked.map_err(|error| failed(error.into()))?.map_err(failed)?;
    let printed = if arguments.json {
        output::what_if::json(walk.at, netns, walk.census.entries, &answers) + "\n"
    } else {
        output::what_if::text(walk.census.entries, &answers)
    };
    look::print(printed).await
}

fn refuse(
    question: &Question,
    settings: &Settings,
    translates_sources: Option<bool>,
    bounds: &Bounds,
) -> Result<(), CommandError> {
    let Question { timeout, seconds } = question;
    if settings.timeout_s(timeout.name).is_none() {
        let name = timeout.name;
        return Err(CommandError::Usage(format!(
            "this kernel has no timeout '{name}': its tracker is not built or not loaded"
        )));
    }
    match timeout.rfc_floor_s(translates_sources, bounds) {
        Some(floor_s) if *seconds < floor_s => Err(CommandError::Usage(format!(
            "{} asks of a NAT that {} is at least {floor_s} s; with less, {}: ask for {floor_s} or more, or add \
             --allow-below-rfc",
            timeout.floor_source, timeout.name, timeout.risk
        ))),
        _ => Ok(()),
    }
}
