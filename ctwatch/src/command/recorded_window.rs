//! The end of a recording, in place of a look that a list is made from.

use std::{path::Path, time::Duration};

use super::{look, recorded_look};
use crate::{
    blocklist::window::Window,
    exit::CommandError,
    host::{namespace::NamespaceTarget, namespace_list::all_namespaces},
};

/// Reads the last `duration` of what was recorded of `asked`, in intervals of about `interval`, and says what it is and what is
/// missing. Beside it stands the namespace of this machine that those who must be spared are asked of.
///
/// # Errors
///
/// If it is no recording, cannot be read, or leaves open which namespace is meant.
pub(super) fn read(
    path: &Path,
    asked: &NamespaceTarget,
    duration: Duration,
    interval: Duration,
) -> Result<(Window, NamespaceTarget), CommandError> {
    let mut window = Window::with_intervals_of(interval.as_secs_f64());
    let recorded = recorded_look::read(path, asked, |snapshot| window.add(snapshot))?;
    window.keep_last(duration.as_secs_f64());
    recorded.tell(window.wall_ns(), "they are not listed, and --max-share does not count them");
    let name = recorded.name.as_deref();
    let here = counterpart(recorded.netns, name);
    let now_on = rustix::system::uname();
    let now_on = now_on.nodename().to_string_lossy();
    let there = name.unwrap_or("of that name");
    look::say(&spared_by(here.as_ref(), there, recorded.host(), &now_on));
    Ok((window, here.unwrap_or(NamespaceTarget::OwnNamespace)))
}

/// The namespace of this machine that has the name or number of a recorded one.
fn counterpart(netns: u32, name: Option<&str>) -> Option<NamespaceTarget> {
    let here = all_namespaces();
    let named = here.iter().find(|found| Some(&*found.name) == name);
    named.or_else(|| here.iter().find(|found| found.inode == netns)).map(|it| it.target.clone())
}

/// Whose addresses, routers and peers are spared, and what is to be done if that is another machine or namespace.
fn spared_by(
    here: Option<&NamespaceTarget>,
    there: &str,
    recorded_on: &str,
    now_on: &str,
) -> String {
    let mut text =
        "spared are the addresses, routers, resolvers and SSH peers that this machine has now"
            .to_owned();
    if let Some(NamespaceTarget::Name(_) | NamespaceTarget::Path(_)) = here {
        text += &format!(", also in the network namespace {there}");
    }
    let missing = if recorded_on != now_on {
        format!("those of {recorded_on} are not known here")
    } else if here.is_none() {
        format!("there is no network namespace {there} any more")
    } else {
        return text;
    };
    text + &format!("; {missing}: name what must be spared there with --allow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_addresses_are_spared_is_said() {
        let (own, name) = (NamespaceTarget::OwnNamespace, NamespaceTarget::Name("gateway".into()));
        let said = |here, recorded_on| spared_by(here, "gateway", recorded_on, "edge1");
        let here = said(Some(&own), "edge1");
        assert!(here.ends_with("this machine has now"), "{here}");
        let here = said(Some(&name), "edge1");
        assert!(here.ends_with("also in the network namespace gateway"), "{here}");
        for (text, part) in [
            (said(None, "edge1"), "no network namespace gateway any more"),
            (said(Some(&own), "edge2"), "those of edge2 are not known here"),
        ] {
            assert!(text.contains(part) && text.contains("--allow"), "{text}");
        }
    }
}
