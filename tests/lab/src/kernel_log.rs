//! What the kernel logged from a moment on, read from `/dev/kmsg`. It must not consume what others read.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags, open};

const KERNEL_LOG: &str = "/dev/kmsg";

/// A reader of its own position in the kernel log.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    /// Begins after the last line that exists now.
    ///
    /// # Errors
    /// When the caller may not read the kernel log.
    pub fn from_now() -> Result<Self> {
        let descriptor =
            open(KERNEL_LOG, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("cannot open {KERNEL_LOG}"))?;
        let mut file = File::from(descriptor);
        file.seek(SeekFrom::End(0))
            .with_context(|| format!("cannot go to the end of {KERNEL_LOG}"))?;
        Ok(Self { file })
    }

    /// The lines logged since the last call.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        // One read gives one record (kernel/printk/printk.c, `devkmsg_read`).
        let mut record = [0_u8; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default())
                        .into_owned();
                    lines.extend(message(&text).map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read: the next read goes on at the oldest.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {KERNEL_LOG}"));
                }
            }
        }
        Ok(lines)
    }

    /// How many lines since the last call say that a conntrack table is full. The kernel limits their rate, so it is a
    /// sign and no count.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn table_full_lines(&mut self) -> Result<u64> {
        let full = |line: &String| line.contains("nf_conntrack") && line.contains("table full");
        Ok(self.lines()?.iter().filter(|line| full(line)).count() as u64)
    }
}

/// The text of a record `priority,sequence,time,flags;text` and the lines of keys that may follow.
fn message(record: &str) -> Option<&str> {
    let (_prefix, text) = record.split_once(';')?;
    text.lines().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_text() {
        let record =
            "4,812,91283,-;nf_conntrack: nf_conntrack: table full, dropping packet\n SUBSYSTEM=x\n";
        assert_eq!(
            message(record),
            Some("nf_conntrack: nf_conntrack: table full, dropping packet")
        );
        assert_eq!(message("no record"), None);
    }
}
