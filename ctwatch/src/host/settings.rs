//! Reads all of conntrack's settings in a network namespace; nothing is ever written to them.

use std::{fs, io, path::Path};

use super::namespace::{NamespaceError, NetworkNamespace};
use crate::advise::settings::Settings;

const DIRECTORY: &str = "/proc/sys/net/netfilter";
const FILE_PREFIX: &str = "nf_conntrack_";
const KEY_PREFIX: &str = "net.netfilter.";

/// Why the settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The directory cannot be read: connection tracking is not loaded, or /proc/sys is hidden.
    #[error("cannot read conntrack's settings in {DIRECTORY}")]
    Read(#[from] io::Error),
}

/// Reads every setting that holds one number. One that cannot be read is left out.
///
/// # Errors
///
/// The namespace or the directory of the settings cannot be opened.
pub fn read_in(namespace: &NetworkNamespace) -> Result<Settings, SettingsError> {
    Ok(namespace.run(|| read_from(Path::new(DIRECTORY)))??)
}

fn read_from(directory: &Path) -> io::Result<Settings> {
    let mut settings = Settings::default();
    for file in fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(FILE_PREFIX)) else {
            continue;
        };
        let number = fs::read_to_string(file.path()).ok().and_then(|text| text.trim().parse().ok());
        if let Some(number) = number {
            settings.values.insert(format!("{KEY_PREFIX}{name}"), number);
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_number_is_a_setting_by_its_dotted_name() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("nf_conntrack_max", "65536\n"),
            ("nf_conntrack_udp_timeout", "30\n"),
            ("nf_conntrack_tcp_loose", "1\n"),
            ("nf_conntrack_helper_names", "ftp tftp\n"),
            ("nf_log_all_netns", "0\n"),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let settings = read_from(directory.path()).unwrap();
        assert_eq!(settings.values.len(), 3);
        assert_eq!(settings.limit(), Some(65_536));
        assert_eq!(settings.timeout_s("udp_timeout"), Some(30));
        assert_eq!(settings.buckets(), None);
        assert!(read_from(&directory.path().join("none")).is_err());
    }
}
