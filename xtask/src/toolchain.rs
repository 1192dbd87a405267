//! The compiler, linker and objcopy for the kernel side: Debian's, unpacked privately, or rustup's nightly; it builds no object.
//!
//! `-Zbuild-std=core` needs a compiler and the library source of exactly the same version. Debian packages both, so that is
//! what a Debian machine uses, and what gives the same bytes everywhere. Elsewhere rustup's nightly with `rust-src` serves.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::packages::{self, Archive, Distribution};
use crate::process;
use crate::workspace::Workspace;

/// The release of bpf-linker that is built; its feature must name rustc's LLVM.
const BPF_LINKER_VERSION: &str = "0.13.0";
/// The compiler, its cargo and its library source.
const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Where Debian has `rustc-web`: a compiler recent enough for the web engines of its stable releases.
const SUITES: [&str; 2] = ["bookworm", "bookworm-security"];
/// What the closure of the compiler needs, but every machine that compiled this program has: libc, and gcc for linking.
/// A libc beside the machine's own would not even start under the machine's own loader.
const HAD_ANYWAY: [&str; 24] = [
    "binutils",
    "cpp",
    "gcc",
    "libasan",
    "libatomic",
    "libbinutils",
    "libc-",
    "libc6",
    "libcc1",
    "libcrypt",
    "libctf",
    "libgcc",
    "libgomp",
    "libgprofng",
    "libisl",
    "libitm",
    "liblsan",
    "libmpc",
    "libmpfr",
    "libquadmath",
    "libstdc++",
    "libtsan",
    "libubsan",
    "linux-libc-dev",
];

/// Which of the toolchains to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// Debian's on Debian, otherwise rustup's.
    Auto,
    /// Debian's `rustc-web`, unpacked under target/toolchain.
    Debian,
    /// rustup's nightly with rust-src, and bpf-linker and llvm-objcopy from the search path.
    Rustup,
}

/// Everything that turns the kernel side's source into an object.
pub(crate) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    bpf_linker: PathBuf,
    /// Copies objects and drops sections and names.
    pub(crate) objcopy: PathBuf,
    /// Where the compiler's own library source is, which must not show in the object.
    pub(crate) sysroot: PathBuf,
    library_path: Option<PathBuf>,
}

/// The versions that decide on the object's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    rustc: String,
    llvm: String,
    cargo: String,
    bpf_linker: String,
    objcopy: String,
}

impl Versions {
    /// The tools that differ, as `recorded, here found`.
    pub(crate) fn difference(&self, found: &Self) -> Vec<String> {
        let pairs = [
            (&self.rustc, &found.rustc),
            (&self.llvm, &found.llvm),
            (&self.cargo, &found.cargo),
            (&self.bpf_linker, &found.bpf_linker),
            (&self.objcopy, &found.objcopy),
        ];
        let differing = pairs.into_iter().filter(|(recorded, found)| recorded != found);
        differing.map(|(recorded, found)| format!("{recorded}, here {found}")).collect()
    }

    #[cfg(test)]
    pub(crate) fn of(version: &str) -> Self {
        let version = version.to_owned();
        Self {
            rustc: version.clone(),
            llvm: version.clone(),
            cargo: version.clone(),
            bpf_linker: version.clone(),
            objcopy: version,
        }
    }
}

impl Toolchain {
    /// Finds the toolchain, or fetches and builds it.
    pub(crate) fn prepare(workspace: &Workspace, choice: Choice) -> Result<Self> {
        let distribution = Distribution::of_this_machine();
        let is_debian = distribution.id == "debian" && distribution.has_apt();
        if choice == Choice::Debian || (choice == Choice::Auto && is_debian) {
            process::say("kernel side: Debian's rustc-web under target/toolchain");
            return Self::from_debian(workspace);
        }
        process::say("kernel side: rustup's nightly with rust-src");
        Self::from_rustup()
    }

    /// A command of this toolchain, free of what the calling cargo or rustup set for the host.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for variable in inherited_variables(env::vars_os().map(|(name, _)| name)) {
            command.env_remove(variable);
        }
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// `cargo` of this toolchain, with unstable features open and its linker on the search path.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut command = self.command(&self.cargo);
        let own = [&self.cargo, &self.bpf_linker]
            .into_iter()
            .filter_map(|program| program.parent().map(Path::to_owned));
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.chain(env::split_paths(&inherited)))
            .context("PATH cannot be extended")?;
        command.env("PATH", path).env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        Ok(command)
    }

    /// The versions of all of it.
    pub(crate) fn versions(&self) -> Result<Versions> {
        let verbose = process::capture(self.command(&self.rustc).arg("-Vv"))?;
        let llvm = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let objcopy = process::capture(self.command(&self.objcopy).arg("--version"))?;
        let objcopy = objcopy.lines().map(str::trim).find(|line| line.contains("version"));
        Ok(Versions {
            rustc: verbose.lines().next().context("rustc -Vv printed nothing")?.to_owned(),
            llvm: llvm.context("rustc -Vv names no LLVM")?.to_owned(),
            cargo: process::first_line(self.command(&self.cargo).arg("-V"))?,
            bpf_linker: process::first_line(self.command(&self.bpf_linker).arg("--version"))?,
            objcopy: objcopy.context("llvm-objcopy --version names no version")?.to_owned(),
        })
    }

    fn from_debian(workspace: &Workspace) -> Result<Self> {
        let root = workspace.target("toolchain/root");
        let complete = workspace.target("toolchain/complete");
        if !complete.exists() {
            packages::remove_directory(&root)?;
            process::say("fetching the compiler and its library source (about 190 MB, once)");
            let archive = Archive::open(workspace.target("toolchain/apt"), &SUITES)?;
            let llvm_major = llvm_major_of(&archive.closure(&COMPILER)?)?;
            let objcopy_package = format!("llvm-{llvm_major}");
            let closure =
                archive.closure(&[&COMPILER, [objcopy_package.as_str()].as_slice()].concat())?;
            let wanted = without_what_is_had_anyway(closure);
            archive.unpack(&wanted, &root)?;
            packages::write(&complete, wanted.join("\n"))?;
        }
        let unpacked = fs::read_to_string(&complete)
            .with_context(|| format!("cannot read {}", complete.display()))?;
        let unpacked: Vec<String> = unpacked.lines().map(str::to_owned).collect();
        let llvm_major = llvm_major_of(&unpacked)?;
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let mut toolchain = Self {
            cargo: root.join("usr/bin/cargo"),
            rustc: root.join("usr/bin/rustc"),
            bpf_linker: workspace.target("tools/bin/bpf-linker"),
            objcopy: root.join(format!("usr/lib/llvm-{llvm_major}/bin/llvm-objcopy")),
            sysroot: root.join("usr"),
            library_path: Some(libraries.clone()),
        };
        if !toolchain.bpf_linker.exists() {
            toolchain.build_bpf_linker(workspace, &libraries, &llvm_major)?;
        }
        toolchain.sysroot =
            toolchain.sysroot.canonicalize().context("the unpacked compiler is gone")?;
        Ok(toolchain)
    }

    /// Builds bpf-linker against the LLVM that the compiler uses, so that both read the same bitcode.
    fn build_bpf_linker(
        &self,
        workspace: &Workspace,
        libraries: &Path,
        llvm_major: &str,
    ) -> Result<()> {
        process::say(format!(
            "building bpf-linker {BPF_LINKER_VERSION} (about a minute and a half, once)"
        ));
        let prefix = workspace.target("toolchain/llvm");
        packages::remove_directory(&prefix)?;
        fs::create_dir_all(prefix.join("lib"))
            .with_context(|| format!("cannot create {}", prefix.display()))?;
        let shared = packages::files_in(libraries)?.into_iter().find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(&format!("libLLVM.so.{llvm_major}")))
        });
        let shared = shared
            .with_context(|| format!("no libLLVM {llvm_major} in {}", libraries.display()))?;
        symlink(&shared, prefix.join("lib/libLLVM.so"))
            .context("cannot link libLLVM into place")?;
        let mut command = self.cargo()?;
        command
            .current_dir(workspace.target("toolchain"))
            .env("LLVM_PREFIX", &prefix)
            .env("CARGO_TARGET_DIR", workspace.target("toolchain/bpf-linker"))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env_remove("RUSTC_BOOTSTRAP")
            .args(["install", "--quiet", "--locked", "bpf-linker", "--version", BPF_LINKER_VERSION])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm_major}")])
            .arg("--root")
            .arg(workspace.target("tools"));
        process::capture(&mut command)?;
        packages::remove_directory(&workspace.target("toolchain/bpf-linker"))
    }

    fn from_rustup() -> Result<Self> {
        const HINT: &str = "run `rustup toolchain install nightly --component rust-src,llvm-tools` and `cargo install bpf-linker`";
        let rustup = process::find_program("rustup")
            .with_context(|| format!("there is no rustup here: install it, then {HINT}"))?;
        let which = |program: &str| -> Result<PathBuf> {
            let line = process::first_line(Command::new(&rustup).args([
                "which",
                "--toolchain",
                "nightly",
                program,
            ]));
            Ok(PathBuf::from(
                line.with_context(|| format!("rustup has no nightly toolchain: {HINT}"))?,
            ))
        };
        let (cargo, rustc) = (which("cargo")?, which("rustc")?);
        let sysroot =
            PathBuf::from(process::first_line(Command::new(&rustc).args(["--print", "sysroot"]))?);
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            bail!("rustup's nightly has no rust-src: {HINT}");
        }
        let own_objcopy = ["llvm-objcopy", "rust-objcopy"]
            .map(|name| sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin").join(name))
            .into_iter()
            .find(|path| path.exists());
        let objcopy = own_objcopy
            .or_else(|| process::find_program("llvm-objcopy"))
            .with_context(|| format!("there is no llvm-objcopy: {HINT}"))?;
        let bpf_linker = process::find_program("bpf-linker")
            .with_context(|| format!("there is no bpf-linker: {HINT}"))?;
        Ok(Self { cargo, rustc, bpf_linker, objcopy, sysroot, library_path: None })
    }
}

/// The major version of the LLVM among packages.
fn llvm_major_of(packages: &[String]) -> Result<String> {
    let major = packages
        .iter()
        .find_map(|package| package.strip_prefix("libllvm")?.split(['=', 't']).next());
    major.map(str::to_owned).context("the compiler's packages name no libllvm")
}

/// The packages without those that every machine has in a version of its own.
pub(crate) fn without_what_is_had_anyway(packages: Vec<String>) -> Vec<String> {
    packages
        .into_iter()
        .filter(|package| !HAD_ANYWAY.iter().any(|prefix| package.starts_with(prefix)))
        .collect()
}

/// The variables of the calling cargo, rustup or shell that would change what is built, or with what.
fn inherited_variables(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            let is_cargos = name == "CARGO"
                || (name.starts_with("CARGO_") && name != "CARGO_HOME" && !is_network(&name));
            is_cargos
                || name.starts_with("RUSTC")
                || name.starts_with("RUSTFLAGS")
                || name == "RUSTUP_TOOLCHAIN"
                || name == "LD_LIBRARY_PATH"
        })
        .collect()
}

/// Whether a cargo variable says how to reach the registry, which is the machine's business.
fn is_network(name: &str) -> bool {
    ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_built_for_the_compiler_s_own_llvm() {
        let packages = |name: &str| vec!["libc6=2.36".to_owned(), name.to_owned()];
        assert_eq!(llvm_major_of(&packages("libllvm22=1:22.1.8-1~deb12u1")).unwrap(), "22");
        assert_eq!(llvm_major_of(&packages("libllvm23t64=1:23.1")).unwrap(), "23");
        assert!(llvm_major_of(&packages("libz3-4=4.8")).is_err());
    }

    #[test]
    fn what_the_calling_cargo_set_is_cleared_but_the_way_to_the_registry_is_kept() {
        let names = [
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "LD_LIBRARY_PATH",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "PATH",
            "HOME",
            "RUST_BACKTRACE",
        ];
        let cleared = inherited_variables(names.iter().map(OsString::from));
        assert_eq!(cleared, names.iter().take(8).map(OsString::from).collect::<Vec<_>>());
    }
}
