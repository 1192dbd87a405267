//! Waiting for a fact with a deadline, and pacing to a rate. It must not wait for time alone.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for what must come soon, also on an emulated machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a fact is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `look` returns a value, at most for `patience`.
///
/// # Errors
/// When the time is over (the error names `what` was waited for) or when `look` fails.
pub fn until<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", patience.as_secs_f64());
        }
        pause(POLL_INTERVAL);
    }
}

/// Looks until two looks in a row, `settle` apart, agree: the value when nothing moves any more.
///
/// # Errors
/// When the value still moves after `patience`, or when `look` fails.
pub fn until_quiet<T: PartialEq>(
    patience: Duration,
    settle: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    let mut before = look()?;
    loop {
        pause(settle);
        let now = look()?;
        if now == before {
            return Ok(now);
        }
        if Instant::now() >= deadline {
            bail!("{what} still moves after {} s", patience.as_secs_f64());
        }
        before = now;
    }
}

/// Sleeps inside a loop that has a deadline or a rate of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the one sleep of the lab: its callers loop to a deadline or a rate"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_comes_is_returned() {
        let mut looks = 0;
        let value = until(PATIENCE, "the third look", || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_fact_that_never_comes_is_named() {
        let error = until::<()>(Duration::from_millis(20), "a miracle", || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.02 s in vain for a miracle");
    }
}
