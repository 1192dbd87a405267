//! How many expectations a network namespace holds; reads only.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
};

use super::namespace::NetworkNamespace;

/// `/proc/net` would be the namespace of the process's first thread.
const EXPECTATIONS: &str = "/proc/thread-self/net/nf_conntrack_expect";
/// More than the kernel allows unless told otherwise by three orders of magnitude.
const LINES_MAX: usize = 1_000_000;

/// Expectations held now, one a line; `None` where the kernel does not list them or this user may not see them.
pub fn count_in(namespace: &NetworkNamespace) -> Option<u64> {
    let lines = namespace.run(|| {
        let file = File::open(EXPECTATIONS).ok()?;
        let lines = BufReader::new(file).split(b'\n').take(LINES_MAX).map_while(Result::ok);
        Some(lines.filter(|line| !line.is_empty()).count() as u64)
    });
    lines.ok().flatten()
}
