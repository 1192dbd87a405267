//! The hash of what the BPF object is made from; it must be the same in every checkout, and change with nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::packages;
use crate::workspace::Workspace;

/// The crates whose code or types end up in the object.
const CRATES: [&str; 2] = ["ctwatch-common", "ctwatch-ebpf"];
/// The packages of the lock file whose code ends up in it; an unrelated update must not ask for a new object.
const LOCKED: [&str; 3] = ["aya-ebpf", "aya-log-ebpf", "zerocopy"];

/// SHA-256 over the sorted files of the crates, the locked packages they are built with, and the build profile.
pub(crate) fn hash(workspace: &Workspace) -> Result<String> {
    let root = workspace.root();
    let mut files = Vec::new();
    for name in CRATES {
        collect(root, &root.join(name), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for (path, contents) in &files {
        add(&mut digest, path.as_bytes());
        add(&mut digest, contents);
    }
    add(&mut digest, locked_packages(&text(&root.join("Cargo.lock"))?).join("\n").as_bytes());
    add(&mut digest, profile(&text(&root.join("Cargo.toml"))?)?.as_bytes());
    Ok(hexadecimal(&digest.finalize()))
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Adds one part with its length, so that no byte can move from one part to the next unseen.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

/// Every file under `directory` as its path below `root` and its contents.
fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for path in packages::files_in(directory)? {
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let contents =
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        files.push((relative, contents));
    }
    Ok(())
}

/// The lines of the lock file's stanzas whose name begins with one of [`LOCKED`], without their own dependencies.
fn locked_packages(lock_file: &str) -> Vec<&str> {
    let stanzas = lock_file.split("[[package]]").filter(|stanza| {
        let name = stanza.lines().find_map(|line| line.strip_prefix("name = \""));
        name.is_some_and(|name| LOCKED.iter().any(|prefix| name.starts_with(prefix)))
    });
    stanzas
        .flat_map(str::lines)
        .filter(|line| {
            ["name", "version", "checksum"].iter().any(|key| line.split(' ').next() == Some(key))
        })
        .collect()
}

/// The `[profile.bpf]` table of the workspace's manifest, without comments and layout.
fn profile(manifest: &str) -> Result<String> {
    let manifest: toml::Table = toml::from_str(manifest).context("cannot parse Cargo.toml")?;
    let profile = manifest.get("profile").and_then(|profiles| profiles.get("bpf"));
    Ok(profile.context("Cargo.toml has no [profile.bpf]")?.to_string())
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_known_function() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn only_what_ends_up_in_the_object_is_taken_from_the_lock_file() {
        let lock_file = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1\"\nchecksum = \"a\"\n\n\
             [[package]]\nname = \"aya-ebpf-macros\"\nversion = \"2\"\nsource = \"s\"\nchecksum = \"b\"\ndependencies = [\n \"syn 2\",\n]\n";
        assert_eq!(
            locked_packages(lock_file),
            ["name = \"aya-ebpf-macros\"", "version = \"2\"", "checksum = \"b\""]
        );
    }

    #[test]
    fn comments_around_the_profile_do_not_count() {
        let plain = profile("[profile.bpf]\nlto = \"fat\"\ndebug = 2\n").unwrap();
        assert_eq!(
            profile("# why\n[profile.bpf]\ndebug = 2 # BTF\nlto = \"fat\"\n").unwrap(),
            plain
        );
        assert_ne!(profile("[profile.bpf]\nlto = \"thin\"\ndebug = 2\n").unwrap(), plain);
        assert!(profile("[profile.release]\n").is_err());
    }
}
