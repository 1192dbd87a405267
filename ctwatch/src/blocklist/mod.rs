//! Which sources are kept out, and how that is handed to a firewall: pure. What was seen goes in, a [`Blocklist`] comes out,
//! and [`formats`] writes it down.

mod canonical;
pub mod cap_ruleset;
pub mod conduct;
mod explanation;
pub mod formats;
pub mod note;
pub mod policy;
pub mod protected;
pub mod ruleset;
#[cfg(test)]
mod samples;
pub mod select;
pub mod window;

use std::time::Duration;

use ipnet::IpNet;

/// One source, or a network of them, that is kept out for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The address, as a network of its full length, or a network without host bits.
    pub network: IpNet,
    /// How long it is kept out, from the moment the block is loaded; whole seconds, at least one.
    pub duration: Duration,
    /// Why, in a short sentence.
    pub why: String,
}

/// A source that would have been listed, and why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    /// The source.
    pub network: IpNet,
    /// Why it must not be blocked, as a sentence.
    pub why: String,
}

/// What is to be blocked, what is not, and why. [`Blocklist::new`] makes it of any blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    /// When it was made: nanoseconds since 1970-01-01 00:00 UTC.
    pub wall_ns: i128,
    /// The blocks: no network twice, none within another one, in the order of their addresses.
    pub blocks: Vec<Block>,
    /// Those who are left alone though they stand out.
    pub spared: Vec<Spared>,
    /// What else the reader should know: why nobody is listed, what would help instead.
    pub notes: Vec<String>,
}
