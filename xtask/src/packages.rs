//! Fetches the distribution's packages with a private apt state and unpacks them under `target/`; it installs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::apt_sources::{self, Source};
use crate::process;

/// Package lists older than this are fetched again before anything new is looked up.
const LISTS_STAY_FRESH: Duration = Duration::from_secs(12 * 3600);

/// The machine's distribution, from os-release(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// `debian`, `ubuntu`, …
    pub(crate) id: String,
    /// `bookworm`, `noble`, …
    pub(crate) codename: String,
}

impl Distribution {
    /// The distribution this runs on; its fields are empty where the machine does not say.
    pub(crate) fn of_this_machine() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(os_release: &str) -> Self {
        let field = |name: &str| {
            let value =
                os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        Self { id: field("ID"), codename: field("VERSION_CODENAME") }
    }

    /// Whether packages can be fetched here.
    pub(crate) fn has_apt(&self) -> bool {
        matches!(self.id.as_str(), "debian" | "ubuntu")
            && process::find_program("apt-get").is_some()
    }
}

/// Some suites of the machine's own package archive, with an apt state of their own: no root, and nothing of the system changes.
pub(crate) struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// The given suites, with their package lists fetched; apt's state and downloads are kept in `directory`.
    ///
    /// A suite that the mirror does not have is left out with a line saying so; it is an error if no suite is left.
    pub(crate) fn open(directory: PathBuf, suites: &[&str]) -> Result<Self> {
        let distribution = Distribution::of_this_machine();
        if !distribution.has_apt() {
            bail!("packages can be fetched on Debian and Ubuntu only, and this is neither");
        }
        let known = machine_sources()?;
        let mut wanted: Vec<String> = Vec::new();
        for suite in suites {
            match apt_sources::retarget(&known, &distribution.id, suite) {
                Some(source) => wanted.push(source.to_deb822()),
                None => process::say(format!(
                    "no archive in /etc/apt that could have {suite}: left out"
                )),
            }
        }
        if wanted.is_empty() {
            bail!(
                "none of the suites {} is to be had: /etc/apt names no archive of this distribution",
                suites.join(", ")
            );
        }
        let archive = Self { directory };
        archive.update(&wanted.join("\n"))?;
        Ok(archive)
    }

    /// `package=version` for the packages and everything they depend on, as if nothing were installed.
    pub(crate) fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.apt("apt-get");
        command
            .args(["install", "--print-uris", "--no-install-recommends", "-qq", "-y"])
            .args(packages);
        Ok(process::capture(&mut command)?.lines().filter_map(package_of_uri_line).collect())
    }

    /// The names of all packages that begin so and are to be had.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let pattern = format!("^{prefix}");
        let list =
            process::capture(self.apt("apt-cache").args(["search", "--names-only", &pattern]))?;
        Ok(list
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads `package` or `package=version` and returns the files.
    pub(crate) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let downloads = self.directory.join("download");
        // Only what this call fetched may be in there afterwards.
        remove_directory(&downloads)?;
        fs::create_dir_all(&downloads)
            .with_context(|| format!("cannot create {}", downloads.display()))?;
        process::capture(
            self.apt("apt-get").current_dir(&downloads).args(["download", "-qq"]).args(packages),
        )?;
        files_in(&downloads)
    }

    /// Downloads packages and unpacks them, over one another, into one directory.
    pub(crate) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
        for file in self.download(packages)? {
            process::capture(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(into))?;
        }
        remove_directory(&self.directory.join("download"))
    }

    fn update(&self, sources: &str) -> Result<()> {
        let sources_file = self.directory.join("archive.sources");
        let is_same = fs::read_to_string(&sources_file).is_ok_and(|text| text == sources);
        if is_same && self.is_fresh() {
            return Ok(());
        }
        for part in ["state/lists/partial", "cache/archives/partial", "parts"] {
            let path = self.directory.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let directory = self.directory.display();
        let configuration = format!(
            "Dir::State \"{directory}/state\";\n\
             Dir::State::status \"{directory}/status\";\n\
             Dir::Cache \"{directory}/cache\";\n\
             Dir::Etc::sourcelist \"{directory}/archive.sources\";\n\
             Dir::Etc::sourceparts \"{directory}/parts\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"{directory}/parts\";\n\
             Debug::NoLocking \"1\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Retries \"3\";\n"
        );
        write(&self.directory.join("apt.conf"), &configuration)?;
        write(&self.directory.join("status"), "")?;
        write(&sources_file, sources)?;
        process::capture(self.apt("apt-get").args(["update", "-q"]))?;
        write(&self.updated_file(), "")
    }

    fn is_fresh(&self) -> bool {
        let modified = self.updated_file().metadata().and_then(|metadata| metadata.modified());
        // A file from the future counts as fresh: the clock was set back, the lists did not change.
        modified.is_ok_and(|when| when.elapsed().unwrap_or_default() < LISTS_STAY_FRESH)
    }

    fn updated_file(&self) -> PathBuf {
        self.directory.join("updated")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.directory.join("apt.conf"));
        // The loader path that `cargo run` sets is for Rust's libraries, not for apt's.
        command
            .env_remove("LD_LIBRARY_PATH")
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// Installs packages on the machine itself; only ones that start no service may be named.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::say(format!("installing {}", packages.join(" ")));
    let apt_get = |arguments: &[&str]| -> Result<()> {
        let mut command = process::as_root("apt-get", &["DEBIAN_FRONTEND"])?;
        command
            .env_remove("LD_LIBRARY_PATH")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        process::capture(&mut command).map(drop)
    };
    let install = [&["install", "-y", "-q", "--no-install-recommends"], packages].concat();
    // A machine whose lists are missing or old needs them first; one whose lists are good need not ask the network twice.
    apt_get(&install).or_else(|_| apt_get(&["update", "-q"]).and_then(|()| apt_get(&install)))
}

/// Removes a directory with everything in it, if it is there.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The files and directories in a directory, sorted by name.
pub(crate) fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| format!("cannot read {}", directory.display()))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Writes a file, naming it if that fails.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

fn machine_sources() -> Result<Vec<Source>> {
    let mut sources = apt_sources::parse_one_line(
        &fs::read_to_string("/etc/apt/sources.list").unwrap_or_default(),
    );
    let parts = Path::new("/etc/apt/sources.list.d");
    if !parts.is_dir() {
        return Ok(sources);
    }
    for path in files_in(parts)? {
        let text =
            || fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(apt_sources::parse_one_line(&text()?)),
            Some("sources") => sources.extend(apt_sources::parse_deb822(&text()?)),
            _ => {}
        }
    }
    Ok(sources)
}

/// `package=version` of a line of `apt-get --print-uris`: `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
fn package_of_uri_line(line: &str) -> Option<String> {
    let file = line.split_whitespace().nth(1)?;
    let mut parts = file.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name}={}", version.replace("%3a", ":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_read_from_os_release() {
        let debian = Distribution::parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_CODENAME=bookworm\n",
        );
        assert_eq!(
            debian,
            Distribution { id: "debian".to_owned(), codename: "bookworm".to_owned() }
        );
        let empty = Distribution::parse("");
        assert_eq!(empty, Distribution { id: String::new(), codename: String::new() });
    }

    #[test]
    fn packages_are_named_with_their_version() {
        let line = "'http://mirror.example/l/libllvm22_22.1.8-1~deb12u1_amd64.deb' libllvm22_1%3a22.1.8-1~deb12u1_amd64.deb 29378692 SHA256:0";
        assert_eq!(package_of_uri_line(line).as_deref(), Some("libllvm22=1:22.1.8-1~deb12u1"));
        assert_eq!(package_of_uri_line("E:"), None);
    }
}
