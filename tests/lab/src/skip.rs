//! Saying that a test could not run here, and why. It must not hide a failure: a skipped test is counted by whoever runs
//! the tests, through the file named by `CTWATCH_SKIP_LOG`.

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::program;

/// The environment variable that names the file to which each skip adds one line.
pub const SKIP_LOG: &str = "CTWATCH_SKIP_LOG";

/// Notes that the calling test is skipped for `reason`. The test returns after it.
pub fn skip(reason: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "skipped: {reason}");
    let Some(path) = std::env::var_os(SKIP_LOG) else {
        return;
    };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{reason}"));
    if let Err(error) = written {
        let _closed =
            writeln!(std::io::stderr().lock(), "cannot write {}: {error}", path.display());
    }
}

/// Why no gateway can be built here, if that is so: it takes root and the programs `ip`, `nft` and `conntrack`.
#[must_use]
pub fn why_no_gateway() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a gateway in network namespaces needs root".to_owned());
    }
    let missing: Vec<&str> = ["ip", "nft", "conntrack"]
        .into_iter()
        .filter(|name| program::find(name).is_none())
        .collect();
    (!missing.is_empty()).then(|| {
        format!("not installed: {} (packages iproute2, nftables, conntrack)", missing.join(", "))
    })
}
