//! Keeps sources out with rules of nf_tables, in ctwatch's own table: each call is one transaction, which the kernel carries out
//! as a whole or not at all, even if this program or nft is killed. It lives in the kernel alone, each block with its own
//! timeout, so nothing has to be undone after a crash: everybody is let in again in the end.

pub mod cap_plan;
pub mod caps;
pub mod effect;
pub mod listing;
pub mod plan;

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    process::Stdio,
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};

use self::listing::Listing;
use crate::host::{
    modules::{self, Part},
    namespace::{NamespaceError, NetworkNamespace},
    programs::{self, Ended, Reader, ReaderError},
};

/// The program that changes nf_tables.
const NFT: &str = "nft";
/// 100,000 blocks take 3 seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is tried while elements go.
const ATTEMPTS_MAX: usize = 3;

/// Why the rules cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// There is no nft.
    #[error("nft is not installed: install the package nftables")]
    NotInstalled,
    /// This user may not.
    #[error(
        "no permission to use nf_tables: run ctwatch as root (sudo ctwatch …), or with the capability CAP_NET_ADMIN"
    )]
    NotPermitted,
    /// The kernel has no nf_tables, or not this part of it.
    #[error("the kernel has no nf_tables that could do it: {0}")]
    NotSupported(String),
    /// The kernel has no more room in a set.
    #[error(
        "nothing was changed: there is no more room {0}; 'ctwatch blocks' lists who is in it, 'ctwatch unblock' makes room"
    )]
    Full(String),
    /// Rules of somebody else are in the way.
    #[error(
        "nothing was changed: a rule of somebody else uses ctwatch's sets or chains ({0}); 'nft -a list ruleset' shows it: delete it first"
    )]
    InUse(String),
    /// What was to be changed is not there any more: its time was over, or somebody else was quicker.
    #[error("nothing was changed: the table inet ctwatch changes all the time ({0}); try again")]
    Moved(String),
    /// Somebody has changed the table in a way that is not known here.
    #[error(
        "nothing was changed: the kernel refused it ({0}); has somebody else changed the table inet ctwatch? See 'nft list table inet ctwatch', and try again"
    )]
    Refused(String),
    /// The program cannot be run.
    #[error("cannot run nft: {0}; 'ctwatch blocks' tells what is blocked now")]
    Run(String),
    /// The rules cannot be read.
    #[error("cannot read what is blocked: {0}")]
    Unreadable(String),
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// What is blocked in a namespace. A kernel without nf_tables blocks nobody, and is not made to load it.
///
/// # Errors
///
/// [`FirewallError`].
pub fn read(namespace: &NetworkNamespace) -> Result<Listing, FirewallError> {
    let listed = namespace.run(|| {
        modules::is_there(Part::Tables).then(|| programs::output(Reader::OwnTable, None))
    })?;
    match listed {
        None => Ok(Listing::default()),
        Some(Ok(text)) => {
            Listing::parse(&text).map_err(|error| FirewallError::Unreadable(error.to_string()))
        }
        Some(Err(ReaderError::NotInstalled(_))) => Err(FirewallError::NotInstalled),
        Some(Err(ReaderError::Failed { said, .. })) if said.contains("No such file") => {
            Ok(Listing::default())
        }
        Some(Err(ReaderError::Failed { said, .. })) if said.contains("not permitted") => {
            Err(FirewallError::NotPermitted)
        }
        Some(Err(error)) => Err(FirewallError::Unreadable(error.to_string())),
    }
}

/// Reads what is blocked, plans what to do, and does it, wholly or not at all. Where an element's time is over between
/// the two it is planned anew. An empty script changes nothing.
///
/// # Errors
///
/// What `plan` says, or [`FirewallError`]; nothing is changed then, unless nft could not be waited for.
pub fn change<P, E: From<FirewallError>>(
    namespace: &NetworkNamespace,
    plan: impl Fn(&Listing) -> Result<(String, P), E>,
) -> Result<(Listing, P), E> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt(namespace, &plan) {
            Ok(Err(FirewallError::Moved(_))) => {}
            done => return done?.map_err(E::from),
        }
    }
    attempt(namespace, &plan)?.map_err(E::from)
}

fn attempt<P, E: From<FirewallError>>(
    namespace: &NetworkNamespace,
    plan: &impl Fn(&Listing) -> Result<(String, P), E>,
) -> Result<Result<(Listing, P), FirewallError>, E> {
    let listing = read(namespace)?;
    let (script, planned) = plan(&listing)?;
    let done = if script.is_empty() { Ok(()) } else { transact(namespace, &script) };
    Ok(done.map(|()| (listing, planned)))
}

/// Carries out a script of nft in a namespace, wholly or not at all. It goes on where this program is interrupted.
fn transact(namespace: &NetworkNamespace, script: &str) -> Result<(), FirewallError> {
    let script = in_memory(script).map_err(|error| FirewallError::Run(error.to_string()))?;
    let ended = namespace.run(|| {
        let mut command = programs::command(NFT);
        command.args(["-f", "-"]).stdin(Stdio::from(script));
        // Ctrl-C at the terminal is not meant for it.
        command.process_group(0);
        programs::run(command, NFT, PATIENCE)
    })?;
    match ended {
        Ok(Ended { succeeded: true, .. }) => Ok(()),
        Ok(Ended { complained, .. }) => Err(meant(&complained)),
        Err(ReaderError::NotInstalled(_)) => Err(FirewallError::NotInstalled),
        Err(error) => Err(FirewallError::Run(error.to_string())),
    }
}

/// A file that nft reads as far as it goes: of a pipe it reads as much as has been written, and carries that out.
fn in_memory(script: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("ctwatch.nft", MemfdFlags::CLOEXEC)?);
    file.write_all(script.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What nft means: `Error: Could not process rule: ` and what the kernel said (strerror(3)), then the line.
fn meant(complained: &str) -> FirewallError {
    let mut lines = complained.lines();
    let said = lines.next().unwrap_or("it did not say why").trim().to_owned();
    let line = lines.next().unwrap_or_default().trim();
    let said_with = |line: &str| {
        if line.is_empty() { said.clone() } else { format!("{said}: {line}") }
    };
    if said.contains("not permitted") || said.contains("must be root") {
        FirewallError::NotPermitted
    } else if said.contains("Too many open files in system") {
        // ENFILE is how a set says that it is full (`nft_add_set_elem`, net/netfilter/nf_tables_api.c).
        let set = line.split_whitespace().nth(4);
        FirewallError::Full(
            set.map_or_else(|| "in the set".to_owned(), |set| format!("in the set {set}")),
        )
    } else if said.contains("Device or resource busy") {
        FirewallError::InUse(line.to_owned())
    } else if said.contains("No such file or directory") && line.contains("ct count") {
        // `nft_expr_type_get` finds no such module either (net/netfilter/nf_tables_api.c).
        FirewallError::NotSupported("it has no 'ct count' (nft_connlimit)".to_owned())
    } else if said.contains("No such file or directory") {
        FirewallError::Moved(line.to_owned())
    } else if said.contains("not supported") && complained.contains("add table") {
        FirewallError::NotSupported(said)
    } else {
        FirewallError::Refused(said_with(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_told_in_words() {
        let said = |said: &str, line: &str| {
            meant(&format!("Error: Could not process rule: {said}\n{line}\n   ^^^^\n")).to_string()
        };
        let full =
            said("Too many open files in system", "add element inet ctwatch block4 { 10.0.0.1 }");
        assert!(full.contains("no more room in the set block4"), "{full}");
        let denied = said("Operation not permitted", "add table inet ctwatch");
        assert!(denied.contains("run ctwatch as root"), "{denied}");
        let busy = said("Device or resource busy", "delete set inet ctwatch block4");
        assert!(busy.contains("delete set inet ctwatch block4"), "{busy}");
        let without_count =
            said("No such file or directory", "add rule inet ctwatch cap ct count over 1 drop");
        assert!(without_count.contains("nft_connlimit"), "{without_count}");
        let odd = said("Invalid argument", "add chain inet ctwatch block");
        assert!(odd.contains("Invalid argument: add chain inet ctwatch block"), "{odd}");
        assert!(matches!(meant(""), FirewallError::Refused(_)));
    }
}
