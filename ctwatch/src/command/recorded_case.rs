//! The end of a recording, in place of a look that advice is given on.

use std::{path::Path, time::Duration};

use super::{look, recorded_look};
use crate::{
    advise::{case::Case, machine_state::MachineState},
    exit::CommandError,
    host::namespace::NamespaceTarget,
    model::last_seconds::LastSeconds,
    output::json::time,
};

/// Settings and facts may be so much older than what is looked at before that is said: they are read every ten seconds, and once
/// more in the end, which one that was killed does not come to.
const STATE_AGE_MAX_NS: i128 = 60_000_000_000;

/// Reads the last `duration` of what was recorded of `asked`, with what the machine was then, and says what it is and what is
/// missing.
///
/// # Errors
///
/// If it is no recording, cannot be read, or leaves open which namespace is meant.
pub(super) fn read(
    path: &Path,
    asked: &NamespaceTarget,
    duration: Duration,
) -> Result<Case, CommandError> {
    let mut lately = LastSeconds::of_last(duration.as_secs_f64());
    let recorded = recorded_look::read(path, asked, |snapshot| lately.add(snapshot))?;
    let Some(seen) = lately.seen() else {
        return Err(CommandError::Failed(anyhow::anyhow!("nothing was recorded")));
    };
    let until_wall_ns = seen.last.wall_ns;
    recorded.tell(until_wall_ns, "they are counted together");
    let state = match recorded.machine_state {
        Some(state) => {
            if until_wall_ns - state.wall_ns > STATE_AGE_MAX_NS {
                look::say(&format!(
                    "settings and facts of the machine are those of {}: later ones were not recorded",
                    time(state.wall_ns)
                ));
            }
            state
        }
        None => {
            look::say(
                "the recording has neither settings nor facts of the machine, as an older ctwatch wrote it or it was killed at once: \
                 only limit and buckets are known, and advice that needs timeouts, memory, addresses or rules is not given",
            );
            MachineState::of_snapshot(&seen.last)
        }
    };
    Ok(Case::of(seen, state))
}
