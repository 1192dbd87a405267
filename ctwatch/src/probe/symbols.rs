//! The kernel's symbols, from `/proc/kallsyms`.

use std::{collections::HashSet, fs, io};

/// Where each function begins.
#[derive(Debug)]
pub struct Symbols {
    names: HashSet<String>,
    text: String,
}

impl Symbols {
    /// Reads `/proc/kallsyms`. Names are there for everyone; addresses are 0 without CAP_SYSLOG.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read() -> io::Result<Self> {
        fs::read_to_string("/proc/kallsyms").map(Self::parse)
    }

    fn parse(text: String) -> Self {
        let names = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .map(str::to_owned)
            .collect();
        Self { names, text }
    }

    /// Whether there is a symbol of exactly this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The addresses from a function's first to the first of whatever comes after it; `None` if the function
    /// is not there or addresses are hidden.
    pub fn range_of(&self, function: &str) -> Option<(u64, u64)> {
        let mut addresses: Vec<u64> = Vec::new();
        let mut start = None;
        for line in self.text.lines() {
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| u64::from_str_radix(word, 16).ok())?;
            if words.nth(1) == Some(function) {
                start = Some(address);
            }
            addresses.push(address);
        }
        let start = start.filter(|address| *address != 0)?;
        let end = addresses.into_iter().filter(|address| *address > start).min()?;
        Some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ffffffff81000100 T first
ffffffff81000300 T last
ffffffff81000200 t nf_hook_slow
ffffffffc0000000 t early_drop\t[nf_conntrack]
";

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let symbols = Symbols::parse(TEXT.to_owned());
        assert_eq!(
            symbols.range_of("nf_hook_slow"),
            Some((0xffff_ffff_8100_0200, 0xffff_ffff_8100_0300))
        );
        assert_eq!(symbols.range_of("nf_hook"), None);
        assert!(symbols.has("early_drop"));
        assert!(!symbols.has("early"));
    }

    #[test]
    fn hidden_addresses_are_no_answer() {
        let symbols = Symbols::parse("0000000000000000 t nf_hook_slow\n".to_owned());
        assert_eq!(symbols.range_of("nf_hook_slow"), None);
    }
}
