//! The kernel's symbols, from `/proc/kallsyms`.

use std::{collections::HashSet, fs, io};

/// Where each function begins.
#[derive(Debug)]
pub struct Symbols {
    names: HashSet<String>,
    text: String,
}

/// A function's name in this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name.
    pub symbol: String,
    /// Whether it is called as it is declared.
    pub arguments: Arguments,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// As it is declared.
    AsDeclared,
    /// The compiler may have dropped or changed arguments: what a probe reads of them is to be checked.
    PerhapsOthers,
}

impl Resolved {
    /// A function that is called what it is declared as.
    pub fn declared(symbol: &str) -> Self {
        Self { symbol: symbol.to_owned(), arguments: Arguments::AsDeclared }
    }
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

    /// What a function is called here. Compilers rename a static function that they make a variant of: where there is
    /// none of its own name, and exactly one variant (`.isra`, `.constprop`, `.llvm`), that is it. Parts of a function
    /// (`.part`, `.cold`) and what lies in front of one (`__pfx_`) are not it.
    pub fn resolve(&self, function: &str) -> Option<Resolved> {
        if self.has(function) {
            return Some(Resolved::declared(function));
        }
        let mut variants = self.names.iter().filter_map(|name| {
            let suffix = name.strip_prefix(function)?;
            let is_part = [".part.", ".cold"].iter().any(|part| suffix.contains(part));
            let is_variant =
                [".isra.", ".constprop.", ".llvm."].iter().any(|v| suffix.starts_with(v));
            let arguments = match suffix.contains(".isra.") || suffix.contains(".constprop.") {
                true => Arguments::PerhapsOthers,
                // The suffix only keeps names of one program apart.
                false => Arguments::AsDeclared,
            };
            (is_variant && !is_part).then(|| Resolved { symbol: name.clone(), arguments })
        });
        let only = variants.next()?;
        variants.next().is_none().then_some(only)
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
    fn a_function_that_the_compiler_renamed_is_found_if_there_is_one_variant() {
        let symbols = |names: &[&str]| {
            let line = |name: &&str| format!("0000000000000000 t {name}\t[nf_conntrack]\n");
            Symbols::parse(names.iter().map(line).collect())
        };
        let resolved = |names: &[&str]| symbols(names).resolve("early_drop");
        let found =
            |symbol: &str, arguments| Some(Resolved { symbol: symbol.to_owned(), arguments });
        let (same, others) = (Arguments::AsDeclared, Arguments::PerhapsOthers);
        assert_eq!(resolved(&["early_drop", "early_drop.isra.0"]), found("early_drop", same));
        assert_eq!(
            resolved(&["early_drop.isra.0", "early_drop.isra.0.cold", "__pfx_early_drop.isra.0"]),
            found("early_drop.isra.0", others)
        );
        assert_eq!(resolved(&["early_drop.constprop.0"]), found("early_drop.constprop.0", others));
        assert_eq!(resolved(&["early_drop.llvm.123"]), found("early_drop.llvm.123", same));
        assert_eq!(
            resolved(&["early_drop.llvm.1.isra.0"]),
            found("early_drop.llvm.1.isra.0", others)
        );
        assert_eq!(resolved(&["early_drop.part.0", "early_drop.cold", "early_drop_list"]), None);
        assert_eq!(resolved(&["early_drop.isra.0", "early_drop.isra.1"]), None);
    }

    #[test]
    fn hidden_addresses_are_no_answer() {
        let symbols = Symbols::parse("0000000000000000 t nf_hook_slow\n".to_owned());
        assert_eq!(symbols.range_of("nf_hook_slow"), None);
    }
}
