//! One source that is looked at closely.

use ipnet::IpNet;

use super::{
    history::{History, Point},
    input::{Request, Walked},
    rows::network,
};
use crate::{
    blocklist::ruleset::element,
    model::snapshot::{Snapshot, SourceNumbers},
};

/// Seconds between two walks at least, however short they are.
const PAUSE_S: f64 = 10.0;
/// After a walk there is a pause of so many times what it took.
const PAUSE_FACTOR: f64 = 20.0;

/// The source, and what is known of it.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// An address, or the prefix that stands for addresses that are not counted one by one.
    pub network: IpNet,
    /// Its rows, one a protocol.
    pub parts: Vec<SourceNumbers>,
    /// Their sum; `None` while it has no row.
    pub sum: Option<SourceNumbers>,
    /// What it was like since it was opened.
    pub history: History,
    /// What the last walk for it told, or why there is none.
    pub walked: Option<Result<Walked, String>>,
    is_walking: bool,
    /// Seconds until the next walk.
    pause_s: f64,
}

impl SourceView {
    /// Opens one.
    pub fn open(network: IpNet, snapshot: Option<&Snapshot>) -> Self {
        let mut view = Self {
            network,
            parts: Vec::new(),
            sum: None,
            history: History::default(),
            walked: None,
            is_walking: false,
            pause_s: 0.0,
        };
        if let Some(snapshot) = snapshot {
            view.take(snapshot);
        }
        view
    }

    /// Its address, or the prefix in CIDR form.
    pub fn name(&self) -> String {
        element(&self.network)
    }

    /// Takes in a snapshot.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let is_it =
            |numbers: &&SourceNumbers| numbers.key.as_ref().and_then(network) == Some(self.network);
        self.parts = snapshot.sources.iter().filter(is_it).copied().collect();
        self.sum = self.parts.split_first().map(|(first, further)| {
            let mut sum = SourceNumbers { key: None, ..*first };
            further.iter().for_each(|part| sum.include(part));
            sum
        });
        self.history.add(self.sum.as_ref().map_or_else(Point::default, |sum| Point {
            entries: sum.entries.unwrap_or(0) as f64,
            new_per_s: sum.new_per_s.unwrap_or(0.0),
            refused_per_s: sum.refused_per_s.unwrap_or(0.0),
        }));
    }

    /// A walk for it, if one may begin now.
    pub fn wants_walk(&mut self, netns: u32) -> Option<Request> {
        if self.is_walking || self.pause_s > 0.0 {
            return None;
        }
        self.is_walking = true;
        Some(Request { netns, network: self.network })
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        self.pause_s -= 1.0;
    }

    /// Takes in what a walk told.
    pub fn walked(&mut self, walked: Result<Walked, String>) {
        let took_s = walked.as_ref().map_or(0.0, |walked| walked.took_s);
        self.pause_s = (took_s * PAUSE_FACTOR).max(PAUSE_S);
        self.is_walking = false;
        self.walked = Some(walked);
    }
}
