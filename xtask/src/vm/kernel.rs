//! Gets the distribution's stock kernels and unpacks them under `target/vm/kernels`; it boots none.

use std::cmp::Reverse;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Archive, Distribution};
use crate::process;
use crate::workspace::Workspace;

/// A kernel, unpacked.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What was asked for, for instance `6.12`.
    pub(crate) series: String,
    /// What `uname -r` says in it, for instance `6.12.117+deb13-cloud-amd64`.
    pub(crate) release: String,
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// `/lib/modules/RELEASE`.
    pub(crate) modules: PathBuf,
}

/// Where a distribution keeps which kernels.
struct Shelf {
    /// The end of the packages' names: the smallest kernel that has everything a gateway needs.
    flavour: &'static str,
    suites: Vec<String>,
}

/// The series that stands for whatever the distribution's newest kernel is.
pub(crate) const NEWEST: &str = "newest";

/// The series to test on, the most thorough one first: Debian keeps many, others have their own only.
pub(crate) fn usual_series() -> &'static [&'static str] {
    if Distribution::of_this_machine().id == "debian" {
        &["6.12", "5.10", "6.1", "6.18", "7.3"]
    } else {
        &[NEWEST]
    }
}

/// Whether a word can name a series of kernels.
pub(crate) fn is_series(word: &str) -> bool {
    word == NEWEST || word.starts_with(|character: char| character.is_ascii_digit())
}

/// Downloads and unpacks the newest kernel of a series, unless it is there.
///
/// # Errors
/// If this machine's archive has no such kernel; the message says so, and nothing else depends on it.
pub(crate) fn fetch(workspace: &Workspace, series: &str) -> Result<Kernel> {
    let _lock = workspace.lock("kernels")?;
    let directory = workspace.target("vm/kernels").join(series);
    let release_file = directory.join("release");
    if let Ok(release) = fs::read_to_string(&release_file) {
        return locate(series, release.trim(), &directory);
    }
    packages::remove_directory(&directory)?;
    let shelf = Shelf::of(&Distribution::of_this_machine())?;
    let suites: Vec<&str> = shelf.suites.iter().map(String::as_str).collect();
    let archive = Archive::open(workspace.target("vm/apt-kernels"), &suites)?;
    let (release, wanted) = shelf.newest(&archive.names("linux-")?, series).with_context(|| {
        format!("no kernel {series} to be had from the suites {}", shelf.suites.join(", "))
    })?;
    process::say(format!("fetching kernel {release}"));
    archive.unpack(&wanted, &directory.join("root"))?;
    let kernel = locate(series, &release, &directory)?;
    packages::write(&release_file, &release)?;
    Ok(kernel)
}

impl Shelf {
    fn of(distribution: &Distribution) -> Result<Self> {
        let codename = &distribution.codename;
        match distribution.id.as_str() {
            // Stock kernels of three releases, and the newest ones from backports.
            "debian" => Ok(Self {
                flavour: "cloud-amd64",
                suites: [
                    "bullseye-security",
                    "bookworm-security",
                    "trixie-security",
                    "trixie-backports",
                ]
                .map(str::to_owned)
                .to_vec(),
            }),
            "ubuntu" => Ok(Self {
                flavour: "generic",
                suites: vec![
                    codename.clone(),
                    format!("{codename}-updates"),
                    format!("{codename}-security"),
                ],
            }),
            _ => bail!("kernels can be fetched on Debian and Ubuntu only, and this is neither"),
        }
    }

    /// The newest release of a series, with the packages that it is in.
    ///
    /// Up to 6.18 `linux-image-RELEASE` has everything on Debian; later it is empty and depends on `linux-binary-RELEASE`,
    /// `linux-modules-RELEASE` and `linux-base-RELEASE`. Ubuntu has the modules apart too.
    fn newest(&self, names: &[String], series: &str) -> Option<(String, Vec<String>)> {
        let mut releases: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("linux-image-"))
            .filter(|release| release.ends_with(&format!("-{}", self.flavour)))
            .filter(|release| release.starts_with(|character: char| character.is_ascii_digit()))
            // `linux-image-6.12-cloud-amd64` names no release: it depends on the newest one.
            .filter(|release| {
                release.split('-').next().is_some_and(|version| version.matches('.').count() >= 2)
            })
            .filter(|release| series == NEWEST || release.starts_with(&format!("{series}.")))
            .collect();
        releases.sort_by_key(|release| Reverse(numbers(release)));
        let release = (*releases.first()?).to_owned();
        let packages =
            ["image", "binary", "modules", "base"].map(|part| format!("linux-{part}-{release}"));
        Some((release, packages.into_iter().filter(|package| names.contains(package)).collect()))
    }
}

/// Where the parts of an unpacked kernel are; releases differ in this.
fn locate(series: &str, release: &str, directory: &std::path::Path) -> Result<Kernel> {
    let root = directory.join("root");
    let modules = ["usr/lib/modules", "lib/modules"].map(|parent| root.join(parent).join(release));
    let modules = modules.into_iter().find(|path| path.join("kernel").is_dir());
    let modules =
        modules.with_context(|| format!("the packages of kernel {release} brought no modules"))?;
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|path| path.is_file());
    let image =
        image.with_context(|| format!("the packages of kernel {release} brought no image"))?;
    Ok(Kernel { series: series.to_owned(), release: release.to_owned(), image, modules })
}

/// The numbers in a version, in which it is compared: `6.12.9` before `6.12.117`.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn debian() -> Shelf {
        Shelf { flavour: "cloud-amd64", suites: Vec::new() }
    }

    #[test]
    fn the_newest_release_of_a_series_is_taken() {
        let names = names(&[
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-image-6.12.99+deb13-cloud-amd64",
            "linux-image-6.12.200+deb13-amd64",
            "linux-image-cloud-amd64",
        ]);
        assert_eq!(debian().newest(&names, "6.1").unwrap().0, "6.1.0-56-cloud-amd64");
        let (release, packages) = debian().newest(&names, "6.12").unwrap();
        assert_eq!(release, "6.12.117+deb13-cloud-amd64");
        assert_eq!(packages, ["linux-image-6.12.117+deb13-cloud-amd64"]);
        assert_eq!(debian().newest(&names, NEWEST).unwrap().0, "6.12.117+deb13-cloud-amd64");
        assert_eq!(debian().newest(&names, "6.13"), None);
    }

    #[test]
    fn a_kernel_in_parts_is_fetched_whole() {
        let names = names(&[
            "linux-base-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ]);
        let (_, packages) = debian().newest(&names, "7.3").unwrap();
        assert_eq!(
            packages,
            [
                "linux-image-7.3.4+deb13-cloud-amd64",
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64",
                "linux-base-7.3.4+deb13-cloud-amd64"
            ]
        );
    }
}
