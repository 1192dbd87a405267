//! What says that a recording takes the place of a look, or is made of one.

use std::path::PathBuf;

use clap::Args;

/// What says how to look, and so makes no sense with a recording.
pub(super) const LOOK_ONLY: [&str; 6] =
    ["attach", "no_wait", "max_sources", "ring_bytes", "netlink_buffer_bytes", "bpf_object"];

/// Arguments of the commands that advise.
#[derive(Debug, Args)]
pub struct RecordingArguments {
    /// Take the end of what 'ctwatch record' or --record has kept in this file, instead of looking; --netns names a namespace by
    /// the name or number it was recorded with
    #[arg(long, value_name = "FILE", conflicts_with_all = LOOK_ONLY)]
    pub from: Option<PathBuf>,
    /// Keep what is seen in this file too, for --from, later or on another machine. It must not be there yet
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub record: Option<PathBuf>,
}
