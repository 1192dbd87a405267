//! Where things lie in this checkout, and who may use them; it must not download or build anything.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;

/// The checkout that the command was called in.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory.
    pub(crate) fn locate() -> Result<Self> {
        let here = env::current_dir().context("the current directory cannot be read")?;
        let root = here
            .ancestors()
            .find(|directory| {
                directory.join("xtask/Cargo.toml").is_file()
                    && directory.join("Cargo.lock").is_file()
            })
            .with_context(|| {
                format!("{} is not inside a ctwatch checkout: change into one", here.display())
            })?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path under `target/`, where everything that is fetched or built is kept.
    ///
    /// It stays inside the checkout even if `CARGO_TARGET_DIR` points elsewhere: what lies there belongs to this checkout.
    pub(crate) fn target(&self, relative: &str) -> PathBuf {
        self.root.join("target").join(relative)
    }

    /// Keeps other calls of this checkout out of one part of `target/` until the returned file is dropped.
    pub(crate) fn lock(&self, part: &str) -> Result<File> {
        let path = self.target(&format!("xtask-{part}.lock"));
        fs::create_dir_all(self.target(""))
            .with_context(|| format!("cannot create {}", self.target("").display()))?;
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                process::say(format!("waiting for another xtask that uses {part}"))
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}
