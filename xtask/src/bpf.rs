//! `cargo xtask bpf`: builds the kernel side, and proves that the committed object is what its source gives.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bpf_source;
use crate::outcome::Outcome;
use crate::packages;
use crate::process;
use crate::toolchain::{Choice, Toolchain, Versions};
use crate::workspace::Workspace;

const TARGET: &str = "bpfel-unknown-none";
/// Keeps the arguments of one another apart in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\u{1f}";
/// The committed object; named by the architecture whose registers the hooks read.
const OBJECT: &str = "ctwatch/bpf/x86_64.o";
const RECORD: &str = "ctwatch/bpf/x86_64.toml";

/// What is committed beside the object.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of the object's bytes.
    object_sha256: String,
    /// Of what the object is made from, see [`bpf_source::hash`].
    source_sha256: String,
    /// What made it.
    tools: Versions,
}

/// Builds the object and commits it to `ctwatch/bpf/`, with its hash, that of its sources, and the tools' versions.
pub(crate) fn build(workspace: &Workspace, choice: Choice) -> Result<()> {
    let _lock = workspace.lock("toolchain")?;
    let toolchain = Toolchain::prepare(workspace, choice)?;
    let rebuilt = compile(workspace, &toolchain)?;
    let bytes = read(&rebuilt)?;
    let record = Record {
        object_sha256: bpf_source::sha256(&bytes),
        source_sha256: bpf_source::hash(workspace)?,
        tools: toolchain.versions()?,
    };
    let text = toml::to_string(&record).context("the record cannot be written as TOML")?;
    let object = workspace.root().join(OBJECT);
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    packages::write(&object, &bytes)?;
    packages::write(
        &workspace.root().join(RECORD),
        format!("# Written by `cargo xtask bpf`.\n{text}"),
    )?;
    process::say(format!("{OBJECT}: {} bytes, sha256 {}", bytes.len(), record.object_sha256));
    Ok(())
}

/// How a rebuild compares with the committed object.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// The same bytes from the same tools.
    Identical,
    /// Other tools, so other bytes say nothing: why, and the rebuilt object to try instead.
    OtherTools { reason: String, rebuilt: PathBuf },
}

/// Rebuilds the object under `target/` and compares; it is an error if the same tools gave other bytes.
pub(crate) fn compare(workspace: &Workspace, choice: Choice) -> Result<Comparison> {
    let _lock = workspace.lock("toolchain")?;
    let committed = read(&workspace.root().join(OBJECT))?;
    let record = read_record(workspace)?;
    record_fits(&record, &committed, &bpf_source::hash(workspace)?)?;
    let toolchain = Toolchain::prepare(workspace, choice)?;
    let rebuilt = compile(workspace, &toolchain)?;
    let versions = toolchain.versions()?;
    if read(&rebuilt)? == committed {
        return Ok(Comparison::Identical);
    }
    if versions == record.tools {
        bail!(
            "the committed {OBJECT} is not what its source gives: {} was built from the same source by the same tools and differs; run `cargo xtask bpf` and commit both files",
            rebuilt.display()
        );
    }
    let reason =
        format!("other tools than recorded ({})", record.tools.difference(&versions).join("; "));
    Ok(Comparison::OtherTools { reason, rebuilt })
}

/// The whole check: identical bytes, or, from other tools, an object that counts exactly on a real kernel.
pub(crate) fn check(workspace: &Workspace, choice: Choice) -> Result<Outcome> {
    match compare(workspace, choice)? {
        Comparison::Identical => {
            process::say(format!("{OBJECT} is, byte for byte, what its source gives"));
            Ok(Outcome::passed(1))
        }
        Comparison::OtherTools { reason, rebuilt } => {
            let mut outcome = crate::lab::test_rebuilt_object(workspace, &rebuilt)?;
            outcome.skip(format!("bpf --check: not compared byte for byte: {reason}"));
            Ok(outcome)
        }
    }
}

/// Fails unless the record speaks of this object and these sources.
fn record_fits(record: &Record, object: &[u8], source_sha256: &str) -> Result<()> {
    if record.source_sha256 != source_sha256 {
        bail!(
            "the kernel side's source changed since {OBJECT} was built: run `cargo xtask bpf` and commit both files of ctwatch/bpf"
        );
    }
    if record.object_sha256 != bpf_source::sha256(object) {
        bail!(
            "{OBJECT} is not the object that {RECORD} speaks of: run `cargo xtask bpf` and commit both"
        );
    }
    Ok(())
}

fn read_record(workspace: &Workspace) -> Result<Record> {
    let path = workspace.root().join(RECORD);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: run `cargo xtask bpf`", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("cannot parse {}: run `cargo xtask bpf`", path.display()))
}

/// Compiles, links and strips; returns the object under `target/bpf`.
fn compile(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let target_directory = workspace.target("bpf");
    process::say("building the kernel side");
    // What cargo must fetch is fetched first, so that the registry's directories are there to be mapped away.
    let mut fetch = toolchain.cargo()?;
    process::run(fetch.current_dir(workspace.root()).args(["fetch", "--quiet", "--locked"]))?;
    let mut build = toolchain.cargo()?;
    build
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", &target_directory)
        .env("CARGO_ENCODED_RUSTFLAGS", compiler_flags(workspace, toolchain)?)
        .args(["build", "--quiet", "--locked", "--package", "ctwatch-ebpf", "--profile", "bpf"])
        .args(["--target", TARGET, "-Zbuild-std=core"]);
    process::run(&mut build)?;
    let linked = target_directory.join(TARGET).join("bpf/ctwatch-ebpf");
    let stripped = target_directory.join("x86_64.o");
    let mut objcopy = toolchain.command(&toolchain.objcopy);
    objcopy.arg("--strip-debug");
    for name in crate_named_symbols(&read(&linked)?) {
        objcopy.arg(format!("--redefine-sym={name}={}", without_crate_hashes(&name)));
    }
    process::run(objcopy.arg(&linked).arg(&stripped))?;
    Ok(stripped)
}

/// The flags for the compiler; every directory of this machine is mapped away, so that two checkouts give the same bytes.
fn compiler_flags(workspace: &Workspace, toolchain: &Toolchain) -> Result<OsString> {
    let mut mappings =
        vec![(workspace.root().to_owned(), "/ctwatch"), (toolchain.sysroot.clone(), "/sysroot")];
    // Each registry has a directory of its own, whose name is a hash of the registry's address.
    let sources = cargo_home()?.join("registry/src");
    mappings
        .extend(packages::files_in(&sources)?.into_iter().map(|registry| (registry, "/registry")));
    let mut flags = OsString::from("--cfg=bpf_target_arch=\"x86_64\"");
    flags.push(format!("{SEPARATOR}-Clink-arg=--btf"));
    // The third version of the instruction set: with operations on half registers, which Linux has had since 5.1.
    flags.push(format!("{SEPARATOR}-Ctarget-cpu=v3"));
    for (from, to) in mappings {
        flags.push(format!("{SEPARATOR}--remap-path-prefix="));
        flags.push(from);
        flags.push(format!("={to}"));
    }
    Ok(flags)
}

fn cargo_home() -> Result<PathBuf> {
    let own = env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

/// The symbols whose names carry the hash of a crate (`_R…`, RFC 2603), found among the file's strings.
fn crate_named_symbols(object: &[u8]) -> Vec<String> {
    let strings = object.split(|byte| *byte == 0).filter(|string| string.starts_with(b"_R"));
    let mut names: Vec<String> =
        strings.filter_map(|string| String::from_utf8(string.to_vec()).ok()).collect();
    names.sort();
    names.dedup();
    names
}

/// A mangled name without its crates' disambiguators (`Cs<base-62>_` becomes `C`, RFC 2603).
///
/// The compiler's hash of a crate takes in every package that its build scripts depend on, so that a change of the lock
/// file which has nothing to do with the kernel side would otherwise change the object's bytes.
fn without_crate_hashes(name: &str) -> String {
    let mut rest = name;
    let mut result = String::new();
    while let Some((before, after)) = rest.split_once("Cs") {
        result.push_str(before);
        let hash_end = after.find(|character: char| !character.is_ascii_alphanumeric());
        let hash = hash_end.and_then(|end| after.split_at_checked(end));
        match hash.and_then(|(_, after_hash)| after_hash.strip_prefix('_')) {
            Some(after_hash)
                if after_hash.starts_with(|character: char| character.is_ascii_digit()) =>
            {
                result.push('C');
                rest = after_hash;
            }
            _ => {
                result.push_str("Cs");
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_object_is_built_from_the_committed_source() {
        let workspace = Workspace::locate().unwrap();
        let object = read(&workspace.root().join(OBJECT)).unwrap();
        record_fits(
            &read_record(&workspace).unwrap(),
            &object,
            &bpf_source::hash(&workspace).unwrap(),
        )
        .unwrap();
    }

    #[test]
    fn hashes_of_crates_are_taken_out_of_symbol_names() {
        assert_eq!(
            without_crate_hashes("_RNvNtCseGIxJo64hYK_12ctwatch_ebpf7account15row_of_newcomer"),
            "_RNvNtC12ctwatch_ebpf7account15row_of_newcomer"
        );
        assert_eq!(
            without_crate_hashes("_RINvCsa_1a3fooNtCsb_4core6OptionE"),
            "_RINvC1a3fooNtC4core6OptionE"
        );
        assert_eq!(without_crate_hashes("_RNvC1a5xCs_y"), "_RNvC1a5xCs_y");
        assert_eq!(without_crate_hashes("_RCs"), "_RCs");
    }

    #[test]
    fn mangled_symbols_are_found_among_the_strings() {
        assert_eq!(crate_named_symbols(b"\0alloc\0_Rb\0_Ra\0x_R\0_Rb\0"), ["_Ra", "_Rb"]);
    }

    #[test]
    fn a_record_of_other_sources_or_another_object_does_not_fit() {
        let tools = Versions::of("1");
        let record = Record {
            object_sha256: bpf_source::sha256(b"object"),
            source_sha256: "source".to_owned(),
            tools,
        };
        assert!(record_fits(&record, b"object", "source").is_ok());
        assert!(
            record_fits(&record, b"object", "changed")
                .unwrap_err()
                .to_string()
                .contains("source changed")
        );
        assert!(record_fits(&record, b"other", "source").is_err());
    }
}
