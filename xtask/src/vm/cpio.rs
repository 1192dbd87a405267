//! Writes a cpio archive in the kernel's "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst); it touches no file.
//!
//! Owners, modes and device nodes are only numbers in the archive, so that an initramfs is made without being root.

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR_FILE: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

impl Archive {
    /// Adds a directory; its parents must have been added before it.
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, [0, 0], &[]);
    }

    /// Adds a program or another file that may be executed.
    pub(crate) fn executable(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, REGULAR_FILE | 0o755, [0, 0], contents);
    }

    /// Adds an ordinary file.
    pub(crate) fn file(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, REGULAR_FILE | 0o644, [0, 0], contents);
    }

    /// Adds a symbolic link.
    pub(crate) fn symbolic_link(&mut self, path: &str, to: &str) {
        self.entry(path, SYMBOLIC_LINK | 0o777, [0, 0], to.as_bytes());
    }

    /// Adds a character device.
    pub(crate) fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE | 0o600, [major, minor], &[]);
    }

    /// The archive with its trailer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, [0, 0], &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: [u32; 2], contents: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let [major, minor] = device;
        let name = path.trim_start_matches('/');
        let name_bytes = name.len() + 1;
        let (owner, modified, own_device, checksum) = (0, 0, 0, 0);
        self.bytes.extend_from_slice(
            format!(
                "070701{:08x}{mode:08x}{owner:08x}{owner:08x}{links:08x}{modified:08x}{:08x}{own_device:08x}{own_device:08x}{major:08x}{minor:08x}{name_bytes:08x}{checksum:08x}",
                self.entries,
                contents.len(),
            )
            .as_bytes(),
        );
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    /// Header with name, and contents, each fill whole words of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.executable("/init", b"hello");
        let bytes = archive.finish();
        let header = "070701\
            00000001\
            000081ed\
            00000000\
            00000000\
            00000001\
            00000000\
            00000005\
            00000000\
            00000000\
            00000000\
            00000000\
            00000005\
            00000000";
        assert_eq!(std::str::from_utf8(&bytes[..110]).unwrap(), header);
        assert_eq!(&bytes[110..124], b"init\0\0hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
