//! Arguments of `top`.

use std::time::Duration;

use clap::Args;

use super::{LookArguments, duration, interval};

pub(super) const HELP: &str = "\
Examples:
  ctwatch top                                the sources that hold most, live; ? shows the keys
  ctwatch top --filter '10.0.0.0/16 udp'     those of a network and a protocol
  ctwatch top --netns all                    the tables of all network namespaces
  NO_COLOR=1 ctwatch top                     without colours

It changes nothing by itself: keys that block, let in again, apply or undo show the command first, and y runs it. It needs a
terminal; for scripts and logs there is 'ctwatch watch'.";

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArguments {
    /// Time between two updates, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Show only sources of these addresses, networks and protocols
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub filter: String,
    /// Walk the table at least so often for its states and destinations. After a walk there is a pause of 20 times what
    /// it took
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub census: Duration,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}
